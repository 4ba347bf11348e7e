"""The columns that a table should have, and how those of a table that is there differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.model import FINGERPRINT, KEY
from sync_pipelines.targets.lake.types import spell

SYNCED_AT = "synced_at"
VERSION, DELETED = "_version", "_deleted"
"""Columns of a history: which of its record's states a row is, from 1, and whether the record is gone since."""

_UNNAMEABLE = re.compile(r"[ ,;{}()\n\t=]")
UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")

_WIDER: dict[str, tuple[str, ...]] = {
    "tinyint": ("smallint", "int", "bigint"),
    "smallint": ("int", "bigint"),
    "int": ("bigint",),
    "float": ("double",),
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a table is to look like.

    Args:
        columns: the source's columns as they are stored, with `comment` in their metadata.
        key: the source's key columns. comment: the table's.
        synced_at: whether a column of that name says when a row was written. history: it holds `VERSION`, `DELETED`.
    """

    columns: pa.Schema
    key: tuple[str, ...] = ()
    comment: str | None = None
    synced_at: bool = True
    history: bool = False

    def __post_init__(self) -> None:
        """Refuse what other engines could not read: Delta's names have no blanks, and no two that differ by case.

        Raises:
            ConfigurationError: naming the columns.
        """
        own = (*((KEY, FINGERPRINT) if self.key else ()), *((VERSION, DELETED) if self.history else ()))
        names = [*self.columns.names, *own]
        wrong = [name for name in names if _UNNAMEABLE.search(name)]
        folded = Counter(name.casefold() for name in names)
        wrong += [name for name in names if folded[name.casefold()] > 1]
        if wrong:
            raise ConfigurationError(
                f"a Delta table cannot have the column{'s' if len(wrong) > 1 else ''} {', '.join(map(repr, wrong))}.",
                remedy="Name the others in `columns:`, or rename them in the source.",
            )

    @property
    def stamped(self) -> bool:
        """Whether rows carry our own `synced_at`: a source's column of that name is the source's."""
        return self.synced_at and SYNCED_AT not in map(str.casefold, self.columns.names)

    @property
    def schema(self) -> pa.Schema:
        """The whole table: `_key`, `_fingerprint`, the columns, and when a row was written."""
        return pa.schema(
            [
                pa.field(KEY, pa.string(), True, metadata={"comment": "the record's name in its sync"}),
                pa.field(FINGERPRINT, pa.string(), True, metadata={"comment": "hash of the source's row"}),
                *(pa.field(item.name, item.type, True, metadata=_comment(item)) for item in self.columns),
                *([pa.field(SYNCED_AT, UTC_MICROSECONDS, True)] if self.stamped else []),
                *(HISTORY if self.history else []),
            ]
        )


HISTORY = (
    pa.field(VERSION, pa.int64(), True, metadata={"comment": "which state of its record a row is, from 1"}),
    pa.field(DELETED, pa.bool_(), True, metadata={"comment": "whether the record was gone then"}),
)
"""What a history holds beside its columns."""


def _comment(item: pa.Field) -> dict[bytes, bytes]:
    found = (item.metadata or {}).get(b"comment")
    return {b"comment": found} if found else {}


@dataclass(frozen=True)
class Change:
    """One difference between a table and its wanted shape; `kind` decides what may be done about it."""

    kind: Literal["added", "widened", "dropped", "narrowed", "changed"]
    column: str
    text: str


@dataclass(frozen=True)
class Changes:
    """All differences of a table."""

    found: Sequence[Change] = field(default_factory=tuple)

    def of(self, *kinds: str) -> list[Change]:
        return [change for change in self.found if change.kind in kinds]

    def words(self) -> str:
        return "; ".join(change.text for change in self.found)


def changes(held: pa.Schema, wanted: pa.Schema) -> Changes:
    """What differs, column by column; a column's place and comment do not count."""
    there = {item.name: item.type for item in held}
    asked = {item.name: item.type for item in wanted}
    found = [
        Change("added", name, f"column {name!r} ({spell(kind)}) is new")
        for name, kind in asked.items()
        if name not in there
    ]
    found += [
        Change("dropped", name, f"column {name!r} is no longer in the source") for name in there if name not in asked
    ]
    for name in there.keys() & asked.keys():
        was, now = spell(there[name]), spell(asked[name])
        if was != now:
            found.append(Change(_kind(there[name], asked[name]), name, f"column {name!r}: {was} → {now}"))
    return Changes(tuple(sorted(found, key=lambda change: change.column)))


def _kind(was: pa.DataType, now: pa.DataType) -> Literal["widened", "narrowed", "changed"]:
    if spell(now) in _WIDER.get(spell(was), ()) or _wider_decimal(was, now):
        return "widened"
    if spell(was) in _WIDER.get(spell(now), ()) or _wider_decimal(now, was):
        return "narrowed"
    return "changed"


def _wider_decimal(was: pa.DataType, now: pa.DataType) -> bool:
    if not (pa.types.is_decimal(was) and pa.types.is_decimal(now)):
        return False
    return now.scale >= was.scale and now.precision - now.scale >= was.precision - was.scale
