"""Databricks' errors in the engine's three classes: those of its HTTP front, and those of statements that failed.

The SDK itself tries again what answers 429 or 503 and what does not answer at all, for up to five minutes and with
Retry-After honoured; nothing here does it a second time.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sync_pipelines.engine.errors import (
    ConfigurationError,
    RunError,
    SyncError,
    TargetChangedError,
    TransientError,
    redact,
)
from sync_pipelines.targets.lake.contention import ConflictError
from sync_pipelines.targets.lake.rules import BrokenRuleError

_CONFLICT = re.compile(
    r"DELTA_(CONCURRENT_\w+|METADATA_CHANGED|PROTOCOL_CHANGED)|Concurrent(Append|Write|DeleteRead|DeleteDelete|"
    r"Transaction)\w*Exception|(Metadata|Protocol)ChangedException"
)
_MISSING = re.compile(r"TABLE_OR_VIEW_NOT_FOUND|DELTA_TABLE_NOT_FOUND|DELTA_MISSING_DELTA_TABLE|is not a Delta table")
_NO_SCHEMA = re.compile(r"SCHEMA_NOT_FOUND|NO_SUCH_CATALOG|CATALOG_NOT_FOUND|NO_SUCH_SCHEMA")
_DENIED = re.compile(r"PERMISSION_DENIED|INSUFFICIENT_P\w+|does not have \S+ (privilege|permission)", re.IGNORECASE)
_AWAY = re.compile(r"TEMPORARILY_UNAVAILABLE|RESOURCE_EXHAUSTED|DEADLINE_EXCEEDED|SERVICE_UNDER_MAINTENANCE|IO_ERROR")
_FEATURE = re.compile(r"DELTA_UNSUPPORTED_FEATURES_FOR_(READ|WRITE)|DELTA_INVALID_PROTOCOL_VERSION")
_RULE = re.compile(
    r"((?:CHECK constraint .{1,300}?|NOT NULL constraint) violated)\b"
    r"(?: by row with values.*|( for column: [^.\n]+).*)",
    re.DOTALL,
)
"""Of rows that a rule of the table refuses; their values follow."""
_NAMES = re.compile(r"\b(Schema|Catalog) '", re.I)
_NAMELESS = "Check the name, DATABRICKS_CATALOG and DATABRICKS_SCHEMA, or make it (CREATE SCHEMA)."
_NOWHERE = "Check DATABRICKS_HTTP_PATH (the warehouse) and DATABRICKS_VOLUME (CREATE VOLUME)."
_MOST_TEXT = 600


class MissingTableError(RunError):
    """The statement's table is not there."""


@contextmanager
def databricks_errors(doing: str, place: dict[str, Any], *, nowhere: str | None = None) -> Generator[None]:
    """What the SDK raises within the block, as the engine's classes.

    Args:
        doing: what was tried, for the sentence (`stage rows`). place: sync and table.
        nowhere: the remedy where what was named is not there, if it is another than the settings.
    """
    try:
        yield
    except SyncError:
        raise
    except Exception as error:
        raised = _of_http(error, doing, place, nowhere)
        if raised is None:
            raise
        raise raised from error


def _of_http(error: Exception, doing: str, place: dict[str, Any], nowhere: str | None) -> SyncError | None:
    import requests
    from databricks.sdk import errors as sdk

    message = f"Databricks: could not {doing}: {_text(error)}."
    if isinstance(error, sdk.Unauthenticated | sdk.PermissionDenied):
        return ConfigurationError(
            message, remedy="Check DATABRICKS_HOST, DATABRICKS_TOKEN and the grants of its user.", **place
        )
    if isinstance(error, sdk.NotFound):
        usual = _NAMELESS if _NAMES.search(message) else _NOWHERE
        return ConfigurationError(message, remedy=nowhere or usual, **place)
    if isinstance(error, sdk.TooManyRequests | sdk.TemporarilyUnavailable | sdk.InternalError | sdk.DeadlineExceeded):
        return TransientError(message, retry_after=getattr(error, "retry_after_secs", None), **place)
    if isinstance(error, sdk.DatabricksError):
        return RunError(message, **place)
    if isinstance(error, requests.RequestException | TimeoutError | ConnectionError):
        return TransientError(
            f"Databricks does not answer ({doing}): {_text(error)}.", remedy="Is DATABRICKS_HOST right?", **place
        )
    if isinstance(error, ValueError) and "auth" in str(error):
        return ConfigurationError(message, remedy="Set DATABRICKS_TOKEN, or log in with the databricks CLI.", **place)
    return None


def of_statement(code: str, text: str, doing: str, place: dict[str, Any]) -> SyncError:
    """What a statement that FAILED says.

    Args:
        code: the service's error code. text: its message, with Delta's or Spark's own code in it.
    """
    if rule := _RULE.search(text):
        return BrokenRuleError(
            f"Databricks: could not {doing}: {_short(rule[1] + (rule[2] or ''))}.",
            remedy="Mend the record in the source, or take the rule from the table.",
            **place,
        )
    said = _short(text)
    message = f"Databricks: could not {doing}: {said}."
    if _CONFLICT.search(text):
        return ConflictError(f"Databricks: could not {doing}: another writer has committed: {said}.", **place)
    if _MISSING.search(text):
        return MissingTableError(message, remedy="Run it again.", **place)
    if _NO_SCHEMA.search(text):
        return ConfigurationError(
            message,
            remedy="Check DATABRICKS_CATALOG and DATABRICKS_SCHEMA, or make the schema (CREATE SCHEMA).",
            **place,
        )
    if _DENIED.search(text):
        return ConfigurationError(
            message, remedy="Grant the token's user what README names under Going to Databricks.", **place
        )
    if _FEATURE.search(text):
        return TargetChangedError(
            message, remedy="This warehouse is too old for the table: choose a newer one (channel).", **place
        )
    if _AWAY.search(code) or _AWAY.search(text):
        return TransientError(message, **place)
    return RunError(message, **place)


def _text(error: Exception) -> str:
    return _short(str(error) or type(error).__name__)


def _short(text: str) -> str:
    found = redact(" ".join(text.split())).rstrip(".")  # before it is cut: half a secret is no longer known as one
    return found if len(found) <= _MOST_TEXT else found[:_MOST_TEXT] + "…"
