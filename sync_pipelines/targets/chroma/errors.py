"""Chroma's and its transport's errors as the failure classes of DESIGN.md §4, decided here and nowhere else."""

from __future__ import annotations

from sync_pipelines.engine.error_links import links_of
from sync_pipelines.engine.errors import (
    ConfigurationError,
    RecordError,
    RunError,
    SyncError,
    TargetChangedError,
    TransientError,
    redact,
)
from sync_pipelines.targets.retries import retry_after_seconds

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529}
_RECORD = {400, 413, 422}
_BY_NAME = {"InvalidArgumentError": 400, "DuplicateIDError": 400, "BatchSizeExceededError": 413, "QuotaError": 413}


_NO_WRITES = ("disk I/O error", "database or disk is full", "No space left on device", "readonly database")
"""SQLite's words, in an answer with status 500: waiting does not mend these."""

_PERHAPS_NO_ROOM = "Failed to apply logs to the metadata segment"
"""What Chroma 1.5.9 says instead where the disk becomes full while it compacts; there may be other causes."""

_FREE_SPACE = "Free space on the disk of Chroma's server and restart it: after a failed write it answers nobody."

_BEING_DROPPED = "Missing field: [Missing"
"""Chroma 1.5.9 drops a collection's segments before the collection: in between it says this."""


class CollectionGoneError(RunError):
    """The collection is not there (any more)."""


def classify(
    error: BaseException, *, doing: str, place: dict[str, str | None], secrets: tuple[str, ...] = ()
) -> SyncError:
    """The error as one of ours.

    Args:
        error: what Chroma's client raised; its status stands in Chroma's own error classes, or in the
            httpx error that lies below a plain `Exception` or `ValueError`.
        doing: what was tried, for the sentence (`write to collection "x"`).
        place: sync and table.
        secrets: texts that must not appear.
    """
    if isinstance(error, SyncError):
        return error
    text = _text(error, secrets)
    message = f"Chroma: {doing} failed: {text}."
    transport = _transport(error)
    if transport is not None:
        return transport(f"Chroma does not answer ({doing}): {text}.", place)
    status, retry_after = _status(error)
    if "expecting embedding with dimension" in text:
        return TargetChangedError(
            message, remedy="Run the sync with `mode: rebuild`: the collection was built with another model.", **place
        )
    if status in (401, 403):
        return ConfigurationError(
            message, remedy="Check CHROMA_TOKEN or CHROMA_HEADERS, CHROMA_TENANT and CHROMA_DATABASE.", **place
        )
    if status == 404 or _BEING_DROPPED in text:
        return CollectionGoneError(message, remedy="Run the sync again: it makes the collection anew.", **place)
    if any(words in text for words in _NO_WRITES):
        return RunError(message, remedy=_FREE_SPACE, **place)
    if status in _TRANSIENT:
        remedy = f"Is its disk full? {_FREE_SPACE}" if _PERHAPS_NO_ROOM in text else None
        return TransientError(message, retry_after=retry_after, remedy=remedy, **place)
    if status in _RECORD or isinstance(error, ValueError | TypeError):
        return RecordError(message, **place)
    return RunError(message, **place)


def _text(error: BaseException, secrets: tuple[str, ...]) -> str:
    # chromadb asks whether it is running, as the remedy does
    text = str(error).replace("Are you sure it is running?", "").strip().rstrip(".") or type(error).__name__
    for secret in secrets:
        text = text.replace(secret, "***")
    text = redact(text)  # before it is cut: half a secret is no longer known as one
    return text if len(text) <= 500 else text[:500] + "…"


def _transport(error: BaseException):  # type: ignore[no-untyped-def]
    import httpx

    for link in links_of(error):
        if isinstance(link, httpx.InvalidURL | httpx.UnsupportedProtocol):
            return lambda text, place: ConfigurationError(text, remedy="Check CHROMA_URL (http://host:port).", **place)
        if isinstance(link, httpx.TransportError | ConnectionError | TimeoutError):
            return lambda text, place: TransientError(text, remedy="Is the server running (CHROMA_URL)?", **place)
    return None


def _status(error: BaseException) -> tuple[int | None, float | None]:
    """HTTP status and Retry-After, from wherever the client left them."""
    import httpx
    from chromadb.errors import ChromaError

    for link in links_of(error):
        if isinstance(link, httpx.HTTPStatusError):
            return link.response.status_code, retry_after_seconds(link.response.headers.get("retry-after"))
    for link in links_of(error):
        if isinstance(link, ChromaError):
            return _BY_NAME.get(type(link).__name__) or link.code(), None
    return None, None
