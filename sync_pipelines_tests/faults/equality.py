"""Source and target compared by the tests themselves, straight from PostgreSQL and Chroma.

Nothing of the package's own proof is used: rows are read by psycopg2, turned into documents by the few lines
below (README: text is the columns' texts joined by a blank line), items are read by chromadb's own client.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from sync_pipelines.targets.embedding_functions import HashEmbedding
from sync_pipelines_tests.dagster.world import World

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PAGE = 500


@dataclass(frozen=True)
class Record:
    """One record as it should be, or is: its whole text, the user's metadata, its change time in microseconds."""

    document: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    changed_at: int | None = None


def microseconds(moment: datetime | None) -> int | None:
    """A time without a zone means UTC."""
    if moment is None:
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - EPOCH) // timedelta(microseconds=1)


def localized(texts: Mapping[str, str] | None) -> list[str]:
    """The texts of a localized column in their stated order: English, Indonesian, Arabic, the others by name."""
    first = ("en", "id", "ar")
    names = sorted(texts or {}, key=lambda name: (first.index(name) if name in first else len(first), name))
    return [(texts or {})[name] for name in names]


def joined(texts: Iterable[str | None]) -> str:
    """The document of these texts; blank ones are left out."""
    return "\n\n".join(text for text in texts if text and text.strip())


def articles(world: World, *, besides: Sequence[str] = ()) -> dict[str, Record]:
    """What the table Article holds, as it should stand in Chroma; those in quarantine are `besides`."""
    chosen = """SELECT id, title, body, stock, "updatedAt" FROM "Article" WHERE id <> ALL(%s)"""
    rows = world.execute(chosen, list(besides))
    return {
        key: Record(
            document=joined([*localized(title), body]),
            metadata={} if stock is None else {"stock": stock},
            changed_at=microseconds(moment),
        )
        for key, title, body, stock, moment in rows
    }


def items(collection: Any) -> Iterator[tuple[str, str, dict[str, Any], Any]]:
    """Every item of a collection: id, document, metadata, vector."""
    offset = 0
    while True:
        page = collection.get(include=["documents", "metadatas", "embeddings"], limit=PAGE, offset=offset)
        yield from zip(page["ids"], page["documents"], page["metadatas"], page["embeddings"], strict=True)
        if len(page["ids"]) < PAGE:
            return
        offset += PAGE


def held(collection: Any) -> dict[str, Record]:
    """What a collection holds, chunks put together; a stranger stands under its id."""
    chunks: dict[str, list[tuple[int, str, dict[str, Any]]]] = defaultdict(list)
    for name, document, metadata, _ in items(collection):
        fields = metadata or {}
        chunks[fields.get("sync_key", name)].append((fields.get("sync_chunk", 0), document, fields))
    return {key: _record(sorted(found, key=lambda chunk: chunk[0])) for key, found in chunks.items()}


def _record(chunks: list[tuple[int, str, dict[str, Any]]]) -> Record:
    numbers, documents, fields = zip(*chunks, strict=True)
    assert numbers == tuple(range(len(chunks))), f"chunks {numbers}"
    own = [{name: value for name, value in one.items() if not name.startswith("sync_")} for one in fields]
    assert all(one == own[0] for one in own), f"chunks of {fields[0]} have different metadata"
    return Record("".join(documents), own[0], fields[0].get("sync_changed_at"))


def differences(wanted: Mapping[str, Record], found: Mapping[str, Record]) -> dict[str, list[str]]:
    """The keys that differ, by kind."""
    both = wanted.keys() & found.keys()
    return {
        "missing": sorted(wanted.keys() - found.keys()),
        "stale": sorted(key for key in both if wanted[key] != found[key]),
        "extra": sorted(found.keys() - wanted.keys()),
    }


EQUAL: dict[str, list[str]] = {"missing": [], "stale": [], "extra": []}


def assert_vectors(collection: Any, dimensions: int) -> None:
    """Every stored vector is that of the text beside it."""
    found = list(items(collection))
    if found:
        wanted = HashEmbedding(dimensions)([document or " " for _, document, _, _ in found])
        assert np.allclose([vector for *_, vector in found], wanted, atol=1e-6)


def assert_equal(world: World, *, besides: Sequence[str] = ()) -> None:
    """Article and its collection hold the same, to the last metadata field and vector; the proof says so too."""
    assert differences(articles(world, besides=besides), held(world.collection)) == EQUAL
    assert_vectors(world.collection, world.component.embedding.dimensions or 384)
    proof = world.prove()
    assert (proof.missing, proof.stale, proof.extra, proof.pending) == (0, 0, 0, 0), proof


def as_json(value: Any) -> str:
    """JSON as metadata holds it: names sorted, no spaces."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
