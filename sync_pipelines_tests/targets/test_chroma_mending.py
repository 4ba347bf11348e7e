"""What a crash, a stranger or a second batch may leave of a record in Chroma, and what the next upsert makes of it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sync_pipelines.targets.chroma import store as chroma_store
from sync_pipelines.targets.chroma.planning import PlannedBatch, Planner
from sync_pipelines.targets.chroma.store import ChromaStore
from sync_pipelines.targets.chroma.target import ChromaTarget
from sync_pipelines_tests.targets.chroma_helpers import CountingEmbedding, Doc, batch, items, marks, put, stored, wanted
from sync_pipelines_tests.targets.conftest import MakeTarget

LONG = "One sentence of some length. Another one follows it here. " * 5


def opened(target: ChromaTarget) -> ChromaStore:
    store = target.store()
    assert store is not None
    return store


def test_a_record_with_a_chunk_of_another_time_has_no_fingerprint_and_is_mended(
    target: ChromaTarget, embedding: CountingEmbedding
):
    doc = Doc("a", LONG)
    put(target, doc)
    good = items(target)
    opened(target).handle.update(ids=["a#1"], metadatas=[{"sync_generation": "of an earlier write"}])
    assert marks(target) == {"a": None}
    assert "torn" in str(stored(target, "a")["a"]["_problem"])
    embedding.calls.clear()
    put(target, doc)
    assert (items(target), embedding.calls) == (good, [])


def test_in_doubt_a_field_that_somebody_added_goes_although_nothing_else_differs(target: ChromaTarget):
    docs = [Doc("a", "text", {"n": 1}), Doc("b", LONG)]
    put(target, *docs)
    good = items(target)
    opened(target).handle.update(ids=["a", "b#1"], metadatas=[{"more": "x"}, {"more": "x"}])
    assert put(target, *docs, doubt="values")[0].metadata_only == 2
    assert items(target) == good


def test_a_chunk_with_another_change_time_than_the_first_is_a_problem_and_mended(target: ChromaTarget):
    doc = Doc("a", LONG)
    put(target, doc)
    opened(target).handle.update(ids=["a#1"], metadatas=[{"sync_changed_at": 1_000_000}])
    assert "another sync_changed_at" in str(stored(target, "a")["a"]["_problem"])
    put(target, doc, doubt="values")
    assert stored(target, "a")["a"]["_problem"] is None


def test_records_of_more_items_than_a_page_are_deleted_whole(target: ChromaTarget, monkeypatch: pytest.MonkeyPatch):
    kept = Doc("c")
    put(target, Doc("a", LONG), Doc("b", LONG), kept)
    monkeypatch.setattr(chroma_store, "PAGE", 2)
    assert target.delete(["a", "b"]).deleted == 2
    assert set(items(target)) == {"c"}


def test_a_record_that_comes_in_two_batches_is_as_the_second_says_whenever_that_was_planned(
    target: ChromaTarget, monkeypatch: pytest.MonkeyPatch
):
    first, second = Doc("a", LONG, {"of": "the first"}), Doc("a", "short")
    planned, plan = threading.Event(), Planner.plan

    def look(self: Planner, found: Any, **options: Any) -> PlannedBatch:
        ready = plan(self, found, **options)
        if found.column("document").to_pylist() == ["short"]:
            planned.set()
        return ready

    monkeypatch.setattr(Planner, "plan", look)
    # the first is not written before the second was planned
    target._boundary = lambda _: planned.wait(10)
    list(target.upsert([batch([first]), batch([second])]))
    assert planned.is_set()
    assert set(items(target)) == {"a"}
    assert (marks(target), stored(target, "a")["a"]["metadata"]) == (wanted(second), {})


def test_a_record_that_vanished_and_was_written_again_counts_once(target: ChromaTarget):
    put(target, Doc("a", "text", {"n": 1}))

    def vanish(boundary: str) -> None:
        if boundary == "embedded":
            target._boundary = lambda _: None
            opened(target).handle.delete(ids=["a"])
            gone.append(boundary)

    gone: list[str] = []
    target._boundary = lambda boundary: vanish(boundary) if not gone else None
    counts, _ = put(target, Doc("a", "text", {"n": 2}))
    assert gone
    assert (counts.upserted, counts.metadata_only, counts.embedded_texts) == (1, 0, 1)


def test_what_another_table_left_of_a_rebuild_is_no_part_of_this_ones(make_target: MakeTarget):
    before = make_target(sync="old", table="name")
    put(before, Doc("a"))
    put(before.begin_rebuild(), Doc("a"), Doc("b"))
    after = make_target(collection=before.collection, sync="new", table="name")
    beside = after.begin_rebuild()
    assert beside.count() == 0
    put(beside, Doc("a"))
    after.swap()
    assert (marks(after), opened(after).metadata["sync_owner"]) == (wanted(Doc("a")), "new/name")


def test_a_headless_rest_and_a_stranger_of_its_name_are_one_record(target: ChromaTarget):
    put(target, Doc("b", LONG))
    store = opened(target)
    store.handle.delete(ids=["b"])
    store.handle.upsert(ids=["b"], embeddings=[[0.1] * 384], documents=["strange"], metadatas=[{"by": "hand"}])
    assert (target.count(), marks(target)) == (1, {"b": None})


def test_headless_rests_whose_chunks_bear_each_others_names_are_records_of_their_own(target: ChromaTarget):
    put(target, Doc("a", LONG), Doc("a#1", LONG))
    opened(target).handle.delete(ids=["a", "a##1"])  # the first chunks of both; `a#1` is a chunk of `a`
    assert (target.count(), marks(target)) == (2, {"a": None, "a#1": None})
