"""A database with the capture branch, and connections to it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from sync_pipelines import migrations
from sync_pipelines.engine.urls import normalise_url
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines_tests.sources.helpers import Connection

_DATABASE = "capture"
_RESET = f"""
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle';
SET client_min_messages = warning;
DO $drop$ DECLARE name text; BEGIN
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
END $drop$;
CREATE SCHEMA public;
GRANT USAGE ON SCHEMA public TO PUBLIC;
ALTER DATABASE {_DATABASE} RESET ALL;
"""


def _connect(url: str, **options: Any) -> Any:
    raw = psycopg2.connect(normalise_url(url).libpq, **options)
    raw.autocommit = True
    return raw


@pytest.fixture(scope="session")
def capture_database(postgres_server: PostgresServer) -> Iterator[Any]:
    """A connection to the database that these tests share."""
    postgres_server.create_database(_DATABASE)
    raw = _connect(postgres_server.url(_DATABASE))
    yield raw
    raw.close()


@pytest.fixture(scope="session")
def capture_branch() -> str:
    """The script that makes the capture branch."""
    return migrations.script("capture")


@pytest.fixture
def url(postgres_server: PostgresServer, capture_database: Any, capture_branch: str) -> str:
    """The URL of a database with the capture branch and nothing else: 30 ms, a new one would take 200."""
    with capture_database.cursor() as cursor:
        cursor.execute(_RESET)
        cursor.execute(capture_branch)
    return postgres_server.url(_DATABASE)


@pytest.fixture
def connect(url: str) -> Iterator[Callable[..., Connection]]:
    """Opens connections to the test's database; `autocommit=False` for transactions. Closed at the end."""
    opened: list[Any] = []

    def open_one(*, autocommit: bool = True, user: str | None = None) -> Connection:
        raw = _connect(url, **({"user": user} if user else {}))
        raw.autocommit = autocommit
        opened.append(raw)
        return Connection(raw)

    yield open_one
    for raw in opened:
        raw.close()


@pytest.fixture
def db(connect: Callable[..., Connection]) -> Connection:
    """One connection in autocommit mode."""
    return connect()


@pytest.fixture
def fresh(server_folder: Path) -> Iterator[PostgresServer]:
    """Another server, which has issued few transaction ids yet."""
    with PostgresServer(server_folder / "fresh", durable=False) as server:
        server.create_database("capture")
        yield server
    server.destroy()
