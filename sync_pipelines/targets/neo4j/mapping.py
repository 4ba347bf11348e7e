"""Rows of a source become properties of nodes and relationships: a column at a time, refused a record at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.fitting import from_columns
from sync_pipelines.engine.keys import as_postgres
from sync_pipelines.engine.model import FINGERPRINT, KEY, PROBLEM, SYSTEM_FIELDS, Rejection
from sync_pipelines.targets.neo4j.lists import Unfit, canonical
from sync_pipelines.targets.neo4j.names import END_NAME, START_NAME, wrong_property
from sync_pipelines.targets.neo4j.types import (
    ARROW,
    LISTS,
    MOST_BYTES,
    MOST_KEY_BYTES,
    Kind,
    kind_of,
    tagged,
)

_SYSTEM = {item.name for item in SYSTEM_FIELDS}
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class End:
    """One end of a relationship: the label of its node, and the columns that hold that node's key."""

    label: str
    columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Both of them."""

    start: End
    end: End

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that holds a part of a node's key, each once."""
        return tuple(dict.fromkeys([*self.start.columns, *self.end.columns]))


@dataclass(frozen=True, kw_only=True)
class GraphMapper:
    """Source batches to what a graph is given: `_key`, `_fingerprint`, a relationship's ends, then its properties.

    Args:
        properties: column → the property's name; None for all columns under their own names.
        key: the source's key columns, which a node has as properties in any case.
        ends: None for nodes.
        place: sync and table, for errors.
    """

    properties: Mapping[str, str] | None = None
    key: Sequence[str] = ()
    ends: Ends | None = None
    place: str = ""

    @property
    def signature(self) -> str:
        """A text that changes when the mapping does."""
        named = None if self.properties is None else sorted(self.properties.items())
        ends = self.ends and [(end.label, end.columns) for end in (self.ends.start, self.ends.end)]
        return json.dumps(["graph", _VERSION, named, ends])

    def named(self, columns: Iterable[str]) -> dict[str, str]:
        """Those of a source's columns that become properties, with their names.

        Raises:
            ConfigurationError: a name that cannot be, or two columns for one property.
        """
        names = {column: name for column in columns if (name := self._name(column)) is not None}
        for column, name in names.items():
            if (wrong := wrong_property(name)) is not None:
                raise ConfigurationError(
                    f"{self.place}: the column {column!r} cannot be the property {name!r}: the name {wrong}.",
                    remedy="Give it another one (properties: {column: name}), or leave it out.",
                )
        doubled = [name for name in names.values() if list(names.values()).count(name) > 1]
        if doubled:
            raise ConfigurationError(f"{self.place}: two columns would be the property {doubled[0]!r}.")
        return names

    def property_of(self, column: str | None) -> str | None:
        """The property that a column becomes; None where it becomes none."""
        return None if column is None else self._name(column)

    def _name(self, column: str) -> str | None:
        if column in _SYSTEM:
            return None
        if self.properties is not None and column in self.properties:
            return self.properties[column]
        if self.ends is not None:
            return None if self.properties is not None or column in self.ends.columns else column
        return column if self.properties is None or column in self.key else None

    def schema(self, source: pa.Schema) -> pa.Schema:
        """The properties of a source's schema, and a relationship's ends before them."""
        sides = () if self.ends is None else ((START_NAME, self.ends.start), (END_NAME, self.ends.end))
        ends = [from_columns(pa.field(name, pa.string(), False), *end.columns) for name, end in sides]
        named = self.named(source.names).items()
        fields = [from_columns(tagged(name, kind_of(source.field(column))), column) for column, name in named]
        return pa.schema([*ends, *fields])

    def map(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Rejection]]:
        """The rows that can be stored, and the others with why."""
        reasons = _Reasons(batch)
        columns: list[pa.Array] = [batch.column(KEY), batch.column(FINGERPRINT)]
        if self.ends is not None:
            columns += [_ends(batch, self.ends.start, reasons), _ends(batch, self.ends.end, reasons)]
        for column, name in self.named(batch.schema.names).items():
            columns.append(_property(batch.column(column), kind_of(batch.schema.field(column)), name, reasons))
        _too_large(columns, reasons)
        own = [pa.field(KEY, pa.string(), False), pa.field(FINGERPRINT, pa.string(), False)]
        made = pa.RecordBatch.from_arrays(columns, schema=pa.schema([*own, *self.schema(batch.schema)]))
        return made.filter(reasons.mask) if reasons.found else made, reasons.rejections


class _Reasons:
    """Why rows of a batch are refused, the first reason of each."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch
        problems = batch.column(PROBLEM).to_pylist() if batch.column(PROBLEM).null_count < batch.num_rows else []
        self.found = {row: ("read", why) for row, why in enumerate(problems) if why}

    def add(self, row: int, why: str) -> None:
        self.found.setdefault(row, ("map", why))

    @property
    def mask(self) -> pa.Array:
        return pa.array([row not in self.found for row in range(self._batch.num_rows)], pa.bool_())

    @property
    def rejections(self) -> list[Rejection]:
        keys = self._batch.column(KEY)
        return [
            Rejection(key=keys[row].as_py(), reason=why, stage=stage)
            for row, (stage, why) in sorted(self.found.items())
        ]


def _ends(batch: pa.RecordBatch, end: End, reasons: _Reasons) -> pa.Array:
    """The key of the node at one end, as the node's own table has it; these columns are read as PostgreSQL's text."""
    columns = [batch.column(name).to_pylist() for name in end.columns]
    found: list[str] = []
    for row, values in enumerate(zip(*columns, strict=True)):
        missing = [name for name, value in zip(end.columns, values, strict=True) if value is None]
        if missing:
            reasons.add(row, f"column {missing[0]!r} is NULL: a relationship has a node at both ends")
        texts = ["" if value is None else value for value in values]
        found.append(texts[0] if len(texts) == 1 else as_postgres(texts))
    return pa.array(found, pa.string())


def _property(column: pa.Array, kind: Kind, name: str, reasons: _Reasons) -> pa.Array:
    if kind in LISTS:
        return pa.array(list(_arrays(column, kind, name, reasons)), pa.string())
    return column.cast(ARROW[kind])


def _arrays(column: pa.Array, kind: Kind, name: str, reasons: _Reasons) -> Iterable[str | None]:
    for row, text in enumerate(column.to_pylist()):
        try:
            yield None if text is None else canonical(text, kind)
        except Unfit as error:
            reasons.add(row, f"property {name!r}: {error}")
            yield None


def _too_large(columns: Sequence[pa.Array], reasons: _Reasons) -> None:
    """Refuse keys that no index takes and records that no message should carry."""
    texts = [column for column in columns if pa.types.is_string(column.type)]
    lengths = [pc.call_function("binary_length", [column]) for column in texts]
    sizes: Any = [pc.fill_null(column, 0).to_pylist() for column in lengths]
    keys = sizes[0]
    for row, size in enumerate(map(sum, zip(*sizes, strict=True))):
        if size > MOST_BYTES:
            reasons.add(row, f"its texts have {size:,} bytes, and a graph is given up to {MOST_BYTES:,} a record")
        if keys[row] > MOST_KEY_BYTES:
            reasons.add(row, f"its key has {keys[row]:,} bytes, and a graph indexes up to {MOST_KEY_BYTES:,}")
