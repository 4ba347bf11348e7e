"""When a request may be sent: slots of a rate that is shared with others, slowed when the API asks for less."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from sync_pipelines.engine.rates import Change, RateKeeper, RateState, pause, rest, slow_down, take

T = TypeVar("T")

_OF_THE_LIMIT = 0.96
LATE_SECONDS = 0.025
"""A slot is used up to so late, else it is lost. 96 % of the limit in 1.041 s are no more than the limit in any second:
25 ms of it are for threads that wake late, the rest is for packets that take their time."""

_BLOCK_SECONDS = 0.1
"""How long a block lasts: what a client leaves of its last one nobody uses."""


class LocalRate:
    """The rate of one process's threads, as `engine.rates.RateKeeper`.

    Args:
        clock: seconds; for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock, self._state, self._clock = threading.Lock(), RateState(), clock

    def change_rate(self, change: Change[T]) -> T:
        """Change the state while no other thread does."""
        with self._lock:
            self._state, given = change(self._state, self._clock())
            return given


_local: dict[str, LocalRate] = {}
_local_lock = threading.Lock()


def local_rate(name: str) -> LocalRate:
    """The rate of this name in this process: every client of one API and key has the same."""
    with _local_lock:
        return _local.setdefault(name, LocalRate())


class Limiter:
    """Hands out slots to the threads of one client.

    Args:
        keeper: keeps the rate, for all who share it.
        rate: requests a second.
        clock: seconds; for tests.
    """

    def __init__(self, keeper: RateKeeper, *, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._keeper, self._clock = keeper, clock
        self._spacing = 1.0 / (rate * _OF_THE_LIMIT)
        self._lock = threading.Lock()
        self._slots: deque[float] = deque()
        self._changes = 0

    def wait(self, stopped: threading.Event) -> bool:
        """Wait for the next slot; whether there is one, rather than the end.

        Raises:
            TransientError, RunError: the keeper of the rate is out of reach, or refuses.
        """
        while not stopped.is_set():
            slot, changes = self._next()
            if stopped.wait(max(0.0, slot - self._clock())):
                return False
            # meanwhile the API may have asked for less, or this thread have slept too long
            if changes == self._changes and self._clock() <= slot + LATE_SECONDS:
                return True
        return False

    def rest(self) -> float:
        """How many seconds it is to the next slot, for who would rather not wait that long; none is taken."""
        return self._keeper.change_rate(rest())

    def slow_down(self) -> float | None:
        """The API asks for less: halve the rate, for all; by how much it is divided now, None where it was already."""
        slowed = self._keeper.change_rate(slow_down())
        if slowed is not None:
            self._forget_slots()
        return slowed

    def pause(self, seconds: float) -> None:
        """The API asks for a rest: nobody sends anything for so long."""
        self._keeper.change_rate(pause(seconds))
        self._forget_slots()

    def _forget_slots(self) -> None:
        with self._lock:
            self._slots.clear()
            self._changes += 1

    def _next(self) -> tuple[float, int]:
        with self._lock:
            if not self._slots:
                self._take()
            return self._slots.popleft(), self._changes

    def _take(self) -> None:
        block = self._keeper.change_rate(take(seconds=_BLOCK_SECONDS, spacing=self._spacing))
        begin = self._clock() + block.begins_in
        self._slots.extend(begin + number * block.spacing for number in range(block.count))


class Latency:
    """Whether answers take longer and longer: a server that is overloaded says so by that before it says 429."""

    _FAST, _SLOW, _TIMES, _LEAST, _FIRST = 0.2, 0.02, 3.0, 0.25, 20

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent = self._usual = 0.0
        self._count = 0

    def grows(self, seconds: float) -> bool:
        """Note how long an answer took; whether the last ones took three times as long as usual, and 0.25 s more."""
        with self._lock:
            self._count += 1
            weight = 1.0 / self._count
            self._recent += (seconds - self._recent) * max(self._FAST, weight)
            self._usual += (seconds - self._usual) * max(self._SLOW, weight)
            longer = self._recent > self._usual * self._TIMES and self._recent > self._usual + self._LEAST
            if not longer or self._count < self._FIRST:
                return False
            self._recent = self._usual  # told once; it has to grow again
            return True
