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


class Properties:
    """The properties of a batch or of a target: their names and kinds, in order.

    Args:
        schema: of the mapped batches; ends and system columns are left out.
        retired: names that the sync has written before and writes no more: they are removed.
    """

    def __init__(self, schema: pa.Schema, *, retired: Iterable[str] = ()) -> None:
        self.kinds = {field.name: kind_in(field) for field in schema if field.name not in _NOT_PROPERTIES}
        self._times = [name for name, kind in self.kinds.items() if kind in FUNCTIONS]
        self._retired = [name for name in retired if name not in self.kinds]

    @property
    def names(self) -> list[str]:
        return list(self.kinds)

    def rows(self, batch: pa.RecordBatch) -> list[dict[str, Any]]:
        """Parameters of the rows: `key`, the ends' keys where there are ends, `p` (properties) and the times."""
        return [self._row(row) for row in batch.to_pylist()]

    def _row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        plain = {name: _sent(row[name], kind) for name, kind in self.kinds.items() if kind not in FUNCTIONS}
        own = {KEY_NAME: row[KEY], PRINT_NAME: row[FINGERPRINT]}
        found = {"key": row[KEY], "p": {**dict.fromkeys(self._retired), **plain, **own}}
        if START_NAME in row:
            found |= {"start_key": row[START_NAME], "end_key": row[END_NAME]}
        return found | {f"t{number}": _iso(row[name]) for number, name in enumerate(self._times)}

    def assign(self, variable: str) -> str:
        """The SET clauses that give a node or relationship the properties of `row`; a null removes one."""
        times = "".join(
            f" SET {variable}.{quoted(name)} = {FUNCTIONS[self.kinds[name]]}(row.t{number})"
            for number, name in enumerate(self._times)
        )
        return f"SET {variable} += row.p{times}"

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


def _sent(value: Any, kind: Kind) -> Any:
    return as_stored(value, kind) if kind in LISTS and value is not None else value


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
