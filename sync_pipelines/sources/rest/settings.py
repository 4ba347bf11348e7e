"""How an API is reached, and how hard it may be asked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.secrets import know, know_url


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """Everything that a client needs to know; `repr` shows no secret.

    Args:
        base_url: the API's address; the paths of calls go below it.
        headers: sent with every request, the key among them (`auth_headers`).
        rate_limit: requests a second, over all who share the rate.
        max_concurrent: requests under way, and connections, of one client.
        retry_attempts: tries of one request, the first one included.
        timeout: seconds in which a connection, and then a whole answer, has to come.
        allowance: requests that this client may send in all, retries included; None: no limit.
        backoff: seconds before the second try, with jitter; each further pause is twice as long.
        patience: seconds for which an API that answers nothing is asked again before it counts as down.
        max_bytes: the longest answer that is read.
        quiet: what the API says beside a status is not repeated (`sensitive:`).
        sync, table: where; for sentences.
        key_name, url_name: what sets the key and the address (CUPID_API_KEY, CUPID_BASE_URL); for sentences.
    """

    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    rate_limit: float = 10.0
    max_concurrent: int = 5
    retry_attempts: int = 3
    timeout: float = 30.0
    allowance: int | None = None
    backoff: float = 0.5
    patience: float = 60.0
    max_bytes: int = 50_000_000
    quiet: bool = False
    sync: str | None = None
    table: str | None = None
    key_name: str = "the API key"
    url_name: str = "base_url"

    def __post_init__(self) -> None:
        know(*self.headers.values())
        _check_numbers(self)
        check_address(self.base_url, name=self.url_name)
        for name, value in self.headers.items():
            _check_header(name, value, self.key_name)

    @property
    def api(self) -> str:
        """The name of the rate: all who ask this address with this key share it. It tells neither's secret."""
        told = "\n".join(f"{name.lower()}: {value}" for name, value in sorted(self.headers.items()))
        mark = hashlib.sha256(f"sync_pipelines\n{told}".encode()).hexdigest()[:12]
        parts = urlsplit(self.base_url)
        return f"{parts.netloc.lower()}{parts.path.rstrip('/')} {mark}"

    @property
    def host(self) -> str:
        """The API's host and port, for messages."""
        return urlsplit(self.base_url).netloc

    @property
    def where(self) -> dict[str, Any]:
        """Sync and table, as the engine's errors take them."""
        return {"sync": self.sync, "table": self.table}


def auth_headers(secret: str, *, header: str = "Authorization", scheme: str | None = "Bearer") -> dict[str, str]:
    """The header by which an API knows who asks.

    Args:
        secret: the key or token; hidden in every text from now on.
        header: its name: `Authorization`, or `x-api-key` and its like.
        scheme: the word before it (`Bearer`); None: the value is the key alone.
    """
    know(secret)
    return {header: f"{scheme} {secret}" if scheme else secret}


def check_address(url: str, *, name: str) -> str:
    """The address as it is, after a look at its form.

    Args:
        name: what sets it, for the sentence.

    Raises:
        ConfigurationError: it is none, or holds a login or a query.
    """
    know_url(url)
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - it raises where it is no number
    except ValueError:
        wrong: str | None = "is no address"
    else:
        wrong = _wrong(parts)
    if wrong is None:
        return url
    raise ConfigurationError(f"{name} {wrong}.", remedy="Write it like https://api.example.com/v3.0.")


def _wrong(parts: SplitResult) -> str | None:
    if parts.scheme not in ("http", "https"):
        return "begins with neither http:// nor https://"
    if not parts.hostname:
        return "names no host"
    if "@" in parts.netloc:
        return "holds a login: the key is set by itself"
    if parts.query or parts.fragment:
        return "has a query or a fragment: an address with a path is wanted"
    return None


def _check_numbers(settings: ClientSettings) -> None:
    wholes = {"max_concurrent": settings.max_concurrent, "retry_attempts": settings.retry_attempts}
    spans = {"rate_limit": settings.rate_limit, "timeout": settings.timeout}
    for name, value in (wholes | spans).items():
        if not value > 0 or value == float("inf"):
            raise ConfigurationError(f"{name} is {value!r}: a number above 0 is wanted.", **settings.where)
    if settings.allowance is not None and settings.allowance < 0:
        raise ConfigurationError(f"allowance is {settings.allowance}: it cannot be negative.", **settings.where)


def _check_header(name: str, value: str, key_name: str) -> None:
    if not value.isascii() or not value.isprintable() or value != value.strip():
        # the client would say so with the value in its sentence
        raise ConfigurationError(
            f"{key_name} holds what no HTTP header {name} can: blanks at an end, line breaks, or letters beyond ASCII.",
            remedy=f"Correct {key_name}.",
        )
