"""When a watermark can be continued, and when the next run must read everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sync_pipelines.engine.model import Watermark
from sync_pipelines.sources.postgres.capture import install, remove
from sync_pipelines.sources.postgres.readers import purge
from sync_pipelines_tests.sources.helpers import ITEM, Connection, Reader, make_item, reader, spec_of

PURGED = "log purged: changes that this sync had not confirmed were deleted from the change log"


@pytest.fixture
def target(url: str, db: Connection) -> Reader:
    """A reader after its first run."""
    make_item(db)
    found = reader(url)
    found.sync()
    return found


def _alter(watermark: Watermark | None, **identity: object) -> Watermark:
    assert watermark is not None
    return replace(watermark, source=replace(watermark.source, **identity))


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        ({"system_identifier": "1"}, "the database stands on another server"),
        ({"timeline": 7}, "failed over or was restored (timeline 7, now 1)"),
        ({"database": "elsewhere"}, "the database is another one ('elsewhere'"),
        ({"table_oid": 1}, "the table was made anew"),
        ({"database_oid": 1}, "the database is a copy that took the other one's name"),
    ],
)
def test_a_restored_or_failed_over_database_is_read_whole(
    target: Reader, identity: dict[str, object], reason: str
) -> None:
    target.watermark = _alter(target.watermark, **identity)
    assert reason in (target.source.pending(target.watermark).full_reason or "")
    found = target.sync()
    assert (found.full, sorted(found.upserts)) == (True, ["1", "2", "3"])
    assert reason in found.reason
    assert not target.sync().full


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key": ("name",)}, "the key changed from (name) to (id)"),
        ({"mapping": "other"}, "the columns or their mapping changed"),
        ({"capture": "cursor"}, "capture changed from cursor to trigger"),
        ({"position": {"snapshot": "garbage"}}, "the watermark cannot be read"),
        ({"position": {"snapshot": "99999999999:99999999999:"}}, "the watermark is ahead of the database"),
    ],
)
def test_a_watermark_that_speaks_of_something_else_is_not_continued(
    target: Reader, changes: dict[str, object], reason: str
) -> None:
    assert target.watermark is not None
    target.watermark = replace(target.watermark, **changes)
    found = target.sync()
    assert found.full
    assert reason in found.reason


def test_a_watermark_of_before_an_upgrade_is_continued(target: Reader, db: Connection) -> None:
    old = _alter(target.watermark, database_oid=None)
    kept = {name: old.position[name] for name in ("snapshot", "tree", "number", "shape")}
    target.watermark = replace(old, position=kept)
    db.run("UPDATE item SET amount = 1 WHERE id = 1")
    found = target.sync()
    assert (found.full, found.upserts) == (False, ["1"])


def test_a_table_dropped_and_made_anew_is_read_whole_after_capture_is_installed(
    target: Reader, url: str, db: Connection
) -> None:
    db.run("DROP TABLE item")
    make_item(db, rows=1)
    install(url, ITEM)
    found = target.sync()
    assert (found.full, found.upserts) == (True, ["1"])
    assert "made anew" in found.reason


def test_a_column_that_was_redefined_is_read_again(target: Reader, db: Connection) -> None:
    db.run("ALTER TABLE item ALTER COLUMN name TYPE varchar(99) USING 'new ' || name")
    found = target.sync()
    assert (found.full, found.reason) == (True, "a column that is read was redefined")
    assert target.rows["1"]["name"] == "new item 1"


def test_a_column_that_nobody_reads_may_change(target: Reader, db: Connection) -> None:
    db.run("ALTER TABLE item ADD COLUMN other text DEFAULT 'x'")
    assert not target.source.pending(target.watermark)


def test_a_renamed_table_keeps_its_capture(target: Reader, url: str, db: Connection) -> None:
    db.run("ALTER TABLE item RENAME TO goods", "UPDATE goods SET amount = 1 WHERE id = 1")
    moved = Reader(type(target.source)(url, spec_of(table="goods")), watermark=target.watermark)
    assert moved.sync().upserts == ["1"]


def test_the_log_goes_below_what_every_reader_has_confirmed_and_nobody_meets_a_gap(
    target: Reader, url: str, db: Connection
) -> None:
    other = reader(url, spec_of(sync="stock"))
    other.sync()
    db.run("UPDATE item SET amount = 1", "DELETE FROM item WHERE id = 3")
    target.sync()
    assert [item.deleted for item in purge(url)] == [0]
    assert sorted(other.sync().upserts) == ["1", "2"]
    assert [item.deleted for item in purge(url)] == [4]
    assert db.one("SELECT count(*) FROM sync.change_log") == 0
    assert not target.source.pending(target.watermark)
    assert not other.source.pending(other.watermark)


def test_a_reader_that_never_confirmed_holds_the_log(target: Reader, url: str, db: Connection) -> None:
    reader(url, spec_of(sync="stock"))
    db.run("UPDATE item SET amount = 1")
    target.sync()
    (purged,) = purge(url)
    assert (purged.deleted, purged.waiting_for) == (0, ("stock/item",))
    assert [(reader.reader, reader.lines) for reader in purged.held_by] == [("stock/item", 3)]
    assert target.watermark is not None
    snapshots = {"stock/item": target.watermark.position["snapshot"]}
    assert purge(url, confirmed=snapshots)[0].deleted == 3


def test_a_reader_that_stopped_syncing_is_named_with_its_lag(target: Reader, url: str, db: Connection) -> None:
    stopped = reader(url, spec_of(sync="stock"))
    stopped.sync()
    db.run("UPDATE item SET amount = 1")
    target.sync()
    assert target.source.capture_warnings() == []
    db.run("UPDATE sync.change_log SET changed_at = now() - interval '8 days'")
    db.run("UPDATE item SET amount = 2 WHERE id = 1")
    target.sync()
    (purged,) = purge(url)
    assert (purged.deleted, purged.waiting_for) == (0, ())
    assert [(it.reader, it.lines, it.lags) for it in purged.held_by] == [("stock/item", 4, True)]
    (warning,) = target.source.capture_warnings()
    assert "stock/item has not read what was logged 8 days ago" in warning
    assert "capture remove stock/item" in warning
    found = {it.reader: (it.lines, it.oldest is None) for it in target.source.capture_status().readers}
    assert found == {"shop/item": (0, True), "stock/item": (4, False)}
    stopped.sync()
    assert target.source.capture_warnings() == []
    assert [(it.deleted, it.held_by) for it in purge(url)] == [(4, ())]


def test_the_log_is_purged_in_batches(target: Reader, url: str, db: Connection) -> None:
    db.run("INSERT INTO item SELECT g FROM generate_series(10, 1009) AS g")
    target.sync()
    assert purge(url, batch=300)[0].deleted == 1000


def test_lines_deleted_by_hand_make_the_next_run_full(target: Reader, db: Connection) -> None:
    db.run("UPDATE item SET amount = 1", "DELETE FROM sync.change_log")
    assert target.source.pending(target.watermark).full_reason == PURGED
    found = target.sync()
    assert (found.full, found.reason) == (True, PURGED)
    assert not target.sync().full


@pytest.mark.parametrize(
    ("changes", "statement", "explained"),
    [
        ({"key": ("name",)}, "", {"missing", "stale", "extra"}),
        ({"capture": "cursor"}, "", {"missing", "stale", "extra"}),
        ({"position": {"snapshot": "garbage"}}, "", {"missing", "stale", "extra"}),
        ({"mapping": "other"}, "", {"stale"}),
        ({}, "ALTER TABLE item ALTER COLUMN amount TYPE bigint USING amount + 1", {"stale"}),
        ({}, "TRUNCATE item", {"extra"}),
        ({"mapping": "other"}, "TRUNCATE item", {"stale", "extra"}),
        ({"mapping": "other"}, "DELETE FROM sync.change_log", {"missing", "stale", "extra"}),
    ],
)
def test_each_reason_to_read_everything_explains_what_it_may_have_made(
    target: Reader, db: Connection, changes: dict[str, object], statement: str, explained: set[str]
) -> None:
    assert target.watermark is not None
    db.run("UPDATE item SET amount = 1 WHERE id = 1", *([statement] if statement else []))
    due = target.source.full_read(replace(target.watermark, **changes))
    assert due is not None
    assert due.explains == explained


def test_without_a_reason_and_before_the_first_run_nothing_waits_for_a_full_read(
    target: Reader, db: Connection
) -> None:
    db.run("UPDATE item SET amount = 1")
    assert target.source.full_read(target.watermark) is None
    assert target.source.full_read(None) is None


def test_what_the_log_names_is_told_also_where_everything_is_read(target: Reader, db: Connection) -> None:
    assert target.watermark is not None
    db.run("UPDATE item SET amount = 1 WHERE id = 2")
    remapped = replace(target.watermark, mapping="other")
    assert list(target.source.pending_keys(remapped)) == [["2"]]
    assert list(target.source.pending_keys(replace(remapped, key=("name",)))) == []
    assert list(target.source.pending_keys(replace(remapped, position={"snapshot": "garbage"}))) == []


def test_a_purge_above_a_running_transaction_leaves_a_reason_that_a_full_read_does_not_end(
    target: Reader, connect: Callable[..., Connection], db: Connection
) -> None:
    slow = connect(autocommit=False)
    slow.run("UPDATE item SET amount = 9 WHERE id = 1")
    db.run("UPDATE item SET amount = 8 WHERE id = 2", "DELETE FROM sync.change_log")
    pending = target.source.pending(target.watermark)
    assert (pending.full_reason, pending.lasting) == (PURGED, True)
    due = target.source.full_read(target.watermark)
    assert due is not None
    assert (due.reason, due.explains) == (PURGED, frozenset())
    slow.commit()
    pending = target.source.pending(target.watermark)
    assert (pending.full_reason, pending.lasting) == (PURGED, False)


def test_a_hand_purge_of_confirmed_lines_is_no_gap(target: Reader, db: Connection) -> None:
    db.run("UPDATE item SET amount = 1")
    target.sync()
    db.run("DELETE FROM sync.change_log")
    assert not target.source.pending(target.watermark)


@pytest.mark.parametrize("others", [True, False], ids=["beside others", "alone, the oldest one's"])
def test_a_purged_line_of_a_transaction_that_was_running_at_the_last_read_is_a_gap(
    target: Reader, connect: Callable[..., Connection], db: Connection, others: bool
) -> None:
    slow = connect(autocommit=False)
    slow.run("UPDATE item SET amount = 9 WHERE id = 1")
    if others:
        db.run("UPDATE item SET amount = 8 WHERE id = 2")
    target.sync()
    slow.commit()
    db.run("DELETE FROM sync.change_log" + ("" if others else " WHERE key = '1'"))
    assert target.sync().reason == PURGED
    assert target.rows["1"]["amount"] == 9


def test_a_truncated_log_makes_the_next_run_full(target: Reader, db: Connection) -> None:
    db.run("UPDATE item SET amount = 1", "TRUNCATE sync.change_log")
    assert target.sync().reason == PURGED
    assert not target.sync().full


def test_a_trigger_installed_late_makes_the_next_run_full(target: Reader, url: str, db: Connection) -> None:
    remove(url, ITEM)
    db.run("UPDATE item SET amount = 1")
    install(url, ITEM)
    found = target.sync()
    assert (found.full, found.reason) == (True, "capture was installed after the last run")
    assert target.rows["1"]["amount"] == 1


def test_a_trigger_that_was_disabled_for_a_while_is_recognised(target: Reader, url: str, db: Connection) -> None:
    db.run("ALTER TABLE item DISABLE TRIGGER ALL", "UPDATE item SET amount = 1", "ALTER TABLE item ENABLE TRIGGER ALL")
    assert target.source.capture_status().installed is False
    install(url, ITEM)
    assert target.sync().full
    assert target.rows["1"]["amount"] == 1
    assert target.source.capture_status().healthy


def test_a_writer_that_was_at_work_when_the_trigger_came_is_not_lost(
    url: str, connect: Callable[..., Connection], db: Connection
) -> None:
    make_item(db)
    writer = connect(autocommit=False)
    target = reader(url)
    writer.run("UPDATE item SET amount = 4 WHERE id = 1")
    target.sync()
    writer.commit()
    assert target.sync().upserts == ["1"]
