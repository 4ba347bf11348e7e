"""What waits for a receiver: in order, with pauses, bounded, and never twice after it was taken."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from sync_pipelines.alerts.incidents import Kind, Notice
from sync_pipelines.alerts.outbox import (
    FAILURES_A_TICK,
    KEEP,
    LONGEST,
    LONGEST_PAUSE,
    Receiver,
    bounded,
    deliver,
    pause_after,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
A, B = (Receiver(channel="default", mark=name, url=f"json://{name}") for name in "ab")


def notice(number: int, *, incident: str = "i", kind: Kind = "opened", age: timedelta = timedelta()) -> Notice:
    return Notice(
        alert_id=f"{incident}-{number}",
        incident_id=incident,
        kind=kind,
        table="shop/article",
        severity="error",
        created=NOW - age,
        started=NOW - age,
    )


class Far:
    """Receivers that take or refuse; what they took, in order."""

    def __init__(self, takes: Callable[[Receiver, Notice], bool] = lambda *_: True):
        self.takes, self.taken, self.tries = takes, list[tuple[str, str]](), 0

    def send(self, receiver: Receiver, sent: Notice) -> str | None:
        self.tries += 1
        if not self.takes(receiver, sent):
            return f"{receiver.mark} refuses"
        self.taken.append((receiver.mark, sent.alert_id))
        return None


def test_what_every_receiver_took_is_gone():
    far = Far()
    done = deliver([notice(1), notice(2)], lambda _: [A, B], far.send, now=NOW)
    assert (done.left, done.sent, done.errors) == ([], 4, [])
    assert far.taken == [("a", "i-1"), ("b", "i-1"), ("a", "i-2"), ("b", "i-2")]


def test_a_receiver_that_is_down_gets_its_messages_later_and_the_other_gets_none_twice():
    far = Far(lambda receiver, _: receiver is A)
    first = deliver([notice(1), notice(2)], lambda _: [A, B], far.send, now=NOW)
    assert len(first.left) == 2
    assert first.errors == ["b refuses"]
    far.takes = lambda *_: True
    later = deliver(first.left, lambda _: [A, B], far.send, now=NOW + LONGEST_PAUSE)
    assert later.left == []
    assert far.taken == [("a", "i-1"), ("a", "i-2"), ("b", "i-1"), ("b", "i-2")]


def test_nothing_is_tried_again_before_its_pause_is_over():
    far = Far(lambda *_: False)
    first = deliver([notice(1)], lambda _: [A], far.send, now=NOW)
    deliver(first.left, lambda _: [A], far.send, now=NOW + timedelta(seconds=1))
    assert far.tries == 1
    deliver(first.left, lambda _: [A], far.send, now=NOW + pause_after(1))
    assert far.tries == 2


def test_a_recovery_never_overtakes_the_message_that_it_ends():
    far = Far(lambda _, sent: sent.kind != "opened")
    deliver([notice(1), notice(2, kind="recovered")], lambda _: [A], far.send, now=NOW)
    assert far.taken == []


def test_one_message_that_is_refused_does_not_hold_up_other_incidents():
    far = Far(lambda _, sent: sent.incident_id != "poison")
    box = [notice(1, incident="poison"), notice(1, incident="x"), notice(1, incident="y")]
    done = deliver(box, lambda _: [A], far.send, now=NOW)
    assert [left.incident_id for left in done.left] == ["poison"]


def test_a_receiver_that_is_down_costs_few_tries_a_tick():
    far = Far(lambda *_: False)
    deliver([notice(1, incident=str(n)) for n in range(50)], lambda _: [A], far.send, now=NOW)
    assert far.tries == FAILURES_A_TICK


def test_nothing_is_begun_after_the_time_is_up():
    far = Far()
    done = deliver([notice(1)], lambda _: [A], far.send, now=NOW, in_time=lambda: False)
    assert (far.tries, len(done.left)) == (0, 1)


def test_each_message_that_was_taken_is_stored_at_once():
    stored: list[list[tuple[str, tuple[str, ...]]]] = []
    deliver(
        [notice(1), notice(2)],
        lambda _: [A],
        Far().send,
        now=NOW,
        saved=lambda left: stored.append([(one.alert_id, one.delivered) for one in left]),
    )
    assert stored == [[("i-1", ("a",)), ("i-2", ())], [("i-2", ("a",))]]


def test_messages_wait_where_no_receiver_is_named():
    assert len(deliver([notice(1)], lambda _: [], Far().send, now=NOW).left) == 1


def test_the_outbox_is_bounded_and_reminders_go_first():
    box = [notice(n, kind="reminder" if n == LONGEST else "opened") for n in range(LONGEST + 1)]
    kept, gone = bounded(box, now=NOW)
    assert (len(kept), [one.kind for one in gone]) == (LONGEST, ["reminder"])


def test_what_nobody_took_for_a_week_is_given_up():
    kept, gone = bounded([notice(1), notice(2, age=KEEP + timedelta(seconds=1))], now=NOW)
    assert ([one.alert_id for one in kept], [one.alert_id for one in gone]) == (["i-1"], ["i-2"])


def test_the_same_message_is_queued_once():
    assert len(bounded([notice(1), notice(1)], now=NOW)[0]) == 1


@pytest.mark.parametrize(("failures", "seconds"), [(1, 15), (2, 30), (3, 60), (6, 300), (99, 300)])
def test_the_pause_doubles_up_to_five_minutes(failures: int, seconds: int):
    assert pause_after(failures).total_seconds() == seconds
