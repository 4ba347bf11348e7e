"""Delta under Dagster: change sets are written, and downstream assets get the synced rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from sync_pipelines.engine.model import ChangeSet
from sync_pipelines.failures import as_dagster_failure
from sync_pipelines.io_managers.base import change_window, write_changes
from sync_pipelines.resources.delta import DeltaResource


class DeltaIOManager(dg.ConfigurableIOManager):
    """Writes a change set to its table; reads a table as DataFrame, Arrow table, lazy frame or handle.

    A downstream asset says by its type annotation what it gets: `pandas.DataFrame`, `pyarrow.Table`,
    `pyarrow.RecordBatchReader` (a stream), `polars.LazyFrame`, `duckdb.DuckDBPyRelation` or `deltalake.DeltaTable`.
    Partitioned alike, it gets its window; else all rows. The input's metadata may narrow it, which the reader of
    the files does: `dg.AssetIn(metadata={"columns": ["id", "status"], "where": "status = 'done'"})`.
    """

    delta: DeltaResource

    def handle_output(self, context: dg.OutputContext, obj: ChangeSet) -> None:
        write_changes(context, obj)

    def load_input(self, context: dg.InputContext) -> Any:
        upstream = context.upstream_output
        metadata = upstream.definition_metadata if upstream is not None else {}
        table = metadata.get("delta/table")
        if not table:
            raise dg.Failure(f"{context.asset_key.to_user_string()} is no table of a Delta sync.", allow_retries=False)
        asked = context.definition_metadata or {}
        window = change_window(context)
        changed_at = metadata.get("delta/changed_at")
        with as_dagster_failure():
            from sync_pipelines.targets.delta.input import Wanted, read_table

            return read_table(
                self.delta.settings(),
                str(getattr(table, "value", table)),
                Wanted(
                    kind=_annotation(context),
                    columns=_names(asked.get("columns")),
                    where=asked.get("where"),
                    changed_at=str(getattr(changed_at, "value", changed_at)) if changed_at else None,
                    window=window if changed_at else None,
                ),
            )


def _names(columns: Any) -> Sequence[str] | None:
    found = getattr(columns, "value", columns)
    return None if found is None else tuple(str(name) for name in found)


_KINDS = {
    ("pandas", "DataFrame"): "pandas",
    ("pyarrow", "Table"): "arrow",
    ("pyarrow", "RecordBatchReader"): "stream",
    ("polars", "LazyFrame"): "polars",
    ("duckdb", "DuckDBPyRelation"): "duckdb",
    ("_duckdb", "DuckDBPyRelation"): "duckdb",
    ("deltalake", "DeltaTable"): "handle",
}


def _annotation(context: dg.InputContext) -> str:
    kind = context.dagster_type.typing_type
    package = getattr(kind, "__module__", "").partition(".")[0]
    found = _KINDS.get((package, getattr(kind, "__qualname__", "")))
    if found is None:
        raise dg.Failure(
            f"input {context.name!r}: annotate it as pandas.DataFrame, pyarrow.Table, pyarrow.RecordBatchReader, "
            "polars.LazyFrame, duckdb.DuckDBPyRelation or deltalake.DeltaTable.",
            allow_retries=False,
        )
    return found
