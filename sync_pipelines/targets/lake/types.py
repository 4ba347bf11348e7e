"""How each PostgreSQL type is stored in a lakehouse table. The choice is made by type, never by value.

README prints `TABLE`, and a test compares the two.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError

TABLE = """\
| PostgreSQL | Delta | a value that does not fit |
|---|---|---|
| smallint; integer; bigint | smallint; int; bigint | |
| oid, xid, cid | bigint | |
| real; double precision | float; double (NaN and infinity stay) | |
| boolean | boolean | |
| numeric(p,s), p up to 38 | decimal(p,s) | NaN: quarantined |
| numeric without precision, or p above 38 | string, PostgreSQL's own text (`1.50`, `NaN`) | |
| date | date | infinity, BC, after the year 9999: quarantined |
| timestamp | timestamp_ntz | likewise |
| timestamptz | timestamp (UTC, microseconds) | likewise |
| bytea | binary | |
| json, jsonb | string, PostgreSQL's own text | |
| time, timetz, interval | string, ISO and `24:00:00` kept | |
| text, varchar, char(n), name, citext | string; char(n) without its padding | |
| uuid, enum, inet, bit, money, xml, tsvector, range, composite, geometric, … | string, PostgreSQL's own text | |
| array of one of the types above | array of its Delta type | more than one dimension: quarantined |
| array of json, jsonb or a composite type | string, PostgreSQL's own text (`{…}`) | |
| domain | as the type that it stands on, with its precision | |"""
"""The stated mapping, as Markdown. `types:` in a table's document chooses another type for a column."""

_SIMPLE: dict[str, pa.DataType] = {
    "string": pa.string(),
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}
_NAMES = {kind: name for name, kind in _SIMPLE.items()}
_SPELLINGS = {"integer": "int", "long": "bigint", "short": "smallint", "byte": "tinyint", "bool": "boolean"}
_DECIMAL = re.compile(r"(?:decimal|numeric)\((\d+)(?:,(\d+))?\)")
_ARRAY = re.compile(r"array<(.+)>")
MOST_DIGITS = 38

_BY_BASE: dict[str, pa.DataType] = {
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "oid": pa.int64(),
    "xid": pa.int64(),
    "cid": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "bool": pa.bool_(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", tz="UTC"),
}


def parse(text: str) -> pa.DataType:
    """A Delta type as SQL spells it (`decimal(20,4)`, `array<string>`, `timestamp_ntz`) in Arrow.

    Raises:
        ConfigurationError: there is no such type; the nearest is offered.
    """
    word = re.sub(r"\s+", "", text.lower())
    if found := _DECIMAL.fullmatch(word):
        precision, scale = int(found[1]), int(found[2] or 0)
        if not 1 <= precision <= MOST_DIGITS or scale > precision:
            raise ConfigurationError(
                f"types: {text!r}: a decimal has 1 to {MOST_DIGITS} digits, and no more after the point."
            )
        return pa.decimal128(precision, scale)
    if found := _ARRAY.fullmatch(word):
        return pa.list_(parse(found[1]))
    name = _SPELLINGS.get(word, word)
    if name not in _SIMPLE:
        near = difflib.get_close_matches(name, [*_SIMPLE, "decimal(10,2)", "array<string>"], n=1)
        raise ConfigurationError(
            f"types: {text!r} is no Delta type.",
            remedy=f"Did you mean {near[0]!r}?"
            if near
            else f"There are: {', '.join(_SIMPLE)}, decimal(p,s), array<…>.",
        )
    return _SIMPLE[name]


def spell(kind: pa.DataType) -> str:
    """An Arrow type as Delta's SQL spells it."""
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"array<{spell(kind.value_type)}>"
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return "binary"
    if kind in _NAMES:
        return _NAMES[kind]
    raise ConfigurationError(f"an Arrow type {kind} has no place in a table that a sync writes.")


@dataclass(frozen=True)
class SourceType:
    """A PostgreSQL type as the batches' fields name it.

    Args:
        base: the type's name in the catalog, below all domains, of an array its element's (`int4`).
        exact: as `format_type` spells that type with its modifier (`numeric(10,2)`).
        array: whether it is an array. kind: pg_type.typtype of the element: b, c, d, e, m, p, r.
    """

    base: str
    exact: str
    array: bool = False
    kind: str = "b"

    @classmethod
    def of(cls, field: pa.Field) -> SourceType:
        """What a source's field says of itself."""
        told = {name.decode(): value.decode() for name, value in (field.metadata or {}).items()}
        return cls(
            base=told.get("pg_name", ""),
            exact=told.get("pg_exact", told.get("pg_type", "")),
            array=told.get("pg_array") == "1",
            kind=told.get("pg_kind", "b"),
        )


def natural(source: SourceType) -> pa.DataType:
    """The type in which a PostgreSQL type is stored where the document chooses no other."""
    if source.array:
        if source.base in ("json", "jsonb") or source.kind == "c":
            return pa.string()
        return pa.list_(_scalar(source))
    return _scalar(source)


def _scalar(source: SourceType) -> pa.DataType:
    if source.base == "numeric":
        return _numeric(source.exact)
    return _BY_BASE.get(source.base, pa.string())


def _numeric(exact: str) -> pa.DataType:
    found = re.search(r"numeric\((\d+),(-?\d+)\)", exact)
    if found is None:
        return pa.string()
    precision, scale = int(found[1]), int(found[2])
    # numeric(5,-2) holds up to seven digits before the point, numeric(3,5) five after it
    digits = max(precision - min(scale, 0), scale)
    return pa.decimal128(digits, max(scale, 0)) if digits <= MOST_DIGITS else pa.string()


_CHOICES: dict[str, tuple[str, ...]] = {
    "int2": ("smallint", "int", "bigint", "double", "decimal"),
    "int4": ("int", "bigint", "double", "decimal"),
    "int8": ("bigint", "decimal"),
    "float4": ("float", "double"),
    "float8": ("double",),
    "numeric": ("decimal", "double", "int", "bigint"),
    "timestamp": ("timestamp_ntz", "timestamp"),
    "timestamptz": ("timestamp", "timestamp_ntz"),
    "oid": ("bigint",),
}


def check_choice(name: str, source: SourceType, wanted: pa.DataType) -> None:
    """Whether a column may be stored in the type that a document chooses; text always may.

    Raises:
        ConfigurationError: no stated rule leads from the one to the other.
    """
    natural_type = natural(source)
    if wanted in (natural_type, pa.string()):
        return
    inner = wanted.value_type if source.array and pa.types.is_list(wanted) else wanted
    family = spell(inner).partition("(")[0]
    if source.array == pa.types.is_list(wanted) and family in (*_CHOICES.get(source.base, ()), "string"):
        return
    raise ConfigurationError(
        f"types: column {name!r} of type {source.exact} cannot be stored as {spell(wanted)}.",
        remedy=f"Its own is {spell(natural_type)}; string, which always can, keeps PostgreSQL's text.",
    )
