"""Source batches as Python values: what pure functions (row → document, row → node) are given.

JSON and arrays come parsed, `numeric` as Decimal, times as aware UTC datetimes. A value that cannot be
parsed makes the row a problem, never an exception.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.model import CHANGED_AT, FINGERPRINT, KEY, PROBLEM, SYSTEM_FIELDS

_SYSTEM = frozenset(field.name for field in SYSTEM_FIELDS)

# What text in JSON can hold by escapes and neither PostgreSQL's text nor UTF-8 can.
_SUSPECT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One record.

    Args:
        key, fingerprint: as in the batch. changed_at: aware UTC, or None.
        problem: why the row goes to quarantine, or None. `values` then lacks the columns at fault.
        values: by column name, in the order of the batch.
    """

    key: str
    fingerprint: str
    changed_at: datetime | None
    problem: str | None
    values: Mapping[str, Any]


def rows(batch: pa.RecordBatch) -> Iterator[Row]:
    """The records of a source's batch (its system columns, then columns with `pg_type` metadata)."""
    names = [field.name for field in batch.schema]
    columns = [_values(batch.column(number), batch.schema.field(number)) for number in range(len(names))]
    for values in zip(*columns, strict=True):
        yield _row(dict(zip(names, values, strict=True)))


@dataclass(frozen=True)
class _Unreadable:
    """Stands in a column for a value that could not be parsed."""

    why: str


def _row(values: dict[str, Any]) -> Row:
    problems = [values[PROBLEM]] if values.get(PROBLEM) else []
    own = {name: value for name, value in values.items() if name not in _SYSTEM}
    for name, value in list(own.items()):
        if isinstance(value, _Unreadable):
            problems.append(f"column {name!r} {value.why}")
            del own[name]
    return Row(
        key=values[KEY],
        fingerprint=values[FINGERPRINT],
        changed_at=values.get(CHANGED_AT),
        problem="; ".join(problems) or None,
        values=own,
    )


def _values(column: pa.Array, field: pa.Field) -> list[Any]:
    convert = _converter(field)
    values = column.to_pylist()
    return values if convert is None else [None if value is None else convert(value) for value in values]


def _converter(field: pa.Field) -> Callable[[Any], Any] | None:
    if pa.types.is_timestamp(field.type):
        return _utc
    base = (field.metadata or {}).get(b"pg_base") or (field.metadata or {}).get(b"pg_type", b"")
    return _by_base(base.decode()) if pa.types.is_string(field.type) else None


@functools.cache
def _by_base(base: str) -> Callable[[Any], Any] | None:
    if base in ("json", "jsonb"):
        return functools.partial(_json, leaf=None)
    if base.endswith("[]"):
        return functools.partial(_json, leaf=_LEAVES.get(base.removesuffix("[]").partition("(")[0]))
    if base.partition("(")[0] == "numeric":
        return _decimal
    return None


def _utc(value: datetime) -> datetime:
    # Arrow gives ZoneInfo("UTC"), which crashes some clients (facts/embedded-engines.md).
    return value.replace(tzinfo=UTC)


def _decimal(text: str) -> Decimal | _Unreadable:
    try:
        return Decimal(text)
    except InvalidOperation:
        return _Unreadable("holds no number")


def _number(text: str) -> float | Decimal:
    """A JSON number with a fraction: a float where that is the same number, else a Decimal."""
    value, exact = float(text), Decimal(text)
    return value if value not in (_INFINITY, -_INFINITY) and Decimal(repr(value)) == exact else exact


_INFINITY = float("inf")


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


_LEAVES: Mapping[str, Callable[[Any], Any]] = {
    # to_json writes NaN and infinity as texts.
    "numeric": lambda value: Decimal(str(value)),
    "real": float,
    "double precision": float,
}
_PARSE = json.JSONDecoder(parse_float=_number, parse_constant=_no_constant).decode


def _json(text: str, *, leaf: Callable[[Any], Any] | None) -> Any:
    try:
        value = _PARSE(text)
        if leaf is not None:
            value = _each(value, leaf)
    except (ValueError, InvalidOperation, RecursionError) as error:
        return _Unreadable(f"holds JSON that cannot be parsed ({type(error).__name__})")
    if _SUSPECT.search(text) and (why := _unstorable(value)):
        return _Unreadable(why)
    return value


def _each(value: Any, leaf: Callable[[Any], Any]) -> Any:
    if isinstance(value, list):
        return [_each(item, leaf) for item in value]
    return None if value is None else leaf(value)


def _unstorable(value: Any) -> str | None:
    """Why a parsed value cannot be stored as text anywhere, or None. A stack, not recursion: JSON may be deep."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, str):
            if "\0" in item:
                return "holds JSON with a NUL character"
            if _SURROGATE.search(item):
                return "holds JSON with half of a surrogate pair"
    return None
