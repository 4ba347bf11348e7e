"""A database with the capture branch, and connections to it."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import psycopg2
import pytest

from sync_pipelines.migrations import upgrade
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines.sources.postgres_url import normalise_url
from sync_pipelines_tests.sources.helpers import Connection

_TEMPLATE = "template_capture"
_numbers = count(1)


@pytest.fixture(scope="session")
def capture_template(postgres_server: PostgresServer) -> str:
    """The name of a database that holds the capture branch and nothing else."""
    postgres_server.create_database(_TEMPLATE)
    upgrade(postgres_server.url(_TEMPLATE), branch="capture")
    return _TEMPLATE


@pytest.fixture
def url(postgres_server: PostgresServer, capture_template: str) -> Iterator[str]:
    """The URL of a fresh database with the capture branch."""
    yield from _database(postgres_server, capture_template)


@pytest.fixture(scope="module")
def shared_url(postgres_server: PostgresServer, capture_template: str) -> Iterator[str]:
    """The URL of a database that the tests of a module share; each makes tables of its own names."""
    yield from _database(postgres_server, capture_template)


def _database(server: PostgresServer, template: str) -> Iterator[str]:
    name = f"capture_{next(_numbers)}"
    server.create_database(name, template=template)
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
def shared_db(shared_url: str) -> Iterator[Connection]:
    """One connection in autocommit mode to the shared database."""
    raw = psycopg2.connect(normalise_url(shared_url).libpq)
    raw.autocommit = True
    yield Connection(raw)
    raw.close()


@pytest.fixture
def connect(url: str) -> Iterator[Callable[..., Connection]]:
    """Opens connections to the test's database; `autocommit=False` for transactions. Closed at the end."""
    opened: list[Any] = []

    def open_one(*, autocommit: bool = True, user: str | None = None) -> Connection:
        raw = psycopg2.connect(normalise_url(url).libpq, **({"user": user} if user else {}))
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
