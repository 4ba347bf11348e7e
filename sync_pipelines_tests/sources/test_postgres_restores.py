"""A source that was restored: from another server's dump, or from a copy of its files."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.urls import normalise_url
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines.sources.postgres.capture import install
from sync_pipelines.sources.postgres.continuity import UNISSUED
from sync_pipelines.sources.postgres.readers import purge
from sync_pipelines.sources.postgres.source import PostgresSource
from sync_pipelines_tests.sources.helpers import ITEM, Connection, Reader, make_item, reader, spec_of

FAR = 1_000_000
"""How far the other server was ahead of this one."""


@pytest.fixture
def target(url: str, db: Connection) -> Reader:
    """A reader after its first run."""
    make_item(db)
    found = reader(url)
    found.sync()
    return found


def _ahead(column: str) -> str:
    return f"{column} = (coalesce({column}, '0')::text::bigint + {FAR})::text::xid8"


def from_a_dump(target: Reader, db: Connection, *ids: str) -> None:
    """As if the database came from a dump of a server that had issued more ids: each table below holds some of them."""
    assert target.watermark is not None
    db.run(
        f"UPDATE sync.change_log SET {_ahead('tx')}",
        f"UPDATE sync.captured_tables SET {', '.join(map(_ahead, ids)) or 'id = id'}",
        f"UPDATE sync.capture_readers SET snapshot = '{FAR}:{FAR}:'",
    )
    target.watermark = replace(
        target.watermark,
        source=replace(target.watermark.source, system_identifier="1"),
        position={**target.watermark.position, "snapshot": f"{FAR}:{FAR}:"},
    )


def test_what_another_server_logged_is_read_once_with_all_and_never_again(target: Reader, db: Connection) -> None:
    db.run("UPDATE item SET amount = 1")
    from_a_dump(target, db)
    assert target.sync().full
    waiting = target.source.pending(target.watermark)
    assert (waiting.changes, waiting.full_reason) == (0, None)
    assert list(target.source.pending_keys(target.watermark)) == []
    assert target.sync().upserts == []
    (noted,) = target.source.capture_status().readers
    assert (noted.lines, noted.oldest) == (0, None)
    db.run("UPDATE item SET amount = 2 WHERE id = 2")
    assert target.sync().upserts == ["2"]


@pytest.mark.parametrize("number", ["installed_tx", "purged_tx", "truncated_tx"])
def test_ids_of_another_server_cost_one_run_that_reads_everything(target: Reader, db: Connection, number: str) -> None:
    from_a_dump(target, db, number)
    assert "another server" in target.sync().reason
    assert not target.source.pending(target.watermark)
    assert not target.sync().full
    assert target.source.capture_warnings() == []


def test_ids_of_another_server_that_this_role_cannot_replace_are_told_with_the_remedy(
    target: Reader, url: str, db: Connection, connect: Callable[..., Connection]
) -> None:
    db.run(
        "DROP ROLE IF EXISTS mere_reader", "CREATE ROLE mere_reader LOGIN", "GRANT USAGE ON SCHEMA sync TO mere_reader"
    )
    db.run("GRANT SELECT ON item, sync.change_log, sync.captured_tables TO mere_reader")
    db.run("GRANT SELECT, INSERT, UPDATE ON sync.capture_readers TO mere_reader")
    from_a_dump(target, db, "installed_tx")
    poor = Reader(PostgresSource(url.replace("postgres@", "mere_reader@"), ITEM), watermark=target.watermark)
    poor.sync()
    waiting = poor.source.pending(poor.watermark)
    assert (waiting.full_reason, waiting.lasting) == (UNISSUED, True)
    (warning,) = poor.source.capture_warnings()
    assert "transaction ids of another server" in warning
    assert "Run `sync-pipelines capture install shop/item`" in warning
    assert any("FOR UPDATE" in statement for statement in install(url, ITEM, dry_run=True))
    install(url, ITEM)
    assert install(url, ITEM) == []
    assert poor.sync().reason == "capture was installed after the last run"
    assert not poor.source.pending(poor.watermark)
    assert poor.source.capture_warnings() == []
    db.run("DROP OWNED BY mere_reader", "DROP ROLE mere_reader")


def test_lines_of_another_server_are_purged_without_a_gap_and_nothing_unread_is(
    target: Reader, url: str, db: Connection
) -> None:
    other = reader(url, spec_of(sync="stock"))
    other.sync()
    db.run("UPDATE item SET amount = 1")
    from_a_dump(target, db)
    target.sync()
    db.run("UPDATE item SET amount = 2 WHERE id = 2")
    (purged,) = purge(url, confirmed={"stock/item": f"{FAR}:{FAR}:"})
    assert (purged.deleted, purged.waiting_for) == (3, ("stock/item",))
    assert target.sync().upserts == ["2"]


def test_what_is_deleted_here_shows_behind_the_ids_of_another_server(target: Reader, db: Connection) -> None:
    from_a_dump(target, db, "purged_tx")
    with target.source.changes(Scope(), since=target.watermark) as changes:
        watermark = changes.watermark
    assert watermark is not None
    db.run("UPDATE item SET amount = 1", "DELETE FROM sync.change_log")
    target.source.confirmed(watermark)
    assert "log purged" in (target.source.pending(watermark).full_reason or "")


def test_a_transaction_that_deletes_its_own_lines_leaves_a_gap_that_shows(
    target: Reader, db: Connection, connect: Callable[..., Connection]
) -> None:
    older, one = connect(autocommit=False), connect(autocommit=False)
    older.run("SELECT pg_current_xact_id()")
    one.run("UPDATE item SET amount = 1", "DELETE FROM sync.change_log")
    one.commit()
    assert "log purged" in target.sync().reason


def _program(server: PostgresServer, name: str, *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([server._binaries() / name, *words], check=True, **options)


@pytest.fixture
def fresh(server_folder: Path) -> Iterator[PostgresServer]:
    """Another server, which has issued few transaction ids yet."""
    with PostgresServer(server_folder / "fresh", durable=False) as server:
        server.create_database("capture")
        yield server
    server.destroy()


@pytest.mark.slow
def test_a_dump_restored_on_a_server_that_has_issued_fewer_ids_is_read_whole_once(
    target: Reader, postgres_server: PostgresServer, fresh: PostgresServer, url: str, db: Connection
) -> None:
    db.run("DO $$ BEGIN FOR i IN 1..20000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$")
    db.run("INSERT INTO item SELECT g FROM generate_series(4, 50) AS g")
    target.sync()
    install(url, spec_of(sync="stock"))
    db.run("DELETE FROM sync.change_log", "UPDATE item SET amount = 1 WHERE id < 12")
    source, copy = (normalise_url(at).libpq for at in (url, fresh.url("capture")))
    dump = _program(postgres_server, "pg_dump", "-d", source, "-c", "--if-exists", capture_output=True).stdout
    _program(fresh, "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", copy, input=dump, stdout=subprocess.DEVNULL)
    moved = Reader(PostgresSource(fresh.url("capture"), ITEM), watermark=target.watermark)
    assert "another server" in moved.sync().reason
    assert not moved.source.pending(moved.watermark)
    with closing(psycopg2.connect(copy)) as raw:
        raw.autocommit = True
        Connection(raw).run("UPDATE item SET amount = 2 WHERE id = 20")
    found = moved.sync()
    assert (found.full, found.upserts) == (False, ["20"])
    assert moved.source.capture_warnings() == []
