"""Texts as PostgreSQL itself spells them: for the types that it alone can read (jsonb, interval, enums, …)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.sql import literal
from sync_pipelines.sources.postgres.errors import InvalidKeyError
from sync_pipelines.sources.postgres.types import Column, arrow_field, problem_sql, value_sql
from sync_pipelines.targets.lake.mapping import Unfit, converter
from sync_pipelines.targets.lake.types import SourceType
from sync_pipelines.targets.postgres.layout import PostgresTable
from sync_pipelines.targets.postgres.values import call

_ROWS, _BYTES = 5000, 8 * 1024 * 1024
"""Of one statement's texts."""

_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

_ROUNDED = frozenset({"numeric", "time", "timetz", "timestamp", "timestamptz", "interval"})
_CUT = {"bit": "bit varying", "varbit": "bit varying"}
_CLOCKED = frozenset({"time", "timetz", "timestamp", "timestamptz", "interval"})
"""Of these PostgreSQL rounds what comes after the microseconds."""
_ENDED = {"varchar": "text", "name": "text", "bpchar": "bpchar"}
"""The like of these types, in arrays, that cuts off nothing; a char(n) is equal without its padding."""


def spell(table: PostgresTable, column: Column, texts: pa.Array, *, stored: pa.DataType, as_text: bool) -> pa.Array:
    """Texts as a column's values, in the type that both sides are brought to.

    Raises:
        Unfit: one of them is no value of the column's type, or would be rounded or cut off.
    """
    if column.base_name == "uuid" and not column.is_array and _all_spelled(texts):
        return texts
    source = arrow_field(column, text=as_text)
    convert = converter(SourceType.of(source), stored)
    parts = [convert(_asked(table, column, part, source.type, as_text=as_text)) for part in _parts(texts)]
    return pa.concat_arrays(parts) if parts else pa.nulls(0, stored)


def _all_spelled(texts: pa.Array) -> bool:
    """Whether these are uuids as PostgreSQL writes them."""
    good = call("match_substring_regex", texts, options=pc.MatchSubstringOptions(_UUID))
    return call("all", good).as_py() is not False


def _parts(texts: pa.Array) -> Iterator[pa.Array]:
    step = max(1, min(_ROWS, _BYTES * len(texts) // max(texts.nbytes, 1))) if len(texts) else _ROWS
    for start in range(0, len(texts), step):
        yield texts.slice(start, step)


def _asked(table: PostgresTable, column: Column, texts: pa.Array, kind: pa.DataType, *, as_text: bool) -> pa.Array:
    probe = replace(column, name="v")
    asked = {
        "value": value_sql(probe, text=as_text),
        "problem": problem_sql(probe, text=as_text),
        "changed": _changed(column),
    }
    chosen = ", ".join(f"{sql} AS {name}" for name, sql in asked.items() if sql)
    rows = _answer(table, column, chosen, texts.to_pylist())
    if asked["problem"] and any(row["problem"] for row in rows):
        raise Unfit("it is infinite, BC or after the year 9999")
    if asked["changed"] and any(row["changed"] for row in rows):
        raise Unfit(f"{column.pg_type} would round it, cut it off or take it for another")
    return pa.array([row["value"] for row in rows], kind)


def _answer(table: PostgresTable, column: Column, chosen: str, texts: list[str | None]) -> list[dict[str, Any]]:
    """What PostgreSQL says of texts.

    A type of its own, or of an extension, refuses a value by any SQLSTATE (tsvector, jsonpath and ltree by that of a
    syntax error): that the value is at fault is known by the same question without one.

    Raises:
        Unfit: one of them is no value of the column's type. SyncError: PostgreSQL cannot be asked.
    """
    # one literal: of a list of 5,000 PostgreSQL's parser makes as many nodes; and JSON is made in C
    values = literal(json.dumps(texts, ensure_ascii=False))
    statement = (
        f"SELECT {chosen} FROM (SELECT u.n, u.x, u.x::{column.exact_type or column.base_type} AS v FROM "
        f"pg_catalog.json_array_elements_text({values}::pg_catalog.json) WITH ORDINALITY AS u(x, n)) AS t ORDER BY t.n"
    )
    try:
        with table.session() as session:
            return session.all(statement)
    except RunError as error:
        if isinstance(error, InvalidKeyError):
            raise Unfit(_words(error.message)) from None
        if texts == [None]:
            raise
        _answer(table, column, chosen, [None])
        raise Unfit(f"{column.pg_type} does not take it: {_words(error.message)}") from None


def _changed(column: Column) -> str | None:
    """SQL for whether a cast to the column's type changes the value: PostgreSQL rounds and cuts without a word.

    None where it cannot.
    """
    name = column.leaf_name or column.base_name
    found = [*_by_precision(column, name), *_by_type(name, "[]" if column.is_array else "")]
    return f"coalesce({' OR '.join(found)}, false)" if found else None


def _by_precision(column: Column, name: str) -> Iterator[str]:
    if "(" in column.exact_type and name in _ROUNDED | _CUT.keys():
        free = _CUT.get(name, f"pg_catalog.{name}") + ("[]" if column.is_array else "")
        yield f"t.x::{free} <> t.v::{free}"


def _by_type(name: str, array: str) -> Iterator[str]:
    """What a type without a stated precision loses: digits, the time of a day, a zone, the end of a text."""
    if name == "float4":  # exact, or the shortest spelling of it (0.1)
        yield f"t.x::float8{array} <> t.v::float8{array} AND {_digits_lost(array)}"
    if name == "float8":
        yield _digits_lost(array)
    if name in ("date", "timestamp"):
        yield f"t.x::timestamptz{array} <> t.v::timestamptz{array}"
    if name == "time":
        yield f"t.x::timetz{array} <> t.v::timetz{array}"
    if name in _CLOCKED:
        yield "t.x ~ '[.][0-9]{6}[0-9]*[1-9]'"
    if name in _CLOCKED or name == "date":
        yield "t.x ~* '(now|today|tomorrow|yesterday)'"  # another value at each run
    if name == "money" and not array:
        yield "CASE WHEN t.x ~ '^-?[0-9]+([.][0-9]+)?$' THEN t.x::numeric <> t.v::numeric ELSE false END"
    if array and name in _ENDED:
        yield f"t.x::{_ENDED[name]}[] <> t.v::{_ENDED[name]}[]"


def _digits_lost(array: str) -> str:
    digits = f"t.x::numeric{array} <> t.v::text::numeric{array}"
    return f"CASE WHEN t.v::text IN ('NaN', 'Infinity', '-Infinity') THEN false ELSE {digits} END"


def _words(message: str) -> str:
    """PostgreSQL's own words without the value that it quotes."""
    text = re.sub(r"^PostgreSQL [^:]*(?::\d+/[^:]*)?: ", "", message)
    if "out of range for type" in text:  # the value stands first there
        return "it is out of the type's range"
    told = re.sub(r'(: "|")[^"]*"?.*$', "", text).rstrip(". ")
    return "it is no value of this type" if told in ("", "PostgreSQL") else told
