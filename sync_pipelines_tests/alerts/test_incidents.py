"""When something is told: a table of cases over the pure decisions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from sync_pipelines.alerts.incidents import Advanced, Cause, Policy, Seen, Severity, advance, newest_only

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TABLE = "shop/article"


def minutes(number: float) -> datetime:
    return START + timedelta(minutes=number)


def bad(at: float, name: str = "check:count", severity: Severity = "error", table: str = TABLE) -> Seen:
    cause = Cause(name=name, severity=severity, since=minutes(at), summary=f"{name} is not good")
    return Seen(table=table, name=name, at=minutes(at), cause=cause)


def good(at: float, name: str = "check:count", table: str = TABLE) -> Seen:
    return Seen(table=table, name=name, at=minutes(at))


Ticks = Sequence[Sequence[Seen]]


def play(ticks: Ticks, policy: Policy | None = None, *, apart: float = 10) -> tuple[list[list[str]], Advanced]:
    """The kinds of messages of each tick; ticks are ten minutes apart."""
    last = Advanced({}, {}, [])
    told: list[list[str]] = []
    for number, seen in enumerate(ticks):
        now = minutes(apart * number)
        last = advance(last.open, last.numbers, seen, policies=lambda _: policy or Policy(), now=now)
        told.append([notice.kind for notice in last.notices])
    return told, last


@pytest.mark.parametrize(
    ("ticks", "told"),
    [
        pytest.param([[bad(0)], [bad(9)], [good(19)]], [["opened"], [], ["recovered"]], id="once, and its end"),
        pytest.param([[good(0)], [], [good(19)]], [[], [], []], id="what is good is not told"),
        pytest.param(
            [[bad(0)], [bad(9, "run:incremental")], [good(19)], [good(29, "run:incremental")]],
            [["opened"], [], [], ["recovered"]],
            id="one incident whatever its causes",
        ),
        pytest.param(
            [[bad(0, severity="warn")], [bad(9, "lag")], [bad(19, "run:full")]],
            [["opened"], ["escalated"], []],
            id="a warning that becomes an error is told once",
        ),
        pytest.param(
            [[bad(0, severity="warn")], [bad(9)], [bad(19, severity="warn")], [bad(29)]],
            [["opened"], ["escalated"], [], []],
            id="flapping between warning and error is told once",
        ),
        pytest.param([[bad(0, severity="warn"), bad(1)]], [["opened"]], id="both in one tick are one message"),
        pytest.param([[bad(0), good(1)]], [["opened", "recovered"]], id="what came and went between two ticks is told"),
        pytest.param(
            [[bad(0)], [good(9)], [bad(19)], [good(29)]],
            [["opened"], ["recovered"], ["opened"], ["recovered"]],
            id="a second incident is told again",
        ),
        pytest.param([[good(1), bad(0)]], [["opened", "recovered"]], id="in the order of time, not of reading"),
        pytest.param(
            [[bad(0), bad(0, table="shop/author")], [good(9, table="shop/author")]],
            [["opened", "opened"], ["recovered"]],
            id="each table has its own",
        ),
    ],
)
def test_one_message_an_incident_and_one_for_its_recovery(ticks: Ticks, told: list[list[str]]):
    assert play(ticks)[0] == told


@pytest.mark.parametrize(
    ("policy", "ticks", "told"),
    [
        pytest.param(
            Policy(min_severity="error"),
            [[bad(0, severity="warn")], [bad(9)], [bad(19, severity="warn")]],
            [[], ["opened"], ["recovered"]],
            id="below min_severity is as good as good",
        ),
        pytest.param(Policy(enabled=False), [[bad(0)], [good(9)]], [[], []], id="enabled: false"),
        pytest.param(
            Policy(remind_after=timedelta(minutes=25)),
            [[bad(0)], [bad(9)], [bad(19)], [bad(29)], [], [], [bad(59)], [good(69)]],
            [["opened"], [], [], ["reminder"], [], [], ["reminder"], ["recovered"]],
            id="a reminder after the stated time, without a new failure too",
        ),
        pytest.param(
            Policy(remind_after=None), [[bad(0)], *[[]] * 200], [["opened"], *[[]] * 200], id="remind_after: null"
        ),
        pytest.param(Policy(reachable=False), [[bad(0)], [good(9)]], [[], []], id="nobody to tell"),
    ],
)
def test_a_document_says_what_is_told(policy: Policy, ticks: Ticks, told: list[list[str]]):
    assert play(ticks, policy)[0] == told


def test_an_incident_that_nobody_could_be_told_is_told_as_soon_as_somebody_can():
    _, last = play([[bad(0)]], Policy(reachable=False))
    after = advance(last.open, last.numbers, [], policies=lambda _: Policy(), now=minutes(10))
    assert [notice.kind for notice in after.notices] == ["opened"]


def test_the_same_observations_give_the_same_alert_ids_and_another_incident_gives_others():
    first, again = play([[bad(0)]])[1], play([[bad(0)]])[1]
    assert first.notices[0].alert_id == again.notices[0].alert_id
    ticks = [[bad(0)], [good(9)], [bad(19)], [good(29)]]
    ids = []
    last = Advanced({}, {}, [])
    for number, seen in enumerate(ticks):
        last = advance(last.open, last.numbers, seen, policies=lambda _: Policy(), now=minutes(10 * number))
        ids += [notice.alert_id for notice in last.notices]
    assert len(set(ids)) == 4


def test_each_reminder_has_an_id_of_its_own_and_names_every_cause_the_worst_first():
    policy = Policy(remind_after=timedelta(minutes=10))
    last = Advanced({}, {}, [])
    reminders = []
    for number, seen in enumerate([[bad(0, "lag", "warn")], [bad(9)], [], []]):
        last = advance(last.open, last.numbers, seen, policies=lambda _: policy, now=minutes(10 * number))
        reminders += [notice for notice in last.notices if notice.kind == "reminder"]
    assert len({notice.alert_id for notice in reminders}) == len(reminders) == 2
    assert [cause.name for cause in reminders[0].causes] == ["check:count", "lag"]


def test_a_failure_keeps_the_time_of_its_first_occurrence_and_knows_its_last():
    _, last = play([[bad(0)], [bad(9)]])
    cause = last.open[TABLE].causes["check:count"]
    assert (cause.since, cause.latest) == (minutes(0), minutes(9))


def test_a_table_that_is_no_longer_watched_ends_its_incident_with_the_reason():
    _, last = play([[bad(0)]])
    gone = {TABLE: "it is not part of this project any more."}
    after = advance(last.open, last.numbers, [], policies=lambda _: Policy(), now=minutes(10), unwatched=gone)
    assert (after.open, [notice.kind for notice in after.notices]) == ({}, ["recovered"])
    assert after.notices[0].note == gone[TABLE]


def test_the_first_tick_takes_things_as_they_are():
    seen = [bad(0), good(1), bad(2, "run:full"), bad(3, "lag"), good(4, "lag")]
    assert [(item.name, item.cause is not None) for item in newest_only(seen)] == [
        ("check:count", False),
        ("run:full", True),
        ("lag", False),
    ]
