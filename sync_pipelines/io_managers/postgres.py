"""PostgreSQL as a target under Dagster: change sets are written, and downstream assets get the synced rows."""

from __future__ import annotations

from typing import Any

import dagster as dg

from sync_pipelines.engine.model import ChangeSet
from sync_pipelines.failures import as_dagster_failure
from sync_pipelines.io_managers.base import write_changes
from sync_pipelines.resources.postgres import PostgresResource


class PostgresIOManager(dg.ConfigurableIOManager):
    """Writes a change set to its table; reads a table as `pandas.DataFrame` or `pyarrow.Table`.

    An input gets all rows; its metadata may narrow the columns: `dg.AssetIn(metadata={"columns": ["id"]})`.
    """

    postgres: PostgresResource

    def handle_output(self, context: dg.OutputContext, obj: ChangeSet) -> None:
        write_changes(context, obj)

    def load_input(self, context: dg.InputContext) -> Any:
        upstream = context.upstream_output
        metadata = upstream.definition_metadata if upstream is not None else {}
        table, connection = (metadata.get(f"postgres/{name}") for name in ("table", "connection"))
        if not table or not connection:
            raise dg.Failure(f"{context.asset_key.to_user_string()} is no table of a sync.", allow_retries=False)
        columns = (context.definition_metadata or {}).get("columns")
        with as_dagster_failure():
            found = self._read(_text(connection), _text(table), getattr(columns, "value", columns))
        return found.to_pandas() if _wants_frame(context) else found

    def _read(self, connection: str, table: str, columns: Any) -> Any:
        from sync_pipelines.targets.postgres.input import read_table

        return read_table(self.postgres.connection_url(connection), table, columns)


def _text(value: Any) -> str:
    return str(getattr(value, "value", value))


def _wants_frame(context: dg.InputContext) -> bool:
    kind = context.dagster_type.typing_type
    package = getattr(kind, "__module__", "").partition(".")[0]
    name = getattr(kind, "__qualname__", "")
    if (package, name) not in (("pandas", "DataFrame"), ("pyarrow", "Table")):
        raise dg.Failure(
            f"input {context.name!r}: annotate it as pandas.DataFrame or pyarrow.Table.", allow_retries=False
        )
    return name == "DataFrame"
