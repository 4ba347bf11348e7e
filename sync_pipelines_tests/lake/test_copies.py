"""A Delta table has no unique index: a record that it holds twice is named by every proof, and mended by a repair."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines.engine.model import HELD_TWICE, Scope
from sync_pipelines.engine.plan import plan
from sync_pipelines.engine.repair import Repair, Wanted, plan_repair, repair
from sync_pipelines.engine.run import Request, Run
from sync_pipelines_tests.lake.house import House, document

DDL = "CREATE TABLE item (id text PRIMARY KEY, amount numeric(8,2))"


@pytest.fixture
def table(house: House) -> PostgresToDelta:
    """A table of 24 records, synced."""
    house.execute(DDL)
    made = document()
    house.capture(made)
    house.execute("INSERT INTO item SELECT i::text, i FROM generate_series(1, 24) AS i")
    house.sync(made)
    return made


def mend(house: House, table: PostgresToDelta, **wanted: Any) -> Repair:
    request = Request(mode="repair", scope=Scope(), trigger="manual", run_id=str(uuid.uuid4()))
    return repair(house.bind(table), request, Wanted(**wanted))


def amounts(house: House, table: PostgresToDelta) -> list[int]:
    return sorted(int(row["amount"]) for row in house.rows(table))


@pytest.mark.slow
@pytest.mark.parametrize("amount", [None, 77], ids=["an exact copy", "a forged one"])
@pytest.mark.parametrize("wanted", [{}, {"deep": True}, {"keys": ("7",)}], ids=["quick", "deep", "keys"])
def test_a_record_that_is_held_twice_is_named_and_mended(
    house: House, table: PostgresToDelta, amount: int | None, wanted: dict[str, Any]
):
    house.opened(table).copy("7", amount=amount)
    for kind in ("count", "quick", "deep"):
        proof = house.prove(table, kind)
        assert (proof.source_count, proof.target_count) == (24, 25)
        assert (proof.missing, proof.stale, proof.extra) == (0, 1, 0)
        assert (proof.samples, proof.reasons) == ({"stale": ["7"]}, {"7": HELD_TWICE})
    planned = plan_repair(house.bind(table), Wanted(**wanted))
    assert (planned.missing, planned.stale, planned.extra) == (0, 1, 0)
    assert planned.reasons == {"7": HELD_TWICE}
    assert mend(house, table, **wanted).repaired == 1
    assert amounts(house, table) == list(range(1, 25))
    assert house.prove(table, "deep").equal


@pytest.mark.slow
def test_copies_of_a_record_that_is_changed_or_deleted_meanwhile_are_pending_and_go_with_it(
    house: House, table: PostgresToDelta
):
    for _ in range(2):
        house.opened(table).copy("7", amount=77)
    house.opened(table).copy("9")
    house.execute("DELETE FROM item WHERE id = '9'; UPDATE item SET amount = 70 WHERE id = '7'")
    proof = house.prove(table)
    assert (proof.equal, proof.pending, proof.source_count, proof.target_count) == (True, 2, 23, 28)
    house.sync(table)
    assert amounts(house, table) == sorted([*range(1, 7), 70, 8, *range(10, 25)])
    assert house.prove(table, "deep").equal


def test_copies_of_what_the_source_lacks_are_extra_and_all_go(house: House, table: PostgresToDelta):
    opened = house.opened(table)
    for _ in range(2):
        opened.add_stranger("zzz")
    proof = house.prove(table)
    assert (proof.missing, proof.stale, proof.extra, proof.target_count) == (0, 0, 1, 26)
    assert mend(house, table).repaired == 1
    assert amounts(house, table) == list(range(1, 25))
    assert house.prove(table, "deep").equal


def test_a_dry_run_counts_a_record_that_is_held_twice_as_one_that_is_written(house: House, table: PostgresToDelta):
    house.opened(table).copy("7")
    found = plan(house.bind(table), mode="full")
    assert (found.upserts, found.unchanged, found.deletes) == (1, 23, 0)
    assert house.sync(table, mode="full").upserted == 1
    assert amounts(house, table) == list(range(1, 25))


@pytest.mark.slow
def test_a_repair_of_many_records_is_few_commits_as_a_run_is(
    house: House, table: PostgresToDelta, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SYNC_SPOOL_DIR", str(tmp_path / "spool"))
    upsert, put_aside = Run.upsert, list[str]()

    def looked(run: Run, *given: Any, **more: Any) -> None:
        put_aside.extend(path.name for path in (tmp_path / "spool").rglob("*.arrow"))
        upsert(run, *given, **more)

    monkeypatch.setattr(Run, "upsert", looked)
    house.execute("INSERT INTO item SELECT i::text, i FROM generate_series(25, 3024) AS i")
    house.sync(table)
    store = house.bind(table).target.store
    store.open().delete("amount > 24")
    before = store.open().version()
    done = mend(house, table)
    assert (done.repaired, done.counts.read, done.counts.upserted) == (3000, 3000, 3000)
    assert "repair.arrow" in put_aside
    assert store.open().version() - before <= 2  # one of them marks the run
    assert house.prove(table, "deep").equal
