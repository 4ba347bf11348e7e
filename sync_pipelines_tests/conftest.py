"""Real servers for every test: one PostgreSQL and one Chroma a session, a database of its own a test."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from sync_pipelines.sandbox.chroma import ChromaServer
from sync_pipelines.sandbox.folders import temporary_folder
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines.sandbox.prepare import prepare_database

_TEMPLATE = "template_app"
_numbers = count(1)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user can reach: pytest's own lie below one that only we may enter."""
    with temporary_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres_server(server_folder: Path) -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole session; not durable, so that a database goes in 10 ms."""
    with PostgresServer(server_folder / "postgres", durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def chroma_server(server_folder: Path) -> Iterator[ChromaServer]:
    """One Chroma server for the whole session; a test uses collection names of its own."""
    with ChromaServer(server_folder / "chroma") as server:
        yield server


@pytest.fixture(scope="session")
def template_database(postgres_server: PostgresServer) -> str:
    """The name of a prepared database: the application's tables with their sample rows."""
    postgres_server.create_database(_TEMPLATE)
    prepare_database(postgres_server.url(_TEMPLATE))
    # A pooled connection that preparing left open would make every copy fail.
    postgres_server.seal_database(_TEMPLATE)
    return _TEMPLATE


@pytest.fixture
def database_url(postgres_server: PostgresServer, template_database: str) -> Iterator[str]:
    """The URL of a fresh copy of the prepared database."""
    yield from _database(postgres_server, template_database)


@pytest.fixture
def empty_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a fresh database with nothing in it."""
    yield from _database(postgres_server, None)


def _database(server: PostgresServer, template: str | None) -> Iterator[str]:
    # A fault test may have killed the server; the next test must not pay for it.
    server.start()
    name = f"test_{next(_numbers)}"
    server.create_database(name, template=template)
    yield server.url(name)
    server.start()
    server.drop_database(name)
