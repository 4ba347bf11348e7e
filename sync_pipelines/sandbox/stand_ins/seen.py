"""What an API saw of its clients, and the limit that it sets them."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass

_KEPT = 200_000
"""Requests that the log holds; older ones are forgotten."""


@dataclass(frozen=True)
class Seen:
    """One request.

    Args:
        at: when it was read, in seconds of `time.monotonic`.
        limited: whether it was refused as one too many.
        method, path: where whole paths are of interest.
    """

    at: float
    endpoint: str
    key: str
    status: int
    limited: bool = False
    method: str = ""
    path: str = ""


class Log:
    """Requests, connections, and how many there were at once; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = self._under_way = 0
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        with self._lock:
            self._requests: deque[Seen] = deque(maxlen=_KEPT)
            self._connections = self._most_open = self._open
            self._most_under_way = self._under_way

    def connected(self) -> None:
        """A connection was opened."""
        with self._lock:
            self._connections, self._open = self._connections + 1, self._open + 1
            self._most_open = max(self._most_open, self._open)

    def disconnected(self) -> None:
        """A connection was closed."""
        with self._lock:
            self._open -= 1

    def began(self) -> None:
        """A request was read."""
        with self._lock:
            self._under_way += 1
            self._most_under_way = max(self._most_under_way, self._under_way)

    def noted(self, seen: Seen) -> None:
        """It is about to be answered, or not: who has the answer finds it in the log."""
        with self._lock:
            self._requests.append(seen)

    def ended(self) -> None:
        """It is over."""
        with self._lock:
            self._under_way -= 1

    def requests(self) -> list[Seen]:
        """All of them, in the order in which they came."""
        with self._lock:
            return sorted(self._requests, key=lambda seen: seen.at)

    def summary(self) -> dict[str, object]:
        """How many requests, by endpoint, status and key; the most in any second, under way and connected at once."""
        requests = self.requests()
        times = [seen.at for seen in requests]
        with self._lock:
            at_once, connections = self._most_under_way, (self._connections, self._most_open)
        return {
            "requests": len(requests),
            "endpoints": dict(Counter(seen.endpoint for seen in requests)),
            "statuses": dict(Counter(str(seen.status) for seen in requests)),
            "keys": dict(Counter(seen.key for seen in requests)),
            "limited": sum(seen.limited for seen in requests),
            "most_in_a_second": most_within(times, 1.0),
            "most_at_once": at_once,
            "connections": connections[0],
            "most_connections": connections[1],
            "seconds": times[-1] - times[0] if times else 0.0,
        }


def most_within(times: list[float], seconds: float) -> int:
    """The most of these moments, in order, that lie in any half-open span of so many seconds."""
    most, first = 0, 0
    for last, moment in enumerate(times):
        while moment - times[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


class Limit:
    """No more than `rate` requests in any `window` seconds; None: as many as come."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.set(None)

    def set(self, rate: int | None, *, retry_after: str | None = None, window: float = 1.0) -> None:
        """Set the limit.

        Args:
            rate: requests in a window.
            retry_after: what is sent with 429, as `faults.Fault` takes it.
            window: in seconds.
        """
        with self._lock:
            self._rate, self.retry_after, self._window = rate, retry_after, window
            self._passed: deque[float] = deque()

    def allows(self, at: float | None = None) -> bool:
        """Whether a request may pass now; it is counted then."""
        now = time.monotonic() if at is None else at
        with self._lock:
            if self._rate is None:
                return True
            while self._passed and now - self._passed[0] >= self._window:
                self._passed.popleft()
            if len(self._passed) >= self._rate:
                return False
            self._passed.append(now)
            return True

    def wait(self, at: float | None = None) -> float:
        """Seconds until a request may pass."""
        now = time.monotonic() if at is None else at
        with self._lock:
            full = self._rate is not None and len(self._passed) >= self._rate
            return max(0.0, self._passed[0] + self._window - now) if full else 0.0
