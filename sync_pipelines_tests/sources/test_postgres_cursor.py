"""Cursor capture: what it promises without a trigger, and what it warns of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sync_pipelines.engine.errors import CaptureMissingError
from sync_pipelines.engine.model import FullRead, Scope
from sync_pipelines.sources.postgres.capture import install
from sync_pipelines.sources.postgres.source import PostgresSource
from sync_pipelines_tests.sources.helpers import ITEM, Connection, Reader, make_item, reader, spec_of

CURSOR = spec_of(capture="cursor", changed_at="changed", lookback_seconds=0.0)
AUTO = replace(CURSOR, capture="auto")


@pytest.fixture
def target(url: str, db: Connection) -> Reader:
    """A reader by cursor after its first run."""
    make_item(db)
    found = reader(url, CURSOR)
    found.sync()
    return found


def test_new_and_updated_rows_arrive_and_nothing_else_asks_for_a_run(target: Reader, db: Connection) -> None:
    assert target.fulls == ["first run"]
    assert not target.source.pending(target.watermark)
    db.run("UPDATE item SET amount = 1, changed = clock_timestamp() WHERE id = 2", "INSERT INTO item VALUES (9)")
    waiting = target.source.pending(target.watermark)
    assert (waiting.changes, waiting.full_reason) == (2, None)
    assert sorted(key for keys in target.source.pending_keys(target.watermark) for key in keys) == ["2", "9"]
    assert {"2", "9"} <= set(target.sync().upserts)
    assert not target.source.pending(target.watermark)


def test_a_changed_mapping_and_a_clock_set_back_explain_differences_each_in_its_way(
    target: Reader, db: Connection
) -> None:
    assert target.watermark is not None
    remapped = replace(target.watermark, mapping="other")
    assert target.source.full_read(remapped) == FullRead(
        reason="the columns or their mapping changed", explains=frozenset({"stale"})
    )
    db.run("UPDATE item SET amount = 1, changed = clock_timestamp() WHERE id = 2")
    assert list(target.source.pending_keys(remapped)) == [["2"]]
    unread = replace(remapped, position={"bound": "garbage"})
    due = target.source.full_read(unread)
    assert due is not None
    assert due.explains == {"missing", "stale", "extra"}
    assert list(target.source.pending_keys(unread)) == []


def test_deletes_and_silent_changes_wait_for_a_full_run(target: Reader, db: Connection) -> None:
    db.run("DELETE FROM item WHERE id = 1", "UPDATE item SET amount = 5 WHERE id = 2")
    target.sync()
    assert (set(target.rows), target.rows["2"]["amount"]) == ({"1", "2", "3"}, 0)
    target.sync(Scope(full=True))
    assert (set(target.rows), target.rows["2"]["amount"]) == ({"2", "3"}, 5)


def test_a_transaction_that_commits_after_later_ones_were_read_arrives(
    target: Reader, connect: Callable[..., Connection], db: Connection
) -> None:
    late = connect(autocommit=False)
    late.run("UPDATE item SET amount = 7, changed = now() WHERE id = 1")
    db.run("UPDATE item SET amount = 8, changed = clock_timestamp() WHERE id = 2")
    target.sync()
    assert target.rows["2"]["amount"] == 8
    assert not target.source.pending(target.watermark)
    late.commit()
    assert target.source.pending(target.watermark)
    target.sync()
    assert target.rows["1"]["amount"] == 7
    assert not target.source.pending(target.watermark)


def test_a_transaction_that_only_read_when_we_looked_and_writes_later_arrives(
    target: Reader, connect: Callable[..., Connection], db: Connection
) -> None:
    batch_job = connect(autocommit=False)
    batch_job.one("SELECT now()")
    db.run("UPDATE item SET amount = 8, changed = clock_timestamp() WHERE id = 2")
    target.sync()
    batch_job.run("UPDATE item SET amount = 7, changed = now() WHERE id = 1")
    batch_job.commit()
    assert target.source.pending(target.watermark)
    target.sync()
    assert target.rows["1"]["amount"] == 7


def test_our_own_open_snapshot_does_not_hold_the_bound_back(target: Reader, db: Connection) -> None:
    with target.source.at_snapshot():
        db.run("SELECT pg_sleep(2)")
        target.sync()
    assert target.watermark is not None
    bound = datetime.fromisoformat(target.watermark.position["bound"])
    assert target.watermark.taken_at - bound < timedelta(seconds=2)


def test_rows_that_share_a_time_arrive_all_of_them(target: Reader, db: Connection) -> None:
    db.run("INSERT INTO item SELECT g, 'x', 0, '2100-01-01' FROM generate_series(10, 1500) AS g")
    db.run("UPDATE item SET changed = clock_timestamp() + interval '-1 ms' WHERE id = 10")
    db.run("UPDATE item SET changed = (SELECT changed FROM item WHERE id = 10) WHERE id > 10")
    assert len(set(target.sync().upserts) - {"1", "2", "3"}) == 1491


def test_a_row_dated_in_the_future_arrives_at_once_and_asks_for_no_run_before_its_time(
    target: Reader, db: Connection
) -> None:
    db.run("INSERT INTO item VALUES (9, 'future', 0, '2999-01-01')")
    assert not target.source.pending(target.watermark)
    assert "9" in target.sync().upserts
    assert not target.source.pending(target.watermark)
    db.run("UPDATE item SET amount = 1, changed = clock_timestamp() WHERE id = 1")
    assert target.source.pending(target.watermark).changes == 1
    assert "1" in target.sync().upserts


@pytest.mark.parametrize("future", [False, True])
def test_while_a_transaction_holds_the_bound_back_news_ask_for_a_run(
    target: Reader, connect: Callable[..., Connection], db: Connection, future: bool
) -> None:
    db.run("UPDATE item SET changed = clock_timestamp() WHERE id = 2")
    held = connect(autocommit=False)
    held.one("SELECT now()")
    if future:
        db.run("INSERT INTO item VALUES (9, 'future', 0, '2999-01-01')")
    target.sync()
    assert not target.source.pending(target.watermark)
    db.run("UPDATE item SET amount = 1, changed = clock_timestamp() WHERE id = 1")
    assert target.source.pending(target.watermark).changes == 1


def test_while_the_bound_is_held_back_a_later_key_of_the_newest_time_asks_for_a_run(
    target: Reader, connect: Callable[..., Connection], db: Connection
) -> None:
    held = connect(autocommit=False)
    held.one("SELECT now()")
    db.run("UPDATE item SET changed = clock_timestamp() WHERE id = 2")
    target.sync()
    assert not target.source.pending(target.watermark)
    db.run("INSERT INTO item SELECT 3 + g, 'later', 0, changed FROM item, generate_series(1, 2) AS g WHERE id = 2")
    assert target.source.pending(target.watermark).changes == 2


def test_a_row_whose_time_was_rounded_below_the_bound_asks_for_a_run_and_arrives(url: str, db: Connection) -> None:
    make_item(db)
    db.run("ALTER TABLE item ALTER changed TYPE timestamptz(0)", "UPDATE item SET changed = '2020-01-01'")
    target = reader(url, CURSOR)
    target.sync()
    assert target.watermark is not None
    position = {"bound": "2024-05-01T12:00:00.400000+00:00", "changed_at": "2024-05-01T12:00:01+00:00", "key": "3"}
    target.watermark = replace(target.watermark, position={**target.watermark.position, **position})
    db.run("UPDATE item SET amount = 7, changed = '2024-05-01 12:00:00.45+00' WHERE id = 2")  # which is 12:00:00 there
    assert target.source.pending(target.watermark).changes == 1
    assert target.sync().upserts == ["2"]


def test_what_is_pending_within_a_window_is_read_once(target: Reader, db: Connection) -> None:
    db.run("UPDATE item SET amount = 1, changed = clock_timestamp() WHERE id = 2")
    found = target.sync(Scope(window=(datetime(2020, 1, 1, tzinfo=UTC), None)))
    assert sorted(found.upserts) == ["1", "2", "3"]


def test_rows_without_a_time_are_read_by_every_run(target: Reader, db: Connection) -> None:
    db.run("INSERT INTO item VALUES (9, 'null', 0, NULL)")
    assert target.sync().upserts == ["9"] or "9" in target.rows
    db.run("UPDATE item SET amount = 4 WHERE id = 9")
    target.sync()
    assert target.rows["9"]["amount"] == 4


def test_a_clock_set_back_further_than_the_lookback_makes_a_full_run(target: Reader) -> None:
    assert target.watermark is not None
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    target.watermark = replace(target.watermark, position={**target.watermark.position, "bound": ahead})
    found = target.sync()
    assert (found.full, "clock was set back" in found.reason) == (True, True)


@pytest.mark.parametrize("position", [{}, {"bound": "yesterday"}, {"bound": "2024-01-01"}, {"bound": None}])
def test_a_position_that_cannot_be_read_makes_a_full_run(target: Reader, position: dict[str, str]) -> None:
    assert target.watermark is not None
    target.watermark = replace(target.watermark, position=position)
    assert target.sync().reason == "the watermark cannot be read"


def test_a_window_is_read_beside_what_is_pending(target: Reader, db: Connection) -> None:
    db.run(
        "INSERT INTO item VALUES (20, 'old', 0, '2020-05-05'), (21, 'older', 0, '2019-05-05')",
        "INSERT INTO item VALUES (22, 'new', 0, clock_timestamp())",
    )
    found = target.sync(Scope(window=(datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC))))
    assert {"20", "22"} <= set(found.upserts)
    assert "21" not in found.upserts
    assert len(found.upserts) == len(set(found.upserts))


@pytest.mark.parametrize("kind", ["timestamp", "timestamptz", "date", "timestamp(0)", "timestamptz(3)"])
def test_each_kind_of_time_column_works_in_any_time_zone(url: str, db: Connection, kind: str) -> None:
    db.run(f"ALTER DATABASE \"{url.rpartition('/')[2]}\" SET TimeZone = 'Asia/Tokyo'")
    make_item(db)
    db.run(f"ALTER TABLE item ALTER changed TYPE {kind}", "UPDATE item SET changed = now() AT TIME ZONE 'UTC'")
    target = reader(url + "?application_name=tokyo", CURSOR)
    target.sync()
    db.run("UPDATE item SET amount = 1, changed = clock_timestamp() AT TIME ZONE 'UTC' WHERE id = 2")
    target.sync()
    assert target.rows["2"]["amount"] == 1


def test_a_role_with_nothing_but_select_reads_and_is_warned(
    url: str, db: Connection, connect: Callable[..., Connection]
) -> None:
    make_item(db)
    db.run("DROP ROLE IF EXISTS only_select", "CREATE ROLE only_select LOGIN", "GRANT SELECT ON item TO only_select")
    db.run("DROP SCHEMA sync CASCADE")
    poor = url.replace("postgres@", "only_select@")
    target = reader(poor, replace(CURSOR, lookback_seconds=60.0))
    (warning,) = target.source.capture_warnings()
    assert "pg_read_all_stats" in warning
    writer = connect(autocommit=False)
    writer.run("UPDATE item SET amount = 9, changed = now() WHERE id = 1")
    target.sync()
    (warning,) = target.source.capture_warnings()
    assert "hidden from this role" in warning
    assert target.watermark is not None
    held_back = target.watermark.taken_at - datetime.fromisoformat(target.watermark.position["bound"])
    assert held_back >= timedelta(seconds=60)
    writer.commit()
    target.sync()
    assert target.rows["1"]["amount"] == 9
    assert target.source.count() == 3
    db.run("GRANT pg_read_all_stats TO only_select")
    assert target.source.capture_warnings() == []
    db.run("DROP OWNED BY only_select", "DROP ROLE only_select")


def test_an_open_prepared_transaction_is_warned_of(monkeypatch: pytest.MonkeyPatch, target: Reader) -> None:
    # The test server allows no prepared transactions (max_prepared_transactions = 0): the look is altered.
    from sync_pipelines.sources.postgres import cursor

    altered = cursor._LOOK.replace("(SELECT count(*) FROM pg_catalog.pg_prepared_xacts AS p", "(SELECT 2")
    monkeypatch.setattr(cursor, "_LOOK", altered.replace("WHERE p.database = pg_catalog.current_database()", ""))
    (warning,) = target.source.capture_warnings()
    assert "2 prepared transactions are open" in warning


def test_auto_reads_by_trigger_where_one_is_installed_and_else_by_cursor_with_a_warning(
    url: str, db: Connection
) -> None:
    make_item(db)
    target = reader(url, AUTO, installed=False)
    target.sync()
    assert target.watermark is not None
    assert target.watermark.capture == "cursor"
    assert any("capture install shop/item" in text for text in target.source.capture_warnings())
    assert target.source.capture_status().using == "cursor"
    install(url, AUTO)
    found = target.sync()
    assert found.reason == "capture changed from cursor to trigger"
    assert target.source.capture_warnings() == []
    db.run("DELETE FROM item WHERE id = 1")
    assert target.sync().deletes == ["1"]


def test_auto_without_a_time_column_and_without_triggers_stops(url: str, db: Connection) -> None:
    make_item(db)
    with pytest.raises(CaptureMissingError, match="capture install shop/item"):
        PostgresSource(url, replace(ITEM, capture="auto")).changes(Scope(), since=None)
