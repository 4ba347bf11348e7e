"""PostgreSQL → Delta → PostgreSQL: every type comes back as it was, and two syncs in a circle come to rest."""

from __future__ import annotations

from typing import Any

import pytest
from deltalake import DeltaTable

from sync_pipelines.components.delta_to_postgres import DeltaToPostgres
from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines_tests.lake.house import House, document
from sync_pipelines_tests.lake.test_types import KEPT, REFUSED, TYPES_DDL

BOTH = "CREATE TABLE item (id int PRIMARY KEY, c {}); CREATE TABLE copy (id int PRIMARY KEY, c {})"
FEED = {"delta.enableChangeDataFeed": "true"}
LATER = "arrow_cast('2031-01-01T00:00:00Z', 'Timestamp(Microsecond, Some(\"UTC\"))')"


def returning(**more: Any) -> DeltaToPostgres:
    """From the Delta table that `document` fills, into a table of another name."""
    source = {"table": "shop/item", "key": ["id"]}
    target = {"connection": "shop", "table": "copy", **more.pop("target", {})}
    return DeltaToPostgres.model_validate({"sync": "shop", "source": source, "target": target, **more})


def test_every_type_comes_back_as_it_was(house: House):
    columns = ", ".join(f"c{number} {kind}" for number, (kind, *_) in enumerate(KEPT))
    house.execute(TYPES_DDL)
    house.execute(f"CREATE TABLE item (id int PRIMARY KEY, {columns})")
    house.execute(f"CREATE TABLE copy (id int PRIMARY KEY, {columns})")
    marks = ", ".join(f"%s::{kind}" for kind, *_ in KEPT)
    house.execute(f"INSERT INTO item VALUES (1, {marks})", *(text for _, text, *_ in KEPT))
    house.execute("INSERT INTO item (id) VALUES (2)")
    there, again = document(), returning()
    house.capture(there)
    house.sync(there)
    assert (house.sync(again).upserted, house.prove(again, "deep").equal) == (2, True)
    for number, (kind, *_) in enumerate(KEPT):
        query = f"SELECT c{number}::text FROM {{}} ORDER BY id"
        assert (kind, house.execute(query.format("copy"))) == (kind, house.execute(query.format("item")))
    written = house.execute("SELECT xmin::text FROM copy ORDER BY id")
    assert house.sync(again, mode="full").unchanged == 2
    assert house.execute("SELECT xmin::text FROM copy ORDER BY id") == written


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "text", "why"), REFUSED)
def test_a_text_that_the_common_type_cannot_hold_is_refused(house: House, kind: str, text: str, why: str):
    del why
    house.execute(BOTH.format(kind, kind))
    house.execute(f"INSERT INTO item VALUES (1, %s::{kind}), (2, NULL)", text)
    there, again = document(types={"c": "string"}), returning()
    house.capture(there)
    house.sync(there)
    counts = house.sync(again)
    assert (counts.upserted, counts.quarantined) == (1, 1)
    assert house.prove(again, "deep").equal


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        ("numeric", "numeric(6,2)", "1.555"),
        ("double precision", "numeric(6,2)", "1.255"),
        ("double precision", "real", "0.1"),
        ("bigint", "smallint", "70000"),
        ("timestamp", "timestamp(3)", "2024-01-01 00:00:00.123456"),
        ("timestamp", "date", "2024-01-01 10:00"),
        ("text", "varchar(3)", "abcd"),
        ("text", "char(3)", "abcd"),
        ("varbit", "bit(3)", "1010"),
        ("text", "time(0)", "10:00:00.5"),
        ("text", "interval(0)", "0.5 seconds"),
        ("text", "name", "x" * 64),
    ],
)
def test_a_value_that_would_be_rounded_or_cut_off_is_refused(house: House, source: str, target: str, text: str):
    house.execute(BOTH.format(source, target))
    house.execute(f"INSERT INTO item VALUES (1, %s::{source}), (2, NULL)", text)
    there, again = document(), returning()
    house.capture(there)
    house.sync(there)
    counts = house.sync(again)
    assert (counts.upserted, counts.quarantined) == (1, 1)
    assert house.execute("SELECT c FROM copy WHERE id = 2") == [(None,)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        ("integer", "bigint", "7"),
        ("bigint", "numeric", "7"),
        ("integer", "text", "7"),
        ("numeric(6,2)", "numeric", "1.50"),
        ("double precision", "numeric", "0.1"),
        ("boolean", "text", "true"),
        ("date", "timestamptz", "2024-01-01"),
        ("timestamptz", "timestamp", "2024-01-01 10:00+00"),
        ("text", "jsonb", '{"a": 1}'),
        ("text", "uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"),
        ("text", "integer", " 12 "),
        ("integer[]", "bigint[]", "{1,2}"),
        ("text[]", "jsonb", '{a,"b c"}'),
        ("integer[]", "text[]", "{1,NULL}"),
    ],
)
def test_types_that_are_alike_are_joined(house: House, source: str, target: str, text: str):
    house.execute(BOTH.format(source, target))
    house.execute(f"INSERT INTO item VALUES (1, %s::{source})", text)
    there, again = document(), returning()
    house.capture(there)
    house.sync(there)
    assert house.sync(again).upserted == 1
    assert house.prove(again, "deep").equal
    assert house.sync(again, mode="full").unchanged == 1


def circle(house: House) -> tuple[PostgresToDelta, DeltaToPostgres]:
    """One table, and both ways between it and its Delta table."""
    house.execute(
        "CREATE TABLE item (id text PRIMARY KEY, price numeric, tags text[], body jsonb, updated_at timestamptz)"
    )
    there = document(target={"table": "shop/item", "properties": FEED})
    conflicts = {"strategy": "last_write_wins", "by": "updated_at"}
    again = returning(name="item_back", target={"table": "item"}, conflicts=conflicts)
    house.capture(there)
    return there, again


@pytest.mark.slow
def test_two_syncs_in_a_circle_come_to_rest(house: House):
    there, again = circle(house)
    house.execute(
        "INSERT INTO item SELECT 'n' || i, i / 7.0, ARRAY['x', i::text], jsonb_build_object('b', i, 'a', 1.50), "
        "now() - i * interval '1 minute' FROM generate_series(1, 30) AS i"
    )
    place = house.resources.delta.settings().table("shop/item")
    house.sync(there)
    house.sync(again)
    house.execute("UPDATE item SET price = 1.500, updated_at = now() WHERE id = 'n1'")
    house.execute("DELETE FROM item WHERE id = 'n2'")
    DeltaTable(place).update(
        {
            "price": "'9.90'",
            "updated_at": "arrow_cast('2031-01-01T00:00:00Z', 'Timestamp(Microsecond, Some(\"UTC\"))')",
        },
        predicate="id = 'n3'",
    )
    for _ in range(2):
        house.sync(again)
        house.sync(there)
    rows = house.execute("SELECT id, xmin::text, ctid::text FROM item ORDER BY id")
    version = DeltaTable(place).version()
    for _ in range(2):
        assert house.sync(again).upserted + house.sync(there).upserted == 0
    assert DeltaTable(place).version() == version
    assert house.execute("SELECT id, xmin::text, ctid::text FROM item ORDER BY id") == rows
    assert house.prove(there, "deep").equal
    assert house.prove(again, "deep").equal
    prices = dict(house.execute("SELECT id, price::text FROM item WHERE id IN ('n1', 'n3')"))
    assert prices == {"n1": "1.500", "n3": "9.90"}
    assert len(rows) == 29


@pytest.mark.slow
def test_a_row_that_was_made_in_postgresql_survives_a_full_run_of_the_way_back(house: House):
    there, again = circle(house)
    house.execute("INSERT INTO item (id) VALUES ('a')")
    house.sync(there)
    house.sync(again)
    house.execute("INSERT INTO item (id) VALUES ('b')")
    house.sync(again, mode="full")
    assert house.execute("SELECT count(*) FROM item") == [(2,)]
    house.sync(there)
    house.sync(again)
    assert house.bind(again).ledger.conflict_count("shop", "item_back") == 0
    assert house.prove(again, "deep").equal


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("bigint", "1", "-2"),
        ("numeric", "1.0", "2.50"),
        ("numeric(6,2)", "1.5", "2"),
        ("date", "2024-01-01", "0900-01-01"),
        ("timestamptz", "2024-01-01 10:00:00.5+02", "2024-01-01"),
        ("timestamp", "2024-01-01 10:00:00", "2024-01-01 00:00:00.000001"),
        ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("boolean", "true", "false"),
        ("bytea", "\\x00ff", "\\x01"),
        ("char(4)", "ab", "abc"),
        ("mood", "happy", "sad"),
        ("interval", "1 day", "36:00:00"),
    ],
)
def test_a_key_of_any_type_names_the_same_record_on_both_sides(house: House, kind: str, first: str, second: str):
    house.execute(TYPES_DDL)
    for name in ("item", "copy"):
        house.execute(f"CREATE TABLE {name} (id {kind} PRIMARY KEY, n int)")
    house.execute(f"INSERT INTO item VALUES (%s::{kind}, 1), (%s::{kind}, 2)", first, second)
    there, again = document(target={"table": "shop/item", "properties": FEED}), returning()
    house.capture(there)
    house.sync(there)
    assert house.sync(again).upserted == 2
    house.execute("DELETE FROM item WHERE n = 1; UPDATE item SET n = 3")
    house.sync(there)
    counts = house.sync(again)
    assert (counts.upserted, counts.deleted) == (1, 1)
    assert house.execute("SELECT id::text, n FROM copy") == house.execute("SELECT id::text, n FROM item")
    assert house.prove(again, "deep").equal


@pytest.mark.slow
def test_a_key_that_is_equal_and_spelled_otherwise_is_brought_to_the_sources_spelling(house: House):
    for name in ("item", "copy"):
        house.execute(f"CREATE TABLE {name} (id numeric PRIMARY KEY, n int)")
    house.execute("INSERT INTO item VALUES (1.50, 1); INSERT INTO copy VALUES (1.5, 1)")
    there, again = document(), returning()
    house.capture(there)
    house.sync(there)
    house.sync(again, mode="full")
    assert house.execute("SELECT id::text FROM copy") == [("1.50",)]
    assert house.prove(again, "deep").equal
