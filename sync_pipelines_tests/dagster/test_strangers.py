"""What a stranger puts into the collection, or changes there, is named by a proof and mended by a repair."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipelines.engine.proof import Proof
from sync_pipelines.registry import BoundTable
from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.test_checks import check, synced
from sync_pipelines_tests.dagster.test_repair import plan, repair
from sync_pipelines_tests.dagster.world import World

VECTOR = [0.1] * 16
LONG = " ".join(f"word{number} of a long text." for number in range(30))
NO_TIMES = ["yesterday", True, 1.5, 2**62, -(2**62)]


def add(world: World, *ids: str, **metadata: Any) -> None:
    """Put items of a stranger's beside the sync's."""
    world.collection.add(
        ids=list(ids),
        documents=["x"] * len(ids),
        embeddings=[VECTOR] * len(ids),
        metadatas=[metadata] * len(ids) if metadata else None,
    )


def prove(world: World, kind: Any = "quick") -> Proof:
    return BoundTable(world.component, world.resources).prove(kind)


def numbers(proof: Proof) -> tuple[int, int, int]:
    return proof.missing, proof.stale, proof.extra


@pytest.fixture
def chunked(world: World) -> World:
    """Article `a` in many chunks, `b` in one."""
    world.component = article(chunking={"max_characters": 64})
    world.put("a", body=LONG)
    world.put("b", body="short")
    world.sync()
    return world


def test_an_id_that_postgresql_cannot_hold_is_extra_and_repaired(world: World):
    synced(world, "a", "b", "c")
    add(world, "a\0b", "a\0", "s")
    add(world, "\0", sync_key="\0", sync_chunk=0, sync_chunks=1, sync_fingerprint="f")
    for kind in ("quick", "deep", "quick"):  # the last one looks again at what the deep one named
        assert sorted(prove(world, kind).samples["extra"]) == ["\0", "a\0", "a\0b", "s"]
    assert not check(world)["content"].passed
    assert plan(world).extra == 4
    assert repair(world).success
    assert set(world.stored()) == {"a", "b", "c"}
    assert prove(world).equal


def test_a_full_sync_deletes_an_id_that_postgresql_cannot_hold(world: World):
    world.execute("""ALTER TABLE "Article" ADD COLUMN weight float8""")
    world.component = article(metadata=["stock", "weight"])
    synced(world, "a", "bad")
    world.execute("""UPDATE "Article" SET weight = 'NaN' WHERE id = 'bad'""")
    world.sync()  # something is in quarantine, so what was deleted is looked for there
    add(world, "a\0b")
    world.sync(mode="full")
    assert "a\0b" not in world.stored()


def test_a_long_id_is_named_and_repaired(world: World):
    import random

    synced(world, "a", "b", "c")
    letters = random.Random(7)
    name = "".join(chr(letters.randrange(0x4E00, 0x9000)) for _ in range(3000))  # no index of PostgreSQL holds it
    add(world, name)
    for kind in ("deep", "quick"):
        assert prove(world, kind).samples["extra"] == [name]
    assert repair(world).success
    assert set(world.stored()) == {"a", "b", "c"}


def test_items_that_only_claim_to_be_chunks_are_extra_and_nothing_is_missing(world: World):
    synced(world, "a", "b", "c")
    add(world, "weird#3", "weird#4", "a#9", sync_chunk=5)
    add(world, "b#1", sync_key="b", sync_chunk=1.0)
    proof = prove(world)
    assert numbers(proof) == (0, 0, 4)
    assert (proof.source_count, proof.target_count) == (3, 7)
    assert not check(world)["count"].passed
    assert repair(world).success
    assert set(world.stored()) == {"a", "b", "c"}


def test_a_record_whose_first_chunk_lost_its_name_is_one_record(chunked: World):
    chunked.collection.update(ids=["a"], metadatas=[{"sync_key": None}])
    proof = prove(chunked)
    assert (numbers(proof), proof.samples) == ((0, 1, 0), {"stale": ["a"]})
    assert repair(chunked).success
    assert prove(chunked, "deep").equal


def test_chunks_without_a_head_beside_a_stranger_in_its_place_are_counted_as_they_are_listed(chunked: World):
    chunked.put("b#1", body=LONG)
    chunked.sync()
    chunked.collection.update(ids=["b##1"], metadatas=[{"sync_key": None}])
    proof = prove(chunked)
    assert (numbers(proof), proof.samples) == ((0, 1, 1), {"stale": ["b#1"], "extra": ["b##1"]})
    assert repair(chunked).success
    assert prove(chunked, "deep").equal
