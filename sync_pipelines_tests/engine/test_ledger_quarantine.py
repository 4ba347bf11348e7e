"""Single records: what keeps one out, what lets it in, what an operator's word means."""

from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from sync_pipelines.engine.ledger.ledger import Ledger, QuarantineCounts
from sync_pipelines.engine.model import Rejection
from sync_pipelines_tests.engine.ledger_helpers import PLACE, begin, losing_an_answer, rows


def rejected(*keys: str, reason: str = "no text", stage: str = "map") -> list[Rejection]:
    return [Rejection(key=key, reason=reason, stage=stage) for key in keys]


def history(ledger, key: str) -> list[tuple[str, str]]:
    """Events of a record and their runs, the oldest first."""
    return [(event.event, event.run_id) for event in reversed(ledger.record_events(*PLACE, key=key))]


def only(ledger):
    (record,) = ledger.list_quarantine(*PLACE)
    return record


def test_a_rejected_record_is_kept_with_key_reason_stage_and_run(ledger):
    run = begin(ledger)
    ledger.quarantine(run, rejected("a", reason="too long", stage="embed"))
    record = only(ledger)
    assert (record.key, record.reason, record.stage, record.run_id) == ("a", "too long", "embed", "run-1")
    assert (record.attempts, record.dropped_at) == (1, None)
    assert history(ledger, "a") == [("failed", "run-1")]


def test_another_run_counts_another_attempt_and_keeps_the_first_time(ledger):
    ledger.quarantine(begin(ledger, run_id="run-1"), rejected("a", reason="too long"))
    first = only(ledger)
    ledger.quarantine(begin(ledger, run_id="run-2"), rejected("a", reason="no text"))
    record = only(ledger)
    assert (record.attempts, record.reason, record.run_id) == (2, "no text", "run-2")
    assert record.first_seen == first.first_seen
    assert record.last_seen > first.last_seen
    assert history(ledger, "a") == [("failed", "run-1"), ("failed", "run-2")]


def test_a_second_try_within_a_run_is_no_second_attempt(ledger):
    run = begin(ledger)
    ledger.quarantine(run, rejected("a"))
    ledger.quarantine(begin(ledger), rejected("a"))
    assert only(ledger).attempts == 1
    assert history(ledger, "a") == [("failed", "run-1")]


def test_a_rejection_whose_answer_got_lost_counts_once(ledger_url):
    with Ledger(ledger_url) as ledger:
        run = begin(ledger, run_id="run-1")
        ledger.quarantine(run, rejected("a"))
        second = begin(ledger, run_id="run-2")
    with (
        losing_an_answer(ledger_url, to=b"COMMIT", after=b"sync_quarantine") as url,
        Ledger(url, sleep=lambda _: None) as ledger,
    ):
        ledger.quarantine(second, rejected("a"))
        assert only(ledger).attempts == 2
        assert history(ledger, "a") == [("failed", "run-1"), ("failed", "run-2")]


def test_a_record_that_arrives_leaves_by_itself(ledger):
    ledger.quarantine(begin(ledger, run_id="run-1"), rejected("a", "b"))
    assert ledger.settle(*PLACE, ["x", "a"], begin(ledger, run_id="run-2")) == 1
    assert [record.key for record in ledger.list_quarantine(*PLACE)] == ["b"]
    assert history(ledger, "a") == [("failed", "run-1"), ("recovered", "run-2")]
    assert history(ledger, "x") == []


def test_a_record_leaves_the_quarantine_of_its_own_table_alone(ledger):
    other = ("voice", "submissions")
    ledger.quarantine(begin(ledger), rejected("a"))
    ledger.quarantine(begin(ledger, place=other), rejected("a"))
    ledger.settle(*other, ["a"], begin(ledger, place=other))
    assert ledger.quarantined(*PLACE) == 1
    assert ledger.quarantined(*other) == 0


@contextmanager
def statements(ledger):
    """What is sent to the database meanwhile, BEGIN and COMMIT aside."""
    sent = []

    def note(connection, cursor, statement, *rest):
        sent.append(statement)

    sa.event.listen(ledger._engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(ledger._engine, "before_cursor_execute", note)


def test_settling_a_batch_is_one_short_question_when_nothing_is_in_quarantine(ledger):
    run = begin(ledger)
    keys = [f"key-{number}" for number in range(1_000)]
    with statements(ledger) as sent:
        assert ledger.settle(*PLACE, keys, run) == 0
    (question,) = sent
    assert question.startswith("SELECT EXISTS")


def test_settling_no_keys_asks_nothing(ledger):
    run = begin(ledger)
    with statements(ledger) as sent:
        ledger.settle(*PLACE, [], run)
        ledger.quarantine(run, [])
    assert sent == []


def test_a_thousand_records_enter_and_leave_in_one_statement_each(ledger):
    run = begin(ledger)
    keys = [f"key-{number:04}" for number in range(1_000)]
    with statements(ledger) as sent:
        ledger.quarantine(run, rejected(*keys))
        ledger.settle(*PLACE, keys, run)
    assert len(sent) == 3
    assert ledger.quarantine_counts(*PLACE) == QuarantineCounts(0, 0)


@pytest.mark.parametrize("key", ["", "ключ", "a'b\"c%s:d\\", '[1, "x"]', "{}", "NULL", "a,b", "🦉" * 50, " "])
def test_any_key_enters_is_found_and_leaves(ledger, key):
    run = begin(ledger)
    ledger.quarantine(run, rejected(key))
    assert ledger.quarantined_among(*PLACE, [key, "other"]) == {key}
    assert only(ledger).key == key
    assert ledger.settle(*PLACE, [key], run) == 1


def test_of_two_rejections_of_one_key_in_a_batch_the_last_counts(ledger):
    ledger.quarantine(begin(ledger), [*rejected("a", reason="first"), *rejected("a", reason="second")])
    assert only(ledger).reason == "second"


def test_a_reason_is_kept_without_secrets_in_two_thousand_characters(ledger, ledger_url):
    # The secret lies across the cut: half of it would match no pattern.
    reason = "x" * 1_985 + " password=hunter2-and-more, \0 \ud800"
    ledger.quarantine(begin(ledger), [*rejected("a", reason=reason), *rejected("b", reason="\0\ud800")])
    kept = {record.key: record.reason for record in ledger.list_quarantine(*PLACE)}
    assert len(kept["a"]) == 2_000
    assert kept["b"] == r"\u0000\ud800"
    everything = rows(
        ledger_url, "SELECT reason FROM sync.sync_quarantine UNION ALL SELECT reason FROM sync.sync_record_events"
    )
    assert "hunter" not in str(everything)


def test_a_dropped_record_is_excluded_and_no_longer_quarantined(ledger):
    ledger.quarantine(begin(ledger), rejected("a", "b"))
    assert ledger.drop_quarantined(*PLACE, ["a", "unknown"]) == ["a"]
    assert ledger.quarantine_counts(*PLACE) == QuarantineCounts(quarantined=1, excluded=1)
    assert ledger.quarantined_among(*PLACE, ["a", "b", "c"]) == {"a", "b"}
    assert ledger.excluded_among(*PLACE, ["a", "b", "c"]) == {"a"}
    assert history(ledger, "a") == [("failed", "run-1"), ("dropped", "")]


def test_all_records_of_a_table_are_dropped_when_no_key_is_named(ledger):
    ledger.quarantine(begin(ledger), rejected("b", "a"))
    assert ledger.drop_quarantined(*PLACE) == ["a", "b"]
    assert ledger.drop_quarantined(*PLACE) == []


@pytest.mark.parametrize("prints", [{"a": "1:same"}, None])
def test_a_dropped_record_stays_dropped_while_its_source_row_stays_as_it_is(ledger, prints):
    ledger.quarantine(begin(ledger, run_id="run-1"), rejected("a"), fingerprints=prints)
    ledger.drop_quarantined(*PLACE, ["a"])
    dropped = only(ledger)
    ledger.quarantine(begin(ledger, run_id="run-2"), rejected("a"), fingerprints=prints)
    assert only(ledger) == dropped
    assert history(ledger, "a") == [("failed", "run-1"), ("dropped", "")]


@pytest.mark.parametrize(
    ("before", "after", "reason"), [({"a": "1:old"}, {"a": "1:new"}, "no text"), (None, None, "another reason")]
)
def test_a_dropped_record_that_changed_and_fails_is_in_quarantine_anew(ledger, before, after, reason):
    for number in (1, 2):
        ledger.quarantine(begin(ledger, run_id=f"run-{number}"), rejected("a"), fingerprints=before)
    ledger.drop_quarantined(*PLACE, ["a"])
    dropped = only(ledger)
    ledger.quarantine(begin(ledger, run_id="run-3"), rejected("a", reason=reason), fingerprints=after)
    record = only(ledger)
    assert (record.attempts, record.dropped_at) == (1, None)
    assert record.first_seen > dropped.first_seen
    assert history(ledger, "a")[-1] == ("failed", "run-3")


def test_a_dropped_record_that_arrives_after_all_is_no_longer_excluded(ledger):
    run = begin(ledger)
    ledger.quarantine(run, rejected("a"))
    ledger.drop_quarantined(*PLACE)
    assert ledger.settle(*PLACE, ["a"], run) == 1
    assert ledger.quarantine_counts(*PLACE) == QuarantineCounts(0, 0)


def test_the_quarantine_is_listed_page_by_page_and_by_key(ledger):
    ledger.quarantine(begin(ledger), rejected("c", "a", "d", "b"))
    assert [record.key for record in ledger.list_quarantine(limit=2, offset=1)] == ["b", "c"]
    assert [record.key for record in ledger.list_quarantine("knowledge", keys=["d", "x"])] == ["d"]
    assert len(ledger.list_quarantine(limit=None)) == 4
    assert ledger.list_quarantine("voice") == []


def test_a_records_history_is_read_page_by_page(ledger):
    for number in range(4):
        ledger.quarantine(begin(ledger, run_id=f"run-{number}"), rejected("a", "b"))
    page = ledger.record_events(*PLACE, key="a", limit=2, offset=1)
    assert [event.run_id for event in page] == ["run-2", "run-1"]
    assert len(ledger.record_events()) == 8


def test_looking_up_no_keys_finds_none(ledger):
    assert ledger.quarantined_among(*PLACE, []) == set()
