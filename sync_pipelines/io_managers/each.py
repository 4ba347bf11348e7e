"""Runs of several users within one step: one after the other, and none stops the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from sync_pipelines import log
from sync_pipelines.engine import run as engine
from sync_pipelines.engine.errors import RunError, SyncError, TransientError, redact
from sync_pipelines.engine.model import ChangeSet
from sync_pipelines.failures import as_dagster_failure
from sync_pipelines.io_managers.base import attempt_of, column_schema, history, metadata_of, used

_log = logging.getLogger(__name__)

_SHOWN = ("dagster/row_count", "mode", "read", "upserted", "unchanged", "deleted", "quarantined", "seconds")
_TOLD = ("requests", "requests_per_page")


@dataclass(frozen=True, kw_only=True)
class Each:
    """What an asset of a kind with users returns.

    Args:
        sync: the sync. runs: by table (`pages:ann`), what opens its run; it is written before the next is opened.
    """

    sync: str
    runs: Mapping[str, Callable[[], ChangeSet]]


def write_each(context: dg.OutputContext, each: Each) -> None:
    """Write and confirm the changes of each; the output's metadata says what was done.

    Raises:
        dg.Failure: it failed for some of them; the sentence says for whom and why, and the others are synced.
        dg.RetryRequested: for a passing reason alone: whoever is done has nothing to do then.
    """
    done: dict[str, dict[str, Any]] = {}
    errors: dict[str, SyncError] = {}
    for table, opens in each.runs.items():
        with log.log_context(sync=each.sync, table=table, run_id=context.run_id):
            try:
                done[table] = _write(context, opens)
            except SyncError as error:
                errors[table] = error
            except Exception as error:
                if len(each.runs) == 1:
                    raise
                # one user's fault must not stop the others; what a client says of it is not ours to word
                errors[table] = RunError(redact(f"{type(error).__name__}: {error}"), sync=each.sync, table=table)
    if done:
        context.add_output_metadata(_metadata(done))
    if errors:
        with as_dagster_failure(attempt=attempt_of(context)):
            raise _of_all(errors, of=len(each.runs))


def _write(context: dg.OutputContext, opens: Callable[[], ChangeSet]) -> dict[str, Any]:
    """One run, to its end; what is to be said of it."""
    log.ensure_configured()
    changes = opens()
    # closing the changes removes the file that says so
    columns = column_schema(getattr(changes.upserts, "columns", None) or changes.upserts.schema)
    started = time.monotonic()
    counts = engine.write(changes)
    run = changes.run
    told = getattr(run.binding.target, "told", dict)()  # what it counts by itself, where it does
    return metadata_of(run, counts, time.monotonic() - started) | told | used(run) | columns | history(context, run)


def _metadata(done: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Of one run all that there is to say; of several a table."""
    if len(done) == 1:
        return next(iter(done.values()))
    shown = [*_SHOWN, *(name for name in _TOLD if any(name in found for found in done.values()))]
    rows = [
        dg.TableRecord({"table": table, **{name: found.get(name) for name in shown}}) for table, found in done.items()
    ]
    total = sum(found["dagster/row_count"] for found in done.values())
    return {"dagster/row_count": total, "users": dg.MetadataValue.table(rows)}


def _of_all(errors: Mapping[str, SyncError], *, of: int) -> SyncError:
    """What is raised of them: one's own error, else one that names all of them."""
    if of == 1:
        return next(iter(errors.values()))
    told = f"{len(errors)} of {of} users were not synced. {' '.join(map(str, errors.values()))}"
    passing = [error for error in errors.values() if isinstance(error, TransientError)]
    if len(passing) < len(errors):
        return RunError(told)
    return TransientError(told, retry_after=max((error.retry_after or 0.0 for error in passing), default=0.0) or None)
