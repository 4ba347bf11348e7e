"""A lakehouse for a user's own assets and scripts: the tables of the engine that the syncs use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError, SyncError
from sync_pipelines.targets.lake.frames import fitted, storable_schema, stream_of
from sync_pipelines.targets.lake.input import Wanted, refuse_text
from sync_pipelines.targets.lake.shape import Shape
from sync_pipelines.targets.lake.table import OWNER, Held

Mode = Literal["append", "overwrite", "merge"]


class Lakehouse(ABC):
    """What both engines give. A table that a sync keeps is read, never written: the sync would undo it."""

    def read(
        self, table: str, *, where: str | None = None, columns: Sequence[str] | None = None, kind: str = "arrow"
    ) -> Any:
        """Rows of a table.

        Args:
            where: a condition in the engine's SQL. columns: all but the sync's own if left out.
            kind: arrow, pandas, polars (lazy), duckdb, or stream (a RecordBatchReader: however many rows).
        """
        return self.read_table(table, Wanted(kind=kind, columns=columns, where=where))

    def write(self, frame: Any, table: str, *, mode: Mode = "append", merge_keys: Sequence[str] = ()) -> int:
        """Write rows by one commit; a table that is not there is made.

        Args:
            frame: a DataFrame of pandas or polars, an Arrow table or stream, a DuckDB relation.
            mode: append; overwrite (all rows go, columns may change); merge (rows with the same `merge_keys` are
                replaced, the others added: give each key once, as MERGE asks of its source).

        Returns:
            Rows that were given.

        Raises:
            ConfigurationError: a sync keeps this table; `merge_keys` do not fit the mode or the frame; a value does not
                fit into its column's type, and would be changed: nothing is written.
        """
        given = stream_of(frame)
        _check_keys(mode, merge_keys, given.schema)
        held = self.held(table)
        if held is not None and (owner := held.properties.get(OWNER)) is not None:
            raise ConfigurationError(
                f"the table {table!r} is kept equal to its source by the sync {owner}.", remedy="Write another table."
            )
        columns = held.columns if held and mode != "overwrite" else None
        rows = _Counted(fitted(given, columns))
        if columns is None:
            Shape(columns=given.schema)  # the names must be such that other engines can read the table
        try:
            self.write_rows(rows.reader(), table, mode, tuple(merge_keys))
        except SyncError:
            if rows.refused is not None:
                raise rows.refused from None
            raise
        return rows.count

    @abstractmethod
    def execute_query(self, query: str, *, kind: str = "arrow") -> Any:
        """The rows of a query in the engine's SQL; `kind` as in `read`."""

    @abstractmethod
    def read_table(self, table: str, wanted: Wanted) -> Any:
        """Rows of a table, in the kind that is wanted."""

    @abstractmethod
    def held(self, table: str) -> Held | None:
        """A table's columns and properties, or None where it is not there."""

    @abstractmethod
    def write_rows(self, rows: pa.RecordBatchReader, table: str, mode: Mode, merge_keys: tuple[str, ...]) -> None:
        """Write rows by one commit."""

    def create_table(self, table: str, schema: pa.Schema, *, comment: str | None = None) -> None:
        """Make an empty table; a column's `comment` stands in its field's metadata.

        Raises:
            ConfigurationError: a lakehouse has no type for a column, or other engines could not read its name.
        """
        Shape(columns=schema)
        self.make_table(table, storable_schema(schema), comment=comment)

    @abstractmethod
    def make_table(self, table: str, schema: pa.Schema, *, comment: str | None = None) -> None:
        """Make an empty table of columns that can be stored."""

    @abstractmethod
    def list_catalogs(self) -> list[str]:
        """The catalogs; a folder or object store has none."""

    @abstractmethod
    def list_schemas(self, catalog: str | None = None) -> list[str]:
        """The schemas of a catalog; of a folder the folders in which tables stand."""

    @abstractmethod
    def list_tables(self, schema: str | None = None) -> list[str]:
        """The tables of a schema, or of all folders."""

    def optimize(self, table: str, *, z_order: Sequence[str] = ()) -> dict[str, Any]:
        """Put small files together, or order all rows by these columns; files and bytes before and after.

        Raises:
            ConfigurationError: `z_order` is one text.
        """
        refuse_text("z_order", z_order)
        return self.optimize_table(table, z_order)

    @abstractmethod
    def optimize_table(self, table: str, z_order: Sequence[str]) -> dict[str, Any]:
        """Put small files together, or order all rows by these columns."""

    @abstractmethod
    def vacuum(self, table: str, *, hours: int = 168) -> int | None:
        """Remove files that no version of the last `hours` needs; how many, where the engine says so."""

    def upload(self, local: str, path: str) -> None:
        """Copy a file into a Volume."""
        raise _no_volumes()

    def download(self, path: str, local: str) -> None:
        """Copy a file out of a Volume."""
        raise _no_volumes()

    def list_files(self, path: str) -> list[str]:
        """The paths in a folder of a Volume."""
        raise _no_volumes()


class _Counted:
    """A stream whose rows are counted as they pass; `refused`: why it ended early, which an engine would wrap."""

    def __init__(self, rows: pa.RecordBatchReader) -> None:
        self.count = 0
        self.refused: ConfigurationError | None = None
        self._rows = rows

    def reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self._rows.schema, self._each())

    def _each(self) -> Any:
        try:
            for batch in self._rows:
                self.count += batch.num_rows
                yield batch
        except ConfigurationError as error:
            self.refused = error
            raise


def _check_keys(mode: Mode, keys: Sequence[str], schema: pa.Schema) -> None:
    refuse_text("merge_keys", keys)
    if mode not in ("append", "overwrite", "merge"):
        raise ConfigurationError(f"mode: {mode!r} is none of append, overwrite and merge.")
    if (mode == "merge") != bool(keys):
        raise ConfigurationError("merge_keys: a merge has some, and nothing else has.")
    if missing := [name for name in keys if name not in schema.names]:
        raise ConfigurationError(f"merge_keys: the rows have no column {', '.join(missing)}.")


def refuse_columns(table: str, unknown: Sequence[str]) -> None:
    """Stop rows that have columns which the table lacks: a merge of delta-rs would leave these out in silence.

    Raises:
        ConfigurationError: there is one.
    """
    if unknown:
        raise ConfigurationError(
            f"the table {table!r} has no column {', '.join(map(repr, unknown))}.",
            remedy="Leave them out of the rows, or write the table anew with mode='overwrite'.",
        )


def _no_volumes() -> ConfigurationError:
    return ConfigurationError(
        "Volumes are Databricks': a folder or an object store has its own tools.", remedy="Set DATABRICKS_HOST."
    )
