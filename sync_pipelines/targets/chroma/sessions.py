"""The HTTP sessions that Chroma's client makes: a server on this machine is never asked through a proxy.

chromadb (1.5) builds its sessions itself, in two constructors, and passes httpx no more than a time-out: with
HTTP_PROXY set and NO_PROXY not, a sandbox's server would be looked for behind the proxy, and with
ALL_PROXY=socks5://… httpx refuses to build a session at all, for want of a package.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import ip_address
from typing import Any

_direct: ContextVar[bool] = ContextVar("_direct", default=False)


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this very machine."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


@contextmanager
def sessions_for(host: str) -> Generator[None]:
    """Within it, and in this thread alone, chromadb's sessions take the way that leads to this host."""
    _let_sessions_be_direct()
    token = _direct.set(is_loopback(host))
    try:
        yield
    finally:
        _direct.reset(token)


def _let_sessions_be_direct() -> None:
    from chromadb.api import fastapi

    if not isinstance(fastapi.httpx, _Httpx):
        setattr(fastapi, "httpx", _Httpx(fastapi.httpx))  # noqa: B010 - a module's name, for its constructors


class _Httpx:
    """httpx as `chromadb.api.fastapi` knows it; only its sessions differ, and only where they are to."""

    def __init__(self, httpx: Any) -> None:
        self._httpx = httpx

    def __getattr__(self, name: str) -> Any:
        return getattr(self._httpx, name)

    def Client(self, **options: Any) -> Any:
        if not _direct.get():
            return self._httpx.Client(**options)
        # of a session with a transport httpx asks no proxy; trust_env=False would lose SSL_CERT_FILE, too
        of_transport = {name: options.pop(name) for name in ("verify", "limits") if name in options}
        return self._httpx.Client(transport=self._httpx.HTTPTransport(**of_transport), **options)
