"""A key that an inheriting table repeats, which PostgreSQL allows: it is refused alone, the rest goes on."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipelines.engine.model import DOUBLED
from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def family(world: World) -> World:
    """The table with a child; `a` and `b` stand in the parent, `c` in the child, and all are synced."""
    world.execute('CREATE TABLE "Child" () INHERITS ("Article")')
    world.install()
    for key in "ab":
        world.put(key, body=f"{key} of the parent")
    child(world, "c")
    world.sync()
    assert set(world.stored()) == {"a", "b", "c"}
    return world


def child(world: World, key: str, *, at: str = "now") -> None:
    world.execute(
        """INSERT INTO "Child" VALUES (%s, '{"en": "t"}', %s, 1, %s::timestamptz AT TIME ZONE 'UTC')""",
        key, f"{key} of the child", at,
    )  # fmt: skip


def quarantined(world: World) -> dict[str, str]:
    with world.resources.ledger.ledger() as ledger:
        return {record.key: record.reason for record in ledger.list_quarantine("shop", "article")}


def assert_refused_alone(world: World) -> None:
    assert quarantined(world) == {"a": DOUBLED}
    assert "a of the parent" in world.stored()["a"]
    proof = world.prove()
    assert proof.equal
    assert (proof.source_count, proof.target_count, proof.quarantined) == (3, 3, 1)


@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_a_doubled_key_goes_to_quarantine_alone_and_leaves_it_by_itself(family: World, mode: str):
    child(family, "a")
    family.put("b", body="b anew")
    assert family.sync(mode=mode).upserted == 1
    assert_refused_alone(family)
    assert family.sync(mode=mode).upserted == 0
    family.execute("""DELETE FROM ONLY "Article" WHERE id = 'a'""")
    assert family.sync(mode=mode).upserted == 1
    assert quarantined(family) == {}
    assert "a of the child" in family.stored()["a"]
    assert family.prove().equal


def test_a_rebuild_leaves_it_out_and_says_so(family: World):
    child(family, "a")
    counts = family.sync(mode="rebuild")
    assert (counts.upserted, counts.deleted) == (2, 1)
    proof = family.prove()
    assert proof.equal
    assert (proof.source_count, proof.target_count, proof.quarantined) == (3, 2, 1)


def test_a_window_that_holds_one_of_the_two_rows_does_not_write_it(family: World):
    child(family, "a", at="2024-02-10")
    family.sync()
    family.sync(partition="2024-02-01")
    assert_refused_alone(family)


def test_a_cursor_that_reads_one_of_the_two_rows_does_not_write_it(family: World):
    family.execute("""UPDATE ONLY "Article" SET "updatedAt" = '2020-01-01'""")
    source: dict[str, Any] = {"connection": "shop", "table": "Article", "key": ["id"], "changed_at": "updatedAt"}
    family.component = article(source=source | {"capture": "cursor"})
    family.sync()
    child(family, "a")
    family.sync()
    assert_refused_alone(family)


def test_a_proof_names_a_doubled_key_that_is_not_in_quarantine(family: World):
    child(family, "a")
    family.execute("DELETE FROM sync.change_log")
    family.execute("UPDATE sync.captured_tables SET purged_tx = NULL")
    proof = family.prove()
    assert not proof.equal
    assert proof.samples == {"stale": ["a"]}
    assert proof.reasons == {"a": DOUBLED}
    assert (proof.source_count, proof.target_count) == (3, 3)
