"""What every IO manager of a sync does with a change set."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import dagster as dg
import pyarrow as pa
from dagster._core.errors import DagsterInvariantViolationError

from sync_pipelines.engine import run as engine
from sync_pipelines.engine.errors import SyncError
from sync_pipelines.engine.model import SYSTEM_FIELDS, ChangeSet, Counts
from sync_pipelines.failures import working_on
from sync_pipelines.plots import plot

_log = logging.getLogger(__name__)


def write_changes(context: dg.OutputContext, changes: ChangeSet) -> None:
    """Write, confirm, and say in the output's metadata what was done."""
    if not isinstance(changes, ChangeSet):
        raise dg.Failure(
            f"{context.asset_key.to_user_string()}: an asset with this IO manager returns a ChangeSet, "
            f"not {type(changes).__name__}.",
            allow_retries=False,
        )
    run = changes.run
    sync, table = run.place
    # closing the changes removes the file that says so; documents tell of the rows that they give
    columns = column_schema(getattr(changes.upserts, "columns", None) or changes.upserts.schema)
    started = time.monotonic()
    with working_on(sync, table, run_id=run.request.run_id, attempt=attempt_of(context)):
        counts = engine.write(changes)
    found = metadata_of(run, counts, time.monotonic() - started) | used(run)
    context.add_output_metadata(found | columns | history(context, run))


def synced(context: dg.InputContext, *fields: str, kind: str) -> tuple[str, ...]:
    """What the upstream asset's metadata says of its table under these fields.

    Raises:
        dg.Failure: it is no table of such a sync.
    """
    upstream = context.upstream_output
    metadata = upstream.definition_metadata if upstream is not None else {}
    found = [metadata.get(name) for name in fields]
    if not all(found):
        raise dg.Failure(f"{context.asset_key.to_user_string()} is no table of {kind}.", allow_retries=False)
    return tuple(str(plain(value)) for value in found)


def plain(value: Any) -> Any:
    """A metadata value as it was given: Dagster may wrap it."""
    return getattr(value, "value", value)


def wanted_kind(context: dg.InputContext, kinds: Mapping[tuple[str, str], str]) -> str:
    """What an input is annotated as, of (package, class) → name.

    Raises:
        dg.Failure: it is annotated as something else; the sentence lists what there is.
    """
    annotated = context.dagster_type.typing_type
    package = getattr(annotated, "__module__", "").partition(".")[0]
    found = kinds.get((package, getattr(annotated, "__qualname__", "")))
    if found is None:
        names = [".".join(kind) for kind in kinds if not kind[0].startswith("_")]
        raise dg.Failure(
            f"input {context.name!r}: annotate it as {', '.join(names[:-1])} or {names[-1]}.", allow_retries=False
        )
    return found


def attempt_of(context: dg.OutputContext) -> int | None:
    """How often the step was tried before; None outside of a run (`dg.build_output_context`)."""
    try:
        return context.step_context.previous_attempt_count
    except DagsterInvariantViolationError:
        return None


def column_schema(schema: pa.Schema) -> dict[str, Any]:
    """The source's columns that the sync reads, with their types in PostgreSQL, as the UI shows them."""
    system = {item.name for item in SYSTEM_FIELDS}
    columns = [
        dg.TableColumn(item.name, type=(item.metadata or {}).get(b"pg_type", str(item.type).encode()).decode())
        for item in schema
        if item.name not in system
    ]
    return {"dagster/column_schema": dg.TableSchema(columns)}


def metadata_of(run: Any, counts: Counts, seconds: float) -> dict[str, Any]:
    """The run's numbers, small: a range of partitions repeats them in every event."""
    done = counts.read + counts.deleted
    return {
        "dagster/row_count": run.held,
        "mode": run.request.mode + (f" ({run.reason})" if run.reason else ""),
        "read": counts.read,
        "upserted": counts.upserted,
        "metadata_only": counts.metadata_only,
        "unchanged": counts.unchanged,
        "deleted": counts.deleted,
        "quarantined": counts.quarantined,
        **({"kept": len(run.kept)} if run.kept else {}),
        "embedded_texts": counts.embedded_texts,
        "embedded_characters": counts.embedded_characters,
        "embedded_tokens": counts.embedded_tokens,
        **run.facts,
        "seconds": round(seconds, 3),
        "records_per_second": round(done / seconds, 1) if seconds > 0 else 0.0,
    }


def used(run: Any) -> dict[str, Any]:
    """What the run has used and cost, as numbers that Dagster plots; what is not known is left out."""
    usage = run.usage
    found = {
        "cpu_seconds": round(usage.cpu_seconds, 3),
        "peak_memory_bytes": usage.peak_memory,
        "bytes_read": run.counts.bytes_read,
        "bytes_written": run.counts.bytes,
        "files_rewritten": usage.files_rewritten,
        "warehouse_seconds": None if usage.warehouse_seconds is None else round(usage.warehouse_seconds, 3),
        "cost": None if run.cost is None else float(run.cost),
    }
    return {name: value for name, value in found.items() if value is not None}


def history(context: dg.OutputContext, run: Any) -> dict[str, Any]:
    """The table's last days as a picture; not in a range of partitions, which repeats it in every event."""
    if context.has_asset_partitions and len(context.asset_partition_keys) > 1:
        return {}
    try:
        with run.binding.ledger as ledger:
            return {"history": dg.MetadataValue.md(plot(ledger.days(*run.place)))}
    except SyncError as error:  # what was written is confirmed: a picture is no reason to fail
        _log.warning("There is no picture of the last days: %s", error)
        return {}


def change_window(context: dg.InputContext) -> tuple[datetime | None, datetime | None] | None:
    """The change-time window that the downstream partitions cover; None for all of the records."""
    if not context.has_asset_partitions:
        return None
    window = context.asset_partitions_time_window
    partitions = context.asset_partitions_def
    if not isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        return None
    first, newest = partitions.get_first_partition_window(), partitions.get_last_partition_window()
    # as in a sync: the first window reaches back without limit, the newest is open at its end
    start = None if first is not None and window.start <= first.start else window.start
    end = None if newest is not None and window.end >= newest.end else window.end
    return start, end
