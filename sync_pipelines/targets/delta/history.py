"""A history (`lake.history`) that delta-rs writes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sync_pipelines.engine.compare import scratch
from sync_pipelines.engine.model import (
    FINGERPRINT,
    FINGERPRINTS_SCHEMA,
    KEY,
    UNDELETED,
    BatchResult,
    Counts,
    Deletion,
    Doubt,
    PlannedWrites,
)
from sync_pipelines.targets.delta.target import DeltaTarget
from sync_pipelines.targets.delta.writing import append, finished, same_row
from sync_pipelines.targets.lake.groups import Group, groups
from sync_pipelines.targets.lake.history import LAST, History, due, ended
from sync_pipelines.targets.lake.rules import written_alone
from sync_pipelines.targets.lake.shape import DELETED, SYNCED_AT, VERSION
from sync_pipelines.targets.lake.table import is_stranger, named, of_buckets

if TYPE_CHECKING:
    import sqlite3

    from deltalake import DeltaTable

_STATE = (KEY, FINGERPRINT, VERSION, DELETED)
_PAGE = 10_000
_NEWEST = """
    SELECT key, fingerprint FROM state AS s
    WHERE version = (SELECT max(version) FROM state AS o WHERE o.key = s.key) AND NOT deleted
"""


@dataclass
class Newest:
    """A record's newest state; `times`: how often the table holds it."""

    version: int = 0
    fingerprint: str | None = None
    deleted: bool = True
    times: int = 0

    def see(self, row: Mapping[str, Any]) -> None:
        """Take a row for the newest where it is; of two of one version the one that is not gone counts."""
        rank = (row[VERSION] or 0, not row[DELETED])
        if not self.times or rank > self.rank:
            self.version, self.deleted, self.times = rank[0], not rank[1], 0
            self.fingerprint = row[FINGERPRINT]
        self.times += rank == self.rank

    @property
    def rank(self) -> tuple[int, bool]:
        return self.version, not self.deleted

    def is_like(self, fingerprint: str) -> bool:
        return self.times == 1 and not self.deleted and self.fingerprint == fingerprint


class DeltaHistory(History, DeltaTarget):
    """See `lake.history`; made as `DeltaTarget` is."""

    _counted: tuple[int, int] | None = None

    # What a listing is asked

    def count(self) -> int:
        """Records that are there now, those of strangers included."""
        table = self.store.open()
        if table is None:
            return 0
        if self._counted is None or self._counted[0] != table.version():
            with self._states(table) as states:
                (found,) = states.execute(f"SELECT count(*) FROM ({_NEWEST})").fetchone()
            self._counted = (table.version(), found)
        return self._counted[1]

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        """Each record's key and newest fingerprint; a state that stands there twice comes twice."""
        table = self.store.open()
        if table is None:
            return
        wanted = None if buckets is None else set(buckets)
        with self._states(table) as states:
            found = states.execute(_NEWEST)
            while page := found.fetchmany(_PAGE):
                columns = [pa.array(column, pa.string()) for column in zip(*page, strict=True)]
                yield from of_buckets(pa.RecordBatch.from_arrays(columns, schema=FINGERPRINTS_SCHEMA), wanted)

    @contextmanager
    def _states(self, table: DeltaTable) -> Generator[sqlite3.Connection]:
        """All states of all records in a temporary file: the newest is known when all were seen."""
        columns = [KEY, FINGERPRINT, *self._key_columns()]
        with scratch() as states:
            states.execute("CREATE TABLE state (key TEXT, version INTEGER, fingerprint TEXT, deleted INTEGER)")
            for batch in self.store.scan(table, [*columns, VERSION, DELETED]):
                names = named(batch.select(columns))
                rows = zip(
                    names.column(0).to_pylist(),
                    (version or 0 for version in batch.column(VERSION).to_pylist()),
                    names.column(1).to_pylist(),
                    (bool(deleted) for deleted in batch.column(DELETED).to_pylist()),
                    strict=True,
                )
                states.execute("BEGIN")
                states.executemany("INSERT INTO state VALUES (?, ?, ?, ?)", rows)
                states.execute("COMMIT")
            states.execute("CREATE INDEX state_key ON state (key, version)")
            yield states

    # What a target is asked

    def existing(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` whose newest state is not that they are gone."""
        table = self.store.open()
        if table is None or not keys:
            return []
        strangers = [key for key in keys if is_stranger(key)]
        newest = self._newest(table, [key for key in keys if not is_stranger(key)])
        there = {key for key, state in newest.items() if not state.deleted} | set(super().existing(strangers))
        return [key for key in dict.fromkeys(keys) if key in there]

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The newest rows of these keys, without what says how new they are."""
        table = self.store.open()
        if table is None:
            return
        plain = [key for key in keys if not is_stranger(key)]
        newest = self._newest(table, plain)
        names = [name for name in self.store.schema_of(table).names if name not in _STATE]
        for batch in self._rows_of_newest(table, plain, newest, [FINGERPRINT, *names]):
            mask = [not newest[key].deleted for key in batch.column(KEY).to_pylist()]
            yield batch.filter(pa.array(mask, pa.bool_()))
        yield from super().values([key for key in keys if is_stranger(key)])

    def values_of(self, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """As `values`: no column says where the newest state lies."""
        return self.values(rows.column(KEY).to_pylist())

    def upsert(
        self,
        batches: Iterable[pa.RecordBatch],
        *,
        doubt: Doubt | None = None,
        before_write: Callable[[], object] = lambda: None,
    ) -> Iterator[BatchResult]:
        """Append the records whose newest state is another one; a result for each commit, which has many batches."""
        for group in groups(iter(batches)):
            self.require_columns(group.rows.schema)
            yield written_alone(
                group,
                lambda part: self.store.contend(
                    "write table", lambda table: self._write(table, part, doubt, before_write)
                ),
            )

    def _write(
        self, table: DeltaTable, group: Group, doubt: Doubt | None, before_write: Callable[[], object]
    ) -> BatchResult:
        newest = self._newest(table, group.keys)
        unlike = self._unlike(table, group, newest, doubt)
        rows, done = due(group, {key: newest.get(key, Newest()).version for key in unlike})
        if rows.num_rows:
            before_write()
            table.update_incremental()
            self._append(table, rows, deleted=False)
        return done

    def _unlike(self, table: DeltaTable, group: Group, newest: Mapping[str, Newest], doubt: Doubt | None) -> set[str]:
        if doubt == "all":
            return set(group.keys)
        unlike = {key for key, mark in group.prints.items() if not newest.get(key, Newest()).is_like(mark)}
        if doubt == "values":
            wanted = {row[KEY]: row for row in group.rows.to_pylist()}
            for batch in self._rows_of_newest(table, group.keys, newest, group.rows.schema.names):
                unlike |= {row[KEY] for row in batch.to_pylist() if not same_row(wanted[row[KEY]], row)}
        return unlike

    def delete(self, keys: Sequence[str]) -> Deletion:
        """Append to each of these records that it is gone, beside what it held last; a stranger's row is removed."""
        there = self.existing(keys)
        newest = self._newest(self.store.there(), [key for key in there if not is_stranger(key)]) if there else {}
        full = sorted(key for key, state in newest.items() if state.version >= LAST)
        plain = sorted(newest.keys() - set(full))
        if plain:
            self.store.contend("delete from table", lambda table: self._bury(table, plain))
        super().delete([key for key in there if is_stranger(key)])
        return Deletion(deleted=len(there) - len(full), refused=ended(full, stage=UNDELETED))

    def _bury(self, table: DeltaTable, keys: Sequence[str]) -> None:
        newest = self._newest(table, keys)
        names = self.shape.schema.names
        held = [name for name in names if name in self.store.schema_of(table).names and name not in (VERSION, DELETED)]
        found = pa.Table.from_batches(list(self._rows_of_newest(table, keys, newest, held)))
        once = pa.array(_first_of_each(found.column(KEY).to_pylist()), pa.int64())
        rows = found.take(once).drop_columns([name for name in (SYNCED_AT,) if self.shape.stamped])
        nothing = pa.nulls(rows.num_rows, pa.string())
        place = rows.schema.get_field_index(FINGERPRINT)
        rows = rows.set_column(place, rows.schema.field(place), nothing)
        versions = [newest[key].version + 1 for key in rows.column(KEY).to_pylist()]
        self._append(table, rows.append_column(VERSION, pa.array(versions, pa.int64())), deleted=True)

    def _append(self, table: DeltaTable, rows: pa.Table, *, deleted: bool) -> None:
        rows = rows.append_column(DELETED, pa.repeat(pa.scalar(deleted), rows.num_rows))
        append(table, finished(rows, self.shape, self._layout), self._layout)

    def _newest(self, table: DeltaTable, keys: Sequence[str]) -> dict[str, Newest]:
        found: dict[str, Newest] = {}
        for batch in self.store.rows_of(table, keys, _STATE):
            for row in batch.to_pylist():
                found.setdefault(row[KEY], Newest()).see(row)
        return found

    def _rows_of_newest(
        self, table: DeltaTable, keys: Sequence[str], newest: Mapping[str, Newest], columns: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        for batch in self.store.rows_of(table, keys, [*columns, VERSION, DELETED]):
            states = zip(*(batch.column(name).to_pylist() for name in (KEY, VERSION, DELETED)), strict=True)
            ranks = [((version or 0, not deleted) == newest[key].rank) for key, version, deleted in states]
            mask = pa.array(ranks, pa.bool_())
            yield batch.filter(mask).select(list(dict.fromkeys([KEY, *columns])))

    def plan(self, batches: Iterable[pa.RecordBatch], *, rebuild: bool = False) -> PlannedWrites:
        """What `upsert` of these batches would do; writes nothing."""
        table, counts = self.store.open(), Counts()
        for group in groups(iter(batches)):
            newest = {} if table is None else self._newest(table, group.keys)
            same = sum(newest.get(key, Newest()).is_like(mark) for key, mark in group.prints.items())
            counts += Counts(unchanged=same, upserted=group.rows.num_rows - same)
        return PlannedWrites(counts=counts)


def _first_of_each(keys: Sequence[str]) -> list[int]:
    first: dict[str, int] = {}
    for number, key in enumerate(keys):
        first.setdefault(key, number)
    return sorted(first.values())
