"""A table of Databricks for assets downstream and scripts, read through its warehouse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError, RunError
from sync_pipelines.targets.databricks import statements
from sync_pipelines.targets.databricks.errors import MissingTableError
from sync_pipelines.targets.databricks.settings import TableName, WarehouseSettings, quoted
from sync_pipelines.targets.databricks.types import read_schema, values_of
from sync_pipelines.targets.databricks.warehouse import Parameter, Warehouse
from sync_pipelines.targets.lake.input import Wanted, as_kind


def read_table(settings: WarehouseSettings, name: str, wanted: Wanted) -> Any:
    """The rows in the kind that is wanted.

    Raises:
        RunError: there is no such table. ConfigurationError: no such column, or a handle of delta-rs is asked for.
    """
    if wanted.kind == "handle":
        raise ConfigurationError(
            "a table of Databricks is not read by delta-rs.",
            remedy="Annotate the input as pyarrow.RecordBatchReader, a DataFrame or a lazy frame.",
        )
    warehouse, table = Warehouse(settings), settings.table(name)
    try:
        found = warehouse.columns(f"SELECT * FROM {table.sql} LIMIT 0", doing=f"look at the columns of {table}")
    except MissingTableError as error:
        raise RunError(f"there is no table {table} yet.", remedy="Run its sync first.") from error
    columns = dict(found)
    schema = read_schema(columns)
    chosen = wanted.chosen(schema, name)
    statement, given = query(table, columns, chosen.names, wanted)
    rows = _rows(warehouse, table, statement, given, chosen)
    return as_kind(wanted.kind, pa.RecordBatchReader.from_batches(chosen, rows))


def _rows(
    warehouse: Warehouse, table: TableName, statement: str, given: dict[str, Parameter], chosen: pa.Schema
) -> Iterator[pa.RecordBatch]:
    for batch in warehouse.stream(statement, doing=f"read table {table}", **given):
        yield batch.cast(chosen)


def query(
    table: TableName, columns: Mapping[str, str], chosen: Sequence[str], wanted: Wanted
) -> tuple[str, dict[str, Parameter]]:
    """The statement for the chosen columns of the rows that are asked for, and its parameters."""
    schema = read_schema(columns)
    conditions, given = ([f"({wanted.where})"] if wanted.where else []), {}
    for number, (operator, value) in enumerate(wanted.edges(schema)):
        column = str(wanted.changed_at)
        term, given[f"edge{number}"] = statements.bound(f"edge{number}", value, schema.field(column).type)
        conditions.append(wanted.edge(quoted(column), operator, term))
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {values_of(chosen, columns, table=table, place={})} FROM {table.sql}{where}", given
