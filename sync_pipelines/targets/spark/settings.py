"""Where the Spark job runs, and how it reaches PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.urls import NormalisedUrl

_CARRIED = ("sslmode", "channelBinding", "targetServerType")


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """A Spark job's place and measures.

    Args:
        connection: the source's name. scope: the secret scope in which its password is `<connection>_password`.
        cluster: the id of a cluster; None: serverless, or `new_cluster`, as the Jobs API describes one.
        jdbc_connection: a JDBC connection of Unity Catalog, which knows address and password by itself.
        rows: tables with fewer are read by this process. connections: to PostgreSQL at a time.
        fetch_rows: rows that a connection holds. poll_seconds: between two looks at the job.
        quiet: the job must not tell what a failed statement says, which may quote a sensitive column.
    """

    connection: str
    scope: str | None = None
    cluster: str | None = None
    jdbc_connection: str | None = None
    new_cluster: Mapping[str, Any] | None = field(default=None, repr=False)
    rows: int = 1_000_000
    connections: int = 8
    fetch_rows: int = 1000
    poll_seconds: float = 5.0
    quiet: bool = False

    @property
    def serverless(self) -> bool:
        """Whether no cluster is named."""
        return self.cluster is None and self.new_cluster is None

    def sized(self, **measures: Any) -> JobSettings:
        """The same with other measures (`rows`, `connections`, …)."""
        return replace(self, **measures)

    def secret(self, url: NormalisedUrl) -> tuple[str, str] | None:
        """Scope and key of the password; None where there is none, or where a JDBC connection knows it.

        Raises:
            ConfigurationError: there is one here, and no scope there.
        """
        if self.jdbc_connection:
            return None
        if self.scope:
            return self.scope, f"{self.connection}_password"
        if url.password is None:
            return None
        raise ConfigurationError(
            "the Spark job needs PostgreSQL's password, and DATABRICKS_SCOPE is not set.",
            remedy=f"Put the password into a secret scope of the workspace (databricks secrets put-secret SCOPE "
            f"{self.connection}_password) and set DATABRICKS_SCOPE to the scope's name.",
        )

    def reader(self, url: NormalisedUrl, prepare: str) -> dict[str, str]:
        """Options of Spark's JDBC reader, without the password.

        Args:
            prepare: what opens each connection's transaction. With a fetch size, and only then, Spark ends the
                driver's autocommit, so that the transaction lasts until the query's last row.
        """
        common = {"fetchsize": str(self.fetch_rows), "sessionInitStatement": prepare}
        if self.jdbc_connection:
            return {"databricks.connection": self.jdbc_connection, **common}
        parsed = sa.make_url(url.sqlalchemy)
        user = {"user": parsed.username} if parsed.username else {}
        return {"url": jdbc_url(url), "driver": "org.postgresql.Driver", **user, **common}


def jdbc_url(url: NormalisedUrl) -> str:
    """The database's address as the PostgreSQL JDBC driver spells it, without user and password.

    Raises:
        ConfigurationError: it is reached by a socket of this machine.
    """
    parsed = sa.make_url(url.sqlalchemy)
    host = parsed.query.get("host", parsed.host or "")
    hosts = [host] if isinstance(host, str) else list(host)
    if not all(hosts) or any(one.startswith("/") for one in hosts):
        raise ConfigurationError(
            f"the Spark job cannot reach {url.safe}, which is a socket of this machine.",
            remedy="Name a host that the workspace reaches in the connection's URL.",
        )
    port = f":{parsed.port}" if parsed.port else ""
    places = ",".join(one + ("" if _has_port(one) else port) for one in map(_bracketed, hosts))
    given = {name: value for name, value in parsed.query.items() if name in _CARRIED and isinstance(value, str)}
    parameters = urlencode({"ApplicationName": "sync_pipelines", "tcpKeepAlive": "true", **given})
    return f"jdbc:postgresql://{places}/{parsed.database or ''}?{parameters}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host


def _has_port(host: str) -> bool:
    return host.rpartition("]")[2].count(":") == 1
