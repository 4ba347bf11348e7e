"""Documents as batches, a counting embedding, and what a collection holds, for the tests of Chroma."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.model import CHANGED_AT, FINGERPRINT, KEY, Counts, Doubt, Rejection
from sync_pipelines.targets.chroma.target import ChromaTarget
from sync_pipelines.targets.documents import DOCUMENTS_SCHEMA
from sync_pipelines.targets.embedding_functions import HashEmbedding

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


class CountingEmbedding(HashEmbedding):
    """The hash embedding, with every text that it was asked for."""

    def __init__(self, dimensions: int = 384, *, refuse: Callable[[str], Exception | None] = lambda _: None) -> None:
        super().__init__(dimensions)
        self.calls: list[list[str]] = []
        self.queries: list[str] = []
        self.refuse = refuse

    def __call__(self, input: list[str]) -> Any:
        self.calls.append(list(input))
        for text in input:
            error = self.refuse(text)
            if error is not None:
                raise error
        return super().__call__(input)

    def embed_query(self, input: list[str]) -> Any:
        self.queries.extend(input)
        return HashEmbedding(self._dimensions)(input)

    @property
    def texts(self) -> list[str]:
        return [text for call in self.calls for text in call]


@dataclass(frozen=True)
class Doc:
    """A mapped record; its fingerprint follows its content unless it is given."""

    key: str
    text: str = "some text"
    metadata: dict[str, Any] = field(default_factory=dict)
    changed_at: datetime | None = NOON
    fingerprint: str | None = None

    def row(self) -> dict[str, Any]:
        content = json.dumps([self.text, self.metadata, str(self.changed_at)], sort_keys=True)
        mark = self.fingerprint or hashlib.md5(content.encode("utf-8", "surrogatepass")).hexdigest()
        return {
            KEY: self.key,
            FINGERPRINT: mark,
            CHANGED_AT: self.changed_at,
            "document": self.text,
            "metadata": json.dumps(self.metadata),
        }


def batch(docs: Sequence[Doc]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([doc.row() for doc in docs], schema=DOCUMENTS_SCHEMA)


def put(target: ChromaTarget, *docs: Doc, doubt: Doubt | None = None) -> tuple[Counts, list[Rejection]]:
    """Upsert these records as one batch."""
    counts, rejected = Counts(), []
    for result in target.upsert([batch(docs)], doubt=doubt):
        counts += result.counts
        rejected.extend(result.rejected)
    return counts, rejected


def marks(target: ChromaTarget) -> dict[str, str | None]:
    """Keys and fingerprints; fails if a key is listed twice."""
    rows = [row for found in target.fingerprints() for row in found.to_pylist()]
    listed = {row[KEY]: row[FINGERPRINT] for row in rows}
    assert len(listed) == len(rows), rows
    return listed


def wanted(*docs: Doc) -> dict[str, str]:
    return {doc.key: doc.row()[FINGERPRINT] for doc in docs}


def stored(target: ChromaTarget, *keys: str) -> dict[str, dict[str, Any]]:
    """The stored values by key, metadata as an object."""
    rows = [row for found in target.values(keys) for row in found.to_pylist()]
    return {row[KEY]: {**row, "metadata": json.loads(row["metadata"])} for row in rows}


def items(target: ChromaTarget) -> dict[str, dict[str, Any]]:
    """Every item of the collection, straight from chromadb."""
    store = target.store()
    assert store is not None
    found = store.handle.get(include=["metadatas", "documents", "embeddings"])
    columns = zip(found["ids"], found["metadatas"], found["documents"], found["embeddings"], strict=True)
    return {name: {"metadata": m, "document": d, "embedding": list(e)} for name, m, d, e in columns}
