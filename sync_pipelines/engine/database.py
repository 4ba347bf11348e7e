"""How the engine reaches its own tables in PostgreSQL: URLs, pools and single connections."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from sync_pipelines.engine.urls import normalise_url

# Without these a connection whose far end vanished (a failed-over server, a cut cable) hangs for two hours.
_LIVENESS = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "connect_timeout": 10,
}

_NAME_BYTES = 63
"""PostgreSQL cuts an application_name after so many bytes (NAMEDATALEN - 1)."""


def driver_url(url: str) -> sa.URL:
    """`url` with the one driver that this package uses.

    SQLAlchemy 2.1 takes a bare `postgresql://` for psycopg 3, which is not installed here.

    Raises:
        ConfigurationError: for a text that is no URL of PostgreSQL; the text is not repeated (it may hold
            a password).
    """
    return sa.make_url(normalise_url(url).sqlalchemy)


def with_connect_timeout(url: str, seconds: int) -> str:
    """`url` with so many seconds for making a connection, where it says nothing about them itself."""
    parsed = driver_url(url)
    if "connect_timeout" not in parsed.query:
        parsed = parsed.update_query_dict({"connect_timeout": str(seconds)})
    return parsed.render_as_string(hide_password=False)


def place(url: str) -> str:
    """`host:port/database` of a URL, for messages: never user or password."""
    parsed = driver_url(url)
    host = parsed.host or parsed.query.get("host", "localhost")
    if not isinstance(host, str):  # several, each with its port
        return f"{','.join(host)}/{parsed.database or ''}"
    return f"{host}:{parsed.port or 5432}/{parsed.database or ''}"


def connect_options(url: sa.URL, application_name: str) -> dict[str, Any]:
    """Options of libpq that every connection of the engine gets; what the URL itself says wins."""
    name = application_name.encode()[:_NAME_BYTES].decode(errors="ignore")
    given = _LIVENESS | {"application_name": name}
    return {key: value for key, value in given.items() if key not in url.query}


def make_engine(url: str, *, pool_max: int, application_name: str) -> sa.Engine:
    """A pool that connects when it is first used.

    Args:
        url: any form of a PostgreSQL URL.
        pool_max: the most connections that it opens; 0 keeps none open between uses.
        application_name: what an administrator sees in pg_stat_activity.
    """
    parsed = driver_url(url)
    pool = {"pool_size": pool_max, "max_overflow": 0, "pool_timeout": 30, "pool_use_lifo": True}
    return sa.create_engine(
        parsed,
        **(pool if pool_max else {"poolclass": sa.NullPool}),
        pool_pre_ping=True,
        # Values of records and watermarks do not belong into error texts.
        hide_parameters=True,
        connect_args=connect_options(parsed, application_name),
    )


def connect(url: str, application_name: str) -> Any:
    """One psycopg2 connection in autocommit mode, outside of any pool; the caller closes it."""
    import psycopg2

    parsed = driver_url(url)
    args, options = PGDialect_psycopg2().create_connect_args(parsed)
    connection = psycopg2.connect(*args, **options, **connect_options(parsed, application_name))
    connection.autocommit = True
    return connection
