"""A ledger in a database of its own."""

import socket
from collections.abc import Iterator

import pytest

from sync_pipelines import migrations
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.ledger.tables import Tables
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines_tests.engine.ledger_helpers import rows

_DATABASE = "ledger"


@pytest.fixture(scope="session")
def ledger_database(postgres_server: PostgresServer) -> str:
    """The name of a database that holds the ledger's tables and nothing else."""
    postgres_server.create_database(_DATABASE)
    migrations.upgrade(postgres_server.url(_DATABASE), branch="ledger")
    return _DATABASE


@pytest.fixture
def ledger_url(postgres_server: PostgresServer, ledger_database: str) -> str:
    """The URL of a database with the ledger's tables, all empty: 10 ms, where a database of its own takes 140."""
    postgres_server.start()
    url = postgres_server.url(ledger_database)
    tables = ", ".join(str(table) for table in Tables("sync").metadata.tables)
    rows(url, f"TRUNCATE {tables} RESTART IDENTITY")
    return url


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger(ledger_url) as found:
        yield found


@pytest.fixture
def unused_port_url() -> str:
    """The URL of a server that is not there, with a password in it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"postgresql://ann:hunter2@127.0.0.1:{port}/app"
