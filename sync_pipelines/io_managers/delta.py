"""Delta under Dagster: change sets are written, and downstream assets get the synced rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import dagster as dg

from sync_pipelines.engine.model import ChangeSet
from sync_pipelines.failures import as_dagster_failure
from sync_pipelines.io_managers.base import change_window, plain, synced, wanted_kind, write_changes
from sync_pipelines.resources.databricks import DatabricksResource
from sync_pipelines.resources.delta import DeltaResource
from sync_pipelines.resources.lake import Engine, in_databricks


class DeltaIOManager(dg.ConfigurableIOManager):
    """Writes a change set to its table; reads a table as DataFrame, Arrow table, lazy frame or handle.

    A downstream asset says by its type annotation what it gets: `pandas.DataFrame`, `pyarrow.Table`,
    `pyarrow.RecordBatchReader` (a stream), `polars.LazyFrame`, `duckdb.DuckDBPyRelation` or `deltalake.DeltaTable`.
    Partitioned alike, it gets its window; else all rows. The input's metadata may narrow it, which the reader of
    the files does: `dg.AssetIn(metadata={"columns": ["id", "status"], "where": "status = 'done'"})`.
    """

    delta: DeltaResource
    databricks: DatabricksResource

    def handle_output(self, context: dg.OutputContext, obj: ChangeSet) -> None:
        write_changes(context, obj)

    def load_input(self, context: dg.InputContext) -> Any:
        table, engine = synced(context, "delta/table", "delta/engine", kind="a Delta sync")
        asked = context.definition_metadata or {}
        upstream = context.upstream_output
        changed_at = plain((upstream.definition_metadata if upstream else {}).get("delta/changed_at"))
        with as_dagster_failure():
            from sync_pipelines.targets.lake.input import Wanted

            wanted = Wanted(
                kind=wanted_kind(context, _KINDS),
                columns=_names(asked.get("columns")),
                where=plain(asked.get("where")),
                changed_at=changed_at,
                window=change_window(context) if changed_at else None,
            )
            return self._read(cast(Engine, engine), table, wanted)

    def _read(self, engine: Engine, table: str, wanted: Any) -> Any:
        if in_databricks(engine, self):
            from sync_pipelines.targets.databricks.input import read_table

            return read_table(self.databricks.settings(), table, wanted)
        from sync_pipelines.targets.delta.input import read_table

        return read_table(self.delta.settings(), table, wanted)


def _names(columns: Any) -> Sequence[str] | None:
    found = plain(columns)
    if found is None or isinstance(found, str):  # which is refused: it would be taken letter by letter
        return found
    return tuple(str(name) for name in found)


_KINDS = {
    ("pandas", "DataFrame"): "pandas",
    ("pyarrow", "Table"): "arrow",
    ("pyarrow", "RecordBatchReader"): "stream",
    ("polars", "LazyFrame"): "polars",
    ("duckdb", "DuckDBPyRelation"): "duckdb",
    ("_duckdb", "DuckDBPyRelation"): "duckdb",
    ("deltalake", "DeltaTable"): "handle",
}
