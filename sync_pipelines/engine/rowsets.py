"""The rows that a document gives, in one or more tables: what is equal, and what has changed.

Two values are compared in the form that their column gives them:

| column | rule |
|---|---|
| text | blanks around it do not count, line ends are `\\n`; an empty text is a text, not NULL |
| integer, numeric, float | the number: 7, 7.0 and "7" are one; what would be rounded is refused |
| real | the nearest number of single precision |
| boolean | true and false; no other value stands for one |
| timestamp, date | the moment, however ISO 8601 spells it; without a zone it is UTC |
| json | by its content: the order of names does not count, 1 and 1.0 are one number |
| a set | and here the order of the elements does not count either |

A value is written in that form, so what is compared is what stands in the table.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Context, Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, Literal

from sync_pipelines.engine.errors import RecordError

Kind = Literal["text", "integer", "numeric", "real", "float", "boolean", "timestamp", "timestamptz", "date", "json"]

Row = dict[str, Any]
"""A row's values by column."""

Rows = Mapping[str, Sequence[Row]]
"""The rows of one document by table."""


@dataclass(frozen=True, kw_only=True)
class RowTable:
    """One table, as far as rows of documents go into it.

    Args:
        name: its name among the tables of a sync. record: the columns that hold the document's key, in its order.
        key: further columns that tell the rows of one document apart; none where each has one row.
        kinds: the columns that are written, with what they hold. sets: those whose elements have no order.
        scales: of numeric ones, how many digits behind the point they keep, where that is fixed.
    """

    name: str
    record: tuple[str, ...]
    key: tuple[str, ...] = ()
    kinds: Mapping[str, Kind]
    sets: frozenset[str] = frozenset()
    scales: Mapping[str, int] = field(default_factory=dict)

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that name a row."""
        return (*self.record, *self.key)

    @property
    def values(self) -> tuple[str, ...]:
        """The columns that are compared."""
        return tuple(name for name in self.kinds if name not in self.identity)

    def place(self, row: Row) -> tuple[Any, ...]:
        """A row's own name within its document."""
        return tuple(row[name] for name in self.key)

    def canonical(self, row: Mapping[str, Any]) -> Row:
        """A row as it is compared and written; columns that it lacks are NULL.

        Raises:
            RecordError: a value is none of its column's kind.
        """
        found: Row = {}
        for name, kind in self.kinds.items():
            try:
                found[name] = canonical(row.get(name), kind, is_set=name in self.sets)
                _require_digits(found[name], self.scales.get(name))
            except (ValueError, TypeError, ArithmeticError) as error:
                raise RecordError(f"{self.name}.{name}: {error}.") from None
        return found


@dataclass(frozen=True, kw_only=True)
class Change:
    """What changed of a document: where (`rating`, `rooms[12].max_adults`, or a whole row, `rooms[12]`), from what to
    what; None is NULL, or no such row."""

    path: str
    old: Any
    new: Any


@dataclass(kw_only=True)
class TableChange:
    """The rows of one document to insert, to update (with the columns that differ) and to delete in one table."""

    table: RowTable
    inserts: list[Row] = field(default_factory=list)
    updates: list[tuple[Row, list[str]]] = field(default_factory=list)
    deletes: list[Row] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.inserts or self.updates or self.deletes)


def canonical(value: Any, kind: Kind, *, is_set: bool = False) -> Any:
    """A value in the form in which it is compared; see the module.

    Raises:
        ValueError: it is none of this kind; one clause says what it is.
    """
    if value is None:
        return None
    found = _FORMS[kind](value)
    return sorted(found, key=_sorted_text) if is_set and isinstance(found, list) else found


def canonical_rows(tables: Iterable[RowTable], rows: Mapping[str, Iterable[Mapping[str, Any]]]) -> dict[str, list[Row]]:
    """A document's rows as they are compared and written, each table's in the order of its keys.

    Raises:
        RecordError: a value is none of its column's kind, or two rows of one table have one key.
    """
    found: dict[str, list[Row]] = {}
    for table in tables:
        held = in_order(table, (table.canonical(row) for row in rows.get(table.name, ())))
        for one, other in pairwise(held):
            if table.place(one) == table.place(other):
                names = ", ".join(map(str, table.place(one))) or "the document's own"
                raise RecordError(f"{table.name}: two rows have the key {names}.")
        found[table.name] = held
    return found


def in_order(table: RowTable, rows: Iterable[Row]) -> list[Row]:
    """A document's rows by their keys, the same way for both sides."""
    return sorted(rows, key=lambda row: _sorted_text(table.place(row)))


def spelled(rows: Sequence[Row]) -> str:
    """Rows as one text, the same for equal rows."""
    return json.dumps(rows, sort_keys=True, ensure_ascii=False, default=_spell, separators=(",", ":"))


def fingerprint(tables: Iterable[RowTable], rows: Rows) -> str:
    """What tells the rows of a document from others."""
    mark = hashlib.md5(usedforsecurity=False)
    for table in tables:
        mark.update(f"{table.name}:{spelled(rows.get(table.name, ()))}\n".encode(errors="surrogatepass"))
    return mark.hexdigest()


def changes_of(table: RowTable, held: Sequence[Row], wanted: Sequence[Row]) -> TableChange:
    """What makes the rows of one document in one table those that are wanted; both are canonical."""
    before, found = {table.place(row): row for row in held}, TableChange(table=table)
    for row in wanted:
        old = before.pop(table.place(row), None)
        if old is None:
            found.inserts.append(row)
        elif unlike := [name for name in table.values if not _same(old[name], row[name])]:
            found.updates.append((row, unlike))
    found.deletes = list(before.values())
    return found


def told(change: TableChange, held: Sequence[Row], *, main: bool) -> Iterator[Change]:
    """A table's changes one by one, as the history keeps them.

    Args:
        held: the rows of before. main: it is the table of the document itself, whose columns are named alone.
    """
    table, before = change.table, {change.table.place(row): row for row in held}
    for row, names in change.updates:
        old, where = before[table.place(row)], "" if main else f"{_path(table, row)}."
        yield from (Change(path=f"{where}{name}", old=old[name], new=row[name]) for name in names)
    for row in change.inserts:
        yield Change(path=_path(table, row), old=None, new=_own(table, row))
    for row in change.deletes:
        yield Change(path=_path(table, row), old=_own(table, row), new=None)


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    return json.loads(json.dumps(value, default=_spell))


def _path(table: RowTable, row: Row) -> str:
    parts = [str(_spell(part) if isinstance(part, date | Decimal) else part) for part in table.place(row)]
    if len(parts) > 1:  # else "a,b" and "c" would be named as "a" and "b,c" are
        parts = [json.dumps(part, ensure_ascii=False) if {",", '"'}.intersection(part) else part for part in parts]
    return f"{table.name}[{','.join(parts)}]" if parts else table.name


def _own(table: RowTable, row: Row) -> Row:
    return {name: row[name] for name in table.kinds if name not in table.record}


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, float | Decimal) and isinstance(right, float | Decimal) and left != left and right != right:
        return True  # both are NaN
    return type(left) is type(right) and left == right if isinstance(left, bool) else left == right


def _spell(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else str(value)


def _sorted_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_spell)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        if isinstance(value, bool | dict | list):
            raise ValueError(f"a text is expected, and this is {_kind_of(value)}")
        value = str(value)
    if "\0" in value:
        raise ValueError("it holds a NUL character, which PostgreSQL's text cannot hold")
    return value.replace("\r\n", "\n").replace("\r", "\n").strip()


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(f"a number is expected, and this is {_kind_of(value)}")
    try:
        found = Decimal(value.strip() if isinstance(value, str) else str(value))
    except InvalidOperation:
        raise ValueError(f"a number is expected, and this is {value!r}") from None
    return found if found else Decimal(0)  # -0 and 0E+3 are 0


_BEFORE, _BEHIND = 131_072, 16_383
"""Digits of PostgreSQL's numeric, before the point and behind it."""

_EXACT = Context(prec=_BEFORE + _BEHIND)
"""All of them; by itself Python rounds to 28."""


def _numeric(value: Any) -> Decimal:
    found = _decimal(value)
    if not found.is_finite():
        return Decimal("NaN") if found.is_nan() else found
    if not -_BEHIND <= found.adjusted() < _BEFORE:
        raise ValueError(f"PostgreSQL's numeric cannot hold {str(value)[:40]}")
    whole = found == found.to_integral_value()
    return found.quantize(Decimal(1), context=_EXACT) if whole else found.normalize(_EXACT)


def _integer(value: Any) -> int:
    found = _decimal(value)
    if not found.is_finite() or found != found.to_integral_value():
        raise ValueError(f"a whole number is expected, and this is {value!r}")
    return int(found)


def _float(value: Any) -> float:
    return float(_decimal(value))


def _real(value: Any) -> float:
    return struct.unpack("f", struct.pack("f", _float(value)))[0]


def _require_digits(value: Any, scale: int | None) -> None:
    if (
        scale is not None
        and isinstance(value, Decimal)
        and value.is_finite()
        and value != value.quantize(Decimal(1).scaleb(-scale), context=_EXACT)
    ):
        raise ValueError(f"the column keeps {scale} digits behind the point, and would round {value}")


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false is expected, and this is {value!r}")
    return value


def _moment(value: Any) -> datetime:
    found = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
    if not isinstance(found, datetime):
        raise ValueError(f"a time is expected, and this is {value!r}")
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _date(value: Any) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    found = _moment(value)
    if found.time() != datetime.min.time():
        raise ValueError(f"a date is expected, and {value!r} has a time of day")
    return found.date()


def _json(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float | Decimal):
        whole = math.isfinite(value) and value == int(value)
        return int(value) if whole else float(value)
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("it holds a NUL character, which PostgreSQL's jsonb cannot hold")
        return value
    if isinstance(value, Mapping):
        return {str(name): _json(value[name]) for name in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    raise ValueError(f"JSON is expected, and this is {_kind_of(value)}")


def _kind_of(value: Any) -> str:
    return {bool: "true or false", dict: "an object", list: "a list"}.get(type(value), type(value).__name__)


_FORMS: Mapping[Kind, Any] = {
    "text": _text,
    "integer": _integer,
    "numeric": _numeric,
    "real": _real,
    "float": _float,
    "boolean": _boolean,
    "timestamp": lambda value: _moment(value).replace(tzinfo=None),
    "timestamptz": _moment,
    "date": _date,
    "json": _json,
}
