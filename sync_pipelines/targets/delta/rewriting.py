"""Changed rows put into the place of the old ones: just the files that hold them are written anew, in their order.

A MERGE of delta-rs joins, and leaves the rows of all files that it rewrites in the join's order: after one whose
changes lie everywhere, no file can be left out of the next ones (300,000 rows: 0.3 s became 1.2 s of CPU for good).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.batches import one_array
from sync_pipelines.engine.model import FINGERPRINT, KEY
from sync_pipelines.targets.delta.files import ROW_GROUP, FileWriter, are_own, filesystem, is_plain, may_rewrite, remove
from sync_pipelines.targets.delta.store import DeltaStore
from sync_pipelines.targets.lake.contention import ConflictError
from sync_pipelines.targets.lake.groups import Group, Layout

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction

_AT_ONCE = 2
"""Files that are read or written at a time; one takes 40 MB."""

_ONE_FILE = 2**62
_KEYS_AT_ONCE, _KEYS_A_BATCH, _ROWS_AT_ONCE = 100_000, 10_000, 2000
_MILLISECOND = np.timedelta64(1, "ms")
"""By so much a file may hold a later time than its statistics say, which are in milliseconds."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of the table; `low` and `high` enclose its values of the layout's column, where that is known."""

    path: str
    size: int
    low: Any = None
    high: Any = None


@dataclass
class Found:
    """Where the records of a group lie.

    Args:
        files: of the version that was looked at. place: for each record the number of its file, or -1.
        same: whether the row there has its fingerprint. times: how often the table holds it.
    """

    files: Sequence[File]
    place: np.ndarray
    same: np.ndarray
    times: np.ndarray

    @property
    def doubled(self) -> bool:
        return bool((self.times > 1).any())

    def due(self) -> pa.Array:
        """Whether a record must be written."""
        return pa.array(~self.same)


class Rewriter:
    """Looks for records in a table's files, and writes files anew.

    Args:
        store: the table. table: its handle, at the version that is looked at. layout: how it is laid out.
    """

    def __init__(self, store: DeltaStore, table: DeltaTable, layout: Layout) -> None:
        self._store, self._table, self._layout = store, table, layout
        self.schema = pa.schema([(item.name, item.type) for item in store.schema_of(table)])
        self._place = filesystem(store.settings, store.uri)
        self.files = _files(table, layout.sort_by)

    def can_read(self) -> bool:
        """Whether the table's rows are those of its files, each with its own columns."""
        return is_plain(self._table) and are_own([file.path for file in self.files])

    def can_write(self, names: Sequence[str]) -> bool:
        """Whether rows with these columns may be put into the table's files."""
        return self.can_read() and set(names) == set(self.schema.names) and may_rewrite(self._table)

    # Looking

    def look(self, group: Group) -> Found:
        """Find a group's records: first in the files that hold the like of their values in the layout's column, then
        those that are left in all others.
        """
        number = group.rows.num_rows
        found = Found(self.files, np.full(number, -1), np.zeros(number, bool), np.zeros(number, int))
        keys, prints = (one_array(group.rows.column(name)) for name in (KEY, FINGERPRINT))
        near = self._near(group.rows)
        self._look_in(near, found, keys, prints, np.arange(number))
        if rest := [item for item in range(len(self.files)) if item not in set(near)]:
            left = np.flatnonzero(found.place < 0)
            if len(left):
                self._look_in(rest, found, keys.take(pa.array(left)), prints, left)
        return found

    def scan(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """These columns of all rows: delta-rs's own scan leaves 70 MB behind in its caches."""
        schema = pa.schema([self.schema.field(name) for name in names])
        for file in self.files:
            with self._opened(file) as source:
                held = [name for name in names if name in source.schema_arrow.names]
                for batch in source.iter_batches(_KEYS_A_BATCH, columns=held, use_threads=False):
                    yield from _as_in(batch, schema).to_batches()

    def rows_like(self, rows: pa.Table) -> Iterator[pa.RecordBatch]:
        """The stored rows of these rows' keys, in batches: first from the files that hold the like of them."""
        near, left = self._near(rows), one_array(rows.column(KEY))
        for files in (near, [item for item in range(len(self.files)) if item not in set(near)]):
            found: list[pa.Array] = []
            for number in files if len(left) else ():
                for batch in self._rows_in(self.files[number], left):
                    found.append(batch.column(KEY))
                    yield batch
            if found:
                there = pc.call_function("is_in", [left], pc.SetLookupOptions(pa.concat_arrays(found)))
                left = left.filter(pc.call_function("invert", [there]))

    def _rows_in(self, file: File, keys: pa.Array) -> Iterator[pa.RecordBatch]:
        wanted = pc.SetLookupOptions(keys)
        with self._opened(file) as source:
            for group in range(source.num_row_groups):
                held = source.iter_batches(_KEYS_AT_ONCE, row_groups=[group], columns=[KEY], use_threads=False)
                texts = (batch.column(0).cast(pa.string()) for batch in held)
                if not any(pc.call_function("is_in", [keys], wanted).true_count for keys in texts):
                    continue
                for batch in source.iter_batches(_ROWS_AT_ONCE, row_groups=[group], use_threads=False):
                    there = _as_in(batch, self.schema)
                    chosen = there.filter(pc.call_function("is_in", [there.column(KEY)], wanted))
                    yield from chosen.combine_chunks().to_batches()

    def _near(self, rows: pa.Table) -> list[int]:
        column = self._layout.sort_by
        if column is None or column not in rows.column_names:
            return list(range(len(self.files)))
        values = pc.call_function("drop_null", [one_array(rows.column(column))])
        values = np.sort(values.to_numpy(zero_copy_only=False)) if _is_time(values.type) else None
        return [number for number, file in enumerate(self.files) if _may_hold(file, values)]

    def _look_in(
        self, files: Sequence[int], found: Found, keys: pa.Array, prints: pa.Array, numbers: np.ndarray
    ) -> None:
        """Look for `keys`, which are the records `numbers`, in these files."""

        def look(number: int) -> list[tuple[np.ndarray, np.ndarray]]:
            return [_matches(batch, keys, numbers, prints) for batch in self._keys_of(self.files[number])]

        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="look") as pool:
            for number, parts in zip(files, pool.map(look, files), strict=True):
                for records, same in parts:
                    found.place[records] = number
                    found.same[records] = same
                    np.add.at(found.times, records, 1)

    def _keys_of(self, file: File) -> Iterator[pa.RecordBatch]:
        with self._opened(file) as source:
            yield from source.iter_batches(_KEYS_AT_ONCE, columns=[KEY, FINGERPRINT], use_threads=False)

    def _opened(self, file: File) -> Any:
        import pyarrow.parquet as parquet

        return parquet.ParquetFile(
            self._place.open_input_file(file.path), coerce_int96_timestamp_unit="us", pre_buffer=False
        )

    # Writing

    def write(self, rows: pa.Table, places: np.ndarray) -> None:
        """Put rows into the table by one commit: into the place of those with their keys, or into a file of their own.

        Args:
            rows: finished. places: the number of each one's file, or -1.

        Raises:
            ConflictError: somebody else has committed since the table was opened for this.
        """
        rows = rows.select(self.schema.names).cast(self.schema)
        gone = sorted({int(number) for number in places if number >= 0})
        added: list[AddAction] = []

        def add(file: int | None) -> None:
            chosen = rows.filter(pa.array(places < 0 if file is None else places == file))
            added.extend(self._new(chosen) if file is None else self._rewritten(self.files[file], chosen))

        try:
            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="rewrite") as pool:
                list(pool.map(add, [None, *gone]))
            # the run's mark, which holds no row, is a commit, too
            self._table.update_incremental()
            self._require({file.path for file in self.files})
        except Exception:  # not of the commit: where its answer was lost, the table has these files
            remove(self._place, [action.path for action in added])
            raise
        self._store.commit_files(
            self._table, added, {self.files[number].path: self.files[number].size for number in gone}
        )
        self._store.rewritten += len(gone)

    def _new(self, rows: pa.Table) -> list[AddAction]:
        with FileWriter(self._place, self.schema, file_bytes=self._layout.file_bytes) as writer:
            writer.write(rows)
        return writer.added

    def _rewritten(self, file: File, rows: pa.Table) -> list[AddAction]:
        keys = one_array(rows.column(KEY))
        with self._opened(file) as source, FileWriter(self._place, self.schema, file_bytes=_ONE_FILE) as writer:
            for batch in source.iter_batches(ROW_GROUP, use_threads=False):
                writer.write(_replaced(_as_in(batch, self.schema), rows, keys))
        return writer.added

    def _require(self, paths: set[str]) -> None:
        if paths != {file.path for file in _files(self._table, None)}:
            raise ConflictError(f"Delta: another writer has committed to {self._store.name!r}.")


def _files(table: DeltaTable, column: str | None) -> list[File]:
    told = pa.table(table.get_add_actions(flatten=True))
    names = set(told.column_names)
    bounds = [f"min.{column}", f"max.{column}"] if column and {f"min.{column}", f"max.{column}"} <= names else []
    rows = told.select(["path", "size_bytes"]).to_pylist()
    # as numpy has the group's own values
    low, high = (told.column(name).to_numpy(zero_copy_only=False) for name in bounds) if bounds else (None, None)
    return [
        File(
            path=row["path"],
            size=row["size_bytes"],
            low=None if low is None else low[number],
            high=None if high is None else high[number],
        )
        for number, row in enumerate(rows)
    ]


def _as_in(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """Rows of a file, which may be older than some of the columns."""
    held = dict(zip(batch.schema.names, batch.columns, strict=True))
    columns: list[Any] = [
        held[item.name].cast(item.type) if item.name in held else pa.nulls(batch.num_rows, item.type) for item in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _is_time(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind)


def _may_hold(file: File, values: np.ndarray | None) -> bool:
    """Whether a file's range holds one of some sorted times; yes where nothing is known."""
    if values is None or file.low is None or np.isnat(file.low) or np.isnat(file.high):
        return True
    start = np.searchsorted(values, file.low)
    return bool(start < len(values) and values[start] <= file.high + _MILLISECOND)


def _matches(
    batch: pa.RecordBatch, keys: pa.Array, numbers: np.ndarray, prints: pa.Array
) -> tuple[np.ndarray, np.ndarray]:
    """The records (their numbers) that a file's batch holds, and of each whether its fingerprint is the same."""
    held = batch.column(0).cast(pa.string())
    at = pc.call_function("index_in", [held], pc.SetLookupOptions(keys))
    there = at.is_valid()
    records = numbers[at.drop_null().to_numpy()]
    if not len(records):
        return records, np.zeros(0, bool)
    stored = batch.column(1).cast(pa.string()).filter(there)
    same = pc.call_function("equal", [stored, prints.take(pa.array(records))])
    return records, same.fill_null(False).to_numpy(zero_copy_only=False)


def _replaced(rows: pa.Table, new: pa.Table, keys: pa.Array) -> pa.Table:
    """Rows of which those with these keys are the new ones."""
    at = pc.call_function("index_in", [one_array(rows.column(KEY))], pc.SetLookupOptions(keys))
    if at.null_count == len(at):
        return rows
    place = at.to_numpy(zero_copy_only=False)
    chosen = np.where(np.isnan(place), np.arange(len(place)), np.nan_to_num(place) + len(place)).astype(np.int64)
    return pa.concat_tables([rows, new]).combine_chunks().take(pa.array(chosen))
