"""A rate that many share: who may send when, as slots of time of which each is handed out once.

It is a token bucket that holds one token: slots lie a fixed spacing apart, and a client takes a block of them at a
time. The arithmetic is here, pure; the state stands where all clients reach it: in the ledger for those of several
processes (`ledger.rates`), in memory for the threads of one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from sync_pipelines.engine.errors import LONGEST_WAIT

T = TypeVar("T")

RECOVERY_SECONDS = 10.0
"""Without new trouble a slowed rate doubles in this time, until it is whole again."""

SLOWEST = 16.0
"""A rate is never divided by more: some records may be refused for ever while all others are answered."""

ONE_TROUBLE_SECONDS = 1.0
"""Several requests under way meet the same trouble: within this time it slows the rate once."""

_AHEAD = 60.0
"""Seconds of slots that may have been handed out behind such a wait."""


@dataclass(frozen=True, kw_only=True)
class RateState:
    """What is known of one shared rate; times are seconds of the clock of whoever keeps the state.

    Args:
        next_at: no slot before this time is free.
        slowdown: by how much the spacing was multiplied at `slowed_at`.
    """

    next_at: float = 0.0
    slowdown: float = 1.0
    slowed_at: float = 0.0

    def free_at(self, now: float) -> float:
        """When the next slot is: nobody was ever told to wait for longer than a run does, so what lies beyond that was
        noted by a clock that has been set back since."""
        return self.next_at if now < self.next_at <= now + LONGEST_WAIT + _AHEAD else now

    def slowdown_at(self, now: float) -> float:
        """By how much the spacing is multiplied now: the slowdown wears off by itself."""
        rested = now - self.slowed_at
        if rested < 0:  # as above
            return 1.0
        return max(1.0, self.slowdown * 0.5 ** (rested / RECOVERY_SECONDS))


@dataclass(frozen=True, kw_only=True)
class Block:
    """Slots that were handed out: `count` of them, `spacing` seconds apart, the first one `begins_in` seconds."""

    begins_in: float
    spacing: float
    count: int


Change = Callable[[RateState, float], tuple[RateState, T]]
"""The state and the time → the state as it shall be, and what the change gives."""


class RateKeeper(Protocol):
    """Keeps the state of one rate for all who share it."""

    def change_rate(self, change: Change[T]) -> T:
        """Change the state while nobody else does."""
        ...


def take(*, seconds: float, spacing: float, most: int = 100) -> Change[Block]:
    """Take the next free slots: one at least.

    Args:
        seconds: how long the block may last, so that what a slowed rate leaves unused is little.
        spacing: seconds between two of them while nothing slows the rate.
        most: slots.
    """

    def change(state: RateState, now: float) -> tuple[RateState, Block]:
        begin, apart = state.free_at(now), spacing * state.slowdown_at(now)
        count = max(1, min(most, int(seconds / apart)))
        block = Block(begins_in=begin - now, spacing=apart, count=count)
        return replace(state, next_at=begin + count * apart), block

    return change


def slow_down(factor: float = 2.0) -> Change[float | None]:
    """Multiply the spacing, once for all who meet the same trouble; gives by how much now, None where it stays so."""

    def change(state: RateState, now: float) -> tuple[RateState, float | None]:
        before = state.slowdown_at(now)
        if before > 1.0 and now - state.slowed_at < ONE_TROUBLE_SECONDS:
            return state, None
        slowed = min(SLOWEST, before * factor)
        return replace(state, slowdown=slowed, slowed_at=now), slowed if slowed > before * 1.1 else None

    return change


def rest() -> Change[float]:
    """How many seconds it is to the next free slot; none is taken."""

    def change(state: RateState, now: float) -> tuple[RateState, float]:
        return state, state.free_at(now) - now

    return change


def pause(seconds: float) -> Change[None]:
    """Hand out no slot for so many seconds."""

    def change(state: RateState, now: float) -> tuple[RateState, None]:
        return replace(state, next_at=max(state.next_at, now + seconds)), None

    return change
