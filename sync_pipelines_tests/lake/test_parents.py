"""Rows of the way back whose parents come, go and come again."""

from __future__ import annotations

import pytest

from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.repair import Wanted, repair
from sync_pipelines.engine.run import Request
from sync_pipelines.engine.waiting import can_arrive
from sync_pipelines_tests.lake.house import House, Lake, back

FAMILY = """CREATE TABLE item (id text PRIMARY KEY); INSERT INTO item VALUES ('i1'), ('i0');
    CREATE TABLE review (id text PRIMARY KEY, item text REFERENCES item ON DELETE CASCADE)"""


@pytest.fixture
def family(house: House, lake: Lake) -> House:
    """Two reviews, each of an item of its own; both have arrived."""
    house.execute(FAMILY)
    lake.write([{"id": "a", "item": "i1"}, {"id": "b", "item": "i0"}])
    house.sync(back())
    return house


def stages(house: House) -> list[tuple[str, str]]:
    return [(item.key, item.stage) for item in house.bind(back()).ledger.list_quarantine("shop", "review")]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_a_row_that_waits_for_another_parent_still_waits_after_its_old_one_took_it_along(
    family: House, lake: Lake, mode: str
):
    lake.table.update({"item": "'i2'"}, predicate="id = 'a'")
    family.sync(back())
    assert stages(family) == [("a", "wait")]
    family.execute("DELETE FROM item WHERE id = 'i1'")
    family.sync(back(), mode=mode)
    assert stages(family) == [("a", "wait")]
    assert family.bind(back()).ledger.conflict_count("shop", "review") == 0
    proof = family.prove(back(), "deep")
    assert (proof.equal, proof.excluded, proof.quarantined) == (True, 0, 1)
    family.execute("INSERT INTO item VALUES ('i2')")
    assert can_arrive(family.bind(back()))
    assert family.sync(back()).upserted == 1
    assert family.execute("SELECT id, item FROM review ORDER BY id") == [("a", "i2"), ("b", "i0")]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["full run", "repair"])
def test_a_row_that_went_with_its_parent_is_there_again_after_a_full_run_or_a_repair(
    family: House, lake: Lake, way: str
):
    family.execute("DELETE FROM item WHERE id = 'i1'")
    family.sync(back(), mode="full")
    assert family.prove(back()).excluded == 1
    family.execute("INSERT INTO item VALUES ('i1')")
    proof = family.prove(back())
    assert (proof.missing, proof.excluded) == (1, 0), "nobody says that it is out on purpose any more"
    if way == "full run":
        family.sync(back(), mode="full")
    else:
        request = Request(mode="repair", scope=Scope(), trigger="manual", run_id="r")
        assert repair(family.bind(back()), request, Wanted()).repaired == 1
    assert family.execute("SELECT id FROM review ORDER BY id") == [("a",), ("b",)]
    assert family.prove(back(), "deep").equal
    assert family.bind(back()).ledger.conflict_count("shop", "review") == 0


@pytest.mark.slow
def test_a_row_that_waits_is_not_kept_by_a_parent_that_came_and_went_unseen(family: House, lake: Lake):
    lake.write([{"id": "c", "item": "i2"}])
    family.sync(back())
    family.execute("INSERT INTO item VALUES ('i2'); DELETE FROM item WHERE id = 'i2'")
    family.sync(back())
    assert stages(family) == [("c", "wait")]
    family.execute("INSERT INTO item VALUES ('i2')")
    family.sync(back())
    family.execute("DELETE FROM item WHERE id = 'i2'")
    family.sync(back(), mode="full")
    proof = family.prove(back())
    assert (proof.equal, proof.excluded, proof.quarantined) == (True, 1, 0)
    lake.table.delete("id = 'c'")
    family.sync(back())
    lake.write([{"id": "c", "item": "i2"}])
    family.sync(back())
    assert stages(family) == [("c", "wait")], "the record before it is forgotten"
