"""A folder or an object store of Delta tables, for a user's own assets and scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.errors import RunError
from sync_pipelines.targets.delta.input import read_table
from sync_pipelines.targets.delta.settings import DeltaSettings
from sync_pipelines.targets.delta.store import DeltaStore, name_of
from sync_pipelines.targets.delta.upkeep import optimize, vacuum
from sync_pipelines.targets.delta.writing import writer_properties
from sync_pipelines.targets.lake.frames import plain_schema
from sync_pipelines.targets.lake.input import Wanted, as_kind, check_kind
from sync_pipelines.targets.lake.lakehouse import Lakehouse, Mode, refuse_columns
from sync_pipelines.targets.lake.shape import Shape
from sync_pipelines.targets.retries import RetryPolicy

_NAME = re.compile(r'"((?:[^"]|"")+)"|\b([A-Za-z_]\w*)\b')
_COMMENT = r"--[^\n]*\n|/\*.*?\*/"
_OF_THE_SESSION = re.compile(rf"(?:\s|{_COMMENT})*+(CREATE|DROP)\b", re.IGNORECASE | re.DOTALL)
"""Statements that DataFusion carries out in the session of the query, which ends with it. Comments are passed without a
way back (`*+`): each could also be several, and of thirty there are a thousand million ways."""

_FILE_BYTES = 32 * 1024 * 1024


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
            if (table := self._store(name).open()) is not None:
                builder.register(name_of(name), table)
        with self._store("query").errors("run"):
            found = pa.RecordBatchReader.from_stream(builder.execute(query))
            return as_kind(kind, found.cast(plain_schema(found.schema)))

    def properties(self, table: str) -> Mapping[str, str]:
        store = self._store(table)
        opened = store.open()
        return {} if opened is None else store.properties(opened)

    def create_table(self, table: str, schema: pa.Schema, *, comment: str | None = None) -> None:
        from deltalake import DeltaTable, Schema

        store = self._store(table)
        Shape(columns=schema)  # the names must be such that other engines can read the table
        store.attempt(
            "create table",
            lambda: DeltaTable.create(
                store.uri,
                Schema.from_arrow(plain_schema(schema)),
                name=table.rpartition("/")[2],
                description=comment,
                storage_options=dict(self.settings.options) or None,
            ),
        )

    def write_rows(self, rows: pa.RecordBatchReader, table: str, mode: Mode, merge_keys: tuple[str, ...]) -> None:
        from deltalake import write_deltalake

        store = self._store(table)
        opened = store.open()
        if mode == "merge" and opened is not None:
            self._merge(store, rows, merge_keys)
            return
        options: dict[str, Any] = {} if opened else {"storage_options": dict(self.settings.options) or None}
        if mode == "overwrite":
            options |= {"mode": "overwrite", "schema_mode": "overwrite"}
        else:
            options |= {"mode": "append"}
        with store.errors("write table"):
            write_deltalake(
                opened or store.uri,
                rows,
                target_file_size=_FILE_BYTES,
                writer_properties=writer_properties(),
                **options,
            )

    def _merge(self, store: DeltaStore, rows: pa.RecordBatchReader, keys: tuple[str, ...]) -> None:
        held = store.schema_of(store.there()).names
        refuse_columns(store.name, [name for name in rows.schema.names if name not in held])
        columns = {name_of(name): f"source.{name_of(name)}" for name in rows.schema.names}
        on = " AND ".join(f"target.{name_of(key)} = source.{name_of(key)}" for key in keys)
        with store.errors("merge into table"):
            (
                store.there()
                .merge(rows, on, source_alias="source", target_alias="target", writer_properties=writer_properties())
                .when_matched_update(columns)
                .when_not_matched_insert(columns)
                .execute()
            )

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
        return len(vacuum(self._there(table), hours=hours))

    def _there(self, table: str) -> DeltaStore:
        store = self._store(table)
        if store.open() is None:
            raise RunError(f"there is no Delta table {table!r} below {self.settings.uri!r}.")
        return store
