"""An embedding provider's errors as the failure classes of DESIGN.md §4, whichever library raised them."""

from __future__ import annotations

from typing import Any

from sync_pipelines.engine.error_links import links_of
from sync_pipelines.engine.errors import RecordError, RunError, SyncError, TransientError, redact
from sync_pipelines.targets.retries import retry_after_seconds

_TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}
_RECORD = {400, 413, 422}
_OUTAGES = (
    "timeout",
    "timedout",
    "connection",
    "connecterror",
    "unavailable",
    "ratelimit",
    "networkerror",
    "remoteprotocol",
)


class UnclearError(RecordError):
    """No status and no known class: the text's fault or the provider's; another text has to tell."""


def classify(error: BaseException, *, provider: str) -> SyncError:
    """A provider's error as one of ours.

    By status, where the error or one below it has one: 429, 5xx and the like are transient, 400, 413 and 422
    speak of the text, everything else (401, 403, 404, …) of the run. Else by kind: time-outs and lost
    connections are transient. The rest is unclear.
    """
    if isinstance(error, SyncError):
        return error
    message = f"embedding with {provider} failed: {_text(error)}."
    status, headers = _answer(error)
    if status in _TRANSIENT:
        return TransientError(message, retry_after=retry_after_seconds(headers.get("retry-after")))
    if status in _RECORD:
        return RecordError(message)
    if status is not None:
        return RunError(message, remedy="Check the provider's key, model and address.")
    if any(_is_outage(link) for link in links_of(error)):
        return TransientError(message)
    return UnclearError(message)


def _text(error: BaseException) -> str:
    # before it is cut: half a key is no longer known as one
    text = redact(f"{type(error).__name__}: {error}").strip().rstrip(".")
    return text if len(text) <= 500 else text[:500] + "…"


def _answer(error: BaseException) -> tuple[int | None, Any]:
    """Status and headers; openai, cohere, httpx, requests and google name them alike."""
    for link in links_of(error):
        response = getattr(link, "response", None)
        status = getattr(link, "status_code", None) or getattr(response, "status_code", None)
        status = status or getattr(link, "http_status", None) or getattr(link, "code", None)
        if isinstance(status, int) and not isinstance(status, bool) and 100 <= status < 600:
            return int(status), getattr(response, "headers", None) or getattr(link, "headers", None) or {}
    return None, {}


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return any(sign in kind.__name__.lower() for kind in type(error).__mro__ for sign in _OUTAGES)
