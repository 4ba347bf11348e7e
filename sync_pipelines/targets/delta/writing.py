"""Writing a group of records: what is stored already is left alone, the rest is one commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from math import isfinite
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.batches import from_a_thread
from sync_pipelines.engine.differences import same_value
from sync_pipelines.engine.model import FINGERPRINT, KEY, BatchResult, Counts, Doubt
from sync_pipelines.targets.delta.files import FileWriter, filesystem, is_plain
from sync_pipelines.targets.delta.rewriting import Found, Rewriter
from sync_pipelines.targets.delta.store import DeltaStore, literal, name_of
from sync_pipelines.targets.lake.groups import FRESH_BYTES, GROUP_BYTES, Group, Layout, groups
from sync_pipelines.targets.lake.rules import written_alone
from sync_pipelines.targets.lake.shape import SYNCED_AT, UTC_MICROSECONDS, Shape

if TYPE_CHECKING:
    from deltalake import DeltaTable

_BATCH_ROWS = 10_000
"""Rows that delta-rs is given at a time."""

_LIST = 200
"""So many values of the layout's column are listed in a predicate; more become a range."""


@dataclass(frozen=True)
class Stored:
    """What the table holds of a group: fingerprints by key, keys that it holds twice, and where they lie."""

    prints: Mapping[str, str | None] = field(default_factory=dict)
    doubled: frozenset[str] = frozenset()
    places: tuple[Any, ...] = ()


class Writer:
    """Writes groups into one table.

    Args:
        store: the table. shape, layout: how it is to look. doubt: no stored fingerprint is believed.
        before_write: called before each commit that writes rows.
    """

    def __init__(
        self,
        store: DeltaStore,
        shape: Shape,
        layout: Layout,
        *,
        doubt: Doubt | None = None,
        before_write: Callable[[], object] = lambda: None,
    ) -> None:
        self._store, self._shape, self._layout, self._doubt = store, shape, layout, doubt
        self._before_write = before_write
        self._own: int | None = None

    def write(self, group: Group) -> BatchResult:
        """Bring a group's records into the table; those that break a rule of its own are refused.

        Raises:
            ConflictError: other writers committed between look and commit, again and again.
        """
        return written_alone(
            group, lambda part: self._store.contend("write table", lambda table: self._write(table, part))
        )

    def _write(self, table: DeltaTable, group: Group) -> BatchResult:
        fresh = self._is_fresh(table)
        if not fresh and self._doubt is None:
            files = Rewriter(self._store, table, self._layout)
            if files.can_write(self._shape.schema.names) and not (found := files.look(group)).doubled:
                return self._rewrite(files, group, found)
        stored = Stored() if fresh else self._stored(table, group)
        changed = self._changed(table, group, stored)
        counts = Counts(unchanged=group.rows.num_rows - changed.num_rows, upserted=changed.num_rows)
        if changed.num_rows:
            self._before_write()
            table.update_incremental()
            rows = finished(changed, self._shape, self._layout)
            counts.bytes = rows.nbytes
            before = table.version()
            self._commit(table, rows, stored)
            self._own = before + 1 if fresh and table.version() == before + 1 else None
        return BatchResult(counts=counts, keys=group.keys)

    def _rewrite(self, files: Rewriter, group: Group, found: Found) -> BatchResult:
        """Put what differs into the files that hold it."""
        changed = group.rows.filter(found.due())
        counts = Counts(unchanged=group.rows.num_rows - changed.num_rows, upserted=changed.num_rows)
        if changed.num_rows:
            self._before_write()
            places = found.place[~found.same]
            order = in_order(changed, self._layout)
            rows = stamped(changed.take(order), self._shape)
            counts.bytes = rows.nbytes
            files.write(rows, places[order.to_numpy()])
        return BatchResult(counts=counts, keys=group.keys)

    def group_bytes(self) -> int:
        """How much of a stream the next commit takes."""
        return FRESH_BYTES if self._is_fresh(self._store.there()) else GROUP_BYTES

    def _is_fresh(self, table: DeltaTable) -> bool:
        """Whether the table holds nothing but what this writer has added to an empty one.

        A stream brings each key once, so nothing of a further group is stored: not to look for it is what makes the
        time of a first load grow with the rows, and not with their square.
        """
        return table.version() == self._own if self._own is not None else self._store.count() == 0

    def _stored(self, table: DeltaTable, group: Group) -> Stored:
        columns = [KEY, FINGERPRINT, *([self._layout.sort_by] if self._layout.sort_by else [])]
        prints: dict[str, str | None] = {}
        doubled: set[str] = set()
        places: set[Any] = set()
        for batch in self._store.rows_of(table, group.keys, columns):
            for row in batch.to_pylist():
                doubled.update({row[KEY]} & prints.keys())
                prints[row[KEY]] = row[FINGERPRINT]
                if self._layout.sort_by and (self._doubt or group.prints[row[KEY]] != row[FINGERPRINT]):
                    places.add(row[self._layout.sort_by])
        return Stored(prints, frozenset(doubled), tuple(places))

    def _changed(self, table: DeltaTable, group: Group, stored: Stored) -> pa.Table:
        if not stored.prints:
            return group.rows
        unlike = self._unlike(table, group, stored)
        return group.rows.filter(pa.array([key in unlike for key in group.keys], pa.bool_()))

    def _unlike(self, table: DeltaTable, group: Group, stored: Stored) -> set[str]:
        """Keys to be written: new ones, those with another fingerprint, and with doubt those with other values."""
        if self._doubt == "all":
            return set(group.keys)
        unlike = {key for key, mark in group.prints.items() if stored.prints.get(key) != mark} | stored.doubled
        if self._doubt == "values":
            names = group.rows.schema.names
            wanted = {row[KEY]: row for row in group.rows.to_pylist()}
            for batch in self._store.rows_of(table, group.keys, names):
                unlike |= {row[KEY] for row in batch.to_pylist() if not same_row(wanted[row[KEY]], row)}
        return unlike

    def _commit(self, table: DeltaTable, rows: pa.Table, stored: Stored) -> None:
        held = [key for key in rows.column(KEY).to_pylist() if key in stored.prints]
        if not held:
            append(table, rows, self._layout)
            return
        if stored.doubled:
            # a merge would bring both rows of a key to the same values, and leave both
            self._delete(table, sorted(stored.doubled))
            table.update_incremental()
        self._merge(table, rows, stored)

    def _merge(self, table: DeltaTable, rows: pa.Table, stored: Stored) -> None:
        names = rows.schema.names
        assignments = {name_of(name): f"source.{name_of(name)}" for name in names}
        done = (
            table.merge(
                rows,
                f"target.{KEY} = source.{KEY}{self._pruning(stored.places)}",
                source_alias="source",
                target_alias="target",
                streamed_exec=False,
                writer_properties=writer_properties(),
            )
            .when_matched_update(assignments)
            .when_not_matched_insert(assignments)
            .execute()
        )
        self._store.rewritten += done["num_target_files_removed"]

    def _pruning(self, places: Sequence[Any]) -> str:
        """Which files a merge must read: those that hold the changed records' current values of the sort column."""
        column = self._layout.sort_by
        if column is None or not places or any(place is None or place != place for place in places):
            return ""  # what is NaN stands in no order
        name = f"target.{name_of(column)}"
        kind = self._shape.schema.field(column).type
        if len(places) <= _LIST:
            return f" AND {name} IN ({', '.join(value_literal(place, kind) for place in sorted(places))})"
        low, high = value_literal(min(places), kind), value_literal(max(places), kind)
        return f" AND {name} >= {low} AND {name} <= {high}"

    def delete(self, keys: Sequence[str]) -> None:
        """Delete the rows of these keys by one commit."""
        self._store.contend("delete from table", lambda table: self._delete(table, keys))

    def _delete(self, table: DeltaTable, keys: Sequence[str]) -> None:
        done = table.delete(f"{KEY} IN ({', '.join(map(literal, keys))})", writer_properties=writer_properties())
        self._store.rewritten += done["num_removed_files"]


class Filler:
    """Writes whatever comes into a table that holds nothing.

    Args:
        store: the table. shape, layout: how it is to look.
    """

    def __init__(self, store: DeltaStore, shape: Shape, layout: Layout) -> None:
        self._store, self._shape, self._layout = store, shape, layout
        self._schema = pa.schema([(item.name, item.type) for item in shape.schema])
        self._counts = Counts()

    def fill(self, batches: Iterable[pa.RecordBatch], *, before_write: Callable[[], object]) -> Counts:
        """Write rows, each key once, by one commit; nothing where there are none."""
        parts = map(self._finished, groups(iter(batches), most_bytes=lambda: FRESH_BYTES))
        first = next(parts, None)
        if first is None:
            return Counts()
        before_write()
        table = self._store.there()
        with self._store.errors("write table"):
            if is_plain(table):
                self._add(table, chain([first], parts))
            else:
                with from_a_thread(_batches(chain([first], parts))) as rows:
                    append(table, pa.RecordBatchReader.from_batches(self._schema, rows), self._layout)
        return self._counts

    def _add(self, table: DeltaTable, parts: Iterable[pa.Table]) -> None:
        place = filesystem(self._store.settings, self._store.uri)
        with FileWriter(place, self._schema, file_bytes=self._layout.file_bytes) as files:
            for rows in parts:
                files.write(rows)
        self._store.commit_files(table, files.added, {}, beside=True)

    def _finished(self, part: Group) -> pa.Table:
        rows = finished(part.rows, self._shape, self._layout).select(self._schema.names).cast(self._schema)
        self._counts += Counts(upserted=rows.num_rows, bytes=rows.nbytes)
        return rows


def _batches(parts: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
    for rows in parts:
        yield from rows.to_batches(max_chunksize=_BATCH_ROWS)


def finished(rows: pa.Table, shape: Shape, layout: Layout) -> pa.Table:
    """Sorted, with the time of writing, in the table's own columns."""
    rows = stamped(rows, shape)
    if layout.sort_by is None or is_sorted(rows.column(layout.sort_by)):
        return rows
    return rows.take(in_order(rows, layout))


def stamped(rows: pa.Table, shape: Shape) -> pa.Table:
    """Rows with the time of writing."""
    if not shape.stamped:
        return rows
    now = pa.scalar(datetime.now(UTC), UTC_MICROSECONDS)
    return rows.append_column(SYNCED_AT, pa.repeat(now, rows.num_rows))


def in_order(rows: pa.Table, layout: Layout) -> pa.Array:
    """The rows' numbers in the order of the layout."""
    if layout.sort_by is None:
        return pa.array(range(rows.num_rows), pa.int64())
    options = pc.SortOptions([(layout.sort_by, "ascending")])
    return pc.call_function("sort_indices", [rows.select([layout.sort_by])], options)


def is_sorted(column: pa.ChunkedArray) -> bool:
    """Whether values stand in order already, as in a table that just grows: then no copy of the rows is made."""
    if column.null_count:
        return False
    values = column.combine_chunks()
    found = pc.call_function("less_equal", [values.slice(0, max(len(values) - 1, 0)), values.slice(1)])
    return bool(pc.call_function("all", [found]).as_py() is not False)


def append(table: DeltaTable, rows: pa.Table | pa.RecordBatchReader, layout: Layout) -> None:
    """Add finished rows by one commit."""
    from deltalake import write_deltalake

    write_deltalake(
        table, rows, mode="append", target_file_size=layout.file_bytes, writer_properties=writer_properties()
    )


def same_row(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether two rows hold the same; NaN is NaN here."""
    return all(same_value(value, right.get(name)) for name, value in left.items())


def value_literal(value: Any, kind: pa.DataType) -> str:
    """A value as an SQL literal of a column's type, for delta-rs's predicates."""
    if isinstance(value, datetime):
        text = value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
        return f"arrow_cast({literal(text)}, {literal(_arrow_name(kind))})"
    if isinstance(value, float) and not isfinite(value):
        return f"arrow_cast({literal(str(value))}, 'Float64')"
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if pa.types.is_date(kind):
        return f"arrow_cast({literal(value.isoformat())}, 'Date32')"
    if pa.types.is_decimal(kind):
        return f"arrow_cast({literal(str(value))}, 'Decimal128({kind.precision}, {kind.scale})')"
    return literal(str(value))


def _arrow_name(kind: pa.DataType) -> str:
    return 'Timestamp(Microsecond, Some("UTC"))' if kind.tz else "Timestamp(Microsecond, None)"


def writer_properties() -> Any:
    """Compression that makes a table a third smaller at no cost, and small row groups, which bound the memory."""
    from deltalake import WriterProperties

    return WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=10_000)
