"""The driver's and the server's errors as the failure classes of DESIGN.md §4, decided here and nowhere else."""

from __future__ import annotations

import ssl
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sync_pipelines.engine.error_links import links_of
from sync_pipelines.engine.errors import (
    ConfigurationError,
    RecordError,
    RunError,
    SyncError,
    TransientError,
    redact,
)

_LOGIN = "Check NEO4J_USER and NEO4J_PASSWORD."
_LOST_LOGIN = "credentials of this connection are no longer valid"
"""What ArcadeDB answers on connections that have long logged in, while it stops."""

_MOST = 500

_OF_RECORDS = (
    "Neo.ClientError.Statement.TypeError",
    "Neo.ClientError.Statement.ArgumentError",
    "Neo.ClientError.Schema.ConstraintValidationFailed",
    # a key that is too long for an index: so say Neo4j, and ArcadeDB at the commit
    "Neo.DatabaseError.Statement.ExecutionFailed",
    "Neo.DatabaseError.Transaction.TransactionCommitFailed",
    "Neo.ClientError.Transaction.TransactionNotFound",
)
"""Codes that one row of a batch may have caused; found by halves, the last one is tried twice."""

_INDEXED = "Neo.ClientError.Schema.IndexAlreadyExists"
"""Somebody's own index stands where the constraint would make one: Neo4j has no two of the same."""

_FULL = ("No space left on device", "disk is full", "disk quota")


@contextmanager
def graph_errors(
    doing: str, *, place: str, sync: str | None, table: str | None, quiet: bool = False
) -> Generator[None]:
    """What the driver raises within the block, as the engine's classes.

    Args:
        doing: what was tried, for the sentence (`write to label 'Concept'`).
        place: the graph. quiet: what the server says may hold values that nobody is shown; it is left out.

    A run that is cancelled while the driver sends is interrupted there, and what its session says as it closes is what
    follows from that: the interrupt goes on, or the run would have failed.
    """
    try:
        yield
    except Exception as error:
        if (interrupt := _interrupt_behind(error)) is not None:
            raise interrupt from None
        if isinstance(error, SyncError) or not _of_the_driver(error):
            raise
        raise classify(error, doing, place=place, quiet=quiet, sync=sync, table=table) from error


def _interrupt_behind(error: BaseException) -> BaseException | None:
    return next((link for link in links_of(error) if not isinstance(link, Exception)), None)


def _of_the_driver(error: Exception) -> bool:
    return type(error).__module__.startswith("neo4j.") or isinstance(error, OSError | ssl.SSLError)


def classify(error: BaseException, doing: str, *, place: str, quiet: bool = False, **where: Any) -> SyncError:
    """The error as one of ours."""
    from neo4j.exceptions import Neo4jError

    if not isinstance(error, Neo4jError):
        return _of_the_way(error, doing, place, where)
    code = error.code or ""
    said = f"the server answers {code}" if quiet else f"{_text(error.message or str(error))} ({code})"
    message = f"Graph {place}: could not {doing}: {said}."
    if (found := _of_the_login(code, message, where)) is not None:
        return found
    if any(words in str(error) for words in _FULL):
        return RunError(message, remedy="Free space on the disk of the graph's server.", **where)
    if code == _INDEXED:
        return RunError(message, remedy="Drop that index (SHOW INDEXES names it): the constraint brings one.", **where)
    if error.is_retryable():
        return TransientError(message, **where)
    return (RecordError if code in _OF_RECORDS else RunError)(message, **where)


def _of_the_login(code: str, message: str, where: dict[str, Any]) -> SyncError | None:
    if code.endswith("Security.AuthenticationRateLimit"):
        # whoever was wrong three times, that user is locked out for some seconds
        return TransientError(f"{message.rstrip('.')}: too many wrong passwords.", remedy=_LOGIN, **where)
    if _LOST_LOGIN in message:
        remedy = "A server that stops says so; the next connection tells whether NEO4J_USER and NEO4J_PASSWORD hold."
        return TransientError(message, remedy=remedy, **where)
    if code.endswith("Security.Forbidden"):
        remedy = "Give the user of NEO4J_USER the right to read, write and make constraints in NEO4J_DATABASE."
        return RunError(message, remedy=remedy, **where)
    if ".Security." in code and "TokenExpired" not in code and "AuthorizationExpired" not in code:
        return ConfigurationError(message, remedy=_LOGIN, **where)
    if code.startswith("Neo.ClientError.Database."):
        return ConfigurationError(message, remedy="Check NEO4J_DATABASE.", **where)
    return None


def _of_the_way(error: BaseException, doing: str, place: str, where: dict[str, Any]) -> SyncError:
    """An error of the driver itself, or of the connection."""
    from neo4j import exceptions

    text = _text(str(error))
    message = f"Graph {place}: could not {doing}: {text}."
    if any(isinstance(link, ssl.SSLCertVerificationError) for link in links_of(error)):
        remedy = "Take the scheme +ssc for a certificate that its own server has signed."
        return ConfigurationError(message, remedy=remedy, **where)
    if isinstance(error, exceptions.ConfigurationError | exceptions.AuthConfigurationError):
        return ConfigurationError(message, remedy="Check NEO4J_URI.", **where)
    # a commit whose answer was lost, the driver does not try again: it may be there, for which our statements are fit
    lost = isinstance(error, exceptions.IncompleteCommit)
    if lost or isinstance(error, OSError) or (isinstance(error, exceptions.DriverError) and error.is_retryable()):
        # what was tried is left out: an outage is one sentence, whichever of the graph's tables asks
        away = f"Graph {place} does not answer: {text}."
        return TransientError(away, remedy="Is the server running (NEO4J_URI)?", **where)
    return RunError(message, **where)


def _text(said: str) -> str:
    text = redact(" ".join(said.split())).rstrip(".") or "no reason was given"  # redacted before it is cut
    return text if len(text) <= _MOST else text[:_MOST] + "…"
