"""The tables and Volumes of a Databricks workspace, for a user's own assets and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from sync_pipelines.targets.databricks import statements
from sync_pipelines.targets.databricks.errors import databricks_errors
from sync_pipelines.targets.databricks.input import read_table
from sync_pipelines.targets.databricks.settings import TableName, WarehouseSettings, quoted
from sync_pipelines.targets.databricks.staging import Staging
from sync_pipelines.targets.databricks.target import DatabricksTarget
from sync_pipelines.targets.databricks.types import nested_schema
from sync_pipelines.targets.databricks.warehouse import Warehouse
from sync_pipelines.targets.lake.contention import contend
from sync_pipelines.targets.lake.frames import plain_schema
from sync_pipelines.targets.lake.input import Wanted, as_kind, check_kind
from sync_pipelines.targets.lake.lakehouse import Lakehouse, Mode, refuse_columns
from sync_pipelines.targets.lake.shape import Shape
from sync_pipelines.targets.lake.table import Held

_PIECE = 1024 * 1024
_NO_PATH = "Check the path: /Volumes/<catalog>/<schema>/<volume>/… (list_files shows what is there; CREATE VOLUME)."


class DatabricksLakehouse(Lakehouse):
    """Tables by a SQL warehouse. An append whose answer is lost is sent again by the SDK, and may come twice: merge
    where that matters."""

    def __init__(self, settings: WarehouseSettings) -> None:
        self.settings = settings
        self.warehouse = Warehouse(settings)

    def _target(self, table: str) -> DatabricksTarget:
        return DatabricksTarget(
            settings=self.settings, name=table, shape=lambda: Shape(columns=pa.schema([])), warehouse=self.warehouse
        )

    def read_table(self, table: str, wanted: Wanted) -> Any:
        return read_table(self.settings, table, wanted)

    def execute_query(self, query: str, *, kind: str = "arrow") -> Any:
        """The rows of a query in Databricks' SQL; a name without a schema is of DATABRICKS_SCHEMA.

        Raises:
            RunError: the warehouse refuses it.
        """
        check_kind(kind)
        columns, batches = self.warehouse.query(query, doing="run a query")
        first = next(batches, None)
        if first is None:
            return as_kind(kind, pa.RecordBatchReader.from_batches(nested_schema(columns), []))
        schema = plain_schema(first.schema)

        def each() -> Any:
            yield first.cast(schema)
            for batch in batches:
                yield batch.cast(schema)

        return as_kind(kind, pa.RecordBatchReader.from_batches(schema, each()))

    def held(self, table: str) -> Held | None:
        return self._target(table).held()

    def make_table(self, table: str, schema: pa.Schema, *, comment: str | None = None) -> None:
        self._create(self.settings.table(table), schema, comment)

    def _create(self, table: TableName, schema: pa.Schema, comment: str | None = None) -> None:
        statement = statements.create_table(table, schema, comment=comment, properties={}, cluster_by=())
        self.warehouse.run(statement, doing=f"create table {table}")

    def write_rows(self, rows: pa.RecordBatchReader, table: str, mode: Mode, merge_keys: tuple[str, ...]) -> None:
        name, columns = self.settings.table(table), statements.names(rows.schema.names)
        held = self._target(table).held()
        there = held is not None
        if held is None:
            self._create(name, rows.schema)
        elif mode != "overwrite":
            known = {column.casefold() for column in held.columns.names}
            refuse_columns(table, [column for column in rows.schema.names if column.casefold() not in known])
        with Staging(self.warehouse, name).staged(rows) as staged:
            if mode == "merge" and there:
                statement = _merge(name, staged, rows.schema.names, merge_keys)
            elif mode == "overwrite":
                query = f"SELECT {columns} FROM {staged}"
                statement = statements.replace_table(name, query, comment=None, properties={}, cluster_by=())
            else:
                statement = f"INSERT INTO {name.sql} ({columns}) SELECT {columns} FROM {staged}"
            contend(lambda: self.warehouse.run(statement, doing=f"write table {name}"))

    def list_catalogs(self) -> list[str]:
        with databricks_errors("list catalogs", {}):
            return sorted(str(item.name) for item in self.warehouse.client.catalogs.list())

    def list_schemas(self, catalog: str | None = None) -> list[str]:
        with databricks_errors("list schemas", {}):
            found = self.warehouse.client.schemas.list(catalog or self.settings.catalog)
            return sorted(str(item.name) for item in found)

    def list_tables(self, schema: str | None = None) -> list[str]:
        with databricks_errors("list tables", {}):
            found = self.warehouse.client.tables.list(self.settings.catalog, schema or self.settings.schema)
            return sorted(str(item.name) for item in found)

    def optimize_table(self, table: str, z_order: Sequence[str]) -> dict[str, Any]:
        return self._target(table).optimize(z_order=z_order)

    def vacuum(self, table: str, *, hours: int = 168) -> int | None:
        return self._target(table).vacuum(hours=hours)

    def upload(self, local: str, path: str) -> None:
        with Path(local).open("rb") as file, databricks_errors(f"upload to {path}", {}, nowhere=_NO_PATH):
            self.warehouse.client.files.upload(path, file, overwrite=True)

    def download(self, path: str, local: str) -> None:
        with databricks_errors(f"download {path}", {}, nowhere=_NO_PATH):
            answer = self.warehouse.client.files.download(path)
            with Path(local).open("wb") as file:
                while piece := answer.contents.read(_PIECE):
                    file.write(piece)

    def list_files(self, path: str) -> list[str]:
        with databricks_errors(f"list {path}", {}, nowhere=_NO_PATH):
            return sorted(str(item.path) for item in self.warehouse.client.files.list_directory_contents(path))


def _merge(table: TableName, staged: str, columns: Sequence[str], keys: Sequence[str]) -> str:
    on = " AND ".join(f"t.{quoted(key)} = s.{quoted(key)}" for key in keys)
    assignments = ", ".join(f"t.{quoted(name)} = s.{quoted(name)}" for name in columns)
    values = ", ".join(f"s.{quoted(name)}" for name in columns)
    return (
        f"MERGE INTO {table.sql} AS t USING {staged} AS s ON {on} WHEN MATCHED THEN UPDATE SET {assignments} "
        f"WHEN NOT MATCHED THEN INSERT ({statements.names(columns)}) VALUES ({values})"
    )
