"""A Delta table for assets downstream and scripts: the columns and rows that are asked for, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError, RunError
from sync_pipelines.engine.model import FINGERPRINT, KEY
from sync_pipelines.targets.delta.settings import DeltaSettings
from sync_pipelines.targets.delta.store import DeltaStore, name_of
from sync_pipelines.targets.delta.writing import value_literal
from sync_pipelines.targets.retries import RetryPolicy


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What of a table is asked for, and as what.

    Args:
        kind: pandas, arrow, stream, polars, duckdb, or handle (delta-rs's own).
        columns: None for all but the sync's own `_key` and `_fingerprint`. where: a condition in SQL.
        window: of change time, in the column `changed_at`; half-open, None is unlimited.
    """

    kind: str = "arrow"
    columns: Sequence[str] | None = None
    where: Any = None
    changed_at: str | None = None
    window: tuple[datetime | None, datetime | None] | None = None


def read_table(settings: DeltaSettings, name: str, wanted: Wanted) -> Any:
    """The rows in the kind that is wanted; polars and duckdb must be installed where they are asked for.

    Raises:
        RunError: there is no such table. ConfigurationError: no such column.
    """
    store = DeltaStore(settings, name, sync=None, table=None, retry=RetryPolicy())
    table = store.open()
    if table is None:
        raise RunError(f"there is no Delta table {name!r} below {settings.uri!r} yet.", remedy="Run its sync first.")
    if wanted.kind == "handle":
        return table
    schema = store.schema_of(table)
    columns = (
        [name for name in schema.names if name not in (KEY, FINGERPRINT)] if wanted.columns is None else wanted.columns
    )
    if unknown := [name for name in columns if name not in schema.names]:
        raise ConfigurationError(f"the Delta table {name!r} has no column {', '.join(unknown)}.")
    chosen = pa.schema([schema.field(name) for name in columns])
    reader = pa.RecordBatchReader.from_batches(chosen, store.scan(table, list(columns), _predicate(schema, wanted)))
    return _as(wanted.kind, reader)


def _predicate(schema: pa.Schema, wanted: Wanted) -> str | None:
    found = [f"({wanted.where})"] if wanted.where else []
    if wanted.window and wanted.changed_at:
        kind = schema.field(wanted.changed_at).type
        name = name_of(wanted.changed_at)
        start, end = (None if edge is None else _edge(edge, kind) for edge in wanted.window)
        found += [f"{name} >= {value_literal(start, kind)}"] if start else []
        found += [f"{name} < {value_literal(end, kind)}"] if end else []
    return " AND ".join(found) or None


def _edge(moment: datetime, kind: pa.DataType) -> Any:
    if pa.types.is_date(kind):
        return moment.date()
    return moment if kind.tz else moment.replace(tzinfo=None)


def _as(kind: str, reader: pa.RecordBatchReader) -> Any:
    if kind == "stream":
        return reader
    if kind == "polars":
        import polars

        return polars.DataFrame(reader.read_all()).lazy()
    if kind == "duckdb":
        import duckdb

        return duckdb.from_arrow(reader)
    return reader.read_all().to_pandas() if kind == "pandas" else reader.read_all()
