"""What a warehouse says of a table as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sync_pipelines.engine.errors import RunError
from sync_pipelines.targets.databricks.errors import MissingTableError
from sync_pipelines.targets.databricks.settings import TableName
from sync_pipelines.targets.databricks.warehouse import Warehouse


def detail_of(warehouse: Warehouse, table: TableName) -> dict[str, Any] | None:
    """The row of DESCRIBE DETAIL, its properties as a dict; None where there is no such table.

    Raises:
        RunError: it is no Delta table.
    """
    try:
        batches = list(warehouse.stream(f"DESCRIBE DETAIL {table.sql}", doing=f"look at {table}"))
    except MissingTableError:
        return None
    (row,) = [row for batch in batches for row in batch.to_pylist()]
    if row.get("format") != "delta":
        raise RunError(
            f"{table} is no Delta table ({row.get('format')}).", remedy="Name another table.", **warehouse.place
        )
    return {**row, "properties": dict(row["properties"] or {})}


def is_clustered(detail: Mapping[str, Any] | None, columns: Sequence[str] | None = None) -> bool:
    """Whether a table has liquid clustering: by these columns, or by any."""
    found = [name.strip("`").replace("``", "`").casefold() for name in (detail or {}).get("clusteringColumns") or ()]
    return bool(found) if columns is None else found == [name.casefold() for name in columns]
