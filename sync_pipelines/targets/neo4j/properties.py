"""Rows of properties on their way to the graph, as parameters of a statement, and back from it, as Arrow batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.model import FINGERPRINT, KEY, PROBLEM
from sync_pipelines.targets.neo4j.lists import as_read, as_stored
from sync_pipelines.targets.neo4j.names import END_NAME, KEY_NAME, PRINT_NAME, START_NAME, quoted
from sync_pipelines.targets.neo4j.types import FUNCTIONS, LISTS, Kind, kind_in, tagged

_NOT_PROPERTIES = (KEY, FINGERPRINT, START_NAME, END_NAME)
_WORDS = {kind: kind.value for kind in Kind}

Row = list[Any]
"""A row as a statement is given it."""

KEY_AT, PRINT_AT, START_AT, END_AT = range(4)
"""Where key, fingerprint and the keys of the ends stand in such a row."""


class Properties:
    """The properties of a batch or of a target: their names and kinds, in order.

    Args:
        schema: of the mapped batches; ends and system columns are left out.
        retired: names that the sync has written before and writes no more: they are removed.
    """

    def __init__(self, schema: pa.Schema, *, retired: Iterable[str] = ()) -> None:
        self.kinds = {field.name: kind_in(field) for field in schema if field.name not in _NOT_PROPERTIES}
        self._retired = [name for name in retired if name not in self.kinds]

    @property
    def names(self) -> list[str]:
        return list(self.kinds)

    def rows(self, batch: pa.RecordBatch) -> list[Row]:
        """Parameters of the rows: lists, for the driver packs the names in a map again for each row, which takes as
        long as the values.

        Key, fingerprint, the keys of both ends where there are ends, and the properties.
        """
        own = [name for name in (KEY, FINGERPRINT, START_NAME, END_NAME) if name in batch.schema.names]
        columns = [batch.column(name).to_pylist() for name in own]
        columns += [_column(batch.column(name), kind) for name, kind in self.kinds.items()]
        return [list(row) for row in zip(*columns, strict=True)]

    def assign(self, variable: str, *, ends: bool) -> str:
        """The SET clause that gives a node or relationship the properties of `row`; a null removes one."""
        first = END_AT + 1 if ends else PRINT_AT + 1
        sets = [f"{KEY_NAME} = row[{KEY_AT}]", f"{PRINT_NAME} = row[{PRINT_AT}]"]
        for number, (name, kind) in enumerate(self.kinds.items(), start=first):
            value = f"{FUNCTIONS[kind]}(row[{number}])" if kind in FUNCTIONS else f"row[{number}]"
            sets.append(f"{quoted(name)} = {value}")
        sets += [f"{quoted(name)} = null" for name in self._retired]
        return "SET " + ", ".join(f"{variable}.{item}" for item in sets)

    def returned(self, variable: str) -> str:
        """What a statement returns of each property."""
        return "".join(f", {variable}.{quoted(name)} AS p{number}" for number, name in enumerate(self.kinds))

    def batch(self, records: Sequence[Mapping[str, Any]], *, ends: bool) -> pa.RecordBatch:
        """Records with `key`, `mark` (and the ends) and the `returned` values, as a target gives values.

        A value that the sync would not have stored so is null, and `_problem` says which.
        """
        problems: list[list[str]] = [[] for _ in records]
        columns = [
            [_received(record[f"p{number}"], kind, name, problems[row]) for row, record in enumerate(records)]
            for number, (name, kind) in enumerate(self.kinds.items())
        ]
        marks = [mark if isinstance(mark := record["mark"], str) else None for record in records]
        system = {KEY: [record["key"] for record in records], FINGERPRINT: marks}
        if ends:
            system |= {START_NAME: [r["start_key"] for r in records], END_NAME: [r["end_key"] for r in records]}
        arrays = [pa.array(values, pa.string()) for values in system.values()]
        arrays += [
            pa.array(values, tagged(name, kind).type)
            for values, (name, kind) in zip(columns, self.kinds.items(), strict=True)
        ]
        arrays.append(pa.array(["; ".join(found) or None for found in problems], pa.string()))
        return pa.RecordBatch.from_arrays(arrays, names=[*system, *self.kinds, PROBLEM])


def _column(column: pa.Array, kind: Kind) -> list[Any]:
    values = column.to_pylist()
    if kind in FUNCTIONS:
        return list(map(_iso, values))
    return [None if value is None else as_stored(value, kind) for value in values] if kind in LISTS else values


def _iso(value: date | datetime | None) -> str | None:
    """A date, a time without a zone, or a time in UTC, as Cypher's functions read them."""
    if not isinstance(value, datetime):
        return value.isoformat() if value else None
    return value.replace(tzinfo=None).isoformat() + ("Z" if value.tzinfo else "")


def received(value: Any, kind: Kind) -> Any:
    """A value of the graph as the sync would have written one of this kind; None where it would not."""
    return None if value is None else _READ[kind](value)


def _received(value: Any, kind: Kind, name: str, problems: list[str]) -> Any:
    found = received(value, kind)
    if value is not None and found is None:
        problems.append(f"property {name!r} holds no {_WORDS[kind]} that the sync would write")
    return found


def _exactly(kind: type) -> Callable[[Any], Any]:
    """1 is no true and no 1.0, though Python calls them equal."""
    return lambda value: value if type(value) is kind else None


def _date(value: Any) -> date | None:
    from neo4j.time import Date

    return value.to_native() if isinstance(value, Date) else None


def _time(value: Any, *, zone: bool) -> datetime | None:
    from neo4j.time import DateTime

    if not isinstance(value, DateTime) or (value.tzinfo is not None) != zone or value.nanosecond % 1000:
        return None
    try:
        found = value.to_native()
    except (ValueError, OverflowError):
        return None
    return found.astimezone(UTC) if zone else found


def _list_of(kind: Kind) -> Callable[[Any], Any]:
    return lambda value: as_read(value, kind)


_READ: dict[Kind, Callable[[Any], Any]] = {
    Kind.text: _exactly(str),
    Kind.integer: _exactly(int),
    Kind.float: _exactly(float),
    Kind.boolean: _exactly(bool),
    Kind.date: _date,
    Kind.local: lambda value: _time(value, zone=False),
    Kind.moment: lambda value: _time(value, zone=True),
    **{kind: _list_of(kind) for kind in LISTS},
}
