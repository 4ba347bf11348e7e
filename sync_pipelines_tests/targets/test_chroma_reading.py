"""What Chroma is asked: counts, listings, values, deletions, with strangers and torn records among them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.model import FINGERPRINTS_SCHEMA, bucket_of
from sync_pipelines.targets.chroma import store
from sync_pipelines.targets.chroma.errors import CollectionGoneError
from sync_pipelines.targets.chroma.target import ChromaTarget, open_collection, read_records
from sync_pipelines_tests.targets.chroma_helpers import NOON, CountingEmbedding, Doc, items, marks, put, stored, wanted
from sync_pipelines_tests.targets.conftest import MakeTarget

LONG = "One sentence of some length. Another one follows it here. " * 5


def add_strangers(target: ChromaTarget, *names: str, **metadata: object) -> None:
    store = target.store()
    assert store is not None
    store.handle.upsert(
        ids=list(names),
        embeddings=[[0.1] * 384] * len(names),
        documents=["strange"] * len(names),
        metadatas=[dict(metadata) or {"by": "hand"}] * len(names),
    )


def test_a_collection_that_does_not_exist_holds_nothing(target: ChromaTarget):
    assert (target.identity(), target.count(), marks(target)) == (None, 0, {})
    assert (target.existing(["a"]), target.delete(["a"]).deleted, stored(target, "a")) == ([], 0, {})


def test_a_dropped_and_remade_collection_has_another_identity(target: ChromaTarget):
    target.prepare()
    first = target.identity()
    target.prepare()
    assert target.identity() == first
    target.names.drop()
    target.prepare()
    assert target.identity() != first


def test_strangers_are_listed_by_their_id_and_count_as_records(target: ChromaTarget):
    docs = [Doc("a"), Doc("b", LONG)]
    put(target, *docs)
    add_strangers(target, "s1", "b#77", "odd##1#", "x#0")
    assert marks(target) == {**wanted(*docs), "s1": None, "b#77": None, "odd##1#": None, "x#0": None}
    assert target.count() == 6


def test_a_stranger_that_copies_a_records_metadata_is_still_a_stranger(target: ChromaTarget):
    doc = Doc("a", "t", {"n": 1})
    put(target, doc)
    add_strangers(target, "copy", **items(target)["a"]["metadata"])
    assert marks(target) == {**wanted(doc), "copy": None}
    assert target.delete(["copy"]).deleted == 1
    assert marks(target) == wanted(doc)


def test_a_stranger_is_deleted_by_its_id_and_nothing_else_goes(target: ChromaTarget):
    docs = [Doc("a#1", "mine"), Doc("a", LONG)]
    put(target, *docs)
    add_strangers(target, "s")
    assert target.existing(["s", "a##1", "nope"]) == ["s"]
    assert target.delete(["s", "a##1", "nope"]).deleted == 1  # `a##1` is the id of the record `a#1`, not its key
    assert marks(target) == wanted(*docs)


def test_a_stranger_at_the_id_that_a_record_would_have_is_not_deleted_for_it(target: ChromaTarget):
    target.prepare()
    add_strangers(target, "x##1")
    assert (target.existing(["x#1"]), target.delete(["x#1"]).deleted) == ([], 0)
    assert marks(target) == {"x##1": None}
    doc = Doc("x#1", "mine")
    put(target, doc)
    assert marks(target) == wanted(doc)


def test_a_stranger_that_has_the_name_of_a_record_is_removed_when_the_record_is_mended(target: ChromaTarget):
    doc = Doc("a##1", "mine")
    put(target, doc)
    add_strangers(target, "a##1")  # the record's own id is `a####1`
    assert marks(target) == {"a##1": None}
    put(target, doc)
    assert (marks(target), len(items(target))) == (wanted(doc), 1)


@pytest.mark.parametrize("lost", ["b#1", "b#3", "b"])
def test_a_record_that_lacks_a_chunk_has_no_fingerprint_and_is_mended(target: ChromaTarget, lost: str):
    docs = [Doc("a"), Doc("b", LONG)]
    put(target, *docs)
    good = items(target)
    store = target.store()
    assert store is not None
    store.handle.delete(ids=[lost])
    assert marks(target) == {**wanted(docs[0]), "b": None}
    assert target.count() == 2
    assert target.existing(["a", "b"]) == ["a", "b"]
    assert stored(target, "b")["b"]["_problem"].startswith("torn")
    counts, _ = put(target, *docs)
    assert (counts.upserted, counts.unchanged) == (1, 1)
    assert items(target) == good


def test_a_headless_rest_is_deleted_whole(target: ChromaTarget):
    put(target, Doc("b", LONG))
    store = target.store()
    assert store is not None
    store.handle.delete(ids=["b"])
    assert target.delete(["b"]).deleted == 1
    assert items(target) == {}


def test_a_chunked_record_is_deleted_with_every_chunk(target: ChromaTarget):
    keep = Doc("b2", LONG)
    put(target, Doc("b", LONG), keep, Doc("c"))
    assert target.delete(["b", "c", "b", "never there"]).deleted == 2
    assert marks(target) == wanted(keep)
    assert all(name.startswith("b2") for name in items(target))


def test_a_deletion_that_is_cut_is_finished_by_the_next_one(target: ChromaTarget, monkeypatch: pytest.MonkeyPatch):
    keep = Doc("c", LONG)
    put(target, Doc("b", LONG), keep)
    delete, calls = store.ChromaStore.delete, []

    def cut(self: store.ChromaStore, ids: list[str]) -> None:
        calls.append(ids)
        if len(calls) > 1:
            raise KeyboardInterrupt
        delete(self, ids)

    monkeypatch.setattr(store.ChromaStore, "delete", cut)
    with pytest.raises(KeyboardInterrupt):
        target.delete(["b"])
    monkeypatch.undo()
    assert marks(target) == {"b": None, **wanted(keep)}
    assert "b" in items(target)  # the head goes last
    assert target.existing(["b"]) == ["b"]
    assert target.delete(["b"]).deleted == 1
    assert (marks(target), len(items(target))) == (wanted(keep), stored(target, "c")["c"]["chunks"])


def test_records_that_a_search_would_miss_are_named(target: ChromaTarget):
    docs = [Doc("a", "the cat sat"), Doc("b", LONG), Doc("c", "a bird sings"), Doc("e", "")]
    twins = [Doc(f"twin{n}", "the very same words") for n in range(15)]
    put(target, *docs, *twins)
    keys = [doc.key for doc in (*docs, *twins)]
    assert target.unsearchable([*keys, "never there"]) == {}
    store = target.store()
    assert store is not None
    store.handle.update(ids=["c"], embeddings=[[0.3] * 384])
    store.handle.update(ids=["b#2"], embeddings=[[0.3] * 384])
    found = target.unsearchable(keys)
    assert set(found) == {"b", "c"}
    assert "chunk 2" in found["b"]
    assert "not that of its text" in found["c"]


def test_a_record_that_only_get_returns_is_named(target: ChromaTarget, monkeypatch: pytest.MonkeyPatch):
    put(target, Doc("a", "the cat sat"), Doc("c", "a bird sings"))
    query = store.ChromaStore.query

    def lossy(self: store.ChromaStore, vector: list[float], **asked: object) -> list:
        return [hit for hit in query(self, vector, **asked) if hit[0].id != "c"]  # type: ignore[arg-type]

    monkeypatch.setattr(store.ChromaStore, "query", lossy)
    assert list(target.unsearchable(["a", "c"])) == ["c"]


def test_listings_are_paged_and_can_be_asked_by_bucket(target: ChromaTarget, monkeypatch: pytest.MonkeyPatch):
    docs = [Doc(f"k{n}", LONG if n % 3 == 0 else "short") for n in range(40)]
    put(target, *docs)
    monkeypatch.setattr(store, "PAGE", 7)
    assert marks(target) == wanted(*docs)
    assert target.count() == 40
    some = {bucket_of(doc.key) for doc in docs[:10]}
    batches = list(target.fingerprints(buckets=some))
    assert all(batch.schema == FINGERPRINTS_SCHEMA for batch in batches)
    listed = {row["_key"]: row["_fingerprint"] for batch in batches for row in batch.to_pylist()}
    assert listed == {key: mark for key, mark in wanted(*docs).items() if bucket_of(key) in some}


@pytest.mark.slow
def test_values_come_for_any_number_of_keys(target: ChromaTarget):
    docs = [Doc(f"k{n}", f"text {n}", {"n": n}) for n in range(1200)]
    put(target, *docs)
    found = stored(target, *[doc.key for doc in docs], "nope")
    assert {key: (row["document"], row["metadata"]) for key, row in found.items()} == {
        doc.key: (doc.text, doc.metadata) for doc in docs
    }


def test_an_item_whose_document_is_gone_is_a_problem(target: ChromaTarget):
    put(target, Doc("a"))
    store = target.store()
    assert store is not None
    store.handle.delete(ids=["a"])
    metadata = {"sync_key": "a", "sync_chunk": 0, "sync_chunks": 1, "sync_fingerprint": "f", "sync_text": "h"}
    store.handle.upsert(ids=["a"], embeddings=[[0.1] * 384], metadatas=[metadata])
    assert "another text" in stored(target, "a")["a"]["_problem"]


def test_a_dropped_collection_stops_the_run_with_a_sentence(target: ChromaTarget):
    target.prepare()
    store = target.store()
    assert store is not None
    target.names.drop()
    with pytest.raises(CollectionGoneError, match="makes the collection anew"):
        store.count()


def test_a_collection_of_somebody_elses_is_not_written_to(target: ChromaTarget):
    client = target.names._connection.client
    client.create_collection(target.collection, embedding_function=None).upsert(ids=["1"], embeddings=[[1.0, 2.0]])
    with pytest.raises(RunError, match="something else") as caught:
        put(target, Doc("a"))
    assert "knowledge/reference" in str(caught.value)
    assert "mode: rebuild" in str(caught.value)


def test_an_empty_collection_of_somebody_elses_is_taken_over(target: ChromaTarget):
    client = target.names._connection.client
    client.get_or_create_collection(target.collection, embedding_function=None)
    put(target, Doc("a"))
    assert marks(target) == wanted(Doc("a"))


def test_downstream_gets_records_whole_and_by_window(make_target: MakeTarget):
    target = make_target()
    docs = [
        Doc("a", "short", {"n": 1, "l": ["x"]}, changed_at=NOON),
        Doc("b", LONG, {}, changed_at=NOON + timedelta(days=1)),
        Doc("c", "no time", {}, changed_at=None),
    ]
    put(target, *docs)
    add_strangers(target, "s")

    def keys(*window: datetime | None) -> set[str]:
        start, end = window
        table = read_records(target.settings, target.collection, window=(start, end)).read_all()
        return set(table.column("key").to_pylist())

    reader = read_records(target.settings, target.collection, embeddings=True)
    assert isinstance(reader, pa.RecordBatchReader)
    rows = {row["key"]: row for row in reader.read_all().to_pylist()}
    assert {key: row["document"] for key, row in rows.items()} == {doc.key: doc.text for doc in docs}
    assert rows["a"]["metadata"] == '{"l":["x"],"n":1}'
    assert (rows["b"]["changed_at"], rows["c"]["changed_at"]) == (docs[1].changed_at, None)
    assert [len(rows["b"]["embeddings"]), len(rows["a"]["embeddings"][0])] == [rows["b"]["chunks"], 384]
    assert keys(None, None) == {"a", "b", "c"}
    assert keys(NOON, NOON + timedelta(days=1)) == {"a"}
    assert keys(NOON + timedelta(microseconds=1), None) == {"b"}
    assert keys(None, NOON) == {"c"}
    assert keys(datetime(2025, 1, 1, tzinfo=UTC), None) == set()


def test_a_handle_finds_its_embedding_function_again(make_target: MakeTarget):
    target = make_target(function=None)
    put(target, Doc("a", "the cat sat"), Doc("b", "a whole other thing"))
    handle = open_collection(target.settings, target.collection)
    assert handle.query(query_texts=["cat"], n_results=1)["ids"] == [["a"]]


def test_a_listing_loads_no_embedding(make_target: MakeTarget, embedding: CountingEmbedding):
    put(make_target(collection="docs.lazy"), Doc("a"))
    reader = make_target(collection="docs.lazy", function=None)
    assert (reader.count(), list(marks(reader))) == (1, ["a"])
    assert "function" not in vars(reader.embedder)
