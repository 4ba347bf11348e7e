"""Names and values that break careless code, as table, columns, keys and texts: from the table to Chroma and back."""

from __future__ import annotations

import json

import psycopg2
import pytest
from psycopg2 import sql

from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.faults.equality import EQUAL, Record, differences, held, joined

SCHEMA = 'scheme "%s" \'; DROP SCHEMA sync CASCADE; --'
TABLE = 'select "ta%ble"; DROP TABLE x; -- 🦊 \u202eעברית 63 bytes'
NUMBER, NAME = "order", "k\"e%y 's {0} 🗝"
LONGEST = "the longest name that PostgreSQL takes ".ljust(63, "_")
TEXTS = ["from", LONGEST, "qu\"o'te %(x)s \\ $1", "اسم عربي"]
FIELDS = ["user", "ta g.s[]", "🦊 €"]
RAW = "table"
COLUMNS = [NUMBER, NAME, *TEXTS, *FIELDS, RAW]
TYPES = ["integer", "text", *["text"] * 4, "text", "text[]", "bigint", "json"]

VALUES = [
    "plain",
    "",
    " ",
    '\'; DROP TABLE "Article"; --',
    "Robert'); DELETE FROM x WHERE ('1'='1",
    "%s %(name)s %% {} {0} ${x} $1 :name ?",
    "\"quoted\" and 'quoted' and `quoted` and \\back\\slash\\",
    "\\u0000 as letters, \\x00 too, \\N",
    "line\nfeed\rreturn\ttab\x0bvertical\x1fcontrol\x7f",
    "emoji 🦊👩‍👩‍👧‍👦🏴󠁧󠁢󠁳󠁣󠁴󠁿 combined e\u0301 and é",
    "right to left: \u202eabc\u202c \u200fעברית\u200e",
    "اِنَّ مَعَ الْعُسْرِ يُسْرًا",
    "\ufeffbom, \u2028 line separator, \uffff last, \U0010ffff the very last",
    "NULL",
    "nan",
    '{"en": "looks like JSON", "id": ["a"]}',
    "key#1",
    "a##1",
    "#",
    "[1, 2]",
    "very long " * 2000,
]


def name(column: str) -> sql.Identifier:
    return sql.Identifier(column)


def table() -> sql.Identifier:
    return sql.Identifier(SCHEMA, TABLE)


@pytest.fixture
def hell(world: World) -> World:
    """The table, with its triggers; each row has one of the values everywhere."""
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(name(column), sql.SQL(kind)) for column, kind in zip(COLUMNS, TYPES, strict=True)
    )
    run(world, sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
    key = sql.SQL(", ").join([name(NUMBER), name(NAME)])
    run(world, sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(table(), columns, key))
    world.component = article(
        name="hell",
        source={"connection": "shop", "schema_name": SCHEMA, "table": TABLE, "key": [NUMBER, NAME]},
        target={"collection": "hell"},
        text=[*TEXTS, RAW],
        metadata=[*FIELDS, NAME],
        chunking={"max_characters": 5000},
        checks={"mass_delete": {"share": 1.0}},
    )
    world.install()
    return world


def run(world: World, statement: sql.Composable) -> None:
    connection = psycopg2.connect(world.url.replace("+psycopg2", ""))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)  # without parameters: psycopg2 would take a name's % for one
    finally:
        connection.close()


def insert(world: World, number: int, value: str, *, raw: str | None = None) -> None:
    row = [number, value, *[value] * 4, value, [value, "x"], 2**62 + number, raw or json.dumps({"deep": [value]})]
    values = sql.SQL(", ").join(map(sql.Literal, row))
    run(world, sql.SQL("INSERT INTO {} VALUES ({})").format(table(), values))


def expected(values: dict[int, str]) -> dict[str, Record]:
    """What Chroma should hold: every value as it is, the key as PostgreSQL writes it as JSON."""
    return {
        f"[{json.dumps(str(number))}, {postgres_json(value)}]": Record(
            document=joined([value] * 5),
            metadata={"user": value, "ta g.s[]": [value, "x"], "🦊 €": 2**62 + number, NAME: value},
        )
        for number, value in values.items()
    }


def postgres_json(text: str) -> str:
    """A text in JSON, escaped as PostgreSQL does it: no more than it must."""
    return "".join(json.dumps(char)[1:-1] if char < " " or char in '"\\' else char for char in text).join('""')


def test_every_name_and_value_arrives_as_it_is(hell: World):
    rows = dict(enumerate(VALUES))
    for number, value in rows.items():
        insert(hell, number, value)
    counts = hell.sync()
    assert (counts.upserted, counts.quarantined) == (len(VALUES), 0)
    assert differences(expected(rows), held(hell.collection)) == EQUAL
    assert hell.prove().equal
    change_everything(hell, rows)
    counts = hell.sync()
    assert (counts.read, counts.deleted) == (len(rows), len(VALUES))
    assert differences(expected(rows), held(hell.collection)) == EQUAL
    assert hell.prove().equal
    assert hell.sync(mode="full").unchanged == len(rows)


def change_everything(world: World, rows: dict[int, str]) -> None:
    """A row goes, and every other one gets another key: the old keys are deletes."""
    run(world, sql.SQL("DELETE FROM {} WHERE {} = 0").format(table(), name(NUMBER)))
    run(
        world,
        sql.SQL("UPDATE {} SET {} = {} + 100, {} = {} + 100").format(
            table(), name(NUMBER), name(NUMBER), name(FIELDS[2]), name(FIELDS[2])
        ),
    )
    rows.pop(0)
    for number in list(rows):
        rows[number + 100] = rows.pop(number)


def test_a_nul_in_json_stops_its_record_alone(hell: World):
    insert(hell, 1, "good")
    insert(hell, 2, "bad", raw='{"deep": "a \\u0000 inside"}')
    insert(hell, 3, "half", raw='{"deep": "half a character: \\ud83e"}')
    counts = hell.sync()
    assert (counts.upserted, counts.quarantined) == (1, 2)
    assert differences(expected({1: "good"}), held(hell.collection)) == EQUAL
    with hell.resources.ledger.ledger() as ledger:
        reasons = {record.key: record.reason for record in ledger.list_quarantine("shop", "hell")}
    assert reasons.keys() == {'["2", "bad"]', '["3", "half"]'}
    assert "NUL" in reasons['["2", "bad"]']
    assert "surrogate" in reasons['["3", "half"]']


@pytest.mark.slow
def test_single_keys_from_hell_stay_apart(world: World):
    for value in VALUES:
        world.put(value, body=f"body of {value[:20]}", title="t")
    world.sync()
    assert set(held(world.collection)) == set(VALUES)
    world.execute("""DELETE FROM "Article" WHERE id IN ('', '#', 'a##1', '%s %(name)s %% {} {0} ${x} $1 :name ?')""")
    world.execute("""UPDATE "Article" SET body = 'changed' WHERE id IN (' ', 'key#1')""")
    assert world.sync().upserted == 2
    gone = {"", "#", "a##1", VALUES[5]}
    assert set(held(world.collection)) == set(VALUES) - gone
    assert held(world.collection)["key#1"].document == "t\n\nchanged"
    assert world.prove().equal


@pytest.mark.slow
@pytest.mark.parametrize("column", ["_key", "_fingerprint", "_problem", "_changed_at"])
def test_a_column_with_a_name_of_the_engines_own_is_refused_in_a_sentence(world: World, column: str):
    world.execute(f"""ALTER TABLE "Article" ADD "{column}" text""")
    world.put("a")
    world.component = article(metadata=["stock", column])
    result = world.materialize(raises=False)
    assert not result.success
    assert repr(column) in world.failure(result)
    assert "Rename the column" in world.failure(result)
