"""Every PostgreSQL type has a stated place in Delta, and no value changes in silence."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.targets.lake.types import TABLE, SourceType, natural, parse, spell
from sync_pipelines_tests.lake.house import House, document

KEPT: list[tuple[str, str, str, Any]] = [
    ("smallint", "-32768", "smallint", -32768),
    ("integer", "2147483647", "int", 2147483647),
    ("bigint", "9223372036854775807", "bigint", 9223372036854775807),
    ("oid", "4294967295", "bigint", 4294967295),
    ("real", "1.1", "float", pytest.approx(1.1, rel=1e-6)),
    ("real", "-Infinity", "float", float("-inf")),
    ("double precision", "0.1", "double", 0.1),
    ("double precision", "Infinity", "double", float("inf")),
    ("boolean", "t", "boolean", True),
    ("numeric(10,2)", "-12345678.90", "decimal(10,2)", Decimal("-12345678.90")),
    ("numeric(38,10)", "1234567890123456789012345678.0123456789", "decimal(38,10)",
     Decimal("1234567890123456789012345678.0123456789")),
    ("numeric(5,-2)", "1234500", "decimal(7,0)", Decimal(1234500)),
    ("numeric(3,5)", "0.00123", "decimal(5,5)", Decimal("0.00123")),
    ("numeric(50,2)", "1.50", "string", "1.50"),
    ("numeric", "1.500", "string", "1.500"),
    ("numeric", "NaN", "string", "NaN"),
    ("numeric", "-Infinity", "string", "-Infinity"),
    ("price", "3.30", "decimal(6,2)", Decimal("3.30")),
    ("money", "12.34", "string", "$12.34"),
    ("date", "0001-01-01", "date", date(1, 1, 1)),
    ("date", "9999-12-31", "date", date(9999, 12, 31)),
    ("timestamp", "2024-02-29 23:59:59.999999", "timestamp_ntz", datetime(2024, 2, 29, 23, 59, 59, 999999)),
    ("timestamptz", "2024-01-01 00:00:00+05:30", "timestamp", datetime(2023, 12, 31, 18, 30, tzinfo=UTC)),
    ("time", "24:00:00", "string", "24:00:00"),
    ("timetz", "12:00:00.5+02", "string", "12:00:00.5+02"),
    ("interval", "1 year 2 mons -3 days 04:05:06.7", "string", "1 year 2 mons -3 days +04:05:06.7"),
    ("text", "ä\u200f\U0001f600'\"\\", "string", "ä\u200f\U0001f600'\"\\"),
    ("varchar(9)", " x ", "string", " x "),
    ("char(5)", "ab", "string", "ab"),
    ('"char"', "c", "string", "c"),
    ("name", "n", "string", "n"),
    ("bytea", "\\x00ff10", "binary", b"\x00\xff\x10"),
    ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "string", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("json", '{"b": 1, "a":  [1.50]}', "string", '{"b": 1, "a":  [1.50]}'),
    ("jsonb", '{"b": 1, "a":  [1.50]}', "string", '{"a": [1.50], "b": 1}'),
    ("jsonpath", "$.a[*]", "string", '$."a"[*]'),
    ("mood", "happy", "string", "happy"),
    ("pair", '(1,"a b")', "string", '(1,"a b")'),
    ("int4range", "[1,5)", "string", "[1,5)"),
    ("int4multirange", "{[1,3),[5,8)}", "string", "{[1,3),[5,8)}"),
    ("tstzrange", "[2024-01-01 00:00+00,)", "string", '["2024-01-01 00:00:00+00",)'),
    ("inet", "192.168.0.1/24", "string", "192.168.0.1/24"),
    ("cidr", "10.0.0.0/8", "string", "10.0.0.0/8"),
    ("macaddr", "08:00:2b:01:02:03", "string", "08:00:2b:01:02:03"),
    ("macaddr8", "08:00:2b:01:02:03:04:05", "string", "08:00:2b:01:02:03:04:05"),
    ("bit(3)", "101", "string", "101"),
    ("varbit", "1", "string", "1"),
    ("tsvector", "a fat cat", "string", "'a' 'cat' 'fat'"),
    ("tsquery", "fat & cat", "string", "'fat' & 'cat'"),
    ("point", "(1.5,2)", "string", "(1.5,2)"),
    ("line", "{1,2,3}", "string", "{1,2,3}"),
    ("lseg", "[(0,0),(1,1)]", "string", "[(0,0),(1,1)]"),
    ("box", "(1,1),(0,0)", "string", "(1,1),(0,0)"),
    ("path", "((0,0),(1,1))", "string", "((0,0),(1,1))"),
    ("polygon", "((0,0),(1,1),(1,0))", "string", "((0,0),(1,1),(1,0))"),
    ("circle", "<(0,0),1>", "string", "<(0,0),1>"),
    ("pg_lsn", "16/B374D848", "string", "16/B374D848"),
    ("xid8", "12", "string", "12"),
    ("regclass", "pg_class", "string", "pg_class"),
    ("txid_snapshot", "10:20:10,14", "string", "10:20:10,14"),
    ("text[]", '{x,NULL,"a,b"}', "array<string>", ["x", None, "a,b"]),
    ("text[]", "{}", "array<string>", []),
    ("int[]", "{1,2}", "array<int>", [1, 2]),
    ("numeric(6,2)[]", "{1.50}", "array<decimal(6,2)>", [Decimal("1.50")]),
    ("numeric[]", "{1.500,NaN}", "array<string>", ["1.500", "NaN"]),
    ("double precision[]", "{0.1,NaN}", "array<double>", [0.1, pytest.approx(float("nan"), nan_ok=True)]),
    ("boolean[]", "{t,f}", "array<boolean>", [True, False]),
    ("date[]", "{2024-01-01}", "array<date>", [date(2024, 1, 1)]),
    ("timestamptz[]", "{2024-01-01 00:00+02}", "array<timestamp>", [datetime(2023, 12, 31, 22, tzinfo=UTC)]),
    ("timestamp[]", "{2024-01-01 00:00:00.5}", "array<timestamp_ntz>", [datetime(2024, 1, 1, 0, 0, 0, 500000)]),
    ("bytea[]", '{"\\\\x00ff"}', "array<binary>", [b"\x00\xff"]),
    ("uuid[]", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "array<string>", ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    ("mood[]", "{happy}", "array<string>", ["happy"]),
    ("inet[]", "{10.0.0.1}", "array<string>", ["10.0.0.1"]),
    ("int4range[]", '{"[1,2)"}', "array<string>", ["[1,2)"]),
    ("jsonb[]", '{"{\\"a\\": 1}"}', "string", '{"{\\"a\\": 1}"}'),
    ("pair[]", '{"(1,x)"}', "string", '{"(1,x)"}'),
]  # fmt: skip

REFUSED = [
    ("numeric(10,2)", "NaN", "does not fit"),
    ("date", "infinity", "infinite"),
    ("date", "0044-03-15 BC", "BC"),
    ("timestamp", "-infinity", "infinite"),
    ("timestamp", "294276-12-31 23:59:59", "after the year 9999"),
    ("timestamptz", "infinity", "infinite"),
    ("int[]", "{{1,2},{3,4}}", "more than one dimension"),
    ("date[]", "{infinity}", "infinite"),
    ("timestamptz[]", "{infinity}", "infinite"),
    ("numeric(6,2)[]", "{NaN}", "NaN"),
]

TYPES_DDL = """CREATE TYPE mood AS ENUM ('happy', 'sad'); CREATE TYPE pair AS (a int, b text);
    CREATE DOMAIN money_like AS numeric(6,2); CREATE DOMAIN price AS money_like CHECK (VALUE >= 0)"""


@pytest.mark.slow
def test_every_type_arrives_as_stated(house: House, engine: str):
    columns = ", ".join(f"c{number} {kind}" for number, (kind, *_) in enumerate(KEPT))
    house.execute(TYPES_DDL)
    house.execute(f"CREATE TABLE item (id int PRIMARY KEY, {columns})")
    marks = ", ".join(f"%s::{kind}" for kind, *_ in KEPT)
    house.execute(f"INSERT INTO item VALUES (1, {marks})", *(text for _, text, *_ in KEPT))
    house.execute("INSERT INTO item (id) VALUES (2)")
    table = document()
    house.capture(table)
    assert house.sync(table).quarantined == 0
    full, empty = house.rows(table)
    schema = house.stored_schema(table)
    for number, (kind, text, stored, value) in enumerate(KEPT):
        assert (kind, text, spell(schema.field(f"c{number}").type)) == (kind, text, stored)
        assert (kind, full[f"c{number}"]) == (kind, value)
        assert empty[f"c{number}"] is None
    assert house.prove(table, "deep").equal


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "text", "why"), REFUSED)
def test_a_value_that_does_not_fit_quarantines_its_record_alone(house: House, kind: str, text: str, why: str):
    house.execute(f"CREATE TABLE item (id int PRIMARY KEY, c {kind})")
    house.execute(f"INSERT INTO item VALUES (1, %s::{kind}), (2, NULL), (3, NULL)", text)
    table = document()
    house.capture(table)
    counts = house.sync(table)
    assert (counts.upserted, counts.quarantined) == (2, 1)
    (held,) = house.bind(table).ledger.list_quarantine("shop", "item")
    assert why in held.reason
    assert house.prove(table, "deep").equal


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "text", "why"), REFUSED)
def test_string_chosen_in_the_document_keeps_any_value(house: House, kind: str, text: str, why: str):
    house.execute(f"CREATE TABLE item (id int PRIMARY KEY, c {kind})")
    house.execute(f"INSERT INTO item VALUES (1, %s::{kind})", text)
    table = document(types={"c": "string"})
    house.capture(table)
    assert house.sync(table).upserted == 1
    (row,) = house.rows(table)
    assert [row["c"]] == [house.execute("SELECT c::text FROM item")[0][0].replace("0044", "0044")]


@pytest.mark.slow
def test_every_type_that_a_table_can_have_is_in_the_mapping(house: House):
    """Nothing that PostgreSQL brings along falls out of the table: it has a type of its own or is text."""
    rows = house.execute(
        "SELECT t.typname::text, format_type(t.oid, NULL) FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid "
        "WHERE t.typtype IN ('b', 'r', 'm') AND t.typcategory <> 'A' AND t.typname !~ '^_' "
        "AND t.typname NOT IN ('pg_node_tree', 'pg_ndistinct', 'pg_dependencies', 'pg_mcv_list', 'xml', 'gtsvector', "
        "'pg_brin_bloom_summary', 'pg_brin_minmax_multi_summary')"
    )
    assert len(rows) > 50
    columns = ", ".join(f"c{number} {kind}" for number, (_, kind) in enumerate(rows))
    house.execute(f"CREATE TABLE item (id int PRIMARY KEY, {columns})")
    house.execute("INSERT INTO item (id) VALUES (1)")
    table = document()
    house.capture(table)
    assert house.sync(table).upserted == 1
    assert house.prove(table, "deep").equal


@pytest.mark.parametrize(
    ("text", "kind"),
    [("decimal(20, 4)", pa.decimal128(20, 4)), ("Array<BIGINT>", pa.list_(pa.int64())), ("integer", pa.int32())],
)
def test_delta_types_are_read_as_sql_spells_them(text: str, kind: pa.DataType):
    assert parse(text) == kind


def test_an_unknown_type_is_refused_with_the_nearest():
    with pytest.raises(ConfigurationError, match="'timestamp'"):
        parse("timestmp")


def test_a_choice_that_no_rule_allows_is_refused(house: House):
    house.execute("CREATE TABLE item (id int PRIMARY KEY, c jsonb)")
    table = document(types={"c": "bigint"})
    house.capture(table)
    with pytest.raises(ConfigurationError, match="cannot be stored as bigint"):
        house.sync(table)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "wanted", "good", "bad"),
    [
        ("numeric", "decimal(6,2)", "1.5", "1.555"),
        ("numeric", "double", "0.5", "0.12345678901234567890123"),
        ("numeric", "bigint", "12", "12.5"),
        ("bigint", "decimal(5,0)", "12", "123456"),
        ("integer", "bigint", "3", None),
    ],
)
def test_another_type_is_chosen_by_the_document(house: House, kind: str, wanted: str, good: str, bad: str | None):
    house.execute(f"CREATE TABLE item (id int PRIMARY KEY, c {kind})")
    house.execute("INSERT INTO item VALUES (1, %s)", good)
    house.execute("INSERT INTO item VALUES (2, %s)", bad)
    table = document(types={"c": wanted})
    house.capture(table)
    counts = house.sync(table)
    assert counts.quarantined == (bad is not None)
    assert spell(house.stored_schema(table).field("c").type) == wanted
    assert float(house.rows(table)[0]["c"]) == float(good)


def test_the_type_of_a_domain_is_the_one_it_stands_on():
    assert spell(natural(SourceType(base="numeric", exact="numeric(6,2)"))) == "decimal(6,2)"


def test_the_readme_prints_the_table_that_the_code_is_made_by():
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    assert TABLE in readme
    rows = [line.split("|")[1:3] for line in TABLE.splitlines()[2:]]
    stated = {name.strip(" `"): kind.strip() for names, kind in rows for name in names.split(";")[0].split(",")}
    assert stated["boolean"] == spell(natural(SourceType(base="bool", exact="boolean")))
    assert stated["bytea"] == spell(natural(SourceType(base="bytea", exact="bytea")))
