"""Slots of a shared rate: each is handed out once, whoever asks, and trouble slows all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.ledger.rates import SharedRate
from sync_pipelines.engine.rates import RECOVERY_SECONDS, SLOWEST, RateState, pause, slow_down, take


def test_blocks_follow_each_other_without_gap_and_begin_now_after_a_rest():
    state, first = take(seconds=0.5, spacing=0.1)(RateState(), 100.0)
    state, second = take(seconds=0.5, spacing=0.1)(state, 100.2)
    assert (first.begins_in, round(second.begins_in, 6)) == (0.0, 0.3)
    _, late = take(seconds=0.1, spacing=0.1)(state, 200.0)
    assert late.begins_in == 0.0


def test_trouble_halves_the_rate_once_for_all_who_meet_it_and_it_recovers_by_itself():
    state, told = RateState(), []
    for moment in (100.0, 100.3, 100.9, 101.0):
        state, slowed = slow_down()(state, moment)
        told.append(slowed)
    assert told == [2.0, None, None, pytest.approx(4.0, rel=0.1)]
    assert state.slowdown_at(101.0 + RECOVERY_SECONDS) == pytest.approx(told[3] / 2)
    _, block = take(seconds=0.1, spacing=0.1)(state, 101.0 + 10 * RECOVERY_SECONDS)
    assert block.spacing == 0.1


def test_a_rate_is_not_slowed_without_end_and_a_block_lasts_no_longer_for_it():
    state, told = RateState(), []
    for second in range(10):
        state, slowed = slow_down()(state, float(second))
        told.append(slowed)
    assert state.slowdown == SLOWEST
    assert told[-1] is None
    _, block = take(seconds=0.5, spacing=0.01)(state, 10.0)
    assert (block.count, block.count * block.spacing <= 0.5) == (3, True)


def test_a_pause_holds_for_everybody_and_a_shorter_one_does_not_end_it():
    state, _ = pause(30)(RateState(), 100.0)
    state, _ = pause(5)(state, 100.0)
    assert take(seconds=0.1, spacing=0.1)(state, 101.0)[1].begins_in == 29.0


def test_a_clock_that_was_set_back_by_hours_makes_nobody_wait_for_hours():
    state, _ = slow_down()(RateState(), 90_000.0)
    state, _ = take(seconds=0.5, spacing=0.1)(state, 90_000.0)
    _, block = take(seconds=0.5, spacing=0.1)(state, 80_000.0)
    assert (block.begins_in, block.spacing) == (0.0, 0.1)


def test_processes_that_take_slots_of_one_ledger_at_once_never_get_the_same(ledger: Ledger):
    rate = SharedRate(ledger, "api.example.com 1a2b")
    own = []

    def worker(_: int) -> None:
        for _ in range(5):
            own.append(rate.change_rate(_absolute(take(seconds=0.151, spacing=0.05))))

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
