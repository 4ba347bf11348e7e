"""What a mapped batch asks of a collection: which records are right already, and what the others need."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from sync_pipelines.engine.model import CHANGED_AT, FINGERPRINT, KEY, Counts, Doubt, Rejection
from sync_pipelines.targets.chroma.reading import has_extras, lookup
from sync_pipelines.targets.chroma.records import Incoming, RecordPlan, Stored, plan_record
from sync_pipelines.targets.chroma.store import ChromaStore
from sync_pipelines.targets.chroma.values import ValueRefused, check_text, stored_metadata
from sync_pipelines.targets.chunking import Chunker


@dataclass(kw_only=True)
class Tally:
    """What became of the records so far."""

    counts: Counts = field(default_factory=Counts)
    rejected: list[Rejection] = field(default_factory=list)

    def reject(self, key: str, reason: str, stage: str) -> None:
        self.rejected.append(Rejection(key=key, reason=reason, stage=stage))
        self.counts.quarantined += 1

    def wrote(self, plan: RecordPlan) -> None:
        """Count a record as written: with text, or its metadata alone."""
        if plan.writes_text:
            self.counts.upserted += 1
        else:
            self.counts.metadata_only += 1
        self.counts.bytes += sum(len((chunk.text or "").encode()) for chunk in plan.chunks)


@dataclass(frozen=True, kw_only=True)
class PlannedBatch:
    """What a batch's records need; `keys` are all of its records, refused and unchanged ones included."""

    plans: Sequence[RecordPlan]
    tally: Tally
    keys: frozenset[str]


class Planner:
    """Compares what should be with what is stored; writes nothing.

    Args:
        store: the collection; None where there is none, and everything is new.
        chunker: splits texts.
        doubt: trust no fingerprint and no hash of the store: compare documents and metadata themselves
            ("values"), or make every vector anew ("all").
    """

    def __init__(self, store: ChromaStore | None, *, chunker: Chunker, doubt: Doubt | None = None) -> None:
        self._store, self._chunker, self._doubt = store, chunker, doubt
        self.extras: bool | None = None
        """Whether any record has several chunks; the writer sets it when it writes one that has."""

    def plan(self, batch: pa.RecordBatch, *, once: bool = False) -> PlannedBatch:
        """What a whole batch needs; with `once` a Chroma that does not answer is not asked again."""
        tally = Tally()
        plans = tuple(self.plans(batch, tally, once=once))
        return PlannedBatch(plans=plans, tally=tally, keys=frozenset(batch.column(KEY).to_pylist()))

    def plans(self, batch: pa.RecordBatch, tally: Tally, *, once: bool = False) -> Iterator[RecordPlan]:
        """What each record of a batch needs; unchanged and refused ones are counted and left out."""
        incoming = read_batch(batch, tally)
        stored = self._lookup(list(incoming), once=once)
        for key, record in incoming.items():
            plan = self._plan(record, stored.pop(key, None) or Stored())
            if plan is None:
                tally.counts.unchanged += 1
            else:
                yield plan

    def again(self, records: Sequence[Incoming]) -> list[RecordPlan]:
        """What these records need now, after something else has changed them."""
        stored = self._lookup([record.key for record in records])
        plans = (self._plan(record, stored.get(record.key) or Stored()) for record in records)
        return [plan for plan in plans if plan is not None]

    def _lookup(self, keys: Sequence[str], *, once: bool = False) -> dict[str, Stored]:
        if self._store is None or not keys:
            return {}
        store = self._store.once if once else self._store
        if self.extras is None:
            self.extras = has_extras(store)
        return lookup(store, keys, extras=self.extras, documents=self._doubt is not None, overwriting=True)

    def _plan(self, record: Incoming, stored: Stored) -> RecordPlan | None:
        if stored.fingerprint == record.fingerprint and not self._doubt:
            return None
        plan = plan_record(record, self._chunker.split(record.text), stored, doubt=self._doubt)
        return None if plan.is_empty else plan


def read_batch(batch: pa.RecordBatch, tally: Tally) -> dict[str, Incoming]:
    """The records of a mapped batch by key; of a key that comes twice the last one wins."""
    moments = batch.column(CHANGED_AT).cast(pa.int64()).to_pylist()
    columns = [batch.column(name).to_pylist() for name in (KEY, FINGERPRINT, "document", "metadata")]
    found: dict[str, Incoming] = {}
    for key, fingerprint, text, metadata, moment in zip(*columns, moments, strict=True):
        found.pop(key, None)
        try:
            check_text(key, what="the key")
            check_text(text or "", what="the text")
            fields = stored_metadata(metadata)
        except (ValueRefused, json.JSONDecodeError) as error:
            tally.reject(key, str(error), "map")
            continue
        found[key] = Incoming(key=key, fingerprint=fingerprint, changed_at=moment, text=text or "", fields=fields)
    return found
