"""Mapped batches into a collection: embed what is new, and write in an order that survives a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.batches import ahead
from sync_pipelines.engine.errors import RecordError, RunError, TransientError
from sync_pipelines.engine.model import BatchResult
from sync_pipelines.targets.chroma.planning import PlannedBatch, Planner, Tally
from sync_pipelines.targets.chroma.records import ChunkPlan, Incoming, RecordPlan
from sync_pipelines.targets.chroma.store import PAGE, ChromaStore, Write
from sync_pipelines.targets.embedding import Embedder, Refusal

Boundary = Callable[[str], None]
"""Called at each boundary of a write (`embedded`, `extras`, `heads`, `orphans`); tests crash there."""

_MOST_REFUSALS = 3


@dataclass(frozen=True, kw_only=True)
class _Vectors:
    """Vectors by text (new ones; a text that occurs twice is embedded once) and by id (stored ones)."""

    fresh: dict[str, Any]
    stored: dict[str, Any]


class Writer:
    """Writes to one collection; one writer at a time (the target's lock sees to it).

    Args:
        store: the collection. planner: what it needs. embedder: makes vectors.
        before_embedding: called before texts are embedded; before_write: before anything is written.
        boundary: for tests.
    """

    def __init__(
        self,
        store: ChromaStore,
        *,
        planner: Planner,
        embedder: Embedder,
        before_embedding: Callable[[], None] = lambda: None,
        before_write: Callable[[], None] = lambda: None,
        boundary: Boundary = lambda _: None,
    ) -> None:
        self._store, self._planner, self._embedder = store, planner, embedder
        self._before_embedding, self._before_write, self._boundary = before_embedding, before_write, boundary

    def write(self, batches: Iterable[pa.RecordBatch]) -> Iterator[BatchResult]:
        """Bring the records of these batches to the store; a result for each group that was written.

        While one batch is embedded and written, the next one is planned in a thread: Chroma's server is what
        takes the time, and planning in turn with it would add a fifth.

        Raises:
            TransientError: Chroma or the provider does not answer; what was written stays and is right.
            RunError: Chroma or the provider refuses everything.
        """
        before: frozenset[str] = frozenset()
        # Closed where it is used: see `engine.run.Run.upsert`.
        with closing(ahead(self._plan_ahead, batches)) as plans:
            for batch, planned in plans:
                # what was asked while a record was written may be older than that writing
                stale = planned is None or not before.isdisjoint(planned.keys)
                ready = self._planner.plan(batch) if stale or planned is None else planned
                yield from self._write_batch(ready)
                before = ready.keys

    def _plan_ahead(self, batch: pa.RecordBatch) -> PlannedBatch | None:
        """None where Chroma does not answer: an outage is waited for where a cancelled run can be stopped."""
        try:
            return self._planner.plan(batch, once=True)
        except TransientError:
            return None

    def _write_batch(self, planned: PlannedBatch) -> Iterator[BatchResult]:
        # The first result speaks of the records, too, that need nothing or are refused.
        tally, keys = planned.tally, planned.keys - {plan.incoming.key for plan in planned.plans}
        groups = self._groups(planned.plans) if planned.plans else iter([[]])
        for group in groups:
            self._write_group(group, tally)
            yield self._result(tally, [*keys, *(plan.incoming.key for plan in group)])
            tally, keys = Tally(), frozenset()

    def _result(self, tally: Tally, keys: Sequence[str]) -> BatchResult:
        used = self._embedder.usage.take()
        tally.counts.embedded_texts = used.texts
        tally.counts.embedded_characters = used.characters
        tally.counts.embedded_tokens = used.tokens
        return BatchResult(counts=tally.counts, rejected=tuple(tally.rejected), keys=keys)

    def _groups(self, plans: Iterable[RecordPlan]) -> Iterator[list[RecordPlan]]:
        """Records that are embedded and written together: a crash costs one group's embeddings, no more."""
        group: list[RecordPlan] = []
        texts = chunks = 0
        for plan in plans:
            new = len(plan.new_texts)
            if group and (texts + new > self._embedder.batch_size or chunks + len(plan.chunks) > PAGE):
                yield group
                group, texts, chunks = [], 0, 0
            group.append(plan)
            texts, chunks = texts + new, chunks + len(plan.chunks)
        if group:
            yield group

    def _write_group(self, group: list[RecordPlan], tally: Tally, *, again: bool = False) -> None:
        if not group:
            return
        vectors = self._vectors(group)
        ready = [plan for plan in group if not self._refused(plan, vectors, tally)]
        self._boundary("embedded")
        before = len(tally.rejected)
        vanished = self._send(ready, vectors, tally)
        if len(tally.rejected) - before == len(ready) > _MOST_REFUSALS:
            raise RunError(f"Chroma refuses every record: {tally.rejected[-1].reason}")
        if not vanished:
            return
        if again:
            raise TransientError("Chroma: records vanish while they are written; something else deletes them.")
        self._write_group(self._planner.again(list(vanished.values())), tally, again=True)

    def _vectors(self, group: Sequence[RecordPlan]) -> _Vectors:
        texts = list(dict.fromkeys(text for plan in group for text in plan.new_texts))
        taken = [chunk.taken_from for plan in group for chunk in plan.chunks if chunk.taken_from]
        items = self._store.get(taken, metadata=False, embeddings=True) if taken else ()
        stored = {item.id: item.embedding for item in items}
        if texts:
            self._before_embedding()
        return _Vectors(fresh=dict(zip(texts, self._embedder.embed(texts), strict=True)), stored=stored)

    def _refused(self, plan: RecordPlan, vectors: _Vectors, tally: Tally) -> bool:
        for text in plan.new_texts:
            outcome = vectors.fresh[text]
            if isinstance(outcome, Refusal):
                tally.reject(plan.incoming.key, outcome.reason, "embed")
                return True
        return False

    def _send(self, plans: list[RecordPlan], vectors: _Vectors, tally: Tally) -> dict[str, Incoming]:
        """Write these records; one that Chroma refuses is found by halving. Gives those that vanished."""
        if not plans:
            return {}
        try:
            vanished = self._send_once(plans, vectors)
        except RecordError as error:
            if len(plans) == 1:
                tally.reject(plans[0].incoming.key, error.message, "write")
                return {}
            half = len(plans) // 2
            return self._send(plans[:half], vectors, tally) | self._send(plans[half:], vectors, tally)
        for plan in plans:
            if plan.incoming.key not in vanished:
                tally.wrote(plan)
        return vanished

    def _send_once(self, plans: Sequence[RecordPlan], vectors: _Vectors) -> dict[str, Incoming]:
        self._before_write()
        if any(plan.extras for plan in plans):
            self._planner.extras = True
            if self._store_all([chunk for plan in plans for chunk in plan.extras], vectors):
                return {plan.incoming.key: plan.incoming for plan in plans}  # no head without its extras
        self._boundary("extras")
        missing = self._store_all([plan.head for plan in plans if plan.head], vectors)
        self._boundary("heads")
        gone = {plan.incoming.key: plan.incoming for plan in plans if plan.head and plan.head.id in missing}
        orphans = [name for plan in plans if plan.incoming.key not in gone for name in plan.orphans]
        self._store.delete(orphans)
        self._boundary("orphans")
        return gone

    def _store_all(self, chunks: Sequence[ChunkPlan], vectors: _Vectors) -> set[str]:
        """Write chunks; the ids that were to be updated and are not there (any more)."""
        return set(self._store.write([_write(chunk, vectors) for chunk in chunks]))


def _write(chunk: ChunkPlan, vectors: _Vectors) -> Write:
    if chunk.text is None:
        return Write(id=chunk.id, metadata=chunk.metadata)
    vector = vectors.stored.get(chunk.taken_from) if chunk.taken_from else vectors.fresh[chunk.text]
    if vector is None:
        raise TransientError(f"Chroma: the stored vector of {chunk.taken_from!r} is gone; run again.")
    return Write(id=chunk.id, metadata=chunk.metadata, document=chunk.text, embedding=vector)
