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
from sync_pipelines_tests.spare import spare

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


@pytest.mark.slow
def test_a_stranger_whose_change_time_is_none_is_extra_and_repaired(world: World):
    synced(world, "a", "b", "c")
    names = [f"s{number}" for number in range(len(NO_TIMES))]
    for name, moment in zip(names, NO_TIMES, strict=True):
        add(world, name, sync_changed_at=moment)
    for kind in ("quick", "deep"):
        assert prove(world, kind).samples == {"extra": names}
    assert plan(world).extra == len(names)
    assert repair(world).success
    assert set(world.stored()) == {"a", "b", "c"}


@pytest.mark.slow
def test_a_record_whose_change_time_is_none_is_stale_and_mended(world: World):
    keys = [f"k{number}" for number in range(len(NO_TIMES))]
    synced(world, *keys, "a")
    before = [world.metadata(key) for key in keys]
    world.collection.update(ids=keys, metadatas=[{"sync_changed_at": moment} for moment in NO_TIMES])
    proof = prove(world, "deep")
    assert proof.samples == {"stale": keys}
    assert all("_changed_at" in why for why in proof.reasons.values())
    assert repair(world).success
    assert [world.metadata(key) for key in keys] == before
    assert prove(world, "deep").equal


@pytest.mark.slow
def test_a_change_time_that_is_none_hides_no_record_from_assets_downstream(world: World):
    from sync_pipelines.targets.chroma.target import read_records

    synced(world, "a", "b")
    settings = world.component.bind(world.resources).target.settings
    for moment in NO_TIMES:
        world.collection.update(ids=["a"], metadatas=[{"sync_changed_at": moment}])
        for window in (None, (None, None)):
            found = read_records(settings, "article", window=window).read_all().to_pylist()
            assert {row["key"]: row["changed_at"] is None for row in found} == {"a": True, "b": False}


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_full_sync_deletes_an_id_that_postgresql_cannot_hold(world: World):
    world.execute("""ALTER TABLE "Article" ADD COLUMN weight float8""")
    world.component = article(metadata=["stock", "weight"])
    synced(world, "a", "bad")
    world.execute("""UPDATE "Article" SET weight = 'NaN' WHERE id = 'bad'""")
    world.sync()  # something is in quarantine, so what was deleted is looked for there
    add(world, "a\0b")
    world.sync(mode="full")
    assert "a\0b" not in world.stored()


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_record_whose_first_chunk_lost_its_name_is_one_record(chunked: World):
    chunked.collection.update(ids=["a"], metadatas=[{"sync_key": None}])
    proof = prove(chunked)
    assert (numbers(proof), proof.samples) == ((0, 1, 0), {"stale": ["a"]})
    assert repair(chunked).success
    assert prove(chunked, "deep").equal


@pytest.mark.slow
def test_chunks_without_a_head_beside_a_stranger_in_its_place_are_counted_as_they_are_listed(chunked: World):
    chunked.put("b#1", body=LONG)
    chunked.sync()
    chunked.collection.update(ids=["b##1"], metadatas=[{"sync_key": None}])
    proof = prove(chunked)
    assert (numbers(proof), proof.samples) == ((0, 1, 1), {"stale": ["b#1"], "extra": ["b##1"]})
    assert repair(chunked).success
    assert prove(chunked, "deep").equal


ODD_FIELDS = [
    ("b", {"sync_evil": "x"}),
    ("b", {"sync_generation": "zzz"}),
    ("b", {"sync_chunks": True}),
    ("a#1", {"sync_evil": "x"}),
    ("a#1", {"sync_fingerprint": "zzz"}),
    ("a#1", {"sync_chunks": 3}),
    ("a#1", {"sync_changed_at": 5}),
    ("a#1", {"sync_changed_at": None}),
]


@pytest.mark.slow
def test_a_field_of_the_syncs_own_that_it_did_not_write_is_stale_and_removed(chunked: World):
    for item, changed in ODD_FIELDS:
        before = chunked.metadata(item)
        chunked.collection.update(ids=[item], metadatas=[changed])
        proof = prove(chunked, "deep")
        assert proof.samples == {"stale": [item[0]]}, changed
        assert next(iter(changed)) in proof.reasons[item[0]]
        assert repair(chunked).success
        assert chunked.metadata(item) == before
    assert prove(chunked, "deep").equal


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sync_chunks", "sync_fingerprint", *spare("sync_generation", "sync_text")])
@pytest.mark.spare_where(name="sync_chunks")
def test_a_list_in_a_field_of_the_syncs_own_crashes_neither_a_proof_nor_a_sync(chunked: World, name: str):
    before = [chunked.metadata(item) for item in ("a", "a#1")]
    chunked.collection.update(ids=["a", "a#1", "b"], metadatas=[{name: ["x", "y"]}] * 3)
    assert prove(chunked, "deep").samples == {"stale": ["a", "b"]}
    chunked.put("b", body="short", stock=2)
    chunked.sync()
    assert repair(chunked).success
    assert [chunked.metadata(item) for item in ("a", "a#1")] == before
    assert prove(chunked, "deep").equal
