"""The name of the lock that every writer of a collection takes, however it spells the way there.

A collection's own id cannot name it: the lock is taken before the collection is made, and a rebuild changes the
id. So it is the server's address in one spelling. What no spelling tells stays apart: a host's name and its
address, two names of one host, a proxy before it. Who writes to one collection by such two ways is stopped by
the owner and the stamp in the collection (`provenance`), not by the lock.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


class Way(Protocol):
    """How to reach Chroma; exactly one of `url` and `path` is set."""

    @property
    def url(self) -> str | None: ...
    @property
    def path(self) -> str | None: ...


def lock_name(way: Way, collection: str) -> str:
    """The lock of a collection on a server, or of a whole folder: one process at a time may open that.

    Tenant and database are left out, since both have defaults that only the server knows: two collections of
    one name in two databases wait for each other, which is slow at worst.
    """
    if way.path:
        return f"chroma:path:{Path(way.path).expanduser().resolve()}"
    return f"chroma:{_server(way.url or '')}#{collection}"


def _server(url: str) -> str:
    """host:port/path. The scheme only stands for a port, and user and password name nobody's collection."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    address = f"[{host}]" if ":" in host else host
    return f"{'localhost' if _is_loopback(host) else address}:{_port(url)}{parts.path.rstrip('/')}"


def _port(url: str) -> int | None:
    parts = urlsplit(url)
    try:
        return parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None  # no port at all, which connecting refuses with a sentence of its own


def _is_loopback(host: str) -> bool:
    """Whether the host is this machine; one ledger for two machines that say so makes them wait, no more."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return False
    return found.is_loopback or found.is_unspecified
