"""Writing to Chroma: what is skipped, what is updated, what is embedded, and what is refused."""

from __future__ import annotations

import math
import re

import httpx
import pytest

from sync_pipelines.engine.errors import RunError, TransientError
from sync_pipelines.targets.chroma.target import ChromaTarget
from sync_pipelines.targets.documents import DocumentMapper
from sync_pipelines.targets.embedding import EmbeddingSpec
from sync_pipelines_tests.targets.chroma_helpers import (
    NOON,
    CountingEmbedding,
    Doc,
    batch,
    items,
    marks,
    put,
    stored,
    wanted,
)
from sync_pipelines_tests.targets.conftest import MakeTarget
from sync_pipelines_tests.targets.test_documents import source_batch

LONG = "One sentence of some length. Another one follows it here. " * 5
HELL = [
    "it's",
    'a"b',
    "a#1",
    "a##1",
    "a#",
    "#",
    "#1",
    "a",
    "%s %d",
    "'; DROP TABLE embeddings; --",
    "😀 emoji",
    "مفتاح \u200f rtl",
    "line\nbreak\ttab",
    "x" * 300,
    "$and",
    "chroma:document",
    " ",
    '["a","1"]',
    "e\u0301",
    "\u00e9",
]


def test_a_new_record_is_embedded_once_and_comes_back_as_it_was(target: ChromaTarget, embedding: CountingEmbedding):
    doc = Doc("k1", "A text", {"category": "history", "views": 3, "score": 1.5, "active": True, "tags": ["a", "b"]})
    counts, rejected = put(target, doc)
    assert (counts.upserted, counts.embedded_texts, counts.embedded_characters, rejected) == (1, 1, 6, [])
    assert embedding.texts == ["A text"]
    assert marks(target) == wanted(doc)
    row = stored(target, "k1")["k1"]
    assert (row["document"], row["metadata"], row["_changed_at"]) == ("A text", doc.metadata, doc.changed_at)
    assert row["_problem"] is None


def test_an_unchanged_record_causes_no_write_and_no_embedding(target: ChromaTarget, embedding: CountingEmbedding):
    docs = [Doc("a", "short"), Doc("b", LONG)]
    put(target, *docs)
    before = items(target)
    embedding.calls.clear()
    store = target.store()
    assert store is not None
    type(store).write, write = _refuse_to_write, type(store).write
    try:
        counts, _ = put(target, *docs)
    finally:
        type(store).write = write
    assert (counts.unchanged, counts.upserted, counts.metadata_only) == (2, 0, 0)
    assert embedding.calls == []
    assert items(target) == before


def _refuse_to_write(self: object, writes: list[object]) -> list[str]:
    assert not writes, "an unchanged record was written"
    return []


def test_a_change_of_metadata_alone_embeds_nothing(target: ChromaTarget, embedding: CountingEmbedding):
    put(target, Doc("a", "short", {"n": 1, "gone": "x"}), Doc("b", LONG, {"n": 1}))
    vectors = {name: item["embedding"] for name, item in items(target).items()}
    embedding.calls.clear()
    counts, _ = put(target, Doc("a", "short", {"n": 2}), Doc("b", LONG, {"n": 2}))
    assert (counts.metadata_only, counts.upserted, embedding.calls) == (2, 0, [])
    assert {name: item["embedding"] for name, item in items(target).items()} == vectors
    assert all(item["metadata"]["n"] == 2 for item in items(target).values())


def test_a_field_that_went_is_gone_although_chroma_merges(target: ChromaTarget):
    put(target, Doc("a", "t", {"stays": 1, "goes": "x", "list": ["p"], "emptied": ["q"], "nulled": 2}))
    put(target, Doc("a", "t", {"stays": 1, "emptied": [], "nulled": None}))
    assert stored(target, "a")["a"]["metadata"] == {"stays": 1}
    put(target, Doc("a", "another text", {}))
    assert stored(target, "a")["a"]["metadata"] == {}


def test_a_value_that_changes_its_type_alone_is_written(target: ChromaTarget):
    for value in (1, 1.0, True, "1", ["1"]):
        put(target, Doc("a", "t", {"v": value}, fingerprint=repr(value)))
        found = stored(target, "a")["a"]["metadata"]["v"]
        assert (type(found), found) == (type(value), value)


def test_a_long_text_becomes_chunks_and_counts_as_one_record(target: ChromaTarget):
    doc = Doc("b", LONG, {"category": "x"})
    put(target, doc)
    assert len(items(target)) > 3
    assert all(item["metadata"]["category"] == "x" for item in items(target).values())
    assert target.count() == 1
    assert marks(target) == wanted(doc)
    assert stored(target, "b")["b"]["document"] == LONG


def test_only_the_changed_chunk_of_a_long_text_is_embedded(target: ChromaTarget, embedding: CountingEmbedding):
    sentences = [f"Sentence number {n} is exactly of this sort of length. " for n in range(6)]
    put(target, Doc("b", "".join(sentences)))
    embedding.calls.clear()
    sentences[3] = "Now the third one is different, and of the same length "
    doc = Doc("b", "".join(sentences))
    put(target, doc)
    assert embedding.texts == [sentences[3]]
    assert (stored(target, "b")["b"]["document"], marks(target)) == (doc.text, wanted(doc))


def test_a_chunk_that_moved_keeps_its_vector(target: ChromaTarget, embedding: CountingEmbedding):
    sentences = [f"Sentence number {n} is exactly of this sort of length. " for n in range(6)]
    put(target, Doc("b", "".join(sentences)))
    vectors = {item["document"]: item["embedding"] for item in items(target).values()}
    embedding.calls.clear()
    doc = Doc("b", "".join(sentences[1:]))
    counts, _ = put(target, doc)
    assert (embedding.calls, counts.embedded_texts, counts.upserted) == ([], 0, 1)
    assert {item["document"]: item["embedding"] for item in items(target).values()} == {
        text: vectors[text] for text in sentences[1:]
    }
    assert (stored(target, "b")["b"]["document"], marks(target)) == (doc.text, wanted(doc))


def test_a_text_that_becomes_shorter_leaves_no_orphans(target: ChromaTarget):
    put(target, Doc("b", LONG), Doc("c", LONG))
    doc = Doc("b", "short now")
    put(target, doc)
    assert [name for name in items(target) if not name.startswith("c")] == ["b"]
    assert stored(target, "b")["b"]["chunks"] == 1


def test_the_same_text_in_two_records_is_embedded_once(target: ChromaTarget, embedding: CountingEmbedding):
    put(target, Doc("a", "the same"), Doc("b", "the same"))
    assert embedding.texts == ["the same"]
    assert target.count() == 2


def test_of_a_key_that_comes_twice_the_last_one_wins(target: ChromaTarget):
    last = Doc("a", "second", {"n": 2})
    counts, rejected = put(target, Doc("a", "first", {"n": 1, "old": 1}), Doc("b"), last)
    assert (counts.upserted, rejected) == (2, [])
    assert marks(target)["a"] == wanted(last)["a"]
    assert stored(target, "a")["a"]["metadata"] == {"n": 2}


@pytest.mark.slow
def test_keys_from_hell_are_kept_apart(target: ChromaTarget):
    docs = [Doc(key, f"text of {number}. " * (1 if number % 2 else 9)) for number, key in enumerate(HELL)]
    _, rejected = put(target, *docs)
    assert rejected == []
    assert marks(target) == wanted(*docs)
    assert target.count() == len(HELL)
    assert {key: row["document"] for key, row in stored(target, *HELL).items()} == {d.key: d.text for d in docs}
    assert sorted(target.existing(HELL)) == sorted(HELL)
    for number, key in enumerate(HELL):
        assert target.delete([key]).deleted == 1
        assert marks(target) == wanted(*docs[number + 1 :])
    assert items(target) == {}


def test_an_empty_key_and_an_empty_text_have_their_place(target: ChromaTarget):
    docs = [Doc("", "no key"), Doc("e", "", {"n": 1}), Doc("s", "  \n ")]
    _, rejected = put(target, *docs)
    assert (rejected, marks(target)) == ([], wanted(*docs))
    assert {key: row["document"] for key, row in stored(target, "", "e", "s").items()} == {d.key: d.text for d in docs}
    assert target.delete(["", "e"]).deleted == 2


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"n": 2**63}, "64 bits"),
        ({"n": -(2**63) - 1}, "64 bits"),
        ({"n": [1, 2**63]}, "64 bits"),
        ({"n": math.nan}, "nan"),
        ({"n": math.inf}, "inf"),
        ({"n": "a\0b"}, "NUL"),
        ({"n": "half \ud83d"}, "surrogate"),
        ({"n": ["ok", "a\0b"]}, "NUL"),
        ({"n": [1, "a"]}, "different types"),
        ({"n": {"a": 1}}, "dict"),
        ({"sync_key": "x"}, "sync_key"),
        ({"chroma:document": "x"}, "chroma:"),
        ({"$n": 1}, r"\$"),
    ],
)
def test_a_value_that_chroma_would_change_stops_its_record_alone(target: ChromaTarget, metadata: dict, reason: str):
    good = Doc("good", "good")
    counts, rejected = put(target, Doc("bad", "bad", metadata), good)
    assert [(r.key, r.stage) for r in rejected] == [("bad", "map")]
    assert re.search(reason, rejected[0].reason)
    assert (counts.upserted, counts.quarantined) == (1, 1)
    assert marks(target) == wanted(good)


def test_the_greatest_and_least_numbers_come_back_as_they_were(target: ChromaTarget):
    fields = {"max": 2**63 - 1, "min": -(2**63), "small": 5e-324, "large": 1.7976931348623157e308, "list": [2**62]}
    put(target, Doc("a", "t", fields))
    assert stored(target, "a")["a"]["metadata"] == fields


def test_text_with_a_nul_or_half_a_character_stops_its_record_alone(target: ChromaTarget):
    good = Doc("good")
    rows = batch([Doc("nul", "a\0b"), good])
    rejected = [r for result in target.upsert([rows]) for r in result.rejected]
    assert [r.key for r in rejected] == ["nul"]
    assert marks(target) == wanted(good)


def test_arabic_with_its_diacritics_stays_byte_for_byte(target: ChromaTarget):
    texts = {
        "basmala": "بِسْمِ ٱللَّهِ ٱلرَّحْمَٰنِ ٱلرَّحِيمِ",
        "ligature": "ﷺ ﷲ ﻻ",
        "decomposed": "e\u0301 \u0627\u0653 \u00e9 \u0622",
        "marks": "\u200fنص\u200e \u202bنص\u202c \ufeff",
        "spaces": "  leading and trailing \u00a0\n",
    }
    put(target, *[Doc(key, text, {"copy": text}) for key, text in texts.items()])
    rows = stored(target, *texts)
    assert {key: row["document"].encode() for key, row in rows.items()} == {k: t.encode() for k, t in texts.items()}
    assert {key: row["metadata"]["copy"].encode() for key, row in rows.items()} == {
        k: t.encode() for k, t in texts.items()
    }


def test_what_was_mapped_is_what_the_store_gives_back(target: ChromaTarget):
    rows = source_batch(
        {
            "title": '{"ar":"ع","en":"e"}',
            "tags": '["x"]',
            "price": "1.50",
            "seen": NOON,
            "n": 2**62,
            "more": '{"b":[1]}',
        },
        {"title": '"' + LONG + '"', "tags": "[]", "price": "-0", "n": -1, "more": '{"b":[1]}'},
        title="jsonb",
        tags="text[]",
        price="numeric",
        seen="timestamp",
        n="integer",
        more="jsonb",
    )
    mapper = DocumentMapper(text=["title"], metadata=["tags", "price", "seen", "n", "more"], languages=["title"])
    mapped, rejected = mapper.map(rows)
    assert rejected == []
    list(target.upsert([mapped]))
    given = {row["_key"]: (row["document"], row["metadata"]) for row in mapped.to_pylist()}
    found = [row for batch_ in target.values(list(given)) for row in batch_.to_pylist()]
    assert {row["_key"]: (row["document"], row["metadata"]) for row in found} == given


def test_a_text_that_the_provider_refuses_stops_its_record_alone(make_target: MakeTarget):
    function = CountingEmbedding(refuse=lambda text: _answer(400) if "poison" in text else None)
    target = make_target(function=function)
    docs = [Doc(f"k{n}", f"text {n}") for n in range(9)]
    counts, rejected = put(target, *docs[:5], Doc("bad", "the poison one"), *docs[5:])
    assert [(r.key, r.stage) for r in rejected] == [("bad", "embed")]
    assert (counts.upserted, counts.quarantined) == (9, 1)
    assert marks(target) == wanted(*docs)


def test_a_record_with_one_refused_chunk_is_not_half_written(make_target: MakeTarget):
    function = CountingEmbedding(refuse=lambda text: _answer(422) if "poison" in text else None)
    target = make_target(function=function)
    _, rejected = put(target, Doc("bad", LONG + "poison"), Doc("good"))
    assert [r.key for r in rejected] == ["bad"]
    assert list(items(target)) == ["good"]


def test_an_outage_of_the_provider_is_no_records_fault(make_target: MakeTarget):
    function = CountingEmbedding(refuse=lambda text: _answer(503) if "late" in text else None)
    target = make_target(function=function, embedding=EmbeddingSpec(name="hash", batch_size=1))
    early, late = Doc("a", "early"), Doc("b", "late")
    with pytest.raises(TransientError):
        put(target, early, late)
    assert marks(target) == wanted(early)
    function.refuse = lambda _: None
    function.calls.clear()
    counts, _ = put(target, early, late)
    assert (counts.unchanged, counts.upserted, function.texts) == (1, 1, ["late"])


def test_a_provider_that_refuses_everything_stops_the_run(make_target: MakeTarget):
    target = make_target(function=CountingEmbedding(refuse=lambda _: _answer(400)))
    with pytest.raises(RunError, match="refuses every text"):
        put(target, Doc("a"), Doc("b", "other"))


def _answer(status: int) -> Exception:
    request = httpx.Request("POST", "http://provider/embed")
    return httpx.HTTPStatusError(
        f"answered {status}", request=request, response=httpx.Response(status, request=request)
    )


def test_a_record_that_vanishes_before_its_update_is_written_whole(target: ChromaTarget, embedding: CountingEmbedding):
    put(target, Doc("a", "text", {"n": 1}), Doc("b", LONG, {"n": 1}))
    store = target.store()
    assert store is not None
    docs = [Doc("a", "text", {"n": 2}), Doc("b", LONG, {"n": 2})]
    target._boundary = _once(lambda: store.handle.delete(ids=["a", "b#1"]))
    put(target, *docs)
    assert marks(target) == wanted(*docs)
    assert all(row["_problem"] is None for row in stored(target, "a", "b").values())


def _once(action):
    done: list[str] = []

    def at(boundary: str) -> None:
        if boundary == "embedded" and not done:
            done.append(boundary)
            action()

    return at


def test_a_strangers_item_at_a_records_id_is_replaced_with_all_its_fields(target: ChromaTarget):
    target.prepare()
    store = target.store()
    assert store is not None
    store.handle.upsert(ids=["a"], embeddings=[[0.1] * 384], documents=["strange"], metadatas=[{"left": 1}])
    doc = Doc("a", "mine", {"n": 1})
    put(target, doc)
    assert marks(target) == wanted(doc)
    assert stored(target, "a")["a"]["metadata"] == {"n": 1}


def test_in_doubt_what_somebody_edited_under_a_right_fingerprint_is_mended(
    target: ChromaTarget, embedding: CountingEmbedding
):
    docs = [Doc("a", "text a", {"n": 1}), Doc("b", LONG, {"n": 1}), Doc("c", "text c", {"n": 1})]
    put(target, *docs)
    good = items(target)
    store = target.store()
    assert store is not None
    store.handle.update(ids=["a"], documents=["edited"], embeddings=[[0.5] * 384])
    store.handle.update(ids=["b#2"], metadatas=[{"n": 99, "more": "x"}])
    assert marks(target) == wanted(*docs)
    problems = {key: row["_problem"] for key, row in stored(target, "a", "b", "c").items()}
    assert "another text" in str(problems["a"])
    assert "other metadata" in str(problems["b"])
    assert problems["c"] is None
    embedding.calls.clear()
    assert put(target, *docs)[0].unchanged == 3
    counts, _ = put(target, *docs, doubt="values")
    assert (counts.upserted, counts.metadata_only, counts.unchanged) == (1, 1, 1)
    assert embedding.texts == ["text a"]
    assert items(target) == good


@pytest.mark.parametrize("tampered", [1.0, True, "1", [1]])
def test_in_doubt_a_value_that_kept_its_look_and_lost_its_type_is_mended(target: ChromaTarget, tampered: object):
    doc = Doc("a", "text", {"n": 1})
    put(target, doc)
    store = target.store()
    assert store is not None
    store.handle.update(ids=["a"], metadatas=[{"n": tampered}])
    assert put(target, doc, doubt="values")[0].metadata_only == 1
    assert repr(stored(target, "a")["a"]["metadata"]["n"]) == "1"


@pytest.mark.slow
def test_a_batch_larger_than_chromas_limit_arrives(make_target: MakeTarget):
    target = make_target(function=None, embedding=EmbeddingSpec(name="hash", dimensions=8))
    docs = [Doc(f"k{n:05}", f"t{n}") for n in range(6000)]
    counts, _ = put(target, *docs)
    assert counts.upserted == 6000
    assert (target.count(), marks(target)) == (6000, wanted(*docs))
