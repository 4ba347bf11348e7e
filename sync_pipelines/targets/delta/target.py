"""Delta as a target: a table of rows, kept equal to its source. Nothing is imported before it is used."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sync_pipelines.engine.model import (
    FINGERPRINT,
    FINGERPRINTS_SCHEMA,
    KEY,
    BatchResult,
    Counts,
    Deletion,
    Doubt,
    PlannedWrites,
)
from sync_pipelines.engine.usage import Spent
from sync_pipelines.targets.delta.features import foreign_features
from sync_pipelines.targets.delta.files import has_rules
from sync_pipelines.targets.delta.rewriting import Rewriter
from sync_pipelines.targets.delta.settings import DeltaSettings
from sync_pipelines.targets.delta.store import DeltaStore, name_of, stamp_number
from sync_pipelines.targets.delta.upkeep import optimize, vacuum
from sync_pipelines.targets.delta.writing import Filler, Writer, value_literal
from sync_pipelines.targets.lake.groups import Group, groups
from sync_pipelines.targets.lake.table import (
    REBUILD_SUFFIX,
    Held,
    LakeTarget,
    is_stranger,
    named,
    of_buckets,
    stranger_key,
)
from sync_pipelines.targets.retries import RetryPolicy

if TYPE_CHECKING:
    from deltalake import DeltaTable


class DeltaTarget(LakeTarget):
    """One Delta table through delta-rs.

    Args:
        settings: the root. name: the table's below it, with `/` between levels.
        retry: how transient errors are tried again. The rest is `LakeTarget`'s.
    """

    engine = "delta-rs"
    writes_meanwhile = True
    """Rows are taken while the source is still being read: nothing of a first load shows before its one commit."""
    lists_prints = True
    """Keys and fingerprints are columns of their own: a full run reads them once, and no other of what is equal."""

    def __init__(self, *, settings: DeltaSettings, name: str, retry: RetryPolicy | None = None, **table: Any) -> None:
        super().__init__(name=name, **table)
        self.settings = settings
        self._retry = retry or RetryPolicy()
        self.store = DeltaStore(settings, name, retry=self._retry, **self._place)
        self._beside: DeltaTarget | None = None

    def held(self) -> Held | None:
        """The table as it is now, or None."""
        table = self.store.open()
        if table is None:
            return None
        return Held(
            columns=self.store.schema_of(table),
            properties=self.store.properties(table),
            foreign=foreign_features(table),
        )

    def create(self) -> None:
        """Make the table, with the comments of the source."""
        self.store.create(self.shape, configuration=self.configuration())

    def configuration(self) -> dict[str, str]:
        """As every engine's; and the size of files, without which a merge puts all that it rewrites into files of
        100 MB, whatever the layout says, and the next merges find nothing to leave out."""
        return {"delta.targetFileSize": str(self._layout.file_bytes), **super().configuration()}

    # What a listing is asked

    def count(self) -> int:
        """Rows in the table, those of strangers included."""
        return self.store.count()

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        """Each row's key and fingerprint; a row without `_key` by a name made of its key columns."""
        table = self.store.open()
        if table is None:
            return
        wanted = None if buckets is None else set(buckets)
        for batch in self._scan(table, [KEY, FINGERPRINT, *self._key_columns()]):
            yield from of_buckets(named(batch), wanted)

    def _scan(self, table: DeltaTable, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        files = Rewriter(self.store, table, self._layout)
        if not files.can_read():
            yield from self.store.scan(table, names)
            return
        with self.store.errors("read table"):
            yield from files.scan(list(dict.fromkeys(names)))

    def _key_columns(self) -> list[str]:
        held = self.held()
        return held.key_columns if held is not None else []

    # What a target is asked

    def identity(self) -> str | None:
        """The table's id, which one that was dropped and made anew does not share."""
        table = self.store.open()
        return str(table.metadata().id) if table is not None else None

    def stamp(self) -> str | None:
        """What the last confirmed run has left in the table's log."""
        return self.store.stamp()

    def set_stamp(self, text: str) -> None:
        """Leave a number that stands for a text in the table's log, in the place of the one before."""
        self.store.set_stamp(text)

    def stamp_of(self, text: str) -> str:
        """The number that stands for a text."""
        return str(stamp_number(text))

    def note_configuration(self) -> None:
        """Say in a table that was made otherwise whose it is, and what its key is."""
        self.store.note(self.own_configuration())

    def add_columns(self, columns: pa.Schema) -> None:
        """Add columns to the table, by one commit."""
        from deltalake import Field, Schema

        fields: list[Field] = list(Schema.from_arrow(columns).fields)
        self.store.contend("add columns to table", lambda table: table.alter.add_columns(fields))

    def upsert(
        self,
        batches: Iterable[pa.RecordBatch],
        *,
        doubt: Doubt | None = None,
        before_write: Callable[[], object] = lambda: None,
    ) -> Iterator[BatchResult]:
        """Write batches of mapped rows (`lake.mapping`); a result for each commit, which has many batches."""
        writer = Writer(self.store, self.shape, self._layout, doubt=doubt, before_write=before_write)

        def write(group: Group) -> BatchResult:
            self.require_columns(group.rows.schema)
            return writer.write(group)

        # mapped and not looped over: a loop's variable would keep a group while the next one is put together
        yield from map(write, groups(iter(batches), most_bytes=writer.group_bytes))

    def may_fill(self) -> bool:
        """Whether the table is empty, and has no rule by which one row could keep out all."""
        table = self.store.open()
        return table is not None and not has_rules(table) and self.count() == 0

    def fill(self, batches: Iterable[pa.RecordBatch], *, before_write: Callable[[], object]) -> Counts:
        """Write mapped rows into the empty table by one commit, sorted in parts; files have the layout's size."""
        return Filler(self.store, self.shape, self._layout).fill(self._checked(batches), before_write=before_write)

    def _checked(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self.require_columns(batch.schema)
            yield batch

    def existing(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that the table holds."""
        table = self.store.open()
        if table is None or not keys:
            return []
        plain = [key for key in keys if not is_stranger(key)]
        held = {key for batch in self.store.rows_of(table, plain, [KEY]) for key in batch.column(KEY).to_pylist()}
        held |= self._strangers(table).keys() if len(plain) < len(keys) else set()
        return [key for key in dict.fromkeys(keys) if key in held]

    def _strangers(self, table: DeltaTable) -> dict[str, str]:
        """The rows without `_key`: their name → a predicate that finds them."""
        columns = self._key_columns()
        found: dict[str, str] = {}
        schema = self.store.schema_of(table)
        for batch in self.store.scan(table, [KEY, *columns], f"{KEY} IS NULL"):
            for row in batch.to_pylist():
                values = {name: row[name] for name in columns}
                conditions = [
                    f"{name_of(name)} IS NULL"
                    if value is None
                    else f"{name_of(name)} = {value_literal(value, schema.field(name).type)}"
                    for name, value in values.items()
                ]
                found[stranger_key(values)] = " AND ".join([f"{KEY} IS NULL", *conditions])
        return found

    def delete(self, keys: Sequence[str]) -> Deletion:
        """Delete these records by one commit; a table refuses none."""
        there = self.existing(keys)
        table = self.store.open()
        if table is None or not there:
            return Deletion()
        writer = Writer(self.store, self.shape, self._layout)
        strangers = [key for key in there if is_stranger(key)]
        if plain := [key for key in there if not is_stranger(key)]:
            writer.delete(plain)
        known = self._strangers(self.store.there()) if strangers else {}
        for key in strangers:
            if key in known:
                self.store.contend("delete from table", lambda table, key=key: table.delete(known[key]))
        return Deletion(deleted=len(there))

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The stored rows of these keys, in the table's own types."""
        table = self.store.open()
        if table is None:
            return
        names = [name for name in self.store.schema_of(table).names if name not in (KEY, FINGERPRINT)]
        yield from self.store.rows_of(table, [key for key in keys if not is_stranger(key)], [FINGERPRINT, *names])
        asked = {key for key in keys if is_stranger(key)}
        if asked:
            there = sorted(asked & self._strangers(table).keys())
            yield pa.RecordBatch.from_pydict({KEY: there, FINGERPRINT: [None] * len(there)}, schema=FINGERPRINTS_SCHEMA)

    def values_of(self, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """As `values`, of the keys of these rows; what they hold in the layout's column says where to look first."""
        table = self.store.open()
        if table is None:
            return
        files = Rewriter(self.store, table, self._layout)
        if files.can_read():
            with self.store.errors("read table"):
                yield from files.rows_like(pa.Table.from_batches([rows]))
        else:
            yield from self.values(rows.column(KEY).to_pylist())

    def holdings(self) -> dict[str, Any]:
        """What the table says of itself; nothing before the first sync."""
        table = self.store.open()
        if table is None:
            return {}
        sizes = pa.table(table.get_add_actions(flatten=True)).column("size_bytes").to_pylist()
        return {"table": self.name, "version": table.version(), "files": len(sizes), "bytes": sum(sizes)}

    @property
    def spent(self) -> Spent:
        """The files that were rewritten."""
        return Spent(files_rewritten=self.store.rewritten)

    def plan(self, batches: Iterable[pa.RecordBatch], *, rebuild: bool = False) -> PlannedWrites:
        """What `upsert` of these batches would do; writes nothing."""
        table = None if rebuild else self.store.open()
        counts = Counts()
        for group in groups(iter(batches)):
            same = 0 if table is None else group.unchanged(self.store.rows_of(table, group.keys, [FINGERPRINT]))
            counts += Counts(unchanged=same, upserted=group.rows.num_rows - same)
        return PlannedWrites(counts=counts)

    def optimize(self, *, z_order: Sequence[str] = ()) -> dict[str, Any]:
        """Put small files together, or with `z_order` write all anew in that order; no row changes."""
        return optimize(self.store, file_bytes=self._layout.file_bytes, z_order=z_order)

    def vacuum(self, *, hours: int, allow_short: bool = False) -> int:
        """Remove the files that no version of the last `hours` needs; how many."""
        return len(vacuum(self.store, hours=hours, allow_short=allow_short))

    def begin_rebuild(self) -> DeltaTarget:
        """A target over `<name>__rebuild`, beside the old state, which goes on serving; a rest of before goes."""
        beside = copy.copy(self)
        beside.name = self.name + REBUILD_SUFFIX
        beside.store = DeltaStore(self.settings, beside.name, retry=self._retry, **self._place)
        beside.store.remove()
        beside.prepare()
        self._beside = beside
        return beside

    def swap(self) -> None:
        """Put the rebuilt rows in the old ones' place by ONE commit: readers see the one state or the other.

        The table stays what it is, with its id, history, grants and properties.
        """
        beside = self._beside
        assert beside is not None, "swap follows begin_rebuild"
        self.store.overwrite(beside.store, file_bytes=self._layout.file_bytes)
        self.note_configuration()
        beside.store.remove()
        self._beside = None
