"""A time for the whole answer, headers included: httpx times each read by itself, and one byte now and then is enough
for it. What drips in the headers, in interim answers (102) or in a compressed body would never end."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from sync_pipelines.sources.rest.errors import FaultError


class Deadline(threading.local):
    """When the answer that this thread waits for has to be whole, and whether anything of it came."""

    ends: float = float("inf")
    seconds: float = 0.0
    begun: bool = False

    @contextmanager
    def of(self, seconds: float) -> Generator[None]:
        """Everything that this thread reads meanwhile has to be there within so many seconds."""
        self.ends, self.seconds, self.begun = time.monotonic() + seconds, seconds, False
        try:
            yield
        finally:
            self.ends = float("inf")

    def keep(self, client: httpx.Client) -> None:
        """Let all connections of this client keep to it.

        httpx has no public way to its pools that keeps the proxies of the environment; a test notices one that moved.
        """
        for transport in (client._transport, *client._mounts.values()):
            pool = getattr(transport, "_pool", None)
            if isinstance(pool, httpcore.ConnectionPool):
                pool._network_backend = _Backend(pool._network_backend, self)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend, deadline: Deadline) -> None:
        self._inner, self._deadline = inner, deadline

    def connect_tcp(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_tcp(*args, **options), self._deadline)

    def connect_unix_socket(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_unix_socket(*args, **options), self._deadline)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner, self._deadline = inner, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        deadline = self._deadline
        left = max(0.001, deadline.ends - time.monotonic())
        try:
            found = self._inner.read(max_bytes, left if timeout is None else min(left, timeout))
        except httpcore.ReadTimeout:
            found = None
        if deadline.begun and time.monotonic() >= deadline.ends:
            raise FaultError(f"the answer was not whole within {deadline.seconds:g} s")
        if found is None:
            raise httpcore.ReadTimeout("timed out")
        deadline.begun = True
        return found

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(*args, **options), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
