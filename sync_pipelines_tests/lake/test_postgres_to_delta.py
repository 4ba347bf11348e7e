"""A PostgreSQL table and its Delta table: equal after every kind of change, in few commits."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Schema, TableFeatures
from pydantic import ValidationError

from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines.engine.errors import ConfigurationError, MassDeleteError, TargetChangedError
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.repair import Wanted, repair
from sync_pipelines.engine.run import Request
from sync_pipelines.targets.lake.table import REBUILD_SUFFIX
from sync_pipelines_tests.lake.house import House, document

DDL = """CREATE TABLE item (id text PRIMARY KEY, amount numeric(8,2), tags text[], seen timestamptz,
    made timestamp, body jsonb); COMMENT ON TABLE item IS 'what is sold'; COMMENT ON COLUMN item.amount IS 'in euros'"""


@pytest.fixture
def table(house: House) -> PostgresToDelta:
    house.execute(DDL)
    made = document()
    house.capture(made)
    return made


def test_rows_arrive_change_and_go(house: House, table: PostgresToDelta):
    house.execute(
        "INSERT INTO item VALUES ('a', 1.50, '{x,y}', '2024-05-01 10:00+02', '2024-05-01 10:00', '{\"k\": 1}')"
    )
    house.execute("INSERT INTO item SELECT 'n' || i FROM generate_series(1, 200) AS i")
    assert house.sync(table).upserted == 201
    (first,) = [row for row in house.rows(table) if row["_key"] == "a"]
    assert str(first["amount"]) == "1.50"
    assert (first["tags"], first["body"]) == (["x", "y"], '{"k": 1}')
    assert first["seen"] == datetime(2024, 5, 1, 8, tzinfo=UTC)
    assert first["made"] == datetime(2024, 5, 1, 10)
    house.execute("UPDATE item SET amount = 2 WHERE id = 'a'; DELETE FROM item WHERE id = 'n7'")
    counts = house.sync(table)
    assert (counts.upserted, counts.unchanged, counts.deleted) == (1, 0, 1)
    assert house.prove(table).equal
    assert house.prove(table, "deep").equal


def test_no_document_takes_the_name_that_a_rebuild_removes():
    with pytest.raises(ValidationError, match="ends with __rebuild, which a rebuild uses"):
        document(target={"table": f"shop/item{REBUILD_SUFFIX}"})


def test_a_run_without_news_makes_no_commit(house: House, table: PostgresToDelta):
    house.execute("INSERT INTO item (id) VALUES ('a'), ('b')")
    house.sync(table)
    version = house.opened(table).version()
    house.sync(table)
    assert house.opened(table).version() == version


def test_a_full_run_rewrites_no_unchanged_row(house: House, table: PostgresToDelta):
    house.execute("INSERT INTO item SELECT 'n' || i FROM generate_series(1, 50) AS i")
    house.sync(table)
    files = house.opened(table).files()
    counts = house.sync(table, mode="full")
    assert (counts.upserted, counts.unchanged) == (0, 50)
    assert house.opened(table).files() == files


def test_comments_of_the_source_stand_in_the_table(house: House, table: PostgresToDelta):
    house.execute("INSERT INTO item (id) VALUES ('a')")
    house.sync(table)
    of_table, of_columns = house.opened(table).comments()
    assert (of_table, of_columns["amount"]) == ("what is sold", "in euros")


def test_columns_that_swapped_their_names_have_their_values_swapped(house: House):
    house.execute("CREATE TABLE item (id text PRIMARY KEY, home text, work text, note text)")
    house.execute("INSERT INTO item VALUES ('a', '12', '34', 'x'), ('b', '56', '78', 'y'), ('same', '9', '9', 'z')")
    table = document()
    house.capture(table)
    house.sync(table)
    for old, new in (("home", "spare"), ("work", "home"), ("spare", "work")):
        house.execute(f"ALTER TABLE item RENAME COLUMN {old} TO {new}")
    counts = house.sync(table)
    assert (counts.upserted, counts.unchanged) == (2, 1)
    assert [(row["home"], row["work"]) for row in house.rows(table)] == [("34", "12"), ("78", "56"), ("9", "9")]
    assert house.prove(table, "deep").equal
    house.execute("INSERT INTO item VALUES ('c')")
    assert house.sync(table).read == 1


@pytest.mark.slow
def test_a_row_that_nobody_synced_is_named_and_goes(house: House, table: PostgresToDelta):
    house.execute("INSERT INTO item (id) VALUES ('a')")
    house.sync(table)
    house.opened(table).add_stranger("zzz")
    proof = house.prove(table)
    assert (proof.extra, proof.missing) == (1, 0)
    assert "zzz" in proof.samples["extra"][0]
    house.sync(table, mode="full")
    assert [row["id"] for row in house.rows(table)] == ["a"]


@pytest.mark.slow
def test_a_value_edited_behind_the_syncs_back_is_found_by_the_deep_proof(house: House, table: PostgresToDelta):
    house.execute("INSERT INTO item (id, amount) VALUES ('a', 1), ('b', 2)")
    house.sync(table)
    house.opened(table).edit("a", 77)
    assert house.prove(table).equal
    proof = house.prove(table, "deep")
    assert (proof.stale, proof.samples["stale"]) == (1, ["a"])


def test_a_number_put_where_nan_or_infinity_was_is_found_and_mended(house: House):
    house.execute("CREATE TABLE item (id text PRIMARY KEY, amount float8)")
    house.execute("INSERT INTO item VALUES ('nan', 'NaN'), ('inf', 'Infinity'), ('kept', 'NaN'), ('zero', 0)")
    table = document()
    house.capture(table)
    house.sync(table)
    for key, value in (("nan", 77), ("inf", 0)):
        house.opened(table).edit(key, value)
    assert house.prove(table, "deep").samples == {"stale": ["inf", "nan"]}
    request = Request(mode="repair", scope=Scope(), trigger="manual", run_id="r")
    assert repair(house.bind(table), request, Wanted(deep=True)).repaired == 2
    assert {row["id"]: str(row["amount"]) for row in house.rows(table)} == {
        "inf": "inf", "kept": "nan", "nan": "nan", "zero": "0.0",
    }  # fmt: skip


@pytest.mark.slow
def test_a_new_column_is_added_and_filled(house: House, table: PostgresToDelta):
    house.execute("INSERT INTO item (id) VALUES ('a')")
    house.sync(table)
    house.execute("ALTER TABLE item ADD COLUMN colour text DEFAULT 'red'")
    house.sync(table)
    assert house.rows(table)[0]["colour"] == "red"
    assert house.prove(table, "deep").equal


@pytest.mark.slow
@pytest.mark.parametrize("change", ["DROP COLUMN body", "RENAME COLUMN body TO text", "ALTER COLUMN amount TYPE text"])
def test_other_changes_of_columns_stop_before_anything_is_written(house: House, table: PostgresToDelta, change: str):
    house.execute("INSERT INTO item (id) VALUES ('a')")
    house.sync(table)
    version = house.opened(table).version()
    house.execute(f"ALTER TABLE item {change}; INSERT INTO item (id) VALUES ('b')")
    with pytest.raises(TargetChangedError, match="--rebuild"):
        house.sync(table)
    assert house.opened(table).version() == version
    house.sync(table, mode="rebuild")
    assert house.prove(table, "deep").equal
    assert [row["id"] for row in house.rows(table)] == ["a", "b"]


@pytest.mark.slow
@pytest.mark.parametrize("change", ["DROP COLUMN body", "RENAME COLUMN body TO text", "ALTER COLUMN amount TYPE text"])
def test_a_document_may_have_its_table_rebuilt_by_the_next_run(house: House, table: PostgresToDelta, change: str):
    willing = document(schema_change="rebuild")
    house.execute("INSERT INTO item (id) VALUES ('a')")
    house.sync(willing)
    identity = house.opened(willing).identity()
    house.execute(f"ALTER TABLE item {change}; INSERT INTO item (id) VALUES ('b')")
    with pytest.raises(TargetChangedError, match="--rebuild"):
        house.sync(willing, keys=("b",))
    house.sync(willing)
    assert [row["id"] for row in house.rows(willing)] == ["a", "b"]
    assert house.opened(willing).identity() == identity
    assert DeltaTable(house.resources.delta.settings().table("shop/item")).protocol().reader_features == [
        "timestampNtz"
    ]
    assert house.prove(willing, "deep").equal
    house.execute("INSERT INTO item (id) VALUES ('c')")
    assert house.sync(willing).upserted == 1, "and from there on it is incremental again"


def test_an_empty_table_that_somebody_has_prepared_is_taken_over(house: House, table: PostgresToDelta):
    place = house.resources.delta.settings().table("shop/item")
    DeltaTable.create(place, Schema.from_arrow(pa.schema([("id", pa.string())])))
    house.execute("INSERT INTO item (id) VALUES ('a')")
    house.sync(table)
    house.execute("INSERT INTO item (id) VALUES ('b')")
    assert house.sync(table).upserted == 1
    assert house.prove(table, "deep").equal


def test_a_table_with_features_of_another_engine_is_left_to_it(house: House, table: PostgresToDelta):
    house.execute("INSERT INTO item (id) VALUES ('a')")
    house.sync(table)
    place = DeltaTable(house.resources.delta.settings().table("shop/item"))
    place.alter.add_feature(TableFeatures.DeletionVectors, allow_protocol_versions_increase=True)
    version = house.opened(table).version()
    house.execute("INSERT INTO item (id) VALUES ('b')")
    with pytest.raises(TargetChangedError, match=r"deletionVectors, which delta-rs cannot write.*databricks"):
        house.sync(table)
    with pytest.raises(TargetChangedError, match="deletionVectors"):
        house.bind(table).target.vacuum(hours=168)
    assert house.opened(table).version() == version
    assert any("deletionVectors" in words for words in house.bind(table).target.drift())


def test_a_rebuild_that_nobody_asked_for_is_guarded_too(house: House, table: PostgresToDelta):
    willing = document(schema_change="rebuild")
    house.execute("INSERT INTO item SELECT 'n' || i FROM generate_series(1, 300) AS i")
    house.sync(willing)
    house.execute("ALTER TABLE item DROP COLUMN body; DELETE FROM item WHERE id <> 'n1'")
    with pytest.raises(MassDeleteError):
        house.sync(willing)
    assert len(house.rows(willing)) == 300


@pytest.mark.slow
def test_a_rebuild_is_one_commit_of_the_same_table(house: House, table: PostgresToDelta):
    house.execute("INSERT INTO item (id) VALUES ('a')")
    house.sync(table)
    before = house.opened(table).identity()
    house.sync(table, mode="rebuild")
    assert house.opened(table).identity() == before
    assert house.opened(table).overwrites() == 1
    assert house.prove(table).equal


@pytest.mark.slow
def test_merges_read_the_files_that_hold_the_changed_rows(house: House):
    house.execute("CREATE TABLE item (id text PRIMARY KEY, seen timestamptz NOT NULL, n int)")
    table = document(layout={"sort_by": "seen"})
    house.capture(table)
    for day in range(1, 6):
        house.execute(f"INSERT INTO item SELECT '{day}-' || i, '2024-01-0{day}', 0 FROM generate_series(1, 20) AS i")
        house.sync(table)
    house.execute("UPDATE item SET n = 1 WHERE id = '3-7'")
    house.sync(table)
    assert house.opened(table).rewritten_by_the_merge() == 1
    assert (house.used(table).files_rewritten, house.used(table).warehouse_seconds) == (1, None)
    house.execute("DELETE FROM item WHERE id LIKE '4-%'")
    house.sync(table)
    assert house.used(table).files_rewritten == 1
    assert house.prove(table, "deep").equal


HELL = [
    "it's",
    'a"b',
    "\u2205 x",
    "back\\slash",
    "line\nbreak",
    "\u0645\u0641\u062a\u0627\u062d",
    "\U0001f600",
    "%s",
    "--",
    "a#1",
    " ",
]


@pytest.mark.slow
def test_keys_from_hell_arrive_change_and_go(house: House, table: PostgresToDelta):
    for key in HELL:
        house.execute("INSERT INTO item (id, body) VALUES (%s, to_jsonb(%s::text))", key, key)
    house.sync(table)
    assert sorted(row["id"] for row in house.rows(table)) == sorted(HELL)
    assert house.prove(table, "deep").equal
    house.execute("UPDATE item SET amount = 1")
    house.sync(table)
    assert house.prove(table, "deep").equal
    house.execute("DELETE FROM item WHERE id <> ' '")
    assert house.sync(table).deleted == len(HELL) - 1
    assert house.prove(table, "deep").equal


ODD = ["select", "Größe", "na'me", 'quo"ted', "a.b", "UPPER", "ba`ck", "x" * 63, "\U0001f600"]


@pytest.mark.slow
def test_columns_with_odd_names_are_synced(house: House):
    quoted = ['"' + name.replace('"', '""') + '"' for name in ODD]
    house.execute(f"CREATE TABLE item (id int PRIMARY KEY, {', '.join(f'{name} timestamptz' for name in quoted)})")
    house.capture(document())
    house.execute("INSERT INTO item (id) VALUES (1), (2)")
    for name, column in zip(ODD, quoted, strict=True):
        table = document(layout={"sort_by": name})
        house.sync(table)
        house.execute(f"UPDATE item SET {column} = '2025-01-01' WHERE id = 1")
    house.sync(table)
    assert house.prove(table, "deep").equal


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a b", "a,b", "a;b", "a{b", "a(b", "a=b", "a\tb", "_Key", "ID"])
def test_a_column_that_delta_cannot_name_is_refused_before_anything_is_made(house: House, name: str):
    house.execute(f'CREATE TABLE item (id int PRIMARY KEY, "{name}" int)')
    table = document()
    house.capture(table)
    with pytest.raises(ConfigurationError, match="columns"):
        house.sync(table)
    assert not house.opened(table).there
    house.execute("INSERT INTO item (id) VALUES (1)")
    assert house.sync(document(columns=["id"])).upserted == 1


@pytest.mark.slow
def test_a_sources_own_stamp_is_the_sources_however_it_is_spelled(house: House):
    house.execute('CREATE TABLE item (id int PRIMARY KEY, "Synced_At" int); INSERT INTO item VALUES (1, 7)')
    house.capture(document())
    house.sync(document())
    (row,) = house.rows(document())
    assert {name: value for name, value in row.items() if name.casefold() == "synced_at"} == {"Synced_At": 7}
    assert house.prove(document(), "deep").equal
