"""An empty ledger for the keys of notes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_pipelines import migrations
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.sandbox.keep.api import Keep
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines_tests.engine.ledger_helpers import rows
from sync_pipelines_tests.sources.keep.live import Live

_DATABASE = "ledger_of_notes"


@pytest.fixture(scope="session")
def notes_database(postgres_server: PostgresServer) -> str:
    """The name of a database that holds the ledger's tables and nothing else."""
    postgres_server.create_database(_DATABASE)
    migrations.upgrade(postgres_server.url(_DATABASE), branch="ledger")
    return _DATABASE


@pytest.fixture
def ledger(postgres_server: PostgresServer, notes_database: str) -> Iterator[Ledger]:
    """A ledger that knows no user, no note and no run."""
    url = postgres_server.url(notes_database)
    rows(url, "TRUNCATE sync.sync_credentials, sync.sync_note_ids, sync.sync_quarantine, sync.sync_watermarks")
    rows(url, "TRUNCATE sync.sync_logs, sync.sync_metadata, sync.sync_record_events")
    with Ledger(url) as found:
        yield found


@pytest.fixture
def keep() -> Iterator[Keep]:
    with Keep(key="control") as found:
        yield found


@pytest.fixture
def ann(keep: Keep, ledger: Ledger, tmp_path: Path) -> Live:
    return Live(keep, ledger, tmp_path)
