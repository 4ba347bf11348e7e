"""One Delta table through delta-rs: opened, asked, written. What it does is stated here, when it is done elsewhere."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.batches import from_a_thread
from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.model import KEY
from sync_pipelines.targets.delta.errors import delta_errors
from sync_pipelines.targets.delta.settings import DeltaSettings
from sync_pipelines.targets.lake.contention import contend
from sync_pipelines.targets.lake.frames import plain_schema
from sync_pipelines.targets.lake.shape import HISTORY, Shape
from sync_pipelines.targets.retries import RetryPolicy

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable
    from deltalake.transaction import AddAction

_STAMP = "sync_pipelines.stamp"
_SMALL_LIST = 1000
"""So many keys are asked for by a predicate, which skips files by their statistics; more by reading all keys."""

_OF_A_HISTORY = {item.name: item for item in HISTORY}

Result = TypeVar("Result")


class DeltaStore:
    """A table that may not be there yet. Opened when it is first asked, brought up to date by `refresh`.

    Args:
        settings: the root. name: the table's below it. sync, table: for errors. retry: of transient errors.
        rewritten: files that were put out of use since this was made.
    """

    def __init__(
        self, settings: DeltaSettings, name: str, *, sync: str | None, table: str | None, retry: RetryPolicy
    ) -> None:
        self.settings, self.name = settings, name
        self.uri = settings.table(name)
        self._sync, self._table_name, self._retry = sync, table, retry
        self._opened: DeltaTable | None = None
        self.rewritten = 0

    def errors(self, doing: str) -> AbstractContextManager[None]:
        """delta-rs's errors as the engine's, with the table's name."""
        return delta_errors(f"{doing} {self.name!r}", sync=self._sync, table=self._table_name)

    def attempt(self, doing: str, action: Callable[[], Result]) -> Result:
        """What an action gives, tried again where the store does not answer."""

        def once() -> Result:
            with self.errors(doing):
                return action()

        return self._retry.call(once)

    def contend(self, doing: str, action: Callable[[DeltaTable], Result]) -> Result:
        """What an action gives that commits to the table, planned anew on its newest version where somebody else was
        quicker.

        Raises:
            ConflictError: the others were quicker every time.
        """

        def once() -> Result:
            table = self.there()
            with self.errors(doing):
                return action(table)

        return contend(once)

    def open(self) -> DeltaTable | None:
        """The table as it is now, or None."""

        def now() -> DeltaTable | None:
            from deltalake import DeltaTable

            options = dict(self.settings.options) or None
            if self._opened is None:
                if not DeltaTable.is_deltatable(self.uri, options):
                    return None
                self._opened = DeltaTable(self.uri, storage_options=options)
            else:
                self._opened.update_incremental()
            return self._opened

        try:
            return self.attempt("open table", now)
        except RunError:
            # dropped and made anew behind our back: versions went backwards
            self._opened = None
            return self.attempt("open table", now)

    def there(self) -> DeltaTable:
        """The table, which was made before."""
        found = self.open()
        if found is None:
            raise RunError(
                f"the Delta table {self.name!r} was removed while the run went on.",
                sync=self._sync,
                table=self._table_name,
                remedy="Run it again.",
            )
        return found

    def create(self, shape: Shape, *, configuration: dict[str, str]) -> DeltaTable:
        """Make the table, with the comments of the source."""

        def make() -> DeltaTable:
            from deltalake import DeltaTable, Schema

            return DeltaTable.create(
                self.uri,
                Schema.from_arrow(shape.schema),
                mode="error",
                name=self.name.rpartition("/")[2],
                description=shape.comment,
                configuration=configuration,
                storage_options=dict(self.settings.options) or None,
                raise_if_key_not_exists=False,
            )

        self._opened = self.attempt("create table", make)
        return self._opened

    # What it holds

    def count(self) -> int:
        """Rows, by the statistics of the files; counted where one has none."""
        table = self.open()
        if table is None:
            return 0

        def ask() -> int:
            actions = pa.table(table.get_add_actions(flatten=True))
            if not actions.num_rows:
                return 0
            numbers = actions.column("num_records")
            vectors = "deletionVectors" in (table.protocol().reader_features or ())
            if numbers.null_count or vectors:
                return sum(batch.num_rows for batch in self.scan(table, [KEY]))
            return int(pc.call_function("sum", [numbers]).as_py())

        return self.attempt("count table", ask)

    def scan(self, table: DeltaTable, columns: Sequence[str], predicate: str | None = None) -> Iterator[pa.RecordBatch]:
        """These columns of the rows that a predicate chooses, in batches; nothing is held.

        Those of a history are NULL in a table that was merged so far, and is looked at before its first run as one.
        """
        held = {item.name: item for item in self.schema_of(table)}
        schema = pa.schema([held[name] if name in held else _OF_A_HISTORY[name] for name in columns])
        asked = [name for name in columns if name in held]
        with self.errors("read table"):
            for batch in pa.RecordBatchReader.from_stream(table.scan(columns=asked, predicate=predicate)):
                given = {name: batch.column(name).cast(schema.field(name).type) for name in asked}
                arrays = [
                    given[item.name] if item.name in given else pa.nulls(len(batch), item.type) for item in schema
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    @staticmethod
    def schema_of(table: DeltaTable) -> pa.Schema:
        """A table's columns in Arrow's plain types."""
        return plain_schema(pa.schema(table.schema().to_arrow()))

    def rows_of(self, table: DeltaTable, keys: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """These columns of the rows of these keys."""
        if not keys:
            return
        names = list(dict.fromkeys([KEY, *columns]))
        if len(keys) <= _SMALL_LIST:
            yield from self.scan(table, names, f"{KEY} IN ({', '.join(map(literal, keys))})")
            return
        wanted = pa.array(keys, pa.string())
        for batch in self.scan(table, names):
            found = batch.filter(pc.call_function("is_in", [batch.column(KEY)], pc.SetLookupOptions(wanted)))
            if found.num_rows:
                yield found

    def commit_files(
        self, table: DeltaTable, added: Sequence[AddAction], gone: Mapping[str, int] | None, *, beside: bool = False
    ) -> None:
        """Put files into the table and take others out, by one commit; the handle is brought up to it.

        Args:
            added: files that lie in the table's place. Where the commit fails they stay for VACUUM: its answer may have
                been lost, and then the table has them.
            gone: paths of those that are taken out, with their sizes; None for all.
            beside: whether somebody else may have committed since the handle was opened. Not where files go (`alone`),
                or where it was looked for the records that are added: the other's may be the same.

        Raises:
            CommitFailedError: somebody has.
        """
        from deltalake.transaction import RemoveAction

        now = int(time.time() * 1000)
        removed = [RemoveAction(path, True, now, size, {}) for path, size in (gone or {}).items()]
        mode = "overwrite" if gone is None else "append"
        properties = None if beside else alone()
        table.create_write_transaction([*added, *removed], mode, table.schema(), commit_properties=properties)
        table.update_incremental()

    def stamp(self) -> str | None:
        table = self.open()
        found = None if table is None else table.transaction_version(_STAMP)
        return None if found is None else str(found)

    def set_stamp(self, text: str) -> None:
        """Leave the number of a text in the table's log, by a commit without a row."""
        from deltalake import CommitProperties, Transaction

        noted = CommitProperties(app_transactions=[Transaction(_STAMP, stamp_number(text))])
        self.contend(
            "note the run in table",
            lambda table: table.create_write_transaction([], "append", table.schema(), commit_properties=noted),
        )

    def remove(self) -> None:
        """Delete the table, its files and its log; nothing where there is none."""
        from deltalake.fs import DeltaStorageHandler

        self._opened = None
        if self.settings.is_folder:
            shutil.rmtree(self.uri, ignore_errors=True)
            return

        options = dict(self.settings.options) or None

        def empty() -> None:
            import pyarrow.fs as fs

            # one file at a time: its handler of whole folders does not follow pyarrow's
            place = fs.PyFileSystem(DeltaStorageHandler(self.uri, options))
            for found in place.get_file_info(fs.FileSelector("", allow_not_found=True, recursive=True)):
                if found.type == fs.FileType.File:
                    place.delete_file(found.path)

        self.attempt("remove table", empty)

    def overwrite(self, other: DeltaStore, *, file_bytes: int) -> None:
        """Replace every row and the columns by another table's, by one commit."""
        from deltalake import write_deltalake

        from sync_pipelines.targets.delta.writing import writer_properties

        rows = other.there()
        schema = other.schema_of(rows)

        def write(table: DeltaTable) -> None:
            with from_a_thread(other.scan(rows, schema.names)) as batches:
                write_deltalake(
                    table,
                    pa.RecordBatchReader.from_batches(schema, batches),
                    mode="overwrite",
                    schema_mode="overwrite",
                    target_file_size=file_bytes,
                    writer_properties=writer_properties(),
                    commit_properties=alone(),
                )

        replaced = len(self.there().file_uris())
        self.contend("overwrite table", write)
        self.rewritten += replaced

    def note(self, texts: dict[str, str]) -> None:
        """Leave texts with the column `_key`, beside its comment, in the place of those before.

        Not among the table's properties: deltalake 1.6.6 adds `variantType` to the features of a table that has any
        (a timestamp without zone is one) when it sets a property, and other readers then refuse the table.
        """
        self.contend("note in table", lambda table: table.alter.set_column_metadata(KEY, {**_noted(table), **texts}))

    def properties(self, table: DeltaTable) -> dict[str, str]:
        """A table's properties, and what was noted."""
        return {**table.metadata().configuration, **_noted(table)}


def alone() -> CommitProperties:
    """For a commit that takes files out: nobody else may have committed since its handle was opened.

    An OPTIMIZE in between is no conflict for delta-rs: the rows that it put elsewhere would stay beside the new ones.
    """
    from deltalake import CommitProperties

    return CommitProperties(max_commit_retries=0)


def _noted(table: DeltaTable) -> dict[str, str]:
    """What stands with the column `_key`; nothing in a table that has none."""
    return {
        name: str(text) for item in table.schema().fields if item.name == KEY for name, text in item.metadata.items()
    }


def stamp_number(text: str) -> int:
    """What stands for a text in Delta's transactions, which have just numbers."""
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def name_of(column: str) -> str:
    """A column's name as an SQL identifier."""
    return '"' + column.replace('"', '""') + '"'
