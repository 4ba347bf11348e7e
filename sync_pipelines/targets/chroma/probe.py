"""Whether records are found by `query`, not only by `get`: Chroma has lost them from one and not the other.

chroma#7758: live records that `get()` returns and `query()` does not; a restored index may hold other vectors
than the texts have. So a deep check embeds a sample's own text again and searches with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sync_pipelines.targets.chroma.reading import lookup
from sync_pipelines.targets.chroma.store import ChromaStore, Item
from sync_pipelines.targets.embedding import Embedder, Refusal

_NEAREST = 10
_CLOSE = 0.02
"""Cosine distance between two vectors of one text; engines differ in the last digits, models by far more."""


def unsearchable(store: ChromaStore, embedder: Embedder, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The keys of this sample that a search would miss, with why.

    Each chunk's vector must be there, finite, as long as the others, and near its text's; and a query with
    it must bring the chunk, unless ten others are as near. Keys that are not stored are left out.
    """
    for key, stored in lookup(store, keys, documents=True, embeddings=True).items():
        reasons = ((number, _reason(store, embedder, stored.chunks[number])) for number in sorted(stored.chunks))
        found = next(((number, reason) for number, reason in reasons if reason), None)
        if found is not None:
            # the chunk by its number: an id spells the key, which may be a sensitive one
            yield key, f"chunk {found[0]}: {found[1]}"


def broken_vectors(store: ChromaStore, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The keys of which a chunk's vector is missing, not finite, or of another size than the collection's."""
    size = store.metadata.get("sync_dimensions")
    for key, stored in lookup(store, keys, embeddings=True).items():
        broken = (number for number, item in sorted(stored.chunks.items()) if not _is_sound(item.embedding, size))
        number = next(broken, None)
        if number is not None:
            yield key, f"chunk {number}: its vector is missing or broken"


def _is_sound(vector: Any, size: int | None) -> bool:
    return vector is not None and bool(np.isfinite(vector).all()) and (size is None or len(vector) == size)


def _reason(store: ChromaStore, embedder: Embedder, item: Item) -> str | None:
    outcome = embedder.embed([item.document or ""])[0]
    if isinstance(outcome, Refusal):
        return None  # nothing to search with; the record itself is the quarantine's
    if item.embedding is None or len(item.embedding) != len(outcome) or not np.isfinite(item.embedding).all():
        return "its vector is missing or broken"
    away = _distance(np.asarray(item.embedding), outcome)
    if away > _CLOSE:
        return f"its vector is not that of its text (distance {away:.3f})"
    found = store.query(outcome.tolist(), limit=_NEAREST, where=None)
    if any(hit.id == item.id for hit, _ in found):
        return None
    crowded = len(found) == _NEAREST and found[-1][1] <= away + _CLOSE
    return None if crowded else "a query with its own text does not find it"


def _distance(left: np.ndarray, right: np.ndarray) -> float:
    norm = float(np.linalg.norm(left) * np.linalg.norm(right))
    return 1.0 - float(left @ right) / norm if norm else 1.0
