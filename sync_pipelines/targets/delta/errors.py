"""delta-rs's errors in the engine's three classes."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sync_pipelines.engine.errors import RunError, SyncError, TargetDamagedError, TransientError
from sync_pipelines.targets.lake.contention import ConflictError
from sync_pipelines.targets.lake.rules import BrokenRuleError

_AWAY = re.compile(
    r"connection|timed out|timeout|temporarily|reset by peer|broken pipe|500 internal|(?<![-/\w])(?:503|429)(?![-/\w])"
)
"""What passes; as numbers of their own, for names of files and tables hold these digits, too."""
_REFUSED = (
    "accessdenied",
    "access denied",
    "permission denied",
    "operation not permitted",
    "read-only file system",
    "forbidden",
    "unauthorized",
    "invalidaccesskey",
)
_FULL = ("no space left", "disk quota", "disk full")
_COLOURS = re.compile(r"\x1b\[[\d;]*m↳?")
"""delta-rs colours the steps of an error for a terminal; it stands in logs, in metadata and in alerts."""
_FRAMES = re.compile(r"\n\s*0: <unknown>.*", re.DOTALL)
"""Where it was raised, frame by frame: that is for delta-rs's makers."""
_DAMAGED = (
    "no such file",
    "object at location",
    "parquet file size is 0",
    "parquet magic bytes",
    "not a parquet",
    "end of file",
)
"""Of a file that the table's log names."""
_BROKEN_LOG = ("json error", "invalid json")
_UNREADABLE = "unsupported table features required"
"""Of a table with a feature that delta-rs cannot even read, such as widened types."""
_RULES = ("failed validation check", "non-nullable but contains null")
"""Of rows that a constraint, a generated column or NOT NULL refuses; a picture of them follows, with all values."""
_FEATURES = ("unsupported", "not supported", "feature", "protocol")


@contextmanager
def delta_errors(doing: str, *, sync: str | None, table: str | None) -> Generator[None]:
    """What delta-rs raises within the block, as the engine's classes.

    Args:
        doing: what was tried, for the sentence (`write the table`).
    """
    try:
        yield
    except SyncError:
        raise
    except Exception as error:
        if not _of_the_client(error):
            raise
        if _any(_RULES, str(error)):
            raise _of_a_rule(doing, sync, table) from None  # what is below an error is shown, too
        raise _classified(error, doing, sync, table) from error


def _of_a_rule(doing: str, sync: str | None, table: str | None) -> SyncError:
    return BrokenRuleError(
        f"Delta: could not {doing}: a rule of the table (NOT NULL, a CHECK constraint, a generated column) forbids it.",
        sync=sync,
        table=table,
        remedy="Mend the record in the source, or take the rule from the table.",
    )


def _of_the_client(error: Exception) -> bool:
    module = type(error).__module__
    if type(error) is Exception:  # so it raises what Arrow refuses: a type, a cast
        return True
    return isinstance(error, OSError) or module == "_internal" or module.startswith(("deltalake", "pyarrow"))


def _classified(error: Exception, doing: str, sync: str | None, table: str | None) -> SyncError:
    text = " ".join(_COLOURS.sub("", _FRAMES.sub("", str(error))).split())
    folded = text.casefold()
    where: dict[str, Any] = {"sync": sync, "table": table}
    if type(error).__name__ == "CommitFailedError" and not _any(_FEATURES, folded):
        return ConflictError(f"Delta: could not {doing}: another writer has committed: {text}.", **where)
    if _any(_REFUSED, folded) or isinstance(error, PermissionError):
        return RunError(
            f"Delta: could not {doing}: access was refused: {text}.",
            remedy="Check the rights of this process, or the store's credentials (AWS_…, AZURE_…, GOOGLE_…).",
            **where,
        )
    if _any(_FULL, folded):
        return RunError(f"Delta: could not {doing}: there is no room: {text}.", remedy="Free space there.", **where)
    if _AWAY.search(folded) and type(error).__name__ != "SchemaMismatchError":
        return TransientError(f"Delta: could not {doing}: {text}.", **where)
    if _UNREADABLE in folded:
        remedy = "Read it by Databricks, or drop the feature there: ALTER TABLE … DROP FEATURE …."
        return RunError(f"Delta: could not {doing}: {text}.", remedy=remedy, **where)
    if doing.startswith("open") and _any(_BROKEN_LOG, folded):
        remedy = "Bring its _delta_log back; a table that a sync writes is made anew once its folder is moved away."
        return RunError(f"Delta: could not {doing}: {text}.", remedy=remedy, **where)
    if not doing.startswith("open") and _any(_DAMAGED, folded):
        return TargetDamagedError(
            f"Delta: could not {doing}: a file of it is gone or broken: {text}.",
            remedy="Bring it back, or restore an earlier version; what a sync writes is made anew by --rebuild.",
            **where,
        )
    return RunError(f"Delta: could not {doing}: {text}.", **where)


def _any(words: tuple[str, ...], text: str) -> bool:
    return any(word in text for word in words)
