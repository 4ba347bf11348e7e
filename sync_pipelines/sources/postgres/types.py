"""How each PostgreSQL type is read: the SQL expression, the Arrow type, and what cannot be carried.

| PostgreSQL | Arrow | rule |
|---|---|---|
| smallint, integer, bigint | int64 | |
| real, double precision | float64 | a real is widened exactly; NaN and infinity stay |
| boolean | bool | |
| numeric | string | PostgreSQL's own text, scale kept: `1.50`, `NaN`, `Infinity` |
| text, varchar, char(n), name | string | char(n) without its padding, which is no part of its value |
| timestamp, timestamptz | timestamp[us, UTC] | without zone means UTC; outside the years 1 to 9999: a problem |
| date | date32 | likewise |
| time, timetz, interval | string | ISO, `24:00:00` kept |
| json, jsonb | string | PostgreSQL's own text |
| arrays of any depth | string | JSON by `to_json`; lower bounds are not carried |
| bytea | string | hexadecimal digits, without `\\x` |
| uuid, enum, range, composite, xml, inet, money, bit, tsvector, … | string | PostgreSQL's own text |
| domain | | as the type that it stands on |

A *problem* (infinity, BC) is a text in the row's `_problem`; the column is NULL, the rest of the batch is sound.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from sync_pipelines.engine.sql import identifier, literal

MICROSECONDS = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A table's column as the catalog describes it.

    Args:
        name: unquoted.
        pg_type: as `format_type` spells it, modifier included (`numeric(10,2)`, `text[]`, `public.mood`).
        base_type: the type below all domains, without modifier, castable (`character varying`).
        base_name: that type's name in the catalog (`varchar`), by which its mapping is found.
        is_array: whether the base type is an array.
        exact_type: the base type with its modifier, a domain's included (`numeric(10,2)`).
        leaf_name, leaf_kind: catalog name and pg_type.typtype of the base type, of an array its element's.
        nullable, comment: from the catalog.
        number: pg_attribute's attnum: a column that was dropped and made again has another one.
        equality: the operator (`OPERATOR(pg_catalog.=)`) of the key's index; None for other columns.
    """

    name: str
    pg_type: str
    base_type: str
    base_name: str
    is_array: bool = False
    exact_type: str = ""
    leaf_name: str = ""
    leaf_kind: str = "b"
    nullable: bool = True
    comment: str | None = None
    number: int = 0
    equality: str | None = None

    def sql(self, alias: str = "t") -> str:
        """The column, quoted, below a table's alias."""
        return f"{alias}.{identifier(self.name)}"


@dataclass(frozen=True)
class _Mapping:
    """`value` and `problem` are SQL with `{c}` for the column; `problem` is a condition."""

    value: str
    arrow: pa.DataType
    problem: str | None = None
    why: str = ""


_TEXT = _Mapping("{c}::pg_catalog.text", pa.string())
_INT = _Mapping("{c}::pg_catalog.int8", pa.int64())
_FLOAT = _Mapping("{c}::pg_catalog.float8", pa.float64())
_ARRAY = _Mapping("pg_catalog.to_json({c})::pg_catalog.text", pa.string())
_RANGE = "is infinite, BC or after the year 9999"


def _time(column: str, arrow: pa.DataType, zone: str) -> _Mapping:
    outside = f"NOT ({{c}} >= '0001-01-01{zone}' AND {{c}} < '10000-01-01{zone}')"
    return _Mapping(f"CASE WHEN NOT {outside} THEN {column} END", arrow, outside, _RANGE)


_MAPPINGS = {
    "int2": _INT,
    "int4": _INT,
    "int8": _INT,
    "float4": _FLOAT,
    "float8": _FLOAT,
    "bool": _Mapping("{c}::pg_catalog.bool", pa.bool_()),
    "bytea": _Mapping("pg_catalog.encode({c}, 'hex')", pa.string()),
    "date": _time("{c}::pg_catalog.date", pa.date32(), ""),
    "timestamp": _time("{c} AT TIME ZONE 'UTC'", MICROSECONDS, ""),
    "timestamptz": _time("{c}::pg_catalog.timestamptz", MICROSECONDS, "+00"),
}

TIME_TYPES = frozenset({"date", "timestamp", "timestamptz"})
"""Base types that may say when a row changed."""


def _mapping(column: Column, *, text: bool = False) -> _Mapping:
    if text:
        return _TEXT
    return _ARRAY if column.is_array else _MAPPINGS.get(column.base_name, _TEXT)


def value_sql(column: Column, alias: str = "t", *, text: bool = False) -> str:
    """The column cast to what both clients carry alike; NULL where `problem_sql` says why.

    Args:
        text: PostgreSQL's own text, whatever the type.
    """
    return _fill(_mapping(column, text=text).value, column.sql(alias))


_REWORDED = frozenset(
    ("int2", "int4", "int8", "float4", "float8", "numeric", "bool", "date", "timestamp", "timestamptz")
)
"""Elements for which to_json has words of its own; of any other it takes PostgreSQL's text."""


def portable_sql(column: Column, alias: str = "t", *, text: bool = False) -> str:
    """As `value_sql`, in types that JDBC's drivers give unchanged: text, int8, float8 and bool.

    A driver makes its own calendar of a date (Julian before 1582) and its own zone of a time. Dates are `2024-02-29`,
    times `2024-02-29 23:59:59.5` in UTC; an array is a JSON array of texts.
    """
    mapping = _mapping(column, text=text)
    value = _fill(mapping.value, column.sql(alias))
    if mapping is _ARRAY and column.leaf_name in _REWORDED:
        return f"pg_catalog.to_json({column.sql(alias)}::{column.base_type}::pg_catalog.text[])::pg_catalog.text"
    if mapping.arrow == MICROSECONDS:
        return f"(({value}) AT TIME ZONE 'UTC')::pg_catalog.text"
    return f"({value})::pg_catalog.text" if pa.types.is_date(mapping.arrow) else value


def _fill(template: str, column: str) -> str:
    return template.replace("{c}", column)


def problem_sql(column: Column, alias: str = "t", *, text: bool = False) -> str | None:
    """SQL for why the column's value cannot be carried (NULL where it can), or None where it always can."""
    mapping = _mapping(column, text=text)
    if mapping.problem is None:
        return None
    why = literal(f"column {column.name!r} {mapping.why}")
    return f"CASE WHEN {_fill(mapping.problem, column.sql(alias))} THEN {why} END"


def arrow_field(column: Column, *, text: bool = False) -> pa.Field:
    """The column's Arrow field; its metadata names the PostgreSQL type, and the one below its domains.

    Args:
        text: it is carried as PostgreSQL's own text, as `pg_text` says then.
    """
    metadata = {
        "pg_type": column.pg_type,
        "pg_base": column.base_type,
        "pg_name": column.leaf_name or column.base_name,
        "pg_exact": column.exact_type or column.base_type,
        "pg_kind": column.leaf_kind,
        **({"pg_array": "1"} if column.is_array else {}),
        **({"pg_text": "1"} if text else {}),
        **({"comment": column.comment} if column.comment else {}),
    }
    return pa.field(column.name, _mapping(column, text=text).arrow, metadata=metadata)


def time_sql(column: Column, alias: str = "t") -> str:
    """A change-time column as timestamptz, NULL outside the years 1 to 9999."""
    value = value_sql(column, alias)
    return f"({value})::pg_catalog.timestamp AT TIME ZONE 'UTC'" if column.base_name == "date" else f"({value})"


def time_literal(column: Column, iso: str) -> str:
    """A UTC time (ISO 8601, with offset) as a literal that compares with the column through its index.

    A date compares with a timestamp: cast to a date, the literal would lose its hours.
    """
    moment = f"{literal(iso)}::pg_catalog.timestamptz"
    return moment if column.base_name == "timestamptz" else f"({moment} AT TIME ZONE 'UTC')"
