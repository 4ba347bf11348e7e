"""A database with the capture branch, an application's table, and its role, which may do no more than publish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2
import pytest

from sync_pipelines import migrations
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines_tests.conftest import fresh_database
from sync_pipelines_tests.sql import execute

_TEMPLATE = "template_outbox"
ROLE = "outbox_application"

_APPLICATION = f"""
CREATE TABLE concept (id text PRIMARY KEY, title text, opened int NOT NULL DEFAULT 0);
DO $make$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN CREATE ROLE {ROLE} LOGIN; END IF;
END $make$;
GRANT SELECT, INSERT, UPDATE, DELETE ON concept TO {ROLE};
GRANT USAGE ON SCHEMA sync TO {ROLE};
GRANT EXECUTE ON FUNCTION sync.publish_event TO {ROLE};
"""


@dataclass(frozen=True)
class Outbox:
    """The database, as its owner sees it (`url`) and as the application does (`application_url`)."""

    url: str

    @property
    def plain_url(self) -> str:
        return self.url.replace("+psycopg2", "")

    @property
    def application_url(self) -> str:
        return self.plain_url.replace("postgres@", f"{ROLE}@")

    def driver_url(self, driver: str) -> str:
        return self.application_url.replace("postgresql://", f"postgresql+{driver}://")

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return execute(self.url, statement, *values)

    def events(self, columns: str = "entity_id, source_version") -> list[tuple[Any, ...]]:
        return self.run(f"SELECT {columns} FROM sync.sync_event_log ORDER BY entity_id, source_version")

    def versions(self, key: str = "c1") -> list[int]:
        return [version for entity, version in self.events() if entity == key]


@pytest.fixture(scope="session")
def outbox_template(postgres_server: PostgresServer) -> str:
    """The name of a database with the outbox and the application's table."""
    postgres_server.create_database(_TEMPLATE)
    url = postgres_server.url(_TEMPLATE)
    migrations.upgrade(url, branch="capture")
    execute(url, _APPLICATION)
    postgres_server.seal_database(_TEMPLATE)
    return _TEMPLATE


@pytest.fixture
def outbox(postgres_server: PostgresServer, outbox_template: str) -> Iterator[Outbox]:
    """A fresh copy of it."""
    for url in fresh_database(postgres_server, outbox_template):
        yield Outbox(url)


@pytest.fixture
def connect(outbox: Outbox) -> Iterator[Callable[..., Any]]:
    """Opens connections of the application's role; they are closed at the end."""
    opened: list[Any] = []

    def open_one(**options: Any) -> Any:
        opened.append(psycopg2.connect(outbox.application_url, **options))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


@pytest.fixture
def connection(connect: Callable[..., Any]) -> Any:
    """One connection of the application's role."""
    return connect()


def sql(connection: Any, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """A statement in the connection's transaction."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []
