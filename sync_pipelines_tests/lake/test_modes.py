"""How a Delta table is written: merged (the rule), or appended to as a history."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines.engine.errors import (
    ConfigurationError,
    MassDeleteError,
    RebuildDueError,
    RunError,
    TargetChangedError,
)
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.repair import Wanted, repair
from sync_pipelines.engine.run import Request
from sync_pipelines_tests.lake.engines import name_warehouse
from sync_pipelines_tests.lake.house import House, document
from sync_pipelines_tests.sandbox.databricks.shared import Schema

pytestmark = pytest.mark.slow


def of_mode(mode: str, **more: Any) -> PostgresToDelta:
    return document(target={"table": "shop/item", "mode": mode}, **more)


@pytest.fixture
def history(house: House, engine: str) -> PostgresToDelta:
    """Three items in a history, of each engine."""
    return filled(house, of_mode("append"))


@pytest.fixture
def in_folder(house: House) -> PostgresToDelta:
    """The same of delta-rs, for what no engine decides."""
    return filled(house, of_mode("append"))


def filled(house: House, table: PostgresToDelta) -> PostgresToDelta:
    house.execute("CREATE TABLE item (id text PRIMARY KEY, amount int NOT NULL, tags text[])")
    house.capture(table)
    house.execute("INSERT INTO item SELECT i::text, 0, ARRAY['a'] FROM generate_series(1, 3) AS i")
    assert house.sync(table).upserted == 3
    return table


def states(house: House, table: PostgresToDelta) -> list[tuple[str, int, int, bool]]:
    rows = house.opened(table).rows()
    return sorted((row["id"], row["_version"], row["amount"], row["_deleted"]) for row in rows)


def mended(house: House, table: PostgresToDelta, *, deep: bool = False) -> int:
    request = Request(mode="repair", scope=Scope(), trigger="manual", run_id="r")
    return repair(house.bind(table), request, Wanted(deep=deep)).repaired


@pytest.mark.spare_where(engine="databricks")
def test_a_history_keeps_every_state_and_its_proof_takes_the_newest(house: House, history: PostgresToDelta):
    for amount in (1, 0):
        house.execute(f"UPDATE item SET amount = {amount} WHERE id = '2'")
        house.sync(history)
    house.execute("DELETE FROM item WHERE id = '3'")
    assert house.sync(history).deleted == 1
    house.execute("INSERT INTO item VALUES ('3', 7)")
    house.sync(history)
    assert states(house, history) == [
        ("1", 1, 0, False),
        ("2", 1, 0, False),
        ("2", 2, 1, False),
        ("2", 3, 0, False),
        ("3", 1, 0, False),
        ("3", 2, 0, True),
        ("3", 3, 7, False),
    ]
    for kind in ("count", "quick", "deep"):
        proof = house.prove(history, kind)
        assert (proof.equal, proof.source_count, proof.target_count) == (True, 3, 3)


@pytest.mark.spare_where(engine="databricks")
def test_a_state_that_is_there_is_skipped_whatever_asks_for_it(house: House, history: PostgresToDelta):
    before = states(house, history)
    house.execute("UPDATE item SET amount = amount")
    assert house.sync(history).unchanged == 3
    assert house.sync(history, mode="full").unchanged == 3
    assert house.sync(history, keys=("2",)).unchanged == 1
    house.execute("DELETE FROM item WHERE id = '1'")
    house.sync(history)
    after = states(house, history)
    assert house.sync(history, mode="full").deleted == 0
    assert states(house, history) == after
    assert len(after) == len(before) + 1


@pytest.mark.spare_where(engine="databricks")
def test_files_are_added_to_a_history_and_none_is_rewritten(house: House, history: PostgresToDelta):
    files = house.opened(history).files()
    house.execute("UPDATE item SET amount = 1; DELETE FROM item WHERE id = '1'")
    house.sync(history)
    assert files < house.opened(history).files()
    assert house.used(history).files_rewritten == 0


@pytest.mark.spare_where(engine="databricks")
def test_a_deleted_record_keeps_what_it_held_last(house: House, history: PostgresToDelta):
    house.execute("UPDATE item SET amount = 5, tags = ARRAY['b', NULL] WHERE id = '1'")
    house.sync(history)
    house.execute("DELETE FROM item WHERE id = '1'")
    house.sync(history)
    (gone,) = [row for row in house.opened(history).rows() if row["_deleted"]]
    assert (gone["amount"], gone["tags"], gone["_fingerprint"], gone["_version"]) == (5, ["b", None], None, 3)
    assert gone["synced_at"] is not None


@pytest.mark.spare_where(engine="databricks")
def test_what_somebody_did_to_a_history_is_named_and_mended_by_a_newer_state(house: House, history: PostgresToDelta):
    house.opened(history).edit("2", 77)
    assert house.prove(history, "quick").equal
    assert house.prove(history, "deep").stale == 1
    assert mended(house, history, deep=True) == 1
    house.opened(history).copy("1")
    assert house.prove(history, "quick").stale == 1
    assert mended(house, history) == 1
    house.opened(history).add_stranger("9")
    assert house.prove(history, "quick").extra == 1
    assert mended(house, history) == 1
    assert house.prove(history, "deep").equal
    assert [state for state in states(house, history) if state[0] == "2"] == [("2", 1, 77, False), ("2", 2, 0, False)]


def test_a_history_of_many_records_is_counted_and_listed(house: House):
    history = filled(house, of_mode("append", checks={"mass_delete": {"share": 1.0}}))
    house.execute("INSERT INTO item SELECT 'n' || i, 0 FROM generate_series(1, 25000) AS i")
    house.sync(history)
    house.execute("UPDATE item SET amount = 1")
    house.sync(history)
    house.execute("DELETE FROM item WHERE id LIKE 'n1%'")
    assert house.sync(history, mode="full").deleted == 11_111
    assert house.prove(history, "deep").equal
    target = house.bind(history).target
    assert target.count() == sum(batch.num_rows for batch in target.fingerprints()) == 25_003 - 11_111
    assert target.delete(["n2"]).deleted == 1
    assert target.count() == 25_003 - 11_112, "what was counted before is of the version before"
    assert sum(batch.num_rows for batch in target.values(["n1", "n2", "n3"])) == 1, "what is gone has no values"


def test_the_guard_holds_for_a_history_too(house: House, in_folder: PostgresToDelta):
    house.execute("INSERT INTO item SELECT 'n' || i, 0 FROM generate_series(1, 300) AS i")
    house.sync(in_folder)
    house.execute("DELETE FROM item WHERE id LIKE 'n%'")
    with pytest.raises(MassDeleteError):
        house.sync(in_folder)
    assert not [state for state in states(house, in_folder) if state[3]]


@pytest.mark.spare_where(engine="databricks")
def test_a_column_that_is_added_stands_in_newer_states(house: House, history: PostgresToDelta):
    house.execute("ALTER TABLE item ADD COLUMN colour text; UPDATE item SET colour = 'red' WHERE id = '1'")
    house.sync(history)
    house.execute("DELETE FROM item WHERE id IN ('1', '2')")
    house.sync(history)
    found = {(row["id"], row["_version"]): row["colour"] for row in house.opened(history).rows()}
    assert (found["1", 1], found["1", 2], found["2", 1]) == (None, "red", None)
    assert house.prove(history, "deep").equal


@pytest.mark.spare_where(engine="databricks")
def test_a_history_is_not_built_anew(house: House, history: PostgresToDelta):
    with pytest.raises(RunError, match=r"'shop/item' is a history .* Name another table"):
        house.sync(history, mode="rebuild")
    assert len(states(house, history)) == 3
    with pytest.raises(ValidationError, match="would forget the history"):
        of_mode("append", schema_change="rebuild")


@pytest.mark.spare_where(engine="databricks")
@pytest.mark.parametrize("change", ["DROP COLUMN tags", "ALTER COLUMN amount TYPE text"])
def test_a_history_whose_columns_cannot_follow_goes_on_in_another_table(
    house: House, in_folder: PostgresToDelta, change: str
):
    house.execute(f"ALTER TABLE item {change}")
    for mode in ("incremental", "full", "rebuild"):
        with pytest.raises(RunError, match=r"Name another table in target\.table, where a new history begins"):
            house.sync(in_folder, mode=mode)
    elsewhere = document(target={"table": "shop/item2", "mode": "append"})
    assert house.sync(elsewhere).upserted == 3
    assert len(states(house, in_folder)) == 3


@pytest.mark.parametrize("mode", ["merge", "overwrite"])
@pytest.mark.parametrize("schema_change", ["stop", "evolve", "rebuild"])
@pytest.mark.spare_where(mode="overwrite", schema_change="evolve")
@pytest.mark.spare_where(mode="merge", schema_change="rebuild")
@pytest.mark.spare_where(mode="merge", schema_change="stop")
def test_another_mode_ends_no_history_unless_somebody_says_so(
    house: House, in_folder: PostgresToDelta, mode: str, schema_change: str
):
    house.execute("UPDATE item SET amount = 1 WHERE id = '1'")
    house.sync(in_folder)
    other = of_mode(mode, schema_change=schema_change)
    for run in ("incremental", "full"):
        with pytest.raises(TargetChangedError, match=r"holds a history .* Take that mode again") as stop:
            house.sync(other, mode=run)
        assert not isinstance(stop.value, RebuildDueError)  # which the run itself would follow
    assert len(states(house, in_folder)) == 4
    house.sync(other, mode="rebuild")
    assert house.prove(other, "deep").equal


@pytest.mark.spare_where(engine="databricks")
def test_a_record_that_is_doubled_and_deleted_is_buried_once(house: House, history: PostgresToDelta):
    house.opened(history).copy("1")
    house.execute("DELETE FROM item WHERE id = '1'")
    house.sync(history)
    assert [state for state in states(house, history) if state[0] == "1"] == [
        ("1", 1, 0, False),
        ("1", 1, 0, False),
        ("1", 2, 0, True),
    ]


@pytest.mark.spare_where(engine="databricks")
@pytest.mark.parametrize("gone", [True, False])
def test_of_two_states_of_one_version_the_one_that_is_not_gone_counts(
    house: House, history: PostgresToDelta, engine: str, gone: bool
):
    for deleted in (gone, not gone):
        house.opened(history).add_state("1", version=2, deleted=deleted)
    for _ in range(3 if engine == "delta-rs" else 1):
        assert house.prove(history, "deep").equal
        assert mended(house, history, deep=True) == 0
    house.execute("DELETE FROM item WHERE id = '1'")
    assert house.prove(history, "quick").pending == 1
    assert house.sync(history).deleted == 1
    assert house.prove(history, "deep").equal


@pytest.mark.spare_where(engine="databricks")
def test_a_version_that_nothing_follows_stops_its_record_alone(house: House, history: PostgresToDelta):
    for key in ("1", "3"):
        house.opened(history).set_version(key, 2**63 - 1)
    house.execute("UPDATE item SET amount = 1 WHERE id IN ('1', '2'); DELETE FROM item WHERE id = '3'")
    counts = house.sync(history)
    assert (counts.upserted, counts.deleted, counts.quarantined) == (1, 0, 2)
    for record in house.bind(history).ledger.list_quarantine("shop", "item"):
        assert "9223372036854775807 of it, which nothing follows" in record.reason
    assert house.prove(history, "deep").quarantined == 2


@pytest.mark.spare_where(engine="databricks")
@pytest.mark.usefixtures("engine")
def test_a_table_that_is_merged_does_not_become_a_history_unnoticed(house: House):
    filled(house, of_mode("merge"))
    house.sync(of_mode("append"))
    house.execute("UPDATE item SET amount = 1 WHERE id = '1'")
    assert house.sync(of_mode("append")).upserted == 1
    assert house.prove(of_mode("append"), "deep").equal


def test_a_table_that_was_merged_can_be_planned_and_proven_before_its_first_run_as_a_history(house: House):
    filled(house, of_mode("merge"))
    house.execute("UPDATE item SET amount = 1 WHERE id = '1'")
    for kind in ("count", "quick", "deep"):
        proof = house.prove(of_mode("append"), kind)
        assert (proof.target_count, proof.equal) == (3, True), kind
    rows = house.bind(of_mode("append"))
    with rows.source.at_snapshot() as snapshot:
        mapped = [rows.mapper(batch)[0] for batch in snapshot.values(["1", "2", "3"])]
    counts = rows.target.plan(mapped).counts
    assert (counts.upserted, counts.unchanged) == (1, 2)


@pytest.mark.exhaustive
def test_a_warehouse_that_loses_answers_or_conflicts_adds_no_state_twice(
    house: House, databricks_schema: Schema, monkeypatch: pytest.MonkeyPatch
):
    name_warehouse(databricks_schema, monkeypatch)
    history = filled(house, of_mode("append"))
    house.execute("UPDATE item SET amount = 1 WHERE id = '2'; INSERT INTO item VALUES ('4', 1)")
    databricks_schema.fault("drop", match="INSERT (")
    assert house.sync(history).upserted == 2
    house.execute("DELETE FROM item WHERE id = '3'")
    databricks_schema.fault("drop", match="INSERT (")
    assert house.sync(history).deleted == 1
    house.execute("UPDATE item SET amount = 2 WHERE id = '2'")
    databricks_schema.fault("fail", match="INSERT (", message="[DELTA_CONCURRENT_APPEND] somebody was quicker")
    assert house.sync(history).upserted == 1, "planned anew"
    house.opened(history).edit("4", 77)
    databricks_schema.fault("drop", match="INSERT (")
    assert mended(house, history, deep=True) == 1
    assert states(house, history) == [
        ("1", 1, 0, False),
        ("2", 1, 0, False),
        ("2", 2, 1, False),
        ("2", 3, 2, False),
        ("3", 1, 0, False),
        ("3", 2, 0, True),
        ("4", 1, 77, False),
        ("4", 2, 1, False),
    ]
    assert databricks_schema.server.seen(databricks_schema.name)["faults"] == {"drop": 3, "fail": 1}
    assert house.prove(history, "deep").equal


def test_a_history_that_a_spark_job_would_merge_is_refused():
    with pytest.raises(ValidationError, match=r"target\.mode: append set target\.engine: databricks"):
        document(target={"table": "shop/item", "mode": "append", "engine": "spark"})


def test_a_merge_is_refused_where_rows_may_only_be_appended():
    forbidding = {"table": "shop/item", "properties": {"delta.appendOnly": "true"}}
    with pytest.raises(ValidationError, match=r"delta\.appendOnly forbids what target\.mode: merge does"):
        document(target=forbidding)
    assert document(target={**forbidding, "mode": "append"}).target.properties == forbidding["properties"]


@pytest.mark.parametrize(
    ("name", "value"), [("delta.enableDeletionVectors", "true"), ("delta.columnMapping.mode", "name")]
)
def test_no_table_is_made_that_its_engine_could_not_write_again(items: House, name: str, value: str):
    table = document(target={"table": "shop/item", "properties": {name: value}})
    with pytest.raises(ConfigurationError, match=rf"delta-rs cannot write a table with {name}.*engine: databricks"):
        items.sync(table)
    assert not items.opened(document()).there


def test_a_table_is_not_sorted_by_an_array(items: House):
    with pytest.raises(ConfigurationError, match=r"layout\.sort_by: column 'tags' is stored as an array"):
        items.sync(document(layout={"sort_by": "tags"}))
    assert not items.opened(document()).there
