"""How each PostgreSQL type is stored as a property of a graph. The choice is made by type, never by value, but for
arrays, of which a graph does not hold every one.

README prints `TABLE`, and a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError


class Kind(Enum):
    """A property's type in the graph; the value is its name in Cypher."""

    text = "STRING"
    integer = "INTEGER"
    float = "FLOAT"
    boolean = "BOOLEAN"
    date = "DATE"
    local = "LOCAL DATETIME"
    moment = "ZONED DATETIME"
    texts = "LIST<STRING>"
    integers = "LIST<INTEGER>"
    floats = "LIST<FLOAT>"
    booleans = "LIST<BOOLEAN>"


ARROW: dict[Kind, pa.DataType] = {
    Kind.text: pa.string(),
    Kind.integer: pa.int64(),
    Kind.float: pa.float64(),
    Kind.boolean: pa.bool_(),
    Kind.date: pa.date32(),
    Kind.local: pa.timestamp("us"),
    Kind.moment: pa.timestamp("us", tz="UTC"),
    # the array as canonical JSON: one that is no list in the graph is stored as that text
    **dict.fromkeys((Kind.texts, Kind.integers, Kind.floats, Kind.booleans), pa.string()),
}
"""How a property travels in batches, on the way to the graph and back."""

LISTS = {Kind.texts: str, Kind.integers: int, Kind.floats: float, Kind.booleans: bool}
"""Kinds that are lists, with the type of their elements."""

FUNCTIONS = {Kind.date: "date", Kind.local: "localdatetime", Kind.moment: "datetime"}
"""Kinds that are sent as ISO texts and made by a function of Cypher: a parameter's zone is lost on ArcadeDB."""


@dataclass(frozen=True)
class Rule:
    """A line of the mapping.

    Args:
        names: of types in PostgreSQL's catalog; empty for all that no other line names. words: as people know them.
        kind: of the property; listed: of a list of them. unfit: what becomes of a value that does not fit.
    """

    names: tuple[str, ...]
    words: str
    kind: Kind
    listed: Kind
    unfit: str = ""


RULES = (
    Rule(("text", "varchar", "bpchar", "name"), "text, varchar, char(n), name", Kind.text, Kind.texts),
    Rule(("int2", "int4", "int8"), "smallint, integer, bigint", Kind.integer, Kind.integers),
    Rule(("float4", "float8"), "real, double precision (NaN and infinity stay)", Kind.float, Kind.floats),
    Rule(("bool",), "boolean", Kind.boolean, Kind.booleans),
    Rule(("date",), "date", Kind.date, Kind.texts, "infinity, BC, after the year 9999: quarantined"),
    Rule(("timestamp",), "timestamp", Kind.local, Kind.texts, "likewise"),
    Rule(("timestamptz",), "timestamptz (in UTC, microseconds)", Kind.moment, Kind.texts, "likewise"),
    Rule(
        (),
        "citext, numeric, uuid, enum, json, jsonb, time, interval, inet, range, bytea (hexadecimal), … "
        "(PostgreSQL's own text: `1.50`, `NaN`)",
        Kind.text,
        Kind.texts,
    ),
)

_OTHERS = (
    "| array of one of these | a list of its type; of dates, times and what is text here: texts | "
    "with a NULL in it, of more dimensions, of json or of a composite type: its JSON, a STRING |",
    "| domain | as the type that it stands on | |",
    "| NULL | no property | |",
)

TABLE = "\n".join(
    [
        "| PostgreSQL | property | a value that does not fit |",
        "|---|---|---|",
        *(f"| {rule.words} | {rule.kind.value} | {rule.unfit} |".replace("|  |", "| |") for rule in RULES),
        *_OTHERS,
    ]
)
"""The stated mapping, as Markdown."""

MOST_BYTES = 16 * 1024 * 1024
"""Of the texts of one record: on a message above 64 MB ArcadeDB's client hangs; one of 40 MB takes it 25 s."""

MOST_KEY_BYTES = 8000
"""Of a record's key: Neo4j indexes no more than 8,167."""

_BY_NAME = {name: rule for rule in RULES for name in rule.names}


def kind_of(column: pa.Field) -> Kind:
    """The kind of property that a source's column becomes."""
    told = {name.decode(): value.decode() for name, value in (column.metadata or {}).items()}
    rule = _BY_NAME.get(told.get("pg_name", ""), RULES[-1])
    if told.get("pg_text") == "1":
        return Kind.integer if rule.kind is Kind.integer else Kind.text
    if told.get("pg_array") != "1":
        return rule.kind
    # to_json writes these as JSON, whose numbers and nulls are their own
    of_json = told.get("pg_name") in ("json", "jsonb") or told.get("pg_kind") == "c"
    return Kind.text if of_json else rule.listed


def tagged(name: str, kind: Kind) -> pa.Field:
    """A property's field in a batch."""
    return pa.field(name, ARROW[kind], metadata={"kind": kind.name})


def kind_in(field: pa.Field) -> Kind:
    """The kind of a property's field.

    Raises:
        ConfigurationError: the batch was not made by the graph's mapper.
    """
    found = (field.metadata or {}).get(b"kind")
    if found is None:
        raise ConfigurationError(f"the column {field.name!r} is no property of a graph.")
    return Kind[found.decode()]
