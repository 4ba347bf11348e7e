"""One URL, one reading of it: whoever connects reaches the server with the whole password."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy.exc import OperationalError

from sync_pipelines import migrations
from sync_pipelines.dagster_storage import VARIABLE, SyncPipelinesStorage
from sync_pipelines.engine.database import connect
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.locks import RunLock
from sync_pipelines.engine.model import Scope
from sync_pipelines.sandbox import application
from sync_pipelines.sources.postgres.capture import install
from sync_pipelines.sources.postgres.source import PostgresSource
from sync_pipelines_tests.sources.helpers import ITEM, Connection, make_item

ROLE = "guarded"
PASSWORD = "p@ss/w?rd@h:1/x"
"""As somebody writes it into a URL who has never heard of escapes."""


@pytest.fixture
def guarded(empty_database_url: str) -> Iterator[str]:
    """A URL of a role that the server asks for its password, which stands there unescaped."""
    with _asked_for_a_password(empty_database_url):
        place = empty_database_url.rpartition("@")[2]
        yield f"postgresql://{ROLE}:{PASSWORD}@{place}?schema=public&connection_limit=5"
        _execute(empty_database_url, f"REASSIGN OWNED BY {ROLE} TO CURRENT_USER", f"DROP OWNED BY {ROLE}")


@contextmanager
def _asked_for_a_password(url: str) -> Iterator[None]:
    (hba,) = _execute(url, f"CREATE ROLE {ROLE} SUPERUSER LOGIN PASSWORD '{PASSWORD}'", "SHOW hba_file")
    before = Path(hba).read_text()
    Path(hba).write_text(f"host all {ROLE} all scram-sha-256\n{before}")
    _execute(url, "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        Path(hba).write_text(before)
        _execute(url, "SELECT pg_reload_conf()", f"DROP ROLE {ROLE}")


def _execute(url: str, *statements: str) -> tuple:
    """Run statements; the first row of the last, if it has any."""
    with closing(connect(url, "test")) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchone() if cursor.description else ()


def _source(url: str) -> None:
    with closing(connect(url, "test")) as connection:
        make_item(Connection(connection))
    migrations.upgrade(url, branch="capture")
    install(url, ITEM)
    source = PostgresSource(url, ITEM)
    assert source.count() == 3
    with source.changes(Scope(full=True), since=None) as changes:  # through ADBC
        assert sum(batch.num_rows for batch in changes.upserts) == 3


def _ledger(url: str) -> None:
    migrations.upgrade(url, branch="ledger")
    with Ledger(url) as ledger:
        ledger.check()
        assert ledger.open_runs() == []
    with RunLock(url, "a run"):
        pass


def _dagster(url: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, url)
        storage = SyncPipelinesStorage.from_config_value(None, {})
    assert storage.run_storage.get_runs() == []
    assert storage.event_log_storage.all_asset_keys() == []
    assert storage.schedule_storage.all_instigator_state() == []


def _sandbox(url: str) -> None:
    application.create(url)
    with application.transaction(url) as cursor:
        assert application.has_tables(cursor)


@pytest.mark.slow
@pytest.mark.parametrize("use", [_source, _ledger, _dagster, _sandbox])
def test_a_password_with_an_unescaped_at_sign_and_slash_serves_everywhere(
    guarded: str, use: Callable[[str], None]
) -> None:
    use(guarded)


def test_the_server_of_this_test_does_ask_for_the_password(guarded: str) -> None:
    with pytest.raises((psycopg2.OperationalError, OperationalError), match="password authentication failed"):
        connect(guarded.replace("p@ss", "another"), "test")
