"""Runs, states and watermarks: always in step, whatever breaks."""

import socket
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipelines.engine.database import connect
from sync_pipelines.engine.errors import LockLostError, MigrationDueError, RunError, SyncError, TransientError
from sync_pipelines.engine.ledger import watermarks
from sync_pipelines.engine.ledger.ledger import FailureStreak, Ledger
from sync_pipelines.engine.model import Counts, SourceIdentity
from sync_pipelines_tests.engine.ledger_helpers import PLACE, begin, end, losing_an_answer, row, rows, watermark

BERLIN = timezone(timedelta(hours=1, minutes=30))


@pytest.mark.parametrize(
    "mark",
    [
        watermark(),
        watermark(target="b7c1-42"),
        watermark(key=("tenant", 'odd "name", %s')),
        watermark(taken_at=datetime(2026, 3, 1, 23, 59, 59, 999999, tzinfo=BERLIN)),
        watermark(
            capture="cursor",
            position={"changed_at": None, "key": '["1", "ü\\"\'%"]', "bound": "2026-03-01T00:00:00+00:00"},
        ),
        watermark(position={"nested": [1, 2.5, {"deep": None}], "large": 2**70}),
        watermark(source=SourceIdentity(system_identifier="7" * 19, timeline=3, database="a b", table_oid=2**32 - 1)),
    ],
)
def test_a_watermark_comes_back_exactly_as_it_was_confirmed(ledger, mark):
    end(ledger, begin(ledger), watermark=mark)
    assert ledger.watermark(*PLACE) == mark
    assert ledger.watermark(*PLACE).taken_at.utcoffset() == mark.taken_at.utcoffset()


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=10,
)


@pytest.mark.slow
@given(
    position=st.dictionaries(texts, plain),
    key=st.lists(texts, min_size=1).map(tuple),
    taken_at=st.datetimes(timezones=st.just(UTC)),
    target=st.none() | texts,
)
def test_every_watermark_survives_its_document(position, key, taken_at, target):
    mark = watermark(position=position, key=key, taken_at=taken_at, target=target)
    assert watermarks.load(watermarks.dump(mark)) == mark


@pytest.mark.parametrize("position", [{"at": (1, 2)}, {"at": float("nan")}, {1: "x"}, {"at": datetime.now(UTC)}])
def test_a_position_that_would_come_back_changed_is_refused(position):
    with pytest.raises(RunError):
        watermarks.dump(watermark(position=position))


def test_a_watermark_of_a_newer_version_is_refused_and_not_guessed():
    with pytest.raises(RunError, match="version 2"):
        watermarks.load(watermarks.dump(watermark()) | {"version": 2})


def test_a_table_that_was_never_confirmed_has_no_watermark(ledger):
    begin(ledger)
    assert ledger.watermark(*PLACE) is None


def test_scopes_of_a_table_have_watermarks_of_their_own(ledger):
    end(ledger, begin(ledger), watermark=watermark(mapping="ann"), scope="ann")
    end(ledger, begin(ledger), watermark=watermark(mapping="all"))
    assert ledger.watermark(*PLACE, "ann").mapping == "ann"
    assert ledger.watermark(*PLACE).mapping == "all"
    assert ledger.watermark(*PLACE, "bob") is None


def test_a_run_stands_in_the_log_and_the_state_from_its_begin(ledger, ledger_url):
    run = begin(ledger)
    assert ledger.open_runs(*PLACE) == [run]
    state = ledger.state(*PLACE)
    assert (state.status, state.last_sync_id, state.last_sync_timestamp) == ("running", run.sync_id, None)
    assert row(ledger_url, "SELECT status, completed_at FROM sync.sync_logs") == ("running", None)


def test_a_completed_run_leaves_its_totals_in_the_log_and_the_state(ledger, ledger_url):
    counts = Counts(
        read=10,
        upserted=3,
        metadata_only=2,
        unchanged=4,
        deleted=1,
        quarantined=1,
        embedded_texts=5,
        embedded_characters=60,
        embedded_tokens=70,
        bytes=800,
    )
    closed = end(ledger, begin(ledger), counts=counts, watermark=watermark(), cost=Decimal("0.015"), failed=2)
    assert (closed.status, closed.counts, closed.failed, closed.cost) == ("completed", counts, 2, Decimal("0.015"))
    assert ledger.last_runs(*PLACE) == [closed]
    state = ledger.state(*PLACE)
    assert (state.status, state.records_synced, state.error) == ("completed", 10, None)
    assert state.last_sync_timestamp == watermark().taken_at
    assert closed.duration_seconds >= 0
    columns = "records_read, records_upserted, records_metadata_only, records_unchanged, records_deleted"
    columns += ", records_quarantined, records_failed, embedded_texts, embedded_characters, tokens, bytes"
    assert row(ledger_url, f"SELECT {columns} FROM sync.sync_logs") == (10, 3, 2, 4, 1, 1, 2, 5, 60, 70, 800)


def test_watermark_log_and_state_are_confirmed_together_or_not_at_all(ledger, ledger_url):
    """The state is written last, so its failure must take back the watermark and the log's row."""
    run = begin(ledger)
    rows(ledger_url, "ALTER TABLE sync.sync_metadata ADD CONSTRAINT broken CHECK (sync_status = 'running')")
    try:
        with pytest.raises(SyncError, match="broken"):
            end(ledger, run, watermark=watermark())
    finally:
        rows(ledger_url, "ALTER TABLE sync.sync_metadata DROP CONSTRAINT broken")
    assert ledger.watermark(*PLACE) is None
    assert [open_run.sync_id for open_run in ledger.open_runs(*PLACE)] == [run.sync_id]


def test_a_failed_run_leaves_the_watermark_where_it_was(ledger):
    end(ledger, begin(ledger), watermark=watermark(mapping="first"))
    end(ledger, begin(ledger), "failed", error="the store refused")
    assert ledger.watermark(*PLACE).mapping == "first"
    state = ledger.state(*PLACE)
    assert (state.status, state.error, state.last_sync_timestamp) == (
        "failed",
        "the store refused",
        watermark().taken_at,
    )


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_only_a_completed_run_may_confirm(ledger, status):
    with pytest.raises(ValueError, match=status):
        end(ledger, begin(ledger), status, watermark=watermark())
    assert ledger.watermark(*PLACE) is None


def test_a_completed_run_clears_the_error_of_the_one_before(ledger):
    end(ledger, begin(ledger), "failed", error="the store refused")
    end(ledger, begin(ledger))
    assert ledger.state(*PLACE).error is None


def test_a_run_that_found_nothing_new_says_how_far_the_target_is_without_a_watermark(ledger):
    moment = datetime(2026, 4, 1, tzinfo=UTC)
    end(ledger, begin(ledger), as_of=moment)
    assert ledger.state(*PLACE).last_sync_timestamp == moment
    assert ledger.watermark(*PLACE) is None


def test_no_password_reaches_the_books(ledger, ledger_url):
    secret = "cannot reach postgresql://ann:hunter2@host/db with token=hunter2"
    end(ledger, begin(ledger), "failed", error=secret, reason=secret)
    found = rows(ledger_url, "SELECT l.*, m.* FROM sync.sync_logs l, sync.sync_metadata m")
    assert "hunter2" not in str(found)
    assert "***" in str(found)


def test_an_error_that_postgresql_cannot_hold_is_kept_all_the_same(ledger):
    closed = end(ledger, begin(ledger), "failed", error="bad \0 and \udcff " + "x" * 10_000)
    assert closed.error.startswith(r"bad \u0000 and \udcff xxx")
    assert len(closed.error) == 4_000


def test_a_run_that_was_taken_for_dead_confirms_nothing(ledger):
    run = begin(ledger)
    assert ledger.close_dead(run)
    with pytest.raises(LockLostError, match="closed as failed by another process"):
        end(ledger, run, watermark=watermark())
    assert ledger.watermark(*PLACE) is None
    assert ledger.last_runs(*PLACE)[0].status == "failed"


def test_the_end_of_a_run_that_was_taken_for_dead_does_not_change_what_was_written(ledger):
    run = begin(ledger)
    ledger.close_dead(run, error="killed: nobody holds its lock")
    closed = end(ledger, run, "cancelled", error="interrupted")
    assert (closed.status, closed.error) == ("failed", "killed: nobody holds its lock")


def test_a_dead_run_is_closed_once_as_killed(ledger):
    run = begin(ledger)
    assert [ledger.close_dead(run), ledger.close_dead(run)] == [True, False]
    (closed,) = ledger.last_runs(*PLACE)
    assert (closed.status, closed.duration_seconds) == ("failed", None)
    assert closed.error.startswith("killed: ")
    assert closed.completed_at is not None
    assert ledger.state(*PLACE).status == "failed"
    assert ledger.open_runs() == []


def test_closing_a_run_that_has_ended_changes_nothing(ledger):
    run = begin(ledger)
    closed = end(ledger, run)
    assert not ledger.close_dead(run)
    assert ledger.last_runs(*PLACE) == [closed]
    assert ledger.state(*PLACE).status == "completed"


def test_closing_an_old_dead_run_leaves_the_state_to_the_newer_one(ledger):
    dead = begin(ledger, run_id="old")
    begin(ledger, run_id="new")
    ledger.close_dead(dead)
    assert ledger.state(*PLACE).status == "running"


@pytest.mark.parametrize("mode", ["records", "plan", "check", "repair"])
def test_a_run_that_is_no_sync_of_the_table_says_nothing_of_its_state(ledger, mode):
    end(ledger, begin(ledger), "failed", error="the store refused")
    before = ledger.state(*PLACE)
    end(ledger, begin(ledger, mode=mode), counts=Counts(upserted=1))
    assert ledger.state(*PLACE) == before
    assert ledger.failure_streak(*PLACE).failures == 1


def test_a_streak_counts_failures_since_the_last_completed_sync(ledger):
    assert ledger.failure_streak(*PLACE) == FailureStreak(0, None)
    for number, status in enumerate(("failed", "completed", "failed", "cancelled", "failed")):
        last = end(ledger, begin(ledger, run_id=f"run-{number}"), status)
    begin(ledger)
    end(ledger, begin(ledger, place=("knowledge", "another")), "failed")
    assert ledger.failure_streak(*PLACE) == FailureStreak(2, last.completed_at)


def test_a_run_whose_step_was_tried_four_times_failed_once(ledger):
    for _ in range(4):
        last = end(ledger, begin(ledger, run_id="one run"), "failed")
    assert ledger.failure_streak(*PLACE) == FailureStreak(1, last.completed_at)


def test_progress_is_seen_while_the_run_is_at_work_and_written_once_a_second(ledger_url):
    now = [100.0]
    with Ledger(ledger_url, clock=lambda: now[0]) as ledger:
        run = begin(ledger)
        seen = []
        for moment, read in ((100.0, 1), (100.9, 2), (101.1, 3)):
            now[0] = moment
            ledger.progress(run, Counts(read=read))
            seen.append(ledger.open_runs(*PLACE)[0].counts.read)
    assert seen == [1, 1, 3]


def test_progress_after_the_end_does_not_change_the_totals(ledger):
    run = begin(ledger)
    end(ledger, run, counts=Counts(read=5))
    ledger.progress(run, Counts(read=3))
    assert ledger.last_runs(*PLACE)[0].counts.read == 5


def test_runs_burn_no_numbers_of_the_states_sequence(ledger, ledger_url):
    for _ in range(3):
        end(ledger, begin(ledger))
    assert row(ledger_url, "SELECT last_value FROM sync.sync_metadata_id_seq") == (1,)


def test_the_log_is_read_page_by_page_and_by_place_status_and_run(ledger):
    for number in range(5):
        end(ledger, begin(ledger, run_id=f"run-{number}"), "failed" if number == 1 else "completed")
    begin(ledger, place=("voice", "submissions"), run_id="other")
    assert [run.run_id for run in ledger.logs("knowledge", limit=2, offset=1)] == ["run-3", "run-2"]
    assert [run.run_id for run in ledger.logs(status="failed")] == ["run-1"]
    assert [run.run_id for run in ledger.logs(run_id="other")] == ["other"]
    assert len(ledger.logs()) == 6
    assert [state.sync for state in ledger.states()] == ["knowledge", "voice"]


def test_a_table_that_never_ran_has_no_state(ledger):
    assert ledger.state(*PLACE) is None
    assert ledger.records_synced(*PLACE) == 0


def test_records_that_a_target_once_held_are_known(ledger):
    end(ledger, begin(ledger), counts=Counts(upserted=3, metadata_only=2, unchanged=1, deleted=9))
    end(ledger, begin(ledger), "failed", counts=Counts(upserted=50))
    assert ledger.records_synced(*PLACE) == 6


def test_a_begin_whose_answer_got_lost_is_there_once(ledger_url):
    with (
        losing_an_answer(ledger_url, to=b"COMMIT", after=b"sync_logs") as url,
        Ledger(url, sleep=lambda _: None) as ledger,
    ):
        run = begin(ledger)
    assert rows(ledger_url, "SELECT sync_id::text FROM sync.sync_logs") == [(str(run.sync_id),)]


def test_an_end_whose_answer_got_lost_is_the_same_end(ledger_url):
    with Ledger(ledger_url) as ledger:
        run = begin(ledger)
    with (
        losing_an_answer(ledger_url, to=b"COMMIT", after=b"sync_logs") as url,
        Ledger(url, sleep=lambda _: None) as ledger,
    ):
        closed = end(ledger, run, watermark=watermark(), counts=Counts(read=7))
        assert ledger.last_runs(*PLACE) == [closed]
        assert ledger.watermark(*PLACE) == watermark()


def test_a_database_out_of_reach_is_tried_within_a_budget(unused_port_url):
    pauses = []
    with (
        Ledger(unused_port_url, attempts=5, sleep=pauses.append) as ledger,
        pytest.raises(TransientError, match="refused") as caught,
    ):
        begin(ledger)
    assert len(pauses) == 4
    assert pauses == sorted(pauses)
    assert sum(pauses) < 5
    assert "hunter2" not in str(caught.value)


def test_a_fault_that_waiting_does_not_mend_is_not_tried_again(empty_database_url):
    pauses = []
    with Ledger(empty_database_url, sleep=pauses.append) as ledger, pytest.raises(MigrationDueError):
        begin(ledger)
    assert pauses == []


def test_making_a_ledger_connects_to_nothing():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Ledger(f"postgresql://ann@127.0.0.1:{listener.getsockname()[1]}/app"):
            pass
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has knocked
            listener.accept()


def test_a_missing_ledger_is_named_with_its_remedy(empty_database_url):
    with (
        Ledger(empty_database_url) as ledger,
        pytest.raises(MigrationDueError, match=r"has not been made.*sync-pipelines db upgrade"),
    ):
        ledger.check()


def test_a_ledger_of_an_older_version_is_a_migration_that_is_due(ledger, ledger_url):
    rows(ledger_url, "ALTER TABLE sync.sync_logs RENAME COLUMN tokens TO later")
    try:
        with pytest.raises(MigrationDueError, match="sync-pipelines db upgrade"):
            ledger.logs()
    finally:
        rows(ledger_url, "ALTER TABLE sync.sync_logs RENAME COLUMN later TO tokens")


def test_the_pool_opens_no_more_connections_than_it_may(ledger_url):
    used = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sync-pipelines ledger'"
    with Ledger(ledger_url, pool_max=2) as ledger, closing(connect(ledger_url, "test")) as blocker:
        run = begin(ledger)
        blocker.autocommit = False
        blocker.cursor().execute("LOCK TABLE sync.sync_logs")
        threads = [threading.Thread(target=end, args=(ledger, run)) for _ in range(8)]
        for thread in threads:
            thread.start()
        used += " AND datname = current_database()"
        deadline = time.monotonic() + 20
        while row(ledger_url, used) < (2,) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)  # a third one would come by now
        held = row(ledger_url, used)
        blocker.rollback()
        for thread in threads:
            thread.join()
    assert held == (2,)


@pytest.mark.slow
def test_a_ledger_goes_on_after_postgresql_was_killed_and_started_again(ledger_url, postgres_server):
    with Ledger(ledger_url) as ledger:
        run = begin(ledger)
        postgres_server.kill()
        starting = threading.Thread(target=_start_later, args=(postgres_server,))
        starting.start()
        closed = end(ledger, run, watermark=watermark())
        starting.join()
        assert closed.status == "completed"
        assert ledger.watermark(*PLACE) == watermark()


def _start_later(server) -> None:
    time.sleep(0.5)
    server.start()
