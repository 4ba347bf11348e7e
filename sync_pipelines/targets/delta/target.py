"""Delta as a target: a table of rows, kept equal to its source. Nothing is imported before it is used."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from sync_pipelines.engine.errors import RunError, TargetChangedError
from sync_pipelines.engine.model import (
    FINGERPRINT,
    FINGERPRINTS_SCHEMA,
    KEY,
    BatchResult,
    Counts,
    Digest,
    Doubt,
    PlannedWrites,
    bucket_of,
)
from sync_pipelines.targets.delta.features import check_features, foreign_features
from sync_pipelines.targets.delta.settings import DeltaSettings
from sync_pipelines.targets.delta.shape import Changes, Shape, changes
from sync_pipelines.targets.delta.store import MAPPING, OWNER, STRANGER, DeltaStore, stamp_number, stranger_key
from sync_pipelines.targets.delta.writing import Layout, Writer, groups, value_literal
from sync_pipelines.targets.retries import RetryPolicy

if TYPE_CHECKING:
    from deltalake import DeltaTable

SchemaChange = Literal["stop", "evolve", "rebuild"]
KEY_COLUMNS = "sync_pipelines.key"
REBUILD_SUFFIX = "__rebuild"


class DeltaTarget:
    """One Delta table; implements `engine.model.Target`. Making one connects to nothing.

    Args:
        settings: the root. name: the table's below it, with `/` between levels.
        shape: gives the columns that the source has now; asked when it is needed.
        sync, table: the table's owner, and for errors.
        layout, properties: how it is made and written. mapping: version of the mapping, noted for people.
        schema_change: what is done when the source's columns have changed.
        retry: how transient errors are tried again.
    """

    def __init__(
        self,
        *,
        settings: DeltaSettings,
        name: str,
        shape: Callable[[], Shape],
        sync: str | None = None,
        table: str | None = None,
        layout: Layout | None = None,
        properties: Mapping[str, str] | None = None,
        mapping: str = "",
        schema_change: SchemaChange = "evolve",
        retry: RetryPolicy | None = None,
    ) -> None:
        self.settings, self.name = settings, name
        self.owner = f"{sync}/{table}" if sync and table else ""
        self._place: dict[str, Any] = {"sync": sync, "table": table}
        self._shape_now = shape
        self._layout = layout or Layout()
        self._properties = dict(properties or {})
        self._mapping, self._schema_change = mapping, schema_change
        self._retry = retry or RetryPolicy()
        self.store = DeltaStore(settings, name, retry=self._retry, **self._place)
        self._beside: DeltaTarget | None = None

    @cached_property
    def shape(self) -> Shape:
        """The columns that the source has, asked once a run."""
        return self._shape_now()

    # What a listing is asked

    def count(self) -> int:
        """Rows in the table, those of strangers included."""
        return self.store.count()

    def digests(self) -> Mapping[int, Digest] | None:
        """None: they are added up where they are compared."""
        return None

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        """Each row's key and fingerprint; a row without `_key` by a name made of its key columns."""
        table = self.store.open()
        if table is None:
            return
        wanted = None if buckets is None else set(buckets)
        for batch in self.store.scan(table, [KEY, FINGERPRINT, *self._key_columns(table)]):
            yield from _prints(_named(batch), wanted)

    def _key_columns(self, table: DeltaTable) -> list[str]:
        held = set(self.store.schema_of(table).names)
        known = json.loads(table.metadata().configuration.get(KEY_COLUMNS, "[]"))
        return [name for name in known if name in held]

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

    def prepare(self) -> None:
        """Make the table if need be; check that this engine may write it, whose it is and which columns it has.

        Raises:
            TargetChangedError: another engine's features, another owner or key, columns that cannot follow.
        """
        table = self.store.open()
        if table is None:
            self.store.create(self.shape, configuration=self._configuration())
            return
        check_features(table, sync=self._place["sync"], name=self._place["table"])
        self._check_owner(table)
        self._follow(table)

    def _configuration(self) -> dict[str, str]:
        own = {OWNER: self.owner, MAPPING: self._mapping, KEY_COLUMNS: json.dumps(list(self.shape.key))}
        return {**self._properties, **{name: value for name, value in own.items() if value}}

    def _check_owner(self, table: DeltaTable) -> None:
        held = table.metadata().configuration
        owner = held.get(OWNER)
        if owner is None and self.count():
            raise RunError(
                f"the Delta table {self.name!r} was made by something else and holds rows.",
                remedy="Name another table, or remove that one.",
                **self._place,
            )
        if owner and self.owner and owner != self.owner:
            raise RunError(
                f"the Delta table {self.name!r} belongs to {owner}.", remedy="Name another table.", **self._place
            )

    def _follow(self, table: DeltaTable) -> None:
        """Bring the table's columns to the source's, where the document allows it, before anything is written."""
        found = self._changes(table)
        key = json.loads(table.metadata().configuration.get(KEY_COLUMNS, "[]"))
        if key and key != list(self.shape.key):
            raise self._stop(f"the key was ({', '.join(key)}), is now ({', '.join(self.shape.key)})")
        if not found.found:
            return
        blocked = found.of("dropped", "narrowed", "changed", "widened")
        if self._schema_change == "stop" or blocked:
            raise self._stop(found.words())
        self._add([change.column for change in found.of("added")])

    def _changes(self, table: DeltaTable) -> Changes:
        return changes(self.store.schema_of(table), self.shape.schema)

    def _stop(self, why: str) -> TargetChangedError:
        return TargetChangedError(
            f"the source's columns are not those of the Delta table {self.name!r} any more: {why}.",
            remedy=f"Run `sync-pipelines sync {self.owner} --rebuild` to build it anew with the new columns"
            + (", or set schema_change: evolve for new ones." if self._schema_change == "stop" else "."),
            **self._place,
        )

    def _add(self, names: Sequence[str]) -> None:
        from deltalake import Field, Schema

        wanted = Schema.from_arrow(pa.schema([self.shape.schema.field(name) for name in names]))
        fields: list[Field] = list(wanted.fields)
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
        for group in groups(iter(batches)):
            self._require_columns(group.rows.schema)
            yield writer.write(group)

    def _require_columns(self, schema: pa.Schema) -> None:
        if schema.names[2:] != self.shape.columns.names:
            # ALTER TABLE between the look at the catalog and the snapshot
            raise TargetChangedError(
                "the source's columns changed while the run began.", remedy="Run it again.", **self._place
            )

    def existing(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that the table holds."""
        table = self.store.open()
        if table is None or not keys:
            return []
        plain = [key for key in keys if not key.startswith(STRANGER)]
        held = {key for batch in self.store.rows_of(table, plain, [KEY]) for key in batch.column(KEY).to_pylist()}
        held |= self._strangers(table).keys() if len(plain) < len(keys) else set()
        return [key for key in dict.fromkeys(keys) if key in held]

    def _strangers(self, table: DeltaTable) -> dict[str, str]:
        """The rows without `_key`: their name → a predicate that finds them."""
        columns = self._key_columns(table)
        found: dict[str, str] = {}
        schema = self.store.schema_of(table)
        for batch in self.store.scan(table, [KEY, *columns], f"{KEY} IS NULL"):
            for row in batch.to_pylist():
                values = {name: row[name] for name in columns}
                conditions = [
                    f'"{name}" IS NULL'
                    if value is None
                    else f'"{name}" = {value_literal(value, schema.field(name).type)}'
                    for name, value in values.items()
                ]
                found[stranger_key(values)] = " AND ".join([f"{KEY} IS NULL", *conditions])
        return found

    def delete(self, keys: Sequence[str]) -> int:
        """Delete these records by one commit; how many there were."""
        there = self.existing(keys)
        table = self.store.open()
        if table is None or not there:
            return 0
        writer = Writer(self.store, self.shape, self._layout)
        strangers = [key for key in there if key.startswith(STRANGER)]
        if plain := [key for key in there if not key.startswith(STRANGER)]:
            writer.delete(plain)
        known = self._strangers(self.store.there()) if strangers else {}
        for key in strangers:
            if key in known:
                self.store.contend("delete from table", lambda table, key=key: table.delete(known[key]))
        return len(there)

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The stored rows of these keys, in the table's own types."""
        table = self.store.open()
        if table is None:
            return
        names = [name for name in self.store.schema_of(table).names if name not in (KEY, FINGERPRINT)]
        yield from self.store.rows_of(
            table, [key for key in keys if not key.startswith(STRANGER)], [FINGERPRINT, *names]
        )
        asked = {key for key in keys if key.startswith(STRANGER)}
        if asked:
            there = sorted(asked & self._strangers(table).keys())
            yield pa.RecordBatch.from_pydict({KEY: there, FINGERPRINT: [None] * len(there)}, schema=FINGERPRINTS_SCHEMA)

    def faults(self, keys: Sequence[str]) -> dict[str, str]:
        """Nothing is derived here."""
        return {}

    def unsearchable(self, keys: Sequence[str]) -> dict[str, str]:
        """A table has no index beside its rows."""
        return {}

    def holdings(self) -> dict[str, Any]:
        """What the table says of itself; nothing before the first sync."""
        table = self.store.open()
        if table is None:
            return {}
        sizes = pa.table(table.get_add_actions(flatten=True)).column("size_bytes").to_pylist()
        return {"table": self.name, "version": table.version(), "files": len(sizes), "bytes": sum(sizes)}

    def drift(self) -> list[str]:
        """What about the table is not as it is asked for now, in words."""
        table = self.store.open()
        if table is None:
            return [f"table {self.name!r} does not exist"]
        owner = table.metadata().configuration.get(OWNER)
        return [
            *([f"table {self.name!r} was made by something else"] if owner is None else []),
            *([f"table {self.name!r} belongs to {owner}"] if owner and owner != self.owner else []),
            *(f"the table uses {name}, which delta-rs cannot write" for name in foreign_features(table)),
            *(change.text for change in self._changes(table).found),
        ]

    def plan(self, batches: Iterable[pa.RecordBatch], *, rebuild: bool = False) -> PlannedWrites:
        """What `upsert` of these batches would do; writes nothing."""
        table = None if rebuild else self.store.open()
        counts = Counts()
        for group in groups(iter(batches)):
            same = 0
            if table is not None:
                for batch in self.store.rows_of(table, group.keys, [FINGERPRINT]):
                    same += sum(group.prints[row[KEY]] == row[FINGERPRINT] for row in batch.to_pylist())
            counts += Counts(unchanged=same, upserted=group.rows.num_rows - same)
        return PlannedWrites(counts=counts)

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
        self.store.overwrite(beside.store, configuration=self._configuration(), file_bytes=self._layout.file_bytes)
        beside.store.remove()
        self._beside = None


def _named(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Keys and fingerprints; a row without a key gets its name."""
    keys, prints = batch.column(0), batch.column(1)
    if keys.null_count:
        columns = batch.schema.names[2:]
        rows = batch.to_pylist()
        names = [row[KEY] or stranger_key({name: row[name] for name in columns}) for row in rows]
        marks = [row[FINGERPRINT] if row[KEY] else None for row in rows]
        keys, prints = pa.array(names, pa.string()), pa.array(marks, pa.string())
    return pa.RecordBatch.from_arrays([keys, prints], schema=FINGERPRINTS_SCHEMA)


def _prints(batch: pa.RecordBatch, buckets: set[int] | None) -> Iterator[pa.RecordBatch]:
    if buckets is None:
        yield batch
        return
    mask = [bucket_of(key) in buckets for key in batch.column(0).to_pylist()]
    yield batch.filter(pa.array(mask, pa.bool_()))
