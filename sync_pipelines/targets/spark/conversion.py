"""Columns that JDBC has brought, in their stored types: `lake.mapping` once more, as expressions of Spark's SQL.

Nothing is decided here of a value that may not fit: where an expression is not surely the same as what `lake.mapping`
makes, the row is left, and goes that way. So a condition may refuse too much, and must never refuse too little. Dates
and times are judged by their text before Spark sees them, for its casts read `0044-03-15 BC` as a year of our era.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from sync_pipelines.engine.model import FINGERPRINT, KEY, PROBLEM, SYSTEM_FIELDS
from sync_pipelines.targets.databricks.settings import quoted
from sync_pipelines.targets.lake.types import SourceType, spell

_SYSTEM = {item.name for item in SYSTEM_FIELDS}
LEFT = "_left"
"""The staged column that says whether a row was left."""

_DATE = "'^[0-9]{4}-[0-9]{2}-[0-9]{2}$'"
_TIME = "'^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?([+]00)?$'"
_SURE_DIGITS = 15
"""A decimal number of so many digits is the shortest text of the double next to it."""
_LONGEST = 20_000_000
"""Of an array with a longer text `from_json` makes NULL or a part, without an error (a limit of Jackson's)."""


@dataclass(frozen=True)
class Converted:
    """`value` in the stored type; `fits` says of a value, which is not NULL, whether that is surely right."""

    value: str
    fits: str = "true"


def staged_columns(source: pa.Schema, stored: pa.Schema) -> list[tuple[str, Converted]]:
    """For each stored column its name and its expression over c0, c1, … (`TableSql.portable`)."""
    carried = [item for item in source if item.name not in _SYSTEM]
    return [
        (item.name, converted(f"c{number}", item, stored.field(item.name).type)) for number, item in enumerate(carried)
    ]


def left(columns: list[tuple[str, Converted]]) -> str:
    """The condition by which a row is left: it has a problem, or a value that may not fit."""
    doubts = [
        f"NOT coalesce(c{number} IS NULL OR ({column.fits}), false)"
        for number, (_, column) in enumerate(columns)
        if column.fits != "true"
    ]
    return " OR ".join([f"{PROBLEM} IS NOT NULL", *doubts])


def taken(relation: str, columns: list[tuple[str, Converted]]) -> str:
    """The staged rows that were not left, in their stored types."""
    values = "".join(f", {column.value} AS {quoted(name)}" for name, column in columns)
    return f"(SELECT {KEY}, {FINGERPRINT}{values} FROM {relation} WHERE NOT {LEFT})"


def converted(name: str, field: pa.Field, stored: pa.DataType) -> Converted:
    """A column of `TableSql.portable` in its stored type; one that no rule names is never surely right.

    Args:
        name: the column. field: the source's. stored: the type that it is to have.
    """
    source = SourceType.of(field)
    as_text = (field.metadata or {}).get(b"pg_text") == b"1"
    never = Converted(f"CAST(NULL AS {spell(stored).upper()})", "false")
    if pa.types.is_string(stored):
        return Converted(name) if pa.types.is_string(field.type) and (as_text or not source.array) else never
    if as_text:
        return never
    if source.array:
        return (_array(name, source, stored) if pa.types.is_list(stored) else None) or never
    return (_text(name, source, stored) if pa.types.is_string(field.type) else _native(name, field, stored)) or never


def _native(name: str, field: pa.Field, stored: pa.DataType) -> Converted | None:
    """A value that JDBC brings as int8, float8 or bool, or a date or time, which it brings as text."""
    if pa.types.is_date(field.type) or pa.types.is_timestamp(field.type):
        return _moment(name, stored)
    if pa.types.is_floating(field.type):
        return Converted(_cast(name, stored)) if pa.types.is_floating(stored) else None
    if pa.types.is_boolean(field.type):
        return Converted(name) if pa.types.is_boolean(stored) else None
    small = SourceType.of(field).base in ("int2", "int4")
    if pa.types.is_integer(stored) or pa.types.is_decimal(stored) or (small and pa.types.is_float64(stored)):
        return _checked(name, stored)
    return None


def _text(name: str, source: SourceType, stored: pa.DataType) -> Converted | None:
    """A value that comes as PostgreSQL's text."""
    if source.base == "bytea" and pa.types.is_binary(stored):
        return Converted(f"unhex({name})")
    if source.base == "numeric" and pa.types.is_floating(stored):
        return Converted(_cast(name, stored), f"length(regexp_replace({name}, '[-.]', '')) <= {_SURE_DIGITS}")
    if pa.types.is_integer(stored) or pa.types.is_decimal(stored):
        return _number(name, stored)
    return None


def _number(name: str, stored: pa.DataType) -> Converted:
    scale = stored.scale if pa.types.is_decimal(stored) else 0
    fraction = f"([.][0-9]{{1,{scale}}})?" if scale else ""
    return Converted(_cast(name, stored), f"{name} RLIKE '^-?[0-9]+{fraction}$' AND {_cast(name, stored)} IS NOT NULL")


def _moment(name: str, stored: pa.DataType) -> Converted | None:
    if pa.types.is_date(stored):
        return Converted(_cast(name, stored), f"{name} RLIKE {_DATE}")
    if not pa.types.is_timestamp(stored):
        return None
    bare = f"regexp_replace({name}, '[+]00$', '')"
    # with its zone spelled out: a session's own may be another one
    text = f"concat({bare}, '+00:00')" if stored.tz else bare
    return Converted(_cast(text, stored), f"{name} RLIKE {_TIME}")


def _array(name: str, source: SourceType, stored: pa.ListType) -> Converted | None:
    element = _element(source, stored.value_type)
    if element is None:
        return None
    items = f"from_json({name}, 'ARRAY<STRING>')"
    value = items if element.value == "x" else f"transform({items}, x -> {element.value})"
    fits = f"length({name}) <= {_LONGEST} AND NOT startswith({name}, '[[')"
    if element.fits != "true":
        fits += f" AND forall({items}, x -> x IS NULL OR coalesce({element.fits}, false))"
    return Converted(value, fits)


def _element(source: SourceType, stored: pa.DataType) -> Converted | None:
    """An element `x`, which is PostgreSQL's own text."""
    if pa.types.is_string(stored):
        # elsewhere these are what JSON makes of them
        return None if source.base in ("bool", "date", "timestamp", "timestamptz") else Converted("x")
    if pa.types.is_boolean(stored):
        return Converted("(x = 'true')", "x IN ('true', 'false')")
    if pa.types.is_binary(stored):
        return Converted("unhex(substr(x, 3))")
    if pa.types.is_floating(stored):
        return _checked("x", stored) if source.base in ("float4", "float8") else None
    if pa.types.is_integer(stored) or pa.types.is_decimal(stored):
        return _number("x", stored)
    return _moment("x", stored)


def _checked(name: str, stored: pa.DataType) -> Converted:
    return Converted(_cast(name, stored), f"{_cast(name, stored)} IS NOT NULL")


def _cast(text: str, stored: pa.DataType) -> str:
    return f"try_cast({text} AS {spell(stored).upper()})"
