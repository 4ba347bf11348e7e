"""A source that was restored: from another server's dump, or from a copy of its files."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import psycopg2
import pytest

from sync_pipelines.engine.errors import TransientError
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.urls import normalise_url
from sync_pipelines.migrations import upgrade
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines.sources.postgres.capture import install
from sync_pipelines.sources.postgres.continuity import UNISSUED, UNKNOWN_RUN
from sync_pipelines.sources.postgres.readers import purge
from sync_pipelines.sources.postgres.source import PostgresSource
from sync_pipelines_tests.engine.ledger_helpers import emptied, row, rows
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("number", ["installed_tx", "purged_tx", "truncated_tx"])
def test_ids_of_another_server_cost_one_run_that_reads_everything(target: Reader, db: Connection, number: str) -> None:
    from_a_dump(target, db, number)
    assert "another server" in target.sync().reason
    assert not target.source.pending(target.watermark)
    assert not target.sync().full
    assert target.source.capture_warnings() == []


@pytest.mark.slow
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
    warning, unmarked = poor.source.capture_warnings()
    assert "leaves no mark" in unmarked
    assert "transaction ids of another server" in warning
    assert "Run `sync-pipelines capture install shop/item`" in warning
    assert any("FOR UPDATE" in statement for statement in install(url, ITEM, dry_run=True))
    install(url, ITEM)
    assert install(url, ITEM) == []
    assert poor.sync().reason == "capture was installed after the last run"
    assert not poor.source.pending(poor.watermark)
    assert poor.source.capture_warnings() == [unmarked]
    db.run("DROP OWNED BY mere_reader", "DROP ROLE mere_reader")


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_is_deleted_here_shows_behind_the_ids_of_another_server(target: Reader, db: Connection) -> None:
    from_a_dump(target, db, "purged_tx")
    with target.source.changes(Scope(), since=target.watermark) as changes:
        watermark = changes.watermark
    assert watermark is not None
    db.run("UPDATE item SET amount = 1", "DELETE FROM sync.change_log")
    target.source.confirmed(watermark)
    assert "log purged" in (target.source.pending(watermark).full_reason or "")


@pytest.mark.slow
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


_FILES = ("item", "sync.change_log", "sync.capture_readers", "sync.capture_marks")


@contextmanager
def restored_afterwards(db: Connection) -> Iterator[None]:
    """Rows and capture as a copy of the data folder puts them back: same server, same oids; ids go on from there."""
    for number, table in enumerate(_FILES):
        db.run(f"CREATE TABLE backup_{number} AS TABLE {table}")
    yield
    for number, table in enumerate(_FILES):
        db.run(f"DELETE FROM {table}", f"INSERT INTO {table} TABLE backup_{number}")
    db.run("UPDATE sync.captured_tables SET purged_tx = NULL")


def amounts(target: Reader) -> dict[str, int]:
    return {key: row["amount"] for key, row in target.rows.items()}


@pytest.mark.slow
def test_a_copy_of_the_files_from_before_the_last_run_is_read_whole_once(target: Reader, db: Connection) -> None:
    db.run("UPDATE item SET amount = 1 WHERE id = 1")
    target.sync()
    with restored_afterwards(db):
        db.run("UPDATE item SET amount = 2 WHERE id = 2")
        target.sync()
    db.run("UPDATE item SET amount = 3 WHERE id = 3")
    assert target.rows["2"]["amount"] == 2
    waiting = target.source.pending(target.watermark)
    assert (waiting.full_reason, waiting.lasting) == (UNKNOWN_RUN, False)
    found = target.sync()
    assert (found.full, found.reason) == (True, UNKNOWN_RUN)
    assert amounts(target) == {"1": 1, "2": 0, "3": 3}
    db.run("UPDATE item SET amount = 4 WHERE id = 1")
    found = target.sync()
    assert (found.full, found.upserts) == (False, ["1"])


@pytest.mark.slow
def test_a_copy_of_the_files_from_before_marks_were_left_is_read_whole(target: Reader, db: Connection) -> None:
    target.sync()
    db.run("DELETE FROM sync.capture_marks")
    assert target.sync().reason == UNKNOWN_RUN
    assert not target.sync().full
    db.run("DROP TABLE sync.capture_marks")
    assert target.sync().reason == UNKNOWN_RUN
    assert not target.sync().full


@pytest.mark.slow
def test_a_run_that_dies_between_its_mark_and_the_ledger_costs_no_full_read(target: Reader, db: Connection) -> None:
    known = target.watermark
    for amount in (1, 2):
        db.run(f"UPDATE item SET amount = {amount} WHERE id = 1")
        target.sync()
        target.watermark = known
        assert not target.source.pending(target.watermark).full_reason
    assert target.sync().upserts == ["1"]
    assert target.watermark != known


@pytest.mark.slow
def test_a_recovery_that_dies_before_the_ledger_knows_it_is_made_again(target: Reader, db: Connection) -> None:
    with restored_afterwards(db):
        db.run("UPDATE item SET amount = 2 WHERE id = 2")
        target.sync()
    known = target.watermark
    assert target.sync().reason == UNKNOWN_RUN
    target.watermark = known
    assert target.sync().reason == UNKNOWN_RUN


@pytest.mark.slow
@pytest.mark.parametrize("scope", [Scope(), Scope(full=True)])
def test_a_source_that_is_restored_while_a_run_reads_it_confirms_nothing(
    target: Reader, db: Connection, scope: Scope
) -> None:
    with restored_afterwards(db):
        db.run("UPDATE item SET amount = 2 WHERE id = 2")
        target.sync()
        with target.source.changes(scope, since=target.watermark) as changes:
            watermark = changes.watermark
    assert watermark is not None
    with pytest.raises(TransientError, match="shop/item: the source was restored, or its capture removed, while"):
        target.source.mark(watermark)
    assert target.sync().reason == UNKNOWN_RUN


@pytest.mark.slow
def test_two_ledgers_that_read_one_source_do_not_disturb_each_other(target: Reader, db: Connection) -> None:
    other = Reader(target.source)
    other.sync()
    for amount in (1, 2):
        db.run(f"UPDATE item SET amount = {amount} WHERE id = 1")
        assert (target.sync().upserts, other.sync().upserts) == (["1"], ["1"])
    assert target.fulls == other.fulls == ["first run"]


@pytest.mark.slow
def test_a_ledger_and_its_copy_cost_one_full_read_and_then_have_lines_of_their_own(
    target: Reader, db: Connection
) -> None:
    copy = Reader(target.source)
    copy.watermark = target.watermark
    for amount in (1, 2, 3):
        db.run(f"UPDATE item SET amount = {amount} WHERE id = 1")
        target.sync()
        copy.sync()
    assert [*target.fulls, *copy.fulls] == ["first run", UNKNOWN_RUN]


@pytest.mark.slow
def test_a_source_that_does_not_answer_when_a_run_ends_leaves_the_run_unconfirmed(target: Reader, url: str) -> None:
    place, _, database = url.rpartition("/")
    away = PostgresSource(f"{place.rpartition(':')[0]}:1/{database}", ITEM)
    assert target.watermark is not None
    with pytest.raises(TransientError):
        away.mark(target.watermark)


@pytest.mark.slow
def test_a_role_that_leaves_no_marks_is_told_so(target: Reader, url: str, db: Connection) -> None:
    assert not target.source.capture_warnings()
    read_only = PostgresSource(url + "?options=-cdefault_transaction_read_only%3Don", ITEM)
    (told,) = read_only.capture_warnings()
    assert "leaves no mark" in told
    db.run("ALTER TABLE sync.capture_marks RENAME COLUMN begun TO later")
    (told,) = target.source.capture_warnings()
    assert "db upgrade" in told
    assert target.watermark is not None
    assert not target.source.note(target.watermark, "run", before=None)
    target.sync()
    db.run("ALTER TABLE sync.capture_marks RENAME TO gone")
    (told,) = target.source.capture_warnings()
    assert "db upgrade" in told
    assert "capture_marks" in told


@pytest.mark.slow
def test_where_no_mark_can_be_left_runs_go_on_without_and_the_last_one_still_counts(
    target: Reader, url: str, db: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    read_only = Reader(PostgresSource(url + "?options=-cdefault_transaction_read_only%3Don", ITEM))
    read_only.sync()
    assert caplog.records == []
    assert read_only.watermark is not None
    assert "mark" not in read_only.watermark.position
    before = target.watermark
    assert before is not None
    read_only.watermark = before
    with restored_afterwards(db):
        db.run("UPDATE item SET amount = 1 WHERE id = 1")
        assert not read_only.sync().full
        assert "is not marked in the source" in caplog.text
        assert read_only.watermark.position["mark"] == before.position["mark"]
        target.sync()
        assert not read_only.source.pending(read_only.watermark).full_reason
        target.watermark = read_only.watermark
        db.run("UPDATE item SET amount = 2 WHERE id = 1")
        target.sync()
    assert target.sync().reason == UNKNOWN_RUN


@pytest.mark.slow
def test_a_role_that_may_not_look_for_marks_any_more_takes_no_run_for_known(
    target: Reader, url: str, db: Connection
) -> None:
    assert target.watermark is not None
    assert target.source.note(target.watermark, "a run", before=None)
    assert target.source.knows(target.watermark, "a run")
    db.run(
        "DROP ROLE IF EXISTS blind",
        "CREATE ROLE blind LOGIN",
        "GRANT USAGE ON SCHEMA sync TO blind",
        "GRANT SELECT ON item, sync.change_log, sync.captured_tables, sync.capture_readers TO blind",
    )
    blind = Reader(PostgresSource(url.replace("postgres@", "blind@"), ITEM))
    blind.watermark = target.watermark
    assert not blind.source.knows(target.watermark, "a run")
    assert blind.sync().reason == UNKNOWN_RUN
    assert not blind.sync().full
    db.run("DROP OWNED BY blind", "DROP ROLE blind")


@pytest.mark.slow
def test_the_marks_of_ledgers_that_are_gone_are_forgotten(target: Reader, url: str, db: Connection) -> None:
    Reader(target.source).sync()
    assert db.one("SELECT count(*) FROM sync.capture_marks") == 2
    db.run("UPDATE sync.capture_marks SET marked_at = now() - interval '366 days'")
    db.run("UPDATE item SET amount = 1")
    target.sync()
    purge(url)
    assert db.one("SELECT count(*) FROM sync.capture_marks") == 1
    assert not target.sync().full


@pytest.mark.slow
def test_a_role_that_may_note_how_far_it_reads_may_leave_marks_after_the_upgrade(
    postgres_server: PostgresServer,
) -> None:
    url = emptied(postgres_server, "rights")
    upgrade(url, branch="capture", revision="capture_0002")
    rows(url, "DROP ROLE IF EXISTS noting_reader, noting_owner; CREATE ROLE noting_reader")
    rows(url, "CREATE ROLE noting_owner; ALTER TABLE sync.capture_readers OWNER TO noting_owner")
    rows(url, "GRANT SELECT, INSERT, UPDATE ON sync.capture_readers TO noting_reader")
    upgrade(url, branch="capture")
    for role in ("noting_reader", "noting_owner"):
        for privilege in ("SELECT", "INSERT", "UPDATE"):
            assert row(url, f"SELECT has_table_privilege('{role}', 'sync.capture_marks', '{privilege}')") == (True,)
    rows(url, "REASSIGN OWNED BY noting_owner TO CURRENT_USER; DROP OWNED BY noting_owner; DROP ROLE noting_owner")
    rows(url, "DROP OWNED BY noting_reader; DROP ROLE noting_reader")
