"""A folder or an object store of Delta tables, for a user's own assets and scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError, RunError
from sync_pipelines.engine.spool import RecordWriter, Spool
from sync_pipelines.targets.delta.input import read_table
from sync_pipelines.targets.delta.settings import DeltaSettings
from sync_pipelines.targets.delta.store import DeltaStore, alone, name_of
from sync_pipelines.targets.delta.upkeep import optimize, vacuum
from sync_pipelines.targets.delta.writing import writer_properties
from sync_pipelines.targets.lake.frames import plain_schema
from sync_pipelines.targets.lake.input import Wanted, as_kind, check_kind
from sync_pipelines.targets.lake.lakehouse import Lakehouse, Mode, refuse_columns
from sync_pipelines.targets.lake.retention import check_retention
from sync_pipelines.targets.lake.table import Held
from sync_pipelines.targets.retries import RetryPolicy

if TYPE_CHECKING:
    from deltalake import DeltaTable

_NAME = re.compile(r'"((?:[^"]|"")+)"|\b([A-Za-z_]\w*)\b')
_COMMENT = r"--[^\n]*\n|/\*.*?\*/"
_OF_THE_SESSION = re.compile(rf"(?:\s|{_COMMENT})*+(CREATE|DROP)\b", re.IGNORECASE | re.DOTALL)
"""Statements that DataFusion carries out in the session of the query, which ends with it. Comments are passed without a
way back (`*+`): each could also be several, and of thirty there are a thousand million ways."""

_FILE_BYTES = 32 * 1024 * 1024
_DOING = {"merge": "merge into table", "append": "write table", "overwrite": "overwrite table"}


class DeltaLakehouse(Lakehouse):
    """Tables below a root, by delta-rs. In a query a table stands under its name, in quotes if that has a `/`."""

    def __init__(self, settings: DeltaSettings) -> None:
        self.settings = settings

    def _store(self, table: str) -> DeltaStore:
        return DeltaStore(self.settings, table, sync=None, table=None, retry=RetryPolicy())

    def read_table(self, table: str, wanted: Wanted) -> Any:
        return read_table(self.settings, table, wanted)

    def execute_query(self, query: str, *, kind: str = "arrow") -> Any:
        """The rows of a query in DataFusion's SQL.

        Raises:
            RunError: it is no query, or names a table that is not there.
        """
        from deltalake import QueryBuilder

        check_kind(kind)
        if refused := _OF_THE_SESSION.match(query):
            raise RunError(
                f"{refused[1].upper()} would change no table: a query of a folder of tables only reads.",
                remedy="Use create_table and write(…, mode='overwrite'); a table goes with its folder.",
            )
        builder = QueryBuilder()
        names = {quoted.replace('""', '"') or bare for quoted, bare in _NAME.findall(query)}
        for name in sorted(names):
            with suppress(ConfigurationError):  # no table's name: that of a column
                if (table := self._store(name).open()) is not None:
                    builder.register(name_of(name), table)
        with self._store("query").errors("run"):
            found = pa.RecordBatchReader.from_stream(builder.execute(query))
            return as_kind(kind, found.cast(plain_schema(found.schema)))

    def held(self, table: str) -> Held | None:
        store = self._store(table)
        opened = store.open()
        if opened is None:
            return None
        return Held(columns=store.schema_of(opened), properties=store.properties(opened))

    def make_table(self, table: str, schema: pa.Schema, *, comment: str | None = None) -> None:
        from deltalake import DeltaTable, Schema

        store = self._store(table)
        store.attempt(
            "create table",
            lambda: DeltaTable.create(
                store.uri,
                Schema.from_arrow(schema),
                name=table.rpartition("/")[2],
                description=comment,
                storage_options=dict(self.settings.options) or None,
            ),
        )

    def write_rows(self, rows: pa.RecordBatchReader, table: str, mode: Mode, merge_keys: tuple[str, ...]) -> None:
        store = self._store(table)
        if store.open() is None:
            with store.errors("write table"):
                _write(store.uri, rows, storage_options=dict(self.settings.options) or None)
        else:
            self._replan(store, rows, mode, merge_keys)

    def _replan(self, store: DeltaStore, rows: pa.RecordBatchReader, mode: Mode, keys: tuple[str, ...]) -> None:
        """Write into a table that is there. The rows wait in a file: where another writer was quicker, they are read
        once more (to delta-rs even an append is in conflict with a merge, a delete or changed metadata).
        """
        with closing(Spool()) as spool:
            with RecordWriter(spool, "rows", rows.schema) as file:
                for batch in rows:
                    file.write(batch)

            def write(table: DeltaTable) -> None:
                again = pa.RecordBatchReader.from_batches(rows.schema, file.records())
                if mode == "merge":
                    _merge(store, table, again, keys)
                elif mode == "append":
                    _refuse_others(store, table, again)
                    _write(table, again, mode="append", schema_mode="merge")  # a column that the rows lack is NULL
                else:
                    _write(table, again, mode="overwrite", schema_mode="overwrite", commit_properties=alone())

            store.contend(_DOING[mode], write)

    def list_catalogs(self) -> list[str]:
        return []

    def list_schemas(self, catalog: str | None = None) -> list[str]:
        return sorted({name.rpartition("/")[0] for name in self.list_tables()} - {""})

    def list_tables(self, schema: str | None = None) -> list[str]:
        return sorted(name for name in self._names() if schema is None or name.rpartition("/")[0] == schema)

    def _names(self) -> Iterator[str]:
        import pyarrow.fs as fs
        from deltalake.fs import DeltaStorageHandler

        place = self.settings.root
        if self.settings.is_folder and not Path(place).is_dir():
            return
        root = DeltaStorageHandler(place, dict(self.settings.options) or None)
        found = fs.PyFileSystem(root).get_file_info(fs.FileSelector("", allow_not_found=True, recursive=True))
        names = {item.path.partition("/_delta_log/")[0] for item in found if "/_delta_log/" in item.path}
        yield from (name.strip("/") for name in names)

    def optimize_table(self, table: str, z_order: Sequence[str]) -> dict[str, Any]:
        return optimize(self._there(table), file_bytes=_FILE_BYTES, z_order=z_order)

    def vacuum(self, table: str, *, hours: int = 168) -> int:
        check_retention(hours, allow_short=False, otherwise="")
        return len(vacuum(self._there(table), hours=hours))

    def _there(self, table: str) -> DeltaStore:
        store = self._store(table)
        if store.open() is None:
            raise RunError(f"there is no Delta table {table!r} below {self.settings.uri!r}.")
        return store


def _write(place: DeltaTable | str, rows: pa.RecordBatchReader, **more: Any) -> None:
    from deltalake import write_deltalake

    write_deltalake(place, rows, target_file_size=_FILE_BYTES, writer_properties=writer_properties(), **more)


def _merge(store: DeltaStore, table: DeltaTable, rows: pa.RecordBatchReader, keys: tuple[str, ...]) -> None:
    _refuse_others(store, table, rows)
    columns = {name_of(name): f"source.{name_of(name)}" for name in rows.schema.names}
    on = " AND ".join(f"target.{name_of(key)} = source.{name_of(key)}" for key in keys)
    merging = table.merge(rows, on, source_alias="source", target_alias="target", writer_properties=writer_properties())
    merging.when_matched_update(columns).when_not_matched_insert(columns).execute()


def _refuse_others(store: DeltaStore, table: DeltaTable, rows: pa.RecordBatchReader) -> None:
    held = store.schema_of(table).names
    refuse_columns(store.name, [name for name in rows.schema.names if name not in held])
