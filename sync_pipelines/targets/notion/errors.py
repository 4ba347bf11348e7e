"""What Notion's answers and its client's errors mean (DESIGN.md §4, Failure classes); decided here alone."""

from __future__ import annotations

import ssl
from typing import Any

from sync_pipelines.engine.error_links import links_of
from sync_pipelines.engine.errors import ConfigurationError, RecordError, RunError, SyncError, TransientError, redact
from sync_pipelines.targets.retries import retry_after_seconds

_MOST = 500

_NOT_DONE = frozenset({409, 429})
"""A conflict was not saved, and what comes too fast is not looked at: these can be sent again whatever they ask."""

_TRANSIENT = frozenset({408, 409, 425, 429})


class DoubtfulError(TransientError):
    """No whole answer came: what was asked may have been done."""


class RateLimitedError(TransientError):
    """429: the connection, or its workspace, is asked for less."""


class GoneError(RecordError):
    """Notion finds no such page or block, or the connection may not see it."""


class RefusedError(RecordError):
    """Notion refuses this request for what it holds."""


class StartRefusedError(RefusedError):
    """Notion does not put blocks before the first one of a page: its API of 2025-09-03 may know no such place."""


class HiddenCommentsError(RecordError):
    """The connection may not read comments, so that nobody can tell whether people discuss what is to go."""


class RestrictedError(RunError):
    """The connection may not do this."""


def classify(error: Exception, doing: str, *, host: str, user: str, **where: Any) -> SyncError:
    """An error of notion_client, or of what is below it, as one of ours.

    Args:
        doing: what was tried, for the sentence (`write a page`). user: whose token it was tried with.
    """
    from notion_client.errors import HTTPResponseError, RequestTimeoutError

    if isinstance(error, SyncError):
        return error
    if isinstance(error, HTTPResponseError):
        return _of_an_answer(error, doing, host, user, where)
    if isinstance(error, RequestTimeoutError):
        return DoubtfulError(f"{host} gave no answer in time: could not {doing}.", **where)
    if isinstance(error, ValueError) and not isinstance(error, UnicodeError):  # a proxy's page in the place of JSON
        return DoubtfulError(f"{host} answers with something else than JSON: could not {doing}.", **where)
    return _of_the_way(error, doing, host, where)


def _of_an_answer(error: Any, doing: str, host: str, user: str, where: dict[str, Any]) -> SyncError:
    status = int(error.status)
    code = str(getattr(error.code, "value", error.code))
    text = _said(error, status, code)
    message = f"{host}: could not {doing}: {text}."
    after = retry_after_seconds(error.headers.get("retry-after"))
    if status == 429:
        return RateLimitedError(message, retry_after=after, **where)
    if status in _TRANSIENT or status >= 500:
        kind = TransientError if status in _NOT_DONE else DoubtfulError
        return kind(message, retry_after=after, **where)
    if status == 401:
        remedy = f"Give the user a token that is valid: `sync-pipelines users rotate {user}`."
        return ConfigurationError(message, remedy=remedy, **where)
    if status == 403:
        remedy = "Give the connection access to it in Notion, and the capabilities to read, insert and update."
        return RestrictedError(message, remedy=remedy, **where)
    if status == 404:
        return GoneError(message, remedy="Is it shared with the connection?", **where)
    return RefusedError(message, **where)


def _said(error: Any, status: int, code: str) -> str:
    """What Notion says: its own sentence, or the status where there is none."""
    words = redact(" ".join(str(error).split())).rstrip(".")
    said = f"{status} {code}" if code.isidentifier() and "notionhq" not in code else str(status)
    text = f"{words} ({said})" if words else f"it answers {said}"
    return text if len(text) <= _MOST else text[:_MOST] + "…"


def _of_the_way(error: Exception, doing: str, host: str, where: dict[str, Any]) -> SyncError:
    """An error of the connection."""
    import httpx

    text = redact(" ".join(str(error).split())) or type(error).__name__
    message = f"{host}: could not {doing}: {text} ({type(error).__name__})."
    if any(isinstance(link, ssl.SSLCertVerificationError) for link in links_of(error)):
        return ConfigurationError(message, remedy="Set SSL_CERT_FILE to the authority's.", **where)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return TransientError(message, **where)
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError | httpx.InvalidURL):
        return ConfigurationError(message, remedy="Check NOTION_BASE_URL.", **where)
    if isinstance(error, httpx.HTTPError | OSError):
        return DoubtfulError(message, **where)
    return RunError(message, **where)
