"""A Delta table with rules of its own (CHECK, NOT NULL, append only), which somebody has prepared."""

from __future__ import annotations

import traceback

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Schema

from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines.engine.errors import TargetChangedError
from sync_pipelines.targets.databricks.target import DatabricksTarget
from sync_pipelines.targets.lake.rules import BrokenRuleError
from sync_pipelines_tests.lake.house import House, document

SECRET = "what was said\nin two lines"


@pytest.fixture
def ruled(house: House, engine: str) -> PostgresToDelta:
    """An empty table whose numbers are there and below 100, and a source that knows of no such rule."""
    table = document(sensitive=["said"])
    house.execute("CREATE TABLE item (id text PRIMARY KEY, said text, n int)")
    house.capture(table)
    target = house.bind(table).target
    if isinstance(target, DatabricksTarget):
        target.warehouse.run(f"CREATE TABLE {target.table.sql} (id STRING, n INT NOT NULL) USING DELTA", doing="make")
        target.warehouse.run(f"ALTER TABLE {target.table.sql} ADD CONSTRAINT few CHECK (n < 100)", doing="rule")
    else:
        fields = pa.schema([("id", pa.string()), pa.field("n", pa.int32(), nullable=False)])
        DeltaTable.create(target.store.uri, Schema.from_arrow(fields)).alter.add_constraint({"few": "n < 100"})
    return table


def add(house: House, first: int, last: int) -> None:
    house.execute("INSERT INTO item SELECT 'k' || i, %s, 1 FROM generate_series(%s, %s) AS i", SECRET, first, last)


def test_a_record_that_a_rule_of_the_table_refuses_is_put_aside_alone(house: House, ruled: PostgresToDelta):
    add(house, 1, 8)
    house.execute("UPDATE item SET n = 1000 WHERE id IN ('k2', 'k5')")
    counts = house.sync(ruled)
    assert (counts.upserted, counts.quarantined) == (6, 2), "a first load"
    refused = house.bind(ruled).ledger.list_quarantine("shop", "item", limit=None)
    assert sorted((one.key, one.attempts) for one in refused) == [("k2", 1), ("k5", 1)]
    house.execute("UPDATE item SET n = NULL WHERE id = 'k3'; UPDATE item SET n = 2 WHERE id IN ('k2', 'k4')")
    house.execute("UPDATE item SET n = 1 WHERE id = 'k5'")
    house.execute("DELETE FROM item WHERE id = 'k8'")
    counts = house.sync(ruled)
    assert (counts.upserted, counts.deleted, counts.quarantined) == (3, 1, 1)
    (held,) = house.bind(ruled).ledger.list_quarantine("shop", "item", limit=None)
    assert (held.key, held.stage) == ("k3", "write")
    assert [row["n"] for row in house.rows(ruled)] == [1, 2, 1, 2, 1, 1, 1]
    assert house.prove(ruled, "deep").quarantined == 1
    house.execute("UPDATE item SET n = 3 WHERE id = 'k3'")
    house.sync(ruled)
    assert house.prove(ruled, "deep").equal


@pytest.mark.parametrize("engine", ["delta-rs"], indirect=True)
def test_where_a_rule_refuses_most_of_a_table_the_run_ends_and_no_value_is_shown(house: House, ruled: PostgresToDelta):
    add(house, 1, 60)
    house.execute("UPDATE item SET n = 77777")
    with pytest.raises(BrokenRuleError) as caught:
        house.sync(ruled)
    shown = "".join(traceback.format_exception(caught.value))
    assert not any(text in shown for text in ("77777", "what was said", "in two lines"))
    assert "CHECK constraint" in str(caught.value)
    assert house.rows(ruled) == []


@pytest.mark.spare_where(engine="databricks")
def test_a_table_that_only_grows_is_left_to_a_history(house: House, engine: str):
    house.execute("CREATE TABLE item (id text PRIMARY KEY)")
    table = document(target={"table": "shop/item", "mode": "append", "properties": {"delta.appendOnly": "true"}})
    house.capture(table)
    house.execute("INSERT INTO item VALUES ('a'), ('b')")
    assert house.sync(table).upserted == 2
    merged = document()
    version = house.opened(merged).version()
    with pytest.raises(TargetChangedError, match=r"delta.appendOnly.*target\.mode: append"):
        house.sync(merged)
    assert house.opened(merged).version() == version
    assert "the table is delta.appendOnly" in house.bind(merged).target.drift()
    house.execute("DELETE FROM item WHERE id = 'b'")
    assert house.sync(table).deleted == 1
