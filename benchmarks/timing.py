"""Stopwatches: two ways of doing a thing are measured in turn, A B A B, and compared round by round.

Other work on the machine comes and goes: what is measured side by side meets the same of it, and a median
forgets the one round that was hit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median, quantiles
from typing import Any

import psutil

Way = Callable[[], float]
"""Does a thing once and gives the seconds that count; what it prepares does not count."""


def timed(action: Callable[[], Any]) -> float:
    """Seconds that an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def in_turn(rounds: int, *ways: Way) -> list[list[float]]:
    """The seconds of each way, measured in turn, `rounds` times; every second round goes backwards."""
    found: list[list[float]] = [[] for _ in ways]
    for number in range(rounds):
        order = range(len(ways)) if number % 2 == 0 else reversed(range(len(ways)))
        for place in order:
            found[place].append(ways[place]())
    return found


def times(over: Sequence[float], under: Sequence[float]) -> float:
    """How many times `under` each round's `over` is: the median over the rounds."""
    return median(a / b for a, b in zip(over, under, strict=True))


def percentile(values: Sequence[float], percent: int) -> float:
    """A percentile by linear interpolation; of one value that value."""
    return values[0] if len(values) == 1 else quantiles(values, n=100, method="inclusive")[percent - 1]


class Work:
    """CPU seconds of processes and all their children: what a thing costs, also on a busy machine."""

    def __init__(self, *pids: int) -> None:
        self._roots = [psutil.Process(pid) for pid in pids]
        self._began = self._sum()

    def seconds(self) -> float:
        """CPU seconds since this was made."""
        return self._sum() - self._began

    def _sum(self) -> float:
        family = {process for root in self._roots for process in (root, *root.children(recursive=True))}
        return sum(map(_spent, family))


def _spent(process: psutil.Process) -> float:
    """The process's own seconds, and those of its children that have ended."""
    try:
        used = process.cpu_times()
    except psutil.Error:
        return 0.0
    return used.user + used.system + used.children_user + used.children_system
