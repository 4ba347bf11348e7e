"""Requests over the wire: a bounded pool of connections, a time for the whole answer, nothing read without end."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.sources.rest.calls import Call, Reply
from sync_pipelines.sources.rest.errors import of_transport, too_long
from sync_pipelines.sources.rest.settings import ClientSettings

if TYPE_CHECKING:
    import httpx

    from sync_pipelines.sources.rest.deadline import Deadline

_CONNECT_SECONDS = 10.0


class Transport:
    """A pool of connections to one API; threads may share it. Making one imports httpx and connects to nothing."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._client = _client(settings)
        self._deadline = _kept(self._client)

    def get(self, call: Call) -> Reply:
        """Send a request and read its whole answer, whatever the status.

        Raises:
            FaultError: no whole answer came; it may another time.
            RecordError: the answer is too long.
            ConfigurationError, RunError: no request can be sent at all.
        """
        import httpx

        begin = time.monotonic()
        try:
            # empty params would take the query of an address away
            with (
                self._deadline.of(self._settings.timeout),
                self._client.stream("GET", call.path, params=dict(call.params) or None) as response,
            ):
                content = b"".join(self._parts(response, call))
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Reply(
                    status=response.status_code, headers=headers, content=content, seconds=time.monotonic() - begin
                )
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise of_transport(error, self._settings) from error

    def _parts(self, response: httpx.Response, call: Call) -> Iterator[bytes]:
        size = 0
        for part in response.iter_bytes():
            size += len(part)
            if size > self._settings.max_bytes:
                raise too_long(call, self._settings)
            yield part

    def close(self) -> None:
        """Close every connection."""
        self._client.close()


def _kept(client: httpx.Client) -> Deadline:
    from sync_pipelines.sources.rest.deadline import Deadline

    deadline = Deadline()
    deadline.keep(client)
    return deadline


def _client(settings: ClientSettings) -> httpx.Client:
    import httpx

    most = settings.max_concurrent
    options: dict[str, Any] = {
        "timeout": httpx.Timeout(settings.timeout, connect=min(_CONNECT_SECONDS, settings.timeout)),
        "limits": httpx.Limits(max_connections=most, max_keepalive_connections=most, keepalive_expiry=30.0),
        "headers": {"accept": "application/json", **settings.headers},
        "follow_redirects": False,
        # no proxy leads to this machine, whatever the environment says
        "trust_env": not _is_loopback(settings.base_url),
    }
    try:
        return httpx.Client(base_url=settings.base_url, **options)
    except (ImportError, ValueError) as error:  # a proxy's scheme that httpx does not know, or only with a package
        remedy = "Check HTTPS_PROXY and ALL_PROXY."
        raise ConfigurationError(f"No client can be made for {settings.host}: {error}.", remedy=remedy) from error


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
