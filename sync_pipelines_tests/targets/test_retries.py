"""Trying again: transient errors alone, within attempts and budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sync_pipelines.engine.errors import RunError, TransientError
from sync_pipelines.targets.notion.settings import NotionSettings
from sync_pipelines.targets.retries import RetryPolicy, retry_after_seconds


class Clock:
    """Time that passes only while one sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def failing(*errors: Exception) -> Callable[[], str]:
    left = list(errors)

    def action() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return action


def test_a_transient_error_is_tried_again_with_growing_pauses():
    clock = Clock()
    policy = RetryPolicy(attempts=5, sleep=clock.sleep, clock=clock)
    assert policy.call(failing(*[TransientError("x")] * 4)) == "done"
    assert [round(pause - jitter, 9) >= 0 for pause, jitter in zip(clock.pauses, [0.5, 1, 2, 4], strict=True)] == [
        True
    ] * 4
    assert all(pause <= least + 0.5 for pause, least in zip(clock.pauses, [0.5, 1, 2, 4], strict=True))


def test_after_the_last_attempt_its_own_error_comes_out():
    last = TransientError("the last")
    with pytest.raises(TransientError) as caught:
        RetryPolicy(attempts=2, sleep=lambda _: None).call(failing(TransientError("first"), last))
    assert caught.value is last


def test_another_error_is_not_tried_again():
    pauses: list[float] = []
    with pytest.raises(RunError):
        RetryPolicy(sleep=pauses.append).call(failing(RunError("x")))
    assert pauses == []


def test_the_time_that_the_server_named_is_waited():
    clock = Clock()
    RetryPolicy(sleep=clock.sleep, clock=clock).call(failing(TransientError("x", retry_after=20)))
    assert clock.pauses == [20]


def test_a_pause_beyond_the_budget_is_not_waited():
    clock = Clock()
    with pytest.raises(TransientError):
        RetryPolicy(budget_seconds=60, sleep=clock.sleep, clock=clock).call(
            failing(TransientError("x", retry_after=90))
        )
    assert clock.pauses == []


def test_the_budget_ends_the_tries():
    clock = Clock()
    with pytest.raises(TransientError):
        RetryPolicy(attempts=99, budget_seconds=60, sleep=clock.sleep, clock=clock).call(
            failing(*[TransientError("x")] * 98)
        )
    assert clock.now <= 60


def test_rests_that_notion_asks_for_are_no_failed_tries_and_come_to_an_end():
    clock = Clock()
    settings = NotionSettings(user="ann", token="ntn_1", parent_page="p")
    policy = replace(settings.retry, sleep=clock.sleep, clock=clock)
    rest, away = TransientError("429", retry_after=900), TransientError("503")
    assert policy.call(failing(rest, away, rest, *[away] * 3, rest, away)) == "done"
    assert clock.pauses.count(900) == 3

    with pytest.raises(TransientError):  # a fourth one takes the budget, and nothing is left for a fifth
        policy.call(failing(*[rest] * 5))
    with pytest.raises(TransientError):
        policy.call(failing(TransientError("429", retry_after=901)))
    with pytest.raises(TransientError):  # `Retry-After: 0` asks for no rest: six tries
        policy.call(failing(*[TransientError("429", retry_after=0)] * 6))
    for_people = replace(settings.hasty().retry, sleep=clock.sleep, clock=clock)
    with pytest.raises(TransientError):
        for_people.call(failing(rest))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("12", 12.0),
        ("0", 0.0),
        ("-3", None),
        ("inf", None),
        ("1e400", None),
        ("1e300", None),
        ("nan", None),
        ("Wed, 01 May 2024 12:00:30 GMT", 30.0),
        ("Wed, 01 May 2024 12:00:30 -0000", 30.0),
        ("Wed May  1 12:00:30 2024", 30.0),
        ("Wed, 01 May 2024 11:00:00 GMT", 0.0),
        ("Wed, 01 May 99999999999999999999 11:00:00 GMT", None),
        ("soon", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str | None, seconds: float | None):
    assert retry_after_seconds(value, now=datetime(2024, 5, 1, 12, tzinfo=UTC)) == seconds


def test_more_than_a_run_waits_for_stands_in_the_sentence():
    assert str(TransientError("Slow down.", retry_after=900)) == "Slow down."
    assert str(TransientError("Slow down.", retry_after=7200)) == (
        "Slow down. It asks for a pause of 120 min; a run waits 15 min at most."
    )


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"budget_seconds": -1}, {"rests": -1}])
def test_a_policy_that_cannot_be_is_refused(wrong: dict):
    with pytest.raises(ValueError, match="retry policy"):
        RetryPolicy(**wrong)
