"""What every engine of a lakehouse table does alike: whose a table is, which columns it has, how they may follow."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa

from sync_pipelines.engine.errors import RebuildDueError, RunError, TargetChangedError
from sync_pipelines.engine.model import FINGERPRINT, FINGERPRINTS_SCHEMA, KEY, Digest, Underived, bucket_of
from sync_pipelines.targets.lake.groups import Layout
from sync_pipelines.targets.lake.shape import DELETED, VERSION, Changes, Shape, changes

SchemaChange = Literal["stop", "evolve", "rebuild"]
OWNER, MAPPING, KEY_COLUMNS = "sync_pipelines.owner", "sync_pipelines.mapping", "sync_pipelines.key"
"""Table properties that say which sync a table belongs to, how its rows were mapped and what their key is."""

_APPEND_ONLY = "delta.appendOnly"
REBUILD_SUFFIX = "__rebuild"
STRANGER = "\u2205 row without _key: "


def stranger_key(values: Mapping[str, Any]) -> str:
    """The name of a row that no sync wrote (it has no `_key`): its key columns as JSON behind a mark."""
    return f"{STRANGER}{json.dumps(values, ensure_ascii=False, default=str)}"


def is_stranger(key: str) -> bool:
    """Whether a key is such a name."""
    return key.startswith(STRANGER)


@dataclass(frozen=True, kw_only=True)
class Held:
    """A table that is there.

    Args:
        columns: in Arrow's plain types. properties: the table's. foreign: features that the engine cannot write.
    """

    columns: pa.Schema
    properties: Mapping[str, str]
    foreign: Sequence[str] = ()

    @property
    def key(self) -> list[str]:
        """The source's key columns, as they were when the table was made."""
        return list(json.loads(self.properties.get(KEY_COLUMNS, "[]")))

    @property
    def append_only(self) -> bool:
        """Whether no row of the table may be changed or removed."""
        return self.properties.get(_APPEND_ONLY, "").strip().lower() == "true"

    @property
    def key_columns(self) -> list[str]:
        """Those of the key's columns that the table has."""
        return [name for name in self.key if name in self.columns.names]


def refuse_foreign(features: Sequence[str], *, engine: str, sync: str | None, table: str | None) -> None:
    """Stop before the first write to a table of another engine.

    Raises:
        TargetChangedError: it has features that this engine cannot write.
    """
    if features:
        raise TargetChangedError(
            f"the Delta table uses {', '.join(features)}, which {engine} cannot write.",
            sync=sync,
            table=table,
            remedy="Set target.engine: databricks, or name another table.",
        )


class LakeTarget(Underived, ABC):
    """One table; with its engine's methods it is an `engine.model.Target`. Making one connects to nothing.

    Args:
        name: the table's. shape: gives the columns that the source has now; asked when it is needed.
        sync, table: the table's owner, and for errors.
        layout, properties: how it is made and written. mapping: version of the mapping, noted for people.
        schema_change: what is done when the source's columns have changed.
    """

    engine: str
    """What `target.engine` calls it, for sentences."""

    at_once = 10_000
    """Records of whose values a deep proof asks at a time: each question reads the table's files."""

    def __init__(
        self,
        *,
        name: str,
        shape: Callable[[], Shape],
        sync: str | None = None,
        table: str | None = None,
        layout: Layout | None = None,
        properties: Mapping[str, str] | None = None,
        mapping: str = "",
        schema_change: SchemaChange = "evolve",
    ) -> None:
        self.name = name
        self.owner = f"{sync}/{table}" if sync and table else ""
        self._place: dict[str, Any] = {"sync": sync, "table": table}
        self._shape_now = shape
        self._layout = layout or Layout()
        self._properties = dict(properties or {})
        self._mapping, self._schema_change = mapping, schema_change

    @cached_property
    def shape(self) -> Shape:
        """The columns that the source has, asked once a run."""
        return self._shape_now()

    # What an engine brings

    @abstractmethod
    def count(self) -> int:
        """Rows in the table, those of strangers included."""

    @abstractmethod
    def held(self) -> Held | None:
        """The table as it is now, or None."""

    @abstractmethod
    def create(self) -> None:
        """Make the table in its shape, with `configuration`."""

    @abstractmethod
    def note_configuration(self) -> None:
        """Say in a table that was made otherwise (or rebuilt) whose it is: `own_configuration`."""

    @abstractmethod
    def add_columns(self, columns: pa.Schema) -> None:
        """Add columns to the table, by one commit."""

    @abstractmethod
    def optimize(self, *, z_order: Sequence[str] = ()) -> dict[str, Any]:
        """Put small files together, or with `z_order` order all rows by these columns; no row changes.

        Returns:
            Files and bytes of the newest version, before and after.
        """

    @abstractmethod
    def vacuum(self, *, hours: int, allow_short: bool = False) -> int | None:
        """Remove the files that no version of the last `hours` needs; how many, where the engine says so.

        Raises:
            ConfigurationError: fewer than 168 hours without the explicit word: somebody may be reading them.
        """

    # What all of them do alike

    def digests(self) -> Mapping[int, Digest] | None:
        """None: they are added up where they are compared."""
        return None

    def prepare(self) -> None:
        """Make the table if need be; check that this engine may write it, whose it is and which columns it has.

        Raises:
            TargetChangedError: another engine's features, another owner or key, columns that cannot follow.
        """
        held = self.held()
        if held is None:
            self.create()
            return
        refuse_foreign(held.foreign, engine=self.engine, **self._place)
        self._check_owner(held)
        self._check_changeable(held)
        self._follow(held)
        if OWNER not in held.properties and self.owner:
            self.note_configuration()

    def configuration(self) -> dict[str, str]:
        """The table's properties when it is made: the document's, and what says whose it is."""
        return {**self._properties, **self.own_configuration()}

    def own_configuration(self) -> dict[str, str]:
        """What says whose a table is, how its rows were mapped and what their key is."""
        own = {OWNER: self.owner, MAPPING: self._mapping, KEY_COLUMNS: json.dumps(list(self.shape.key))}
        return {name: value for name, value in own.items() if value}

    def _check_owner(self, held: Held) -> None:
        owner = held.properties.get(OWNER)
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

    def _check_changeable(self, held: Held) -> None:
        if held.append_only and not self.shape.history:
            raise TargetChangedError(
                f"the Delta table {self.name!r} is {_APPEND_ONLY}: what changes or goes in the source cannot follow.",
                remedy=f"Take the property from the table ({_APPEND_ONLY} = false), or name another one with "
                "target.mode: append.",
                **self._place,
            )

    def _follow(self, held: Held) -> None:
        """Bring the table's columns to the source's, where the document allows it, before anything is written."""
        if held.key and held.key != list(self.shape.key):
            raise self._stop(f"the key was ({', '.join(held.key)}), is now ({', '.join(self.shape.key)})")
        self._keep_history(held)
        found = self._changes(held)
        if not found.found:
            return
        blocked = found.of("dropped", "narrowed", "changed", "widened")
        if self._schema_change == "stop" or blocked:
            raise self._stop(found.words())
        self.add_columns(pa.schema([self.shape.schema.field(change.column) for change in found.of("added")]))

    def _keep_history(self, held: Held) -> None:
        """Also with `schema_change: rebuild`: what is in a history alone comes back from nowhere."""
        own = {VERSION, DELETED}
        if not self.shape.history and own <= set(held.columns.names) and not own & set(self.shape.schema.names):
            raise TargetChangedError(
                f"the Delta table {self.name!r} holds a history (`target.mode: append`), which this mode would end.",
                remedy="Take that mode again, or name another table; "
                f"`sync-pipelines sync {self.owner} --rebuild` makes it anew, with what the source has now.",
                **self._place,
            )

    def _changes(self, held: Held) -> Changes:
        return changes(held.columns, self.shape.schema)

    def _stop(self, why: str) -> TargetChangedError:
        kind = RebuildDueError if self._schema_change == "rebuild" else TargetChangedError
        return kind(
            f"the source's columns are not those of the Delta table {self.name!r} any more: {why}.",
            remedy=self.remedy()
            + (", or set schema_change: evolve for new ones." if self._schema_change == "stop" else "."),
            **self._place,
        )

    def remedy(self) -> str:
        """What gives a table other columns, without the last stop."""
        return f"Run `sync-pipelines sync {self.owner} --rebuild` to build it anew with the new columns"

    def require_columns(self, schema: pa.Schema) -> None:
        """Stop where rows have other columns than the table was prepared for.

        Raises:
            TargetChangedError: ALTER TABLE came between the look at the catalog and the snapshot.
        """
        if schema.names[2:] != self.shape.columns.names:
            raise TargetChangedError(
                "the source's columns changed while the run began.", remedy="Run it again.", **self._place
            )

    def drift(self) -> list[str]:
        """What about the table is not as it is asked for now, in words."""
        held = self.held()
        if held is None:
            return [f"table {self.name!r} does not exist"]
        owner = held.properties.get(OWNER)
        return [
            *([f"table {self.name!r} was made by something else"] if owner is None else []),
            *([f"table {self.name!r} belongs to {owner}"] if owner and owner != self.owner else []),
            *(f"the table uses {name}, which {self.engine} cannot write" for name in held.foreign),
            *([f"the table is {_APPEND_ONLY}"] if held.append_only and not self.shape.history else []),
            *(change.text for change in self._changes(held).found),
        ]


def before_and_after(before: tuple[int, int], after: tuple[int, int]) -> dict[str, Any]:
    """Files and bytes, as the upkeep reports them."""
    return {
        "files_before": before[0],
        "files_after": after[0],
        "bytes_before": before[1],
        "bytes_after": after[1],
    }


def named(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Keys and fingerprints of rows with their key columns behind them; a row without a key gets its name."""
    keys, prints = batch.column(0), batch.column(1)
    if keys.null_count:
        columns = batch.schema.names[2:]
        rows = batch.to_pylist()
        names = [row[KEY] or stranger_key({name: row[name] for name in columns}) for row in rows]
        marks = [row[FINGERPRINT] if row[KEY] else None for row in rows]
        keys, prints = pa.array(names, pa.string()), pa.array(marks, pa.string())
    return pa.RecordBatch.from_arrays([keys, prints], schema=FINGERPRINTS_SCHEMA)


def of_buckets(batch: pa.RecordBatch, buckets: Collection[int] | None) -> Iterator[pa.RecordBatch]:
    """The rows of keys and fingerprints that fall into these buckets; all of them for None."""
    if buckets is None:
        yield batch
        return
    mask = [bucket_of(key) in buckets for key in batch.column(0).to_pylist()]
    yield batch.filter(pa.array(mask, pa.bool_()))
