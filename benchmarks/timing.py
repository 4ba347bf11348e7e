"""Stopwatches: two ways of doing a thing are measured in turn, A B A B, and compared round by round.

Other work on the machine comes and goes: what is measured side by side meets the same of it, and a median
forgets the one round that was hit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Spent:
    """What something took: seconds on the clock, and CPU seconds of all the processes that worked for it."""

    seconds: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.seconds + other.seconds, self.cpu + other.cpu)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.seconds - other.seconds, self.cpu - other.cpu)


class Clock:
    """Measures what this process and these servers, with their children, spend.

    Args:
        pids: the servers.
    """

    def __init__(self, *pids: int) -> None:
        self._servers = [psutil.Process(pid) for pid in pids]

    def measure(self, action: Callable[[], Any]) -> Spent:
        """What an action takes."""
        worked, began = self._cpu(), time.perf_counter()
        action()
        seconds = time.perf_counter() - began
        return Spent(seconds, self._cpu() - worked)

    def _cpu(self) -> float:
        family = {process for server in self._servers for process in (server, *server.children(recursive=True))}
        return time.process_time() + sum(map(_used, family))


def _used(process: psutil.Process) -> float:
    """The process's own CPU seconds, and those of its children that have ended."""
    try:
        used = process.cpu_times()
    except psutil.Error:
        return 0.0
    return used.user + used.system + used.children_user + used.children_system
