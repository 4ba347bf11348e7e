"""The lakehouse of the syncs as a resource for a user's own assets and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import dagster as dg

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.resources.databricks import DatabricksResource
from sync_pipelines.resources.delta import DeltaResource
from sync_pipelines.resources.lake import Engine, in_databricks

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_pipelines.targets.lake.lakehouse import Lakehouse, Mode


class LakehouseResource(dg.ConfigurableResource):
    """Tables below DELTA_URI by delta-rs, or of Databricks by a SQL warehouse, as for a sync (`target.engine`).

    In a script: `LakehouseResource(delta=DeltaResource(), databricks=DatabricksResource()).read("shop/orders")`.
    """

    delta: DeltaResource
    databricks: DatabricksResource
    engine: str = "auto"

    def lakehouse(self) -> Lakehouse:
        """The engine that is configured.

        Raises:
            NotConfiguredError: none is. ConfigurationError: `engine` names none.
        """
        if self.engine not in get_args(Engine):
            raise ConfigurationError(f"engine: {self.engine!r} is none of {', '.join(get_args(Engine))}.")
        wanted: Engine = self.engine  # type: ignore[assignment]  # ty: ignore[invalid-assignment]
        if in_databricks(wanted, self):
            from sync_pipelines.targets.databricks.lakehouse import DatabricksLakehouse

            return DatabricksLakehouse(self.databricks.settings())
        from sync_pipelines.targets.delta.lakehouse import DeltaLakehouse

        return DeltaLakehouse(self.delta.settings())

    def execute_query(self, query: str, *, kind: str = "arrow") -> Any:
        """The rows of a query in the engine's SQL, as arrow, pandas, polars, duckdb or stream."""
        return self.lakehouse().execute_query(query, kind=kind)

    def read(
        self, table: str, *, where: str | None = None, columns: Sequence[str] | None = None, kind: str = "arrow"
    ) -> Any:
        """Rows of a table; `where` is a condition in SQL."""
        return self.lakehouse().read(table, where=where, columns=columns, kind=kind)

    def write(self, frame: Any, table: str, *, mode: Mode = "append", merge_keys: Sequence[str] = ()) -> int:
        """Write rows by one commit (append, overwrite, merge); how many were given. A sync's own table is refused."""
        return self.lakehouse().write(frame, table, mode=mode, merge_keys=merge_keys)

    def create_table(self, table: str, schema: pa.Schema, *, comment: str | None = None) -> None:
        """Make an empty table."""
        self.lakehouse().create_table(table, schema, comment=comment)

    def list_catalogs(self) -> list[str]:
        """The catalogs; a folder or object store has none."""
        return self.lakehouse().list_catalogs()

    def list_schemas(self, catalog: str | None = None) -> list[str]:
        """The schemas of a catalog, or the folders in which tables stand."""
        return self.lakehouse().list_schemas(catalog)

    def list_tables(self, schema: str | None = None) -> list[str]:
        """The tables of a schema, or all below the root."""
        return self.lakehouse().list_tables(schema)

    def upload(self, local: str, path: str) -> None:
        """Copy a file into a Volume (Databricks)."""
        self.lakehouse().upload(local, path)

    def download(self, path: str, local: str) -> None:
        """Copy a file out of a Volume (Databricks)."""
        self.lakehouse().download(path, local)

    def list_files(self, path: str) -> list[str]:
        """The paths in a folder of a Volume (Databricks)."""
        return self.lakehouse().list_files(path)

    def optimize(self, table: str, *, z_order: Sequence[str] = ()) -> dict[str, Any]:
        """Put small files together; files and bytes before and after."""
        return self.lakehouse().optimize(table, z_order=z_order)

    def vacuum(self, table: str, *, hours: int = 168) -> int | None:
        """Remove files that no version of the last `hours` (168 at least) needs."""
        return self.lakehouse().vacuum(table, hours=hours)
