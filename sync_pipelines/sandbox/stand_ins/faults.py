"""Faults that wait for the requests that they are meant for."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import ClassVar, Generic, TypeVar


@dataclass
class Fault:
    """One fault and whom it meets.

    Args:
        kind: one of `kinds`; a number is a status.
        key: of the record; None: any.
        endpoint: by the service's name for it; None: any.
        every: of the requests that fit, each n-th.
        times: how many it meets; None: all.
        retry_after: sent with it: seconds, `date:2` for the date in two seconds, or any text.
        seconds: how long what takes time takes.
        asked, met: how many requests fitted so far, and how many of them met it.
    """

    kinds: ClassVar[tuple[str, ...]] = ()

    kind: str
    key: str | None = None
    endpoint: str | None = None
    every: int = 1
    times: int | None = None
    retry_after: str | None = None
    seconds: float = 1.0
    asked: int = 0
    met: int = 0

    def __post_init__(self) -> None:
        if self.kind not in self.kinds:
            raise ValueError(f"{self.kind!r} is none of {', '.join(self.kinds)}")
        self.key = None if self.key is None else str(self.key)

    def meets(self, endpoint: str, key: str) -> bool:
        """Whether this request meets it; one use of it is spent then."""
        if self.times == 0 or not self.fits(endpoint, key):
            return False
        self.asked += 1
        if not self.due():
            return False
        self.times = None if self.times is None else self.times - 1
        self.met += 1
        return True

    def fits(self, endpoint: str, key: str) -> bool:
        """Whether it is meant for such requests."""
        return self.key in (None, key) and self.endpoint in (None, endpoint)

    def due(self) -> bool:
        """Whether the request that was counted last is one that it meets."""
        return self.asked % self.every == 0

    @property
    def status(self) -> int:
        """The status that is answered: 200 where the fault is another one."""
        return int(self.kind) if self.kind.isdigit() else 200

    def headers(self) -> dict[str, str]:
        """The headers that are sent with it."""
        return retry_after(self.retry_after)


def retry_after(value: str | None) -> dict[str, str]:
    """The header that asks for patience, as `Fault.retry_after` says it."""
    if value is None:
        return {}
    if value.startswith("date:"):
        moment = datetime.now(UTC) + timedelta(seconds=float(value[5:]))
        return {"Retry-After": format_datetime(moment, usegmt=True)}
    return {"Retry-After": value}


SomeFault = TypeVar("SomeFault", bound=Fault)


class Faults(Generic[SomeFault]):
    """The faults that wait for their requests; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[SomeFault] = []

    def add(self, fault: SomeFault) -> None:
        """Let the next requests that fit meet this fault; of several the oldest."""
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._waiting.clear()

    def waiting(self) -> list[SomeFault]:
        """All of them, those that are spent, too."""
        with self._lock:
            return list(self._waiting)

    def meet(self, endpoint: str, key: str) -> SomeFault | None:
        """The fault that meets this request, if any."""
        with self._lock:
            return next((fault for fault in self._waiting if fault.meets(endpoint, key)), None)
