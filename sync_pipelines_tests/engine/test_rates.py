"""Slots of a shared rate: each is handed out once, whoever asks, and trouble slows all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.ledger.rates import SharedRate
from sync_pipelines.engine.rates import RECOVERY_SECONDS, RateState, pause, slow_down, take


def test_blocks_follow_each_other_without_gap_and_begin_now_after_a_rest():
    state, first = take(count=5, spacing=0.1)(RateState(), 100.0)
    state, second = take(count=5, spacing=0.1)(state, 100.2)
    assert (first.begins_in, round(second.begins_in, 6)) == (0.0, 0.3)
    _, late = take(count=1, spacing=0.1)(state, 200.0)
    assert late.begins_in == 0.0


def test_trouble_halves_the_rate_once_for_all_who_meet_it_and_it_recovers_by_itself():
    state = RateState()
    for moment in (100.0, 100.3, 100.9):
        state, slowed = slow_down()(state, moment)
        assert slowed == pytest.approx(2.0, abs=0.1)
    state, slowed = slow_down()(state, 101.0)
    assert slowed == pytest.approx(4.0, rel=0.1)
    assert state.slowdown_at(101.0 + RECOVERY_SECONDS) == pytest.approx(slowed / 2)
    _, block = take(count=1, spacing=0.1)(state, 101.0 + 10 * RECOVERY_SECONDS)
    assert block.spacing == 0.1


def test_a_pause_holds_for_everybody_and_a_shorter_one_does_not_end_it():
    state, _ = pause(30)(RateState(), 100.0)
    state, _ = pause(5)(state, 100.0)
    assert take(count=1, spacing=0.1)(state, 101.0)[1].begins_in == 29.0


def test_processes_that_take_slots_of_one_ledger_at_once_never_get_the_same(ledger: Ledger):
    rate = SharedRate(ledger, "api.example.com 1a2b")
    own = []

    def worker(_: int) -> None:
        for _ in range(5):
            own.append(rate.change_rate(_absolute(take(count=3, spacing=0.05))))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(worker, range(4)))
    slots = sorted(begin + number * 0.05 for begin in own for number in range(3))
    assert min(later - earlier for earlier, later in pairwise(slots)) >= 0.0499


def _absolute(change):
    """The same change; gives when the block begins instead of in how many seconds."""

    def absolute(state, now):
        state, block = change(state, now)
        return state, now + block.begins_in

    return absolute
