"""What a process, and a run in it, has used so far."""

from __future__ import annotations

import os
import re
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

_STATUS = Path("/proc/self/status")
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a target has had done since it was made.

    Args:
        warehouse_seconds: for which its statements were at work on a warehouse; None where there is none.
        files_rewritten: data files that were put in the place of others; None where it has none, or does not say.
    """

    warehouse_seconds: float | None = None
    files_rewritten: int | None = None


@runtime_checkable
class Metered(Protocol):
    """A target that says what it has had done."""

    @property
    def spent(self) -> Spent: ...


@runtime_checkable
class AddedUp(Protocol):
    """One that has to look before it can say it."""

    def add_up(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Usage(Spent):
    """What a run has used; None where an older version did not ask.

    Args:
        cpu_seconds: of its process and the children that have ended, whatever else they did meanwhile.
        peak_memory: bytes, resident: the most that its process has held since it began.
        seconds: from the run's begin.
    """

    seconds: float = 0.0
    cpu_seconds: float | None = None
    peak_memory: int | None = None


@dataclass
class Meter:
    """Begins when it is made.

    Args:
        target: what the run writes to; asked only where it is `Metered`.
    """

    target: Any
    _began: float = field(default_factory=time.monotonic)
    _cpu: float = field(default_factory=lambda: _cpu_seconds())
    _before: Spent = field(init=False)

    def __post_init__(self) -> None:
        self._before = self._spent()

    def read(self, *, completed: bool = True) -> Usage:
        """What was used since.

        Args:
            completed: a target may be asked; of one that has failed nobody knows whether it answers.
        """
        if completed and isinstance(self.target, AddedUp):
            self.target.add_up()
        now, then = self._spent(), self._before
        return Usage(
            seconds=time.monotonic() - self._began,
            cpu_seconds=_cpu_seconds() - self._cpu,
            peak_memory=peak_memory(),
            warehouse_seconds=_since(now.warehouse_seconds, then.warehouse_seconds),
            files_rewritten=_since(now.files_rewritten, then.files_rewritten),
        )

    def _spent(self) -> Spent:
        return self.target.spent if isinstance(self.target, Metered) else Spent()


def _since(now: Any, then: Any) -> Any:
    return None if now is None else now - (then or 0)


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_memory() -> int:
    """The most memory (bytes, resident) that this process has held since it began.

    On Linux not `ru_maxrss`: a process begins with that of whoever started it (`man 2 getrusage` names the peak of the
    process, but the kernel carries it over `exec`), so a small job below a large parent would report the parent's.
    """
    if _STATUS.exists() and (found := _PEAK.search(_STATUS.read_text(encoding="ascii", errors="replace"))):
        return int(found[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
