"""Reading from a standby, and its promotion."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.urls import normalise_url
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines.sources.postgres.capture import install
from sync_pipelines.sources.postgres.source import PostgresSource
from sync_pipelines_tests.sources.helpers import ITEM, Connection, Reader, make_item, spec_of

pytestmark = pytest.mark.slow


class Standby(PostgresServer):
    """A hot standby of another server."""

    primary: PostgresServer

    def _run_initdb(self, folder: Path, user: tuple[int, int] | None) -> None:
        place = normalise_url(self.primary.url("postgres")).libpq
        uid, gid = user or (None, None)
        subprocess.run(
            [self._binaries() / "pg_basebackup", "-d", place, "-D", folder, "-R", "-c", "fast"],
            check=True,
            env=self._environment(),
            cwd=folder,
            user=uid,
            group=gid,
            extra_groups=None if user is None else [],
        )


@pytest.fixture
def standby(postgres_server: PostgresServer, server_folder: Path, url: str, db: Connection) -> Iterator[Standby]:
    """A standby of the test's server, after the table and its capture were made."""
    make_item(db)
    install(url, ITEM)
    server = Standby(server_folder / "standby", durable=False)
    server.primary = postgres_server
    with server:
        yield server
    server.destroy()


def _wait_for_replay(db: Connection, far: Connection) -> None:
    position = db.one("SELECT pg_current_wal_insert_lsn()::text")
    while not far.one("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (position,)):
        far.run("SELECT pg_sleep(0.05)")


def test_by_cursor_what_a_lagging_standby_had_not_replayed_arrives_when_it_has(
    standby: Standby, url: str, db: Connection
) -> None:
    address = standby.url(url.rpartition("/")[2])
    raw = psycopg2.connect(normalise_url(address).libpq)
    raw.autocommit = True
    far = Connection(raw)
    target = Reader(PostgresSource(address, spec_of(capture="cursor", changed_at="changed", lookback_seconds=0.0)))
    db.run("UPDATE item SET amount = 1, changed = clock_timestamp() WHERE id = 1")
    _wait_for_replay(db, far)
    target.sync()

    far.run("SELECT pg_wal_replay_pause()")
    db.run("UPDATE item SET amount = 2, changed = clock_timestamp() WHERE id = 2")
    target.sync()
    assert target.rows["2"]["amount"] == 0
    far.run("SELECT pg_wal_replay_resume()")
    _wait_for_replay(db, far)
    target.sync()
    assert target.rows["2"]["amount"] == 2
    raw.close()


def test_a_standby_loses_nothing_and_its_promotion_is_noticed_at_once(
    standby: Standby, url: str, db: Connection, connect: Callable[..., Connection]
) -> None:
    address = standby.url(url.rpartition("/")[2])
    raw = psycopg2.connect(normalise_url(address).libpq)
    raw.autocommit = True
    far = Connection(raw)
    target = Reader(PostgresSource(address, ITEM))

    late = connect(autocommit=False)
    late.run("UPDATE item SET amount = 7 WHERE id = 1")
    db.run("UPDATE item SET amount = 8 WHERE id = 2")
    _wait_for_replay(db, far)
    target.sync()
    assert target.rows["1"]["amount"] == 0
    late.commit()
    _wait_for_replay(db, far)
    assert target.source.pending(target.watermark)
    target.sync()
    assert (target.rows["1"]["amount"], target.fulls) == (7, ["first run"])
    assert target.watermark is not None
    assert target.source.confirmed(target.watermark) is False
    with target.source.at_snapshot() as view:
        assert view.count() == 3

    by_cursor = PostgresSource(address, spec_of(capture="cursor", changed_at="changed"))
    assert any("standby" in text for text in by_cursor.capture_warnings())

    far.run("SELECT pg_promote()", "UPDATE item SET amount = 9 WHERE id = 3")
    found = target.sync()
    assert found.full
    assert "failed over or was restored (timeline 1, now 2)" in found.reason
    far.run("UPDATE item SET amount = 10 WHERE id = 3")
    assert target.sync(Scope()).upserts == ["3"]
    raw.close()
