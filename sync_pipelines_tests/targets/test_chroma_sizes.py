"""A request to Chroma stays below what its server takes, also where the metadata is what is long."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sync_pipelines.targets.chroma import store as chroma_store
from sync_pipelines.targets.chroma.store import Write
from sync_pipelines.targets.chroma.target import ChromaTarget
from sync_pipelines.targets.embedding import EmbeddingSpec
from sync_pipelines_tests.targets.chroma_helpers import Doc, marks, put, wanted
from sync_pipelines_tests.targets.conftest import MakeTarget


def test_a_requests_size_is_counted_with_names_and_values_of_metadata():
    fields = {"note": "ü" * 500, "n" * 300: 1.5, "yes": True, "tags": ["a" * 200, "b" * 200], "sync_key": "k" * 400}
    write = Write(id="i" * 700, metadata=fields, document="text", embedding=np.zeros(8, dtype=np.float32))
    columns = {**chroma_store._columns([write]), "embeddings": [[0.12345678] * 8]}
    assert len(json.dumps(columns, ensure_ascii=False).encode()) < write.size < 12_000
    assert Write(id="a", metadata={}).size < 100


def test_items_with_long_metadata_are_sent_in_several_requests(target: ChromaTarget, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chroma_store, "PAGE_BYTES", 50_000)
    pages: list[int] = []
    sent = chroma_store._columns
    monkeypatch.setattr(chroma_store, "_columns", lambda page: pages.append(len(page)) or sent(page))
    doc = Doc("a", text="word " * 240, metadata={"note": "n" * 4_000})
    assert put(target, doc)[0].upserted == 1
    assert marks(target) == wanted(doc)
    assert sum(pages) > 12
    assert max(pages) <= 3


@pytest.mark.slow
def test_a_record_of_many_chunks_with_long_metadata_is_taken_by_a_real_server(make_target: MakeTarget):
    target = make_target(function=None, embedding=EmbeddingSpec(name="hash", dimensions=8))
    doc = Doc("a", text="some words, and more " * 1800, metadata={"note": "n" * 70_000})
    counts, rejected = put(target, doc)
    assert (counts.upserted, list(rejected)) == (1, [])
    assert marks(target) == wanted(doc)
