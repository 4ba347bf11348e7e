"""PostgreSQL as a target under Dagster: change sets are written, and downstream assets get the synced rows."""

from __future__ import annotations

from typing import Any

import dagster as dg

from sync_pipelines.engine.frames import in_pandas
from sync_pipelines.engine.model import ChangeSet
from sync_pipelines.failures import as_dagster_failure
from sync_pipelines.io_managers.base import plain, synced, wanted_kind, write_changes
from sync_pipelines.resources.postgres import PostgresResource


class PostgresIOManager(dg.ConfigurableIOManager):
    """Writes a change set to its table; reads a table as `pandas.DataFrame` or `pyarrow.Table`.

    An input gets all rows; its metadata may narrow the columns: `dg.AssetIn(metadata={"columns": ["id"]})`.
    """

    postgres: PostgresResource

    def handle_output(self, context: dg.OutputContext, obj: ChangeSet) -> None:
        write_changes(context, obj)

    def load_input(self, context: dg.InputContext) -> Any:
        table, connection = synced(context, "postgres/table", "postgres/connection", kind="a sync to PostgreSQL")
        columns = plain((context.definition_metadata or {}).get("columns"))
        with as_dagster_failure():
            wanted = wanted_kind(context, _KINDS)
            found = self._read(connection, table, columns)
        return in_pandas(found) if wanted == "pandas" else found

    def _read(self, connection: str, table: str, columns: Any) -> Any:
        from sync_pipelines.targets.postgres.input import read_table

        return read_table(self.postgres.connection_url(connection), table, columns)


_KINDS = {("pandas", "DataFrame"): "pandas", ("pyarrow", "Table"): "arrow"}
