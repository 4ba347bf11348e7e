"""Records as chunks: what is stored of one, and what must be written so that it is what it should be. Pure.

A record's chunks 1… are written first, chunk 0, which bears the fingerprint, last, orphans are deleted after
that. So whatever a crash leaves is either the old state, or shows here as torn (no fingerprint), and the next
upsert mends it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sync_pipelines.engine.model import Doubt
from sync_pipelines.targets.chroma.names import (
    RESERVED_PREFIXES,
    SYNC_CHANGED_AT,
    SYNC_CHUNK,
    SYNC_CHUNKS,
    SYNC_FINGERPRINT,
    SYNC_GENERATION,
    SYNC_KEY,
    SYNC_TEXT,
    chunk_id,
)
from sync_pipelines.targets.chroma.store import Item
from sync_pipelines.targets.chroma.values import Metadata, merge, same


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A record as it should be; `changed_at` in microseconds since the epoch, UTC."""

    key: str
    fingerprint: str
    changed_at: int | None
    text: str
    fields: Metadata


@dataclass(kw_only=True)
class Stored:
    """What the store holds under a record's key, by chunk; `strays` are items that do not belong there."""

    chunks: dict[int, Item] = field(default_factory=dict)
    strays: list[Item] = field(default_factory=list)

    def add(self, item: Item) -> None:
        self.chunks[int(item.metadata[SYNC_CHUNK])] = item

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of a whole record; None for one that is torn, strange or not there."""
        head = self.chunks.get(0)
        if head is None or self.strays:
            return None
        extras = ((chunk, item.metadata.get(SYNC_GENERATION)) for chunk, item in self.chunks.items() if chunk)
        return whole_fingerprint(head.metadata, extras)

    @property
    def ids(self) -> list[str]:
        """Every id, chunk 0 last: while it stands, the rest can be found again."""
        chunks = sorted(self.chunks, reverse=True)
        return [item.id for item in self.strays] + [self.chunks[chunk].id for chunk in chunks]


def whole_fingerprint(head: Mapping[str, Any], extras: Iterable[tuple[int, Any]]) -> str | None:
    """The head's fingerprint if exactly its chunks are there, all written for it; else None."""
    mark = head.get(SYNC_FINGERPRINT)
    found = list(extras)
    complete = len(found) + 1 == head.get(SYNC_CHUNKS) and {n for n, _ in found} == set(range(1, len(found) + 1))
    return mark if isinstance(mark, str) and complete and all(other == mark for _, other in found) else None


_MOMENTS = range(-62_135_596_800_000_000, 253_402_300_800_000_000)
"""Microseconds of the years 1 to 9999, which a datetime can hold."""


def changed_at(metadata: Mapping[str, Any]) -> int | None:
    """The stored change time in microseconds; None for what is no moment, which only a stranger writes."""
    moment = metadata.get(SYNC_CHANGED_AT)
    return moment if type(moment) is int and moment in _MOMENTS else None


def odd_fields(item: Item, head: Item, *, of: int) -> list[str]:
    """The sync's own fields of a chunk that are not as it writes them: unknown ones, or unlike the head's.

    Args:
        of: how many chunks the record has.
    """
    mark = SYNC_GENERATION if item.metadata[SYNC_CHUNK] else SYNC_FINGERPRINT
    known = {SYNC_KEY, SYNC_TEXT, SYNC_CHUNK, SYNC_CHUNKS, SYNC_CHANGED_AT, mark}
    odd = {name for name in item.metadata if name.startswith(RESERVED_PREFIXES)} - known
    if not same(item.metadata.get(SYNC_CHUNKS), of):
        odd.add(SYNC_CHUNKS)
    moment = item.metadata.get(SYNC_CHANGED_AT)
    if not same(moment, head.metadata.get(SYNC_CHANGED_AT)) or not same(moment, changed_at(item.metadata)):
        odd.add(SYNC_CHANGED_AT)
    return sorted(odd)


def text_hash(text: str) -> str:
    """What stands in `sync_text`: 32 hex digits of SHA-256 over the chunk's UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class ChunkPlan:
    """One chunk to write.

    Args:
        metadata: what is sent; None in it removes a field.
        text: the chunk's text, or None where only metadata changes.
        taken_from: the id whose stored embedding belongs to this very text, or None to embed it.
    """

    id: str
    metadata: dict[str, Any]
    text: str | None = None
    taken_from: str | None = None

    @property
    def is_new(self) -> bool:
        return self.text is not None and self.taken_from is None


@dataclass(frozen=True, kw_only=True)
class RecordPlan:
    """What makes one record right, in the order of writing: extras, then the head, then orphans away."""

    incoming: Incoming
    extras: tuple[ChunkPlan, ...] = ()
    head: ChunkPlan | None = None
    orphans: tuple[str, ...] = ()

    @property
    def chunks(self) -> tuple[ChunkPlan, ...]:
        return (*self.extras, self.head) if self.head else self.extras

    @property
    def new_texts(self) -> list[str]:
        return [chunk.text for chunk in self.chunks if chunk.text is not None and chunk.is_new]

    @property
    def writes_text(self) -> bool:
        return any(chunk.text is not None for chunk in self.chunks)

    @property
    def is_empty(self) -> bool:
        return not self.chunks and not self.orphans


def plan_record(incoming: Incoming, texts: Sequence[str], stored: Stored, *, doubt: Doubt | None = None) -> RecordPlan:
    """What to write so that the record consists of these chunks.

    Args:
        texts: the record's text in chunks.
        stored: what is there now.
        doubt: "values": stored documents are compared too (a stranger may have changed them under a right
            hash); "all": every vector is made anew.
    """
    trusted = {item.id: item for item in stored.chunks.values() if _holds_its_text(item, doubt)}
    known = {item.metadata.get(SYNC_TEXT): item.id for item in trusted.values()}
    # an item that stands at an id of ours without being ours is overwritten, fields and all
    strangers = {item.id: item for item in stored.strays}
    plans: list[ChunkPlan | None] = []
    for number, text in enumerate(texts):
        there = stored.chunks.get(number) or strangers.pop(chunk_id(incoming.key, number), None)
        keeps = there is not None and there.id in trusted
        plans.append(_plan_chunk(_metadata(incoming, number, len(texts), text), text, there, known, keeps=keeps))
    orphans = [item.id for item in strangers.values()]
    orphans += [stored.chunks[number].id for number in sorted(stored.chunks) if number >= len(texts)]
    return RecordPlan(
        incoming=incoming,
        extras=tuple(plan for plan in plans[1:] if plan),
        head=plans[0],
        orphans=tuple(orphans),
    )


def _holds_its_text(item: Item, doubt: Doubt | None) -> bool:
    # what a stranger has put in the hash's place may be a list, which no dict looks up
    if doubt == "all" or not isinstance(item.metadata.get(SYNC_TEXT), str):
        return False
    if doubt is None:
        return True
    return item.document is not None and text_hash(item.document) == item.metadata.get(SYNC_TEXT)


def _plan_chunk(
    wanted: dict[str, Any], text: str, there: Item | None, known: Mapping[Any, str], *, keeps: bool
) -> ChunkPlan | None:
    """What makes one chunk right; None if it is. `keeps`: the text that stands there is the one it claims."""
    patch = merge(there.metadata if there else None, wanted)
    name = chunk_id(wanted[SYNC_KEY], wanted[SYNC_CHUNK])
    if there is not None and keeps and there.metadata.get(SYNC_TEXT) == wanted[SYNC_TEXT]:
        return ChunkPlan(id=name, metadata=patch) if patch else None
    return ChunkPlan(id=name, metadata=patch or wanted, text=text, taken_from=known.get(wanted[SYNC_TEXT]))


def _metadata(incoming: Incoming, number: int, of: int, text: str) -> dict[str, Any]:
    reserved: dict[str, Any] = {
        SYNC_KEY: incoming.key,
        SYNC_TEXT: text_hash(text),
        SYNC_CHUNK: number,
        SYNC_CHUNKS: of,
        (SYNC_GENERATION if number else SYNC_FINGERPRINT): incoming.fingerprint,
    }
    if incoming.changed_at is not None:
        reserved[SYNC_CHANGED_AT] = incoming.changed_at
    return {**incoming.fields, **reserved}
