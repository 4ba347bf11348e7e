"""A Delta table whose content each whole run replaces by one commit: readers see the old rows or the new ones."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.model import KEY
from sync_pipelines.engine.overwriting import KeySet
from sync_pipelines.engine.spool import RecordWriter, Spool
from sync_pipelines.targets.delta.files import FileWriter, filesystem, is_plain
from sync_pipelines.targets.delta.store import alone
from sync_pipelines.targets.delta.target import DeltaTarget
from sync_pipelines.targets.delta.writing import finished, writer_properties
from sync_pipelines.targets.lake.contention import ConflictError
from sync_pipelines.targets.lake.groups import groups
from sync_pipelines.targets.lake.table import is_stranger

if TYPE_CHECKING:
    from deltalake import DeltaTable

_FEW = 1000
"""So many rows are looked for by a predicate, which skips files; of more the whole table is read."""
_BATCH_ROWS = 10_000
_PART_BYTES = 32 * 1024 * 1024
"""So much is held, and sorted, at a time: here no part is a commit of its own."""


class DeltaOverwrite(DeltaTarget):
    """See above. Single records and a repair are merged.

    Args:
        spool: where the new content is put aside; the system's temporary folder if None. The rest is `DeltaTarget`'s.
    """

    def __init__(self, *, spool: Path | None = None, **table: Any) -> None:
        super().__init__(**table)
        self._folder = spool

    @contextmanager
    def replacing(self) -> Generator[DeltaReplacement]:
        """What gathers the new content in a temporary file."""
        with closing(Spool(self._folder)) as spool:
            yield DeltaReplacement(self, spool)

    def overwrite(self, table: DeltaTable, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        """Replace every row by ONE commit; columns, comments and properties stay."""
        replaced = len(table.file_uris())
        if is_plain(table):
            place = filesystem(self.settings, self.store.uri)
            with FileWriter(place, schema, file_bytes=self._layout.file_bytes) as files:
                for batch in batches:
                    files.write(pa.Table.from_batches([batch]))
            self.store.commit_files(table, files.added, None)
        else:
            self._overwrite_by_delta_rs(table, pa.RecordBatchReader.from_batches(schema, batches))
        self.store.rewritten += replaced

    def _overwrite_by_delta_rs(self, table: DeltaTable, rows: pa.RecordBatchReader) -> None:
        from deltalake import write_deltalake

        write_deltalake(
            table,
            rows,
            mode="overwrite",
            target_file_size=self._layout.file_bytes,
            writer_properties=writer_properties(),
            commit_properties=alone(),
        )

    def finished(self, rows: pa.Table) -> pa.Table:
        """Rows as they are written: sorted, with the time of writing."""
        return finished(rows, self.shape, self._layout)


class DeltaReplacement:
    """A table's new content in a file of a spool; see `engine.overwriting.Replacement`."""

    def __init__(self, target: DeltaOverwrite, spool: Spool) -> None:
        self._target, self._spool = target, spool
        schema = target.shape.schema
        self._schema = pa.schema([(item.name, item.type) for item in schema])
        self._new = RecordWriter(spool, "new", self._schema)
        self._bytes = 0

    def take(self, batches: Iterable[pa.RecordBatch]) -> Iterator[int]:
        """Put mapped rows aside, a group at a time; how many each has."""
        with self._new as file:
            for group in groups(iter(batches), most_bytes=lambda: _PART_BYTES):
                self._target.require_columns(group.rows.schema)
                rows = self._target.finished(group.rows).select(self._schema.names).cast(self._schema)
                for batch in rows.to_batches(max_chunksize=_BATCH_ROWS):
                    file.write(batch)
                self._bytes += rows.nbytes
                yield rows.num_rows

    def commit(self, staying: Callable[[], KeySet]) -> int:
        """One commit: the new rows, and of the old ones those that stay; planned anew where another was quicker."""
        return self._target.store.contend("overwrite table", lambda table: self._commit(table, staying))

    def _commit(self, table: DeltaTable, look: Callable[[], KeySet]) -> int:
        seen = table.version()
        staying = look()
        if table.version() != seen:  # the look brings it up to date
            raise ConflictError(f"Delta: the table {self._target.name!r} has changed since it was looked at.")
        schema = self._target.store.schema_of(table)
        carried = 0
        with RecordWriter(self._spool, "staying", schema) as file:
            for batch in self._staying(table, staying):
                file.write(batch)
                carried += batch.nbytes
        new = (batch.select(schema.names).cast(schema) for batch in self._new.records())
        self._target.overwrite(table, chain(new, file.records()), schema)
        return self._bytes + carried

    def _staying(self, table: DeltaTable, staying: KeySet) -> Iterator[pa.RecordBatch]:
        """The rows of the old content that are carried over, whatever their number read in batches."""
        store = self._target.store
        names = store.schema_of(table).names
        plain = (key for page in staying for key in page if not is_stranger(key))
        if any(is_stranger(key) for page in staying for key in page):
            yield from store.scan(table, names, f"{KEY} IS NULL")
        if len(staying) <= _FEW:
            yield from (batch.select(names) for batch in store.rows_of(table, list(plain), names))
            return
        for batch in store.scan(table, names):
            keys = batch.column(KEY)
            stays = staying.among(pc.call_function("drop_null", [keys]).to_pylist())
            yield batch.filter(pa.array([key in stays for key in keys.to_pylist()], pa.bool_()))
