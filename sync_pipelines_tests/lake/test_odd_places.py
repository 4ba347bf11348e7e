"""Columns by which files and rows are found, whose values or names are unusual."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from sync_pipelines.targets.databricks.writing import Unlike, Writer
from sync_pipelines.targets.lake.groups import Layout
from sync_pipelines.targets.lake.shape import Shape
from sync_pipelines_tests.lake.engines import name_warehouse
from sync_pipelines_tests.lake.house import House, document
from sync_pipelines_tests.sandbox.databricks.shared import Schema

FEED = {"table": "shop/item", "properties": {"delta.enableChangeDataFeed": "true"}}
"""With a change feed a MERGE of delta-rs brings changes in."""


@pytest.mark.slow
@pytest.mark.parametrize("many", [False, True], ids=["few", "many"])
@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("bytea", "decode(lpad(to_hex(id), 4, '0'), 'hex')"),
        ("double precision", "CASE WHEN id % 3 = 1 THEN 'NaN'::float8 ELSE id END"),
        ("real", "id::real / 10"),
        ("double precision", "CASE WHEN id % 3 = 1 THEN '-infinity'::float8 ELSE id END"),
        ("text", "'o''h \"' || id || '\\'"),
        ("numeric(9,3)", "id / 8.0"),
        ("boolean", "id % 2 = 0"),
    ],
)
def test_a_merge_finds_the_rows_by_any_value_of_the_sort_column(house: House, kind: str, place: str, many: bool):
    house.execute(f'CREATE TABLE item (id int PRIMARY KEY, "at.""it" {kind}, note text)')
    table = document(target=FEED, layout={"sort_by": 'at."it'})
    house.capture(table)
    house.execute(f"INSERT INTO item SELECT id, {place}, 'n' FROM generate_series(1, 1500) AS id")
    house.sync(table)
    house.execute(f"UPDATE item SET note = 'm' WHERE id <= {1200 if many else 20}")
    assert house.sync(table).upserted == (1200 if many else 20)
    assert len(house.rows(table)) == 1500
    assert house.prove(table, "deep").equal


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "scanned"), [("id = 305", 1), ("id BETWEEN 301 AND 900", 2)], ids=["few", "many"])
def test_a_merge_opens_the_files_that_hold_the_changed_rows(house: House, rows: str, scanned: int):
    house.execute("CREATE TABLE item (id int PRIMARY KEY, place int, note text)")
    table = document(target=FEED, layout={"sort_by": "place", "file_mb": 2})
    house.capture(table)
    for first in range(1, 1500, 300):
        house.execute(f"INSERT INTO item SELECT id, id, 'n' FROM generate_series({first}, {first + 299}) AS id")
        house.sync(table)
    house.execute(f"UPDATE item SET note = 'm' WHERE {rows}")
    assert house.sync(table).upserted == house.execute("SELECT count(*) FROM item WHERE note = 'm'")[0][0]
    written = DeltaTable(house.resources.delta.settings().table("shop/item"))
    assert written.metadata().configuration["delta.targetFileSize"] == str(2 * 1024 * 1024), "or it makes one of all"
    merge = next(commit for commit in written.history() if commit["operation"] == "MERGE")
    assert merge["operationMetrics"]["num_target_files_scanned"] == scanned


@pytest.mark.parametrize(("odd", "pruned"), [(float("nan"), False), (float("inf"), True)])
def test_a_warehouse_leaves_no_files_out_where_a_place_is_nan(odd: float, pruned: bool):
    shape = Shape(columns=pa.schema([("place", pa.float64())]))
    absent: Any = None
    layout = Layout(sort_by="place")
    writer = Writer(warehouse=absent, table=absent, staging=absent, shape=shape, layout=layout)
    condition, _ = writer._pruning(Unlike(keys=frozenset(), places=(odd, *map(float, range(900)))))
    assert bool(condition) is pruned


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_merge_of_a_warehouse_finds_rows_whose_place_is_nan(
    house: House, databricks_schema: Schema, monkeypatch: pytest.MonkeyPatch
):
    name_warehouse(databricks_schema, monkeypatch)
    house.execute("CREATE TABLE item (id int PRIMARY KEY, place float8, note text)")
    table = document(layout={"sort_by": "place"})
    house.capture(table)
    house.execute(
        "INSERT INTO item SELECT id, nullif(id % 3, 0) * 'NaN'::float8, 'n' FROM generate_series(1, 900) AS id"
    )
    house.execute("UPDATE item SET place = id WHERE place IS NULL")
    house.sync(table)
    house.execute("UPDATE item SET note = 'm'")
    assert house.sync(table).upserted == 900
    assert len(house.rows(table)) == 900
    assert house.prove(table, "deep").equal


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mine", "strange"),
    [
        ("bytea", "\\x01", b"\x00\xff"),
        ("double precision", "1", float("nan")),
        ("double precision", "1", float("-inf")),
        ("real", "1", 0.1),
        ("text", "1", 'o\'h "x" \\'),
        ("boolean", "false", True),
        ("text", "1", None),
    ],
)
def test_a_full_run_removes_a_row_that_something_else_has_put_there_whatever_its_key(
    house: House, kind: str, mine: str, strange: Any
):
    house.execute(f'CREATE TABLE item ("the.""key" {kind} PRIMARY KEY, n int)')
    source = {"connection": "shop", "table": "item", "key": ['the."key'], "changed_at": None}
    table = document(source=source, checks={"mass_delete": {"share": 1, "records": 100}})
    house.capture(table)
    house.execute("INSERT INTO item VALUES (%s, 1)", mine)
    house.sync(table)
    store = house.bind(table).target.store
    schema = store.schema_of(store.there())
    given = {item.name: pa.array([strange if item.name in source["key"] else None], item.type) for item in schema}
    write_deltalake(store.uri, pa.table(given), mode="append")
    assert house.prove(table).extra == 1
    assert house.sync(table, mode="full").deleted == 1
    assert house.prove(table, "deep").equal
