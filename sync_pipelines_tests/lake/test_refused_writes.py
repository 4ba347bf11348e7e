"""Rows that PostgreSQL does not let change: quarantined alone, and no reason quotes what stands in them."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from sync_pipelines.engine.errors import RunError
from sync_pipelines.targets.postgres import spelling, writing
from sync_pipelines_tests.cli.hidden import TOLD
from sync_pipelines_tests.lake.house import House, Lake, back
from sync_pipelines_tests.lake.reviews import held, row, rows
from sync_pipelines_tests.lake.test_refused_deletes import LEGAL, RAISED, SECRETS, quarantined


@pytest.mark.slow
def test_a_row_that_a_trigger_does_not_let_change_is_quarantined_alone(review: House, lake: Lake):
    lake.write(rows(*(row(f"n{number}") for number in range(20))))
    review.sync(back())
    review.execute(RAISED.format(does=LEGAL, event="UPDATE"))
    lake.table.update({"note": "'changed'"}, predicate="id IN ('n1', 'n3')")
    counts = review.sync(back())
    assert (counts.upserted, quarantined(review)) == (1, [("n3", "write", 1)])


@pytest.mark.slow
@pytest.mark.parametrize("code", ["23514", "P0001"])
def test_no_reason_quotes_what_stands_in_the_row_that_is_overwritten(review: House, lake: Lake, code: str):
    """Also of a column that only the table in PostgreSQL has, and of a row that cannot be read as the source's are."""
    review.execute("ALTER TABLE review ADD COLUMN email text DEFAULT 'person@canary.example'")
    table = back(sensitive=["note", "email"])
    lake.write(rows(row("n3", note=SECRETS[1]), row("n4")))
    review.sync(table)
    says = f"RAISE EXCEPTION '% % is frozen', OLD.note, OLD.email USING ERRCODE = '{code}'"
    review.execute("UPDATE review SET updated_at = 'infinity' WHERE id = 'n3'")
    review.execute(RAISED.format(does=says, event="UPDATE OR DELETE"))
    lake.table.update({"note": "'changed'"}, predicate="id = 'n3'")
    review.sync(table)
    lake.table.delete("id = 'n3'")
    review.sync(table)
    told = review.execute(TOLD)[0][0]
    assert "left out for sensitive columns" in told
    assert not [secret for secret in (SECRETS[1], "person@canary") if secret in told]


KEPT_OUT = {
    "trigger": """CREATE FUNCTION keeps() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER keeps BEFORE INSERT OR UPDATE ON review FOR EACH ROW
            WHEN (NEW.note = 'kept out') EXECUTE FUNCTION keeps()""",
    "rule": "CREATE RULE keeps AS ON INSERT TO review WHERE NEW.note = 'kept out' DO INSTEAD NOTHING",
}


@pytest.mark.parametrize("by", ["trigger", pytest.param("rule", marks=pytest.mark.exhaustive)])
def test_a_row_that_is_kept_out_without_an_error_is_quarantined_alone(review: House, lake: Lake, by: str):
    review.execute(KEPT_OUT[by])
    lake.write(rows(*(row(f"n{number}", note="kept out" if number == 3 else "n") for number in range(20))))
    assert review.sync(back()).upserted == 19
    assert quarantined(review) == [("n3", "write", 1)]
    if by == "trigger":  # PostgreSQL takes no ON CONFLICT where a rule is for updates
        lake.table.update({"note": "CASE id WHEN 'n5' THEN 'kept out' ELSE 'm' END"}, predicate="id IN ('n5', 'n7')")
        assert review.sync(back()).upserted == 1
        assert quarantined(review) == [("n3", "write", 1), ("n5", "write", 1)]
        assert (held(review)["n5"][1], held(review)["n7"][1]) == ("n", "m")
    assert review.prove(back(), "deep").equal


def test_rows_whose_keys_postgresql_takes_for_one_are_quarantined_and_no_others(
    house: House, lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    house.execute("CREATE TABLE review (id numeric PRIMARY KEY, note text)")
    given = [{"id": key, "note": "n"} for key in ("1", "1.0", "2", "3.50", "4")]
    lake.write(pa.Table.from_pylist(given))
    assert (house.sync(back()).upserted, quarantined(house)) == (3, [("1", "write", 1), ("1.0", "write", 1)])
    lake.table.update({"id": "'2.00'"}, predicate="id = '2'")  # one row that is spelled otherwise now
    house.sync(back())
    assert house.execute("SELECT id::text FROM review ORDER BY id") == [("2.00",), ("3.50",), ("4",)]
    monkeypatch.setattr(writing, "_ROWS", 1)  # a transaction each
    lake.write(pa.Table.from_pylist([{"id": key, "note": "n"} for key in ("5", "5.0")]))
    house.sync(back())
    assert [key for key, *_ in quarantined(house)] in (["1", "1.0", "5"], ["1", "1.0", "5.0"])
    assert house.prove(back(), "deep").equal


@pytest.mark.parametrize("feed", [True, pytest.param(False, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_key_in_two_spellings_is_refused_in_whichever_run_they_come(house: House, lake: Lake, feed: bool, parts: int):
    """PostgreSQL spells a uuid in one way; a predicate for that one finds one of the two rows alone."""
    key = ["id", "part"][:parts]
    house.execute(f"CREATE TABLE review (id uuid, part uuid, note text, PRIMARY KEY ({', '.join(key)}))")
    ids = [f"{letter * 8}-0000-4000-8000-00000000000a" for letter in "abcd"]
    part = str(ids[0])

    def given(*notes: tuple[str, str]) -> pa.Table:
        return pa.Table.from_pylist([{"id": id, "part": part, "note": note} for id, note in notes])

    table = back(source={"table": "shop/review", "key": key})
    lake.write(given((ids[0], "n"), (ids[1], "n")), feed=feed)
    house.sync(table)
    late = [(ids[2], "one"), (ids[2].upper(), "other"), (ids[1].upper(), "later"), (ids[3].upper(), "n")]
    lake.write(given(*late), feed=feed)
    assert house.sync(table).upserted == 1
    assert house.execute("SELECT id::text, note FROM review ORDER BY id") == [
        (ids[0], "n"),
        (ids[1], "n"),
        (ids[3], "n"),
    ]
    for _ in range(2):
        assert [name for name, *_ in quarantined(house)] == [_key(one, part, parts) for one in ids[1:3]]
        assert house.prove(table, "deep").equal
        house.sync(table, mode="full")
    lake.write(given((ids[3], "as PostgreSQL spells it")), feed=feed)  # nothing tells this run of the other one
    house.sync(table)
    for kind in ("quick", "deep"):
        assert house.prove(table, kind).samples == {"stale": [_key(ids[3], part, parts)]}
    house.sync(table, mode="full")
    assert [name for name, *_ in quarantined(house)] == [_key(one, part, parts) for one in ids[1:]]


def _key(id: str, part: str, parts: int) -> str:
    return id if parts == 1 else json.dumps([id, part])


REFUSED = {
    "tsvector": "'secret person",
    "jsonpath": "$. secret person (((",
    "regtype": "secret person",
    "jsonb": "[" * 60_000 + "]" * 60_000,  # deeper than PostgreSQL reads
    "json": '{"a": secret person}',
    "bit(3)": "secret person",
    "int4range": "secret person",
}
"""Types that PostgreSQL alone can read, each with a text that it refuses, by SQLSTATEs of four classes."""


@pytest.mark.slow
def test_a_text_that_is_no_value_of_its_type_is_quarantined_alone_whatever_postgresql_calls_that(
    house: House, lake: Lake
):
    names = {kind: f"c{number}" for number, kind in enumerate(REFUSED)}
    columns = ", ".join(f"{name} {kind}" for kind, name in names.items())
    house.execute(f"CREATE TABLE review (id text PRIMARY KEY, {columns})")
    table = back(sensitive=list(names.values()))
    bad = [{"id": kind, names[kind]: text} for kind, text in REFUSED.items()]
    given = [*({"id": f"n{number}", names["tsvector"]: "a b"} for number in range(20)), *bad]
    lake.write(pa.Table.from_pylist(given, schema=pa.schema([(name, pa.string()) for name in ("id", *names.values())])))
    counts = house.sync(table)
    assert (counts.upserted, counts.quarantined) == (20, len(REFUSED))
    found = {item.key: item.reason for item in house.bind(table).ledger.list_quarantine("shop", "review")}
    assert found.keys() == REFUSED.keys()
    assert "syntax error in tsvector" in found["tsvector"]
    assert "stack depth" in found["jsonb"]
    assert "it is no value of this type" in found["bit(3)"]
    assert "secret" not in str(found)
    assert house.prove(table, "deep").equal


@pytest.mark.slow
def test_what_postgresql_cannot_answer_at_all_is_no_fault_of_a_value(
    house: House, lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    house.execute("CREATE TABLE review (id text PRIMARY KEY, note tsvector)")
    lake.write([{"id": "a", "note": "x"}])
    monkeypatch.setattr(spelling, "value_sql", lambda *_, **__: "no_such_function(t.v)")
    with pytest.raises(RunError, match="no_such_function"):
        house.sync(back())
    assert house.bind(back()).ledger.quarantined("shop", "review") == 0
