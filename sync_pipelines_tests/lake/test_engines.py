"""The same story on every engine: what a table goes through in its life, each step told by both sides."""

from __future__ import annotations

import pytest

from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines.engine.errors import TargetChangedError
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.repair import Wanted, repair
from sync_pipelines.engine.run import Request
from sync_pipelines_tests.lake.engines import WITH_SPARK
from sync_pipelines_tests.lake.house import House, by_spark, document
from sync_pipelines_tests.lake.test_postgres_to_delta import HELL, ODD

DDL = """CREATE TABLE item (id text PRIMARY KEY, amount numeric(8,2), tags text[], seen timestamptz NOT NULL,
    body jsonb); COMMENT ON TABLE item IS 'what''s sold'; COMMENT ON COLUMN item.amount IS 'in euros'"""


def item(engine: str) -> PostgresToDelta:
    """The document of the table; with `spark`, a job makes each full read of it."""
    make = by_spark if engine == "spark" else document
    return make(layout={"sort_by": "seen"})


def mend(house: House) -> int:
    """Repair by a deep proof; how many records."""
    request = Request(mode="repair", scope=Scope(), trigger="manual", run_id="r")
    return repair(house.bind(document()), request, Wanted(deep=True)).repaired


@pytest.fixture
def sold(house: House, engine: str) -> House:
    """A table with keys and columns from hell, synced."""
    house.execute(DDL)
    for name in ODD:
        quoted = '"' + name.replace('"', '""') + '"'
        house.execute(f"ALTER TABLE item ADD COLUMN {quoted} int DEFAULT 1")
    house.capture(item(engine))
    for number, key in enumerate(HELL):
        seen = f"2024-01-{number + 1:02d}"
        house.execute("INSERT INTO item (id, seen, body) VALUES (%s, %s, to_jsonb(%s::text))", key, seen, key)
    assert house.sync(item(engine)).upserted == len(HELL)
    return house


@pytest.mark.parametrize("engine", WITH_SPARK, indirect=True)
def test_rows_arrive_change_and_go_and_nothing_is_written_for_nothing(sold: House, engine: str):
    table = item(engine)
    far = sold.opened(table)
    assert sorted(row["id"] for row in far.rows()) == sorted(HELL)
    of_table, of_columns = far.comments()
    assert (of_table, of_columns["amount"]) == ("what's sold", "in euros")
    assert sold.prove(table, "deep").equal
    version, files = far.version(), far.files()
    sold.sync(table)
    assert far.version() == version
    assert sold.sync(table, mode="full").unchanged == len(HELL)
    assert far.files() == files
    sold.execute("UPDATE item SET amount = 2.50 WHERE id IN ('it''s', '%s'); DELETE FROM item WHERE id = ' '")
    sold.execute("INSERT INTO item (id, seen) VALUES ('new', '2024-03-01')")
    counts = sold.sync(table)
    assert (counts.upserted, counts.deleted) == (3, 1)
    used = sold.used(table)
    assert used.files_rewritten
    assert engine == "delta-rs" or used.warehouse_seconds
    assert sold.prove(table, "deep").equal


@pytest.mark.slow
def test_what_somebody_did_behind_the_syncs_back_is_named_and_mended(sold: House):
    table, far = document(), sold.opened(document())
    far.edit("a#1", 77)
    far.add_stranger("zzz")
    far.copy("%s", amount=5)
    assert sold.prove(table).samples["stale"] == ["%s"]
    proof = sold.prove(table, "deep")
    assert (proof.missing, sorted(proof.samples["stale"]), proof.extra) == (0, ["%s", "a#1"], 1)
    assert "zzz" in proof.samples["extra"][0]
    assert mend(sold) == 3
    assert sold.prove(table, "deep").equal


@pytest.mark.slow
def test_new_columns_follow_others_stop_and_a_rebuild_is_one_commit(sold: House):
    table, far = document(), sold.opened(document())
    sold.execute("ALTER TABLE item ADD COLUMN colour text DEFAULT 'red'; UPDATE item SET amount = 1 WHERE id = 'a#1'")
    sold.sync(table, mode="full")
    assert {row["colour"] for row in far.rows()} == {"red"}
    version = far.version()
    sold.execute("ALTER TABLE item DROP COLUMN colour; ALTER TABLE item ALTER COLUMN amount TYPE text")
    with pytest.raises(TargetChangedError, match="--rebuild"):
        sold.sync(table)
    assert far.version() == version
    sold.sync(table, mode="rebuild")
    assert {"colour", "amount"} & far.rows()[0].keys() == {"amount"}
    assert far.version() > version, "it is the table of before, with its history"
    assert sold.prove(table, "deep").equal
