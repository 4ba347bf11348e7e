"""A Delta table for assets downstream and scripts, read by delta-rs."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from sync_pipelines.engine.errors import RunError
from sync_pipelines.targets.delta.settings import DeltaSettings
from sync_pipelines.targets.delta.store import DeltaStore, name_of
from sync_pipelines.targets.delta.writing import value_literal
from sync_pipelines.targets.lake.input import Wanted, as_kind
from sync_pipelines.targets.retries import RetryPolicy


def read_table(settings: DeltaSettings, name: str, wanted: Wanted) -> Any:
    """The rows in the kind that is wanted.

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
    chosen = wanted.chosen(schema, name)
    rows = store.scan(table, chosen.names, _predicate(schema, wanted))
    return as_kind(wanted.kind, pa.RecordBatchReader.from_batches(chosen, rows))


def _predicate(schema: pa.Schema, wanted: Wanted) -> str | None:
    found = [f"({wanted.where})"] if wanted.where else []
    for operator, value in wanted.edges(schema):
        column = str(wanted.changed_at)
        found.append(wanted.edge(name_of(column), operator, value_literal(value, schema.field(column).type)))
    return " AND ".join(found) or None
