"""Bringing the events of an outbox to a target, a batch at a time, with the target's lock held.

What is written is the row that the entity has now, never the event's payload: the event says which entity, and in
which order (`engine.events`). So what was promised holds by construction: a redelivered, late or reordered event finds
the row as it is and changes nothing; an update after a delete finds no row and brings no record back; a patch leaves
what it does not name; and the record bears the fingerprint of its row, by which a proof compares it.

The order of writing is: target, ledger, outbox. Who dies in between leaves events that are PROCESSING, which the next
one takes again.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from sync_pipelines.engine.batches import prints_of
from sync_pipelines.engine.conflicts import Awaited
from sync_pipelines.engine.errors import ConfigurationError, LockLostError, SyncError
from sync_pipelines.engine.events import (
    Entity,
    EntityNote,
    Event,
    Outbox,
    folded,
    key_of,
    pause_after,
    record_key,
    token,
)
from sync_pipelines.engine.freeing import look_again
from sync_pipelines.engine.keys import NamedKey
from sync_pipelines.engine.model import WAITING, Rejection
from sync_pipelines.engine.sensitive import mask_of

if TYPE_CHECKING:
    from sync_pipelines.engine.run import Run

_log = logging.getLogger(__name__)

GONE = "the table has no such row (any more), so there was nothing to write"
STAYS = "its row is still there, or is there again, and was written as it is"
COVERED = "a sync of the whole table brought its row"
_PAGE, _ROUNDS = 1000, 10
_TOLD = 20


@dataclass
class _Batch:
    """What is known of one batch: the entities of each record, why records are refused, what became of the others.

    Args:
        groups: key → the entities that name it. strange: those that name no record, with why.
        refused: key → why; prints: fingerprints of the rows that were read.
        gone: records that the source has no more.
    """

    groups: dict[str, list[Entity]] = field(default_factory=lambda: defaultdict(list))
    strange: list[tuple[Entity, Rejection]] = field(default_factory=list)
    refused: dict[str, Rejection] = field(default_factory=dict)
    prints: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def arrived(self) -> list[tuple[str, Entity]]:
        return [(key, item) for key, group in self.groups.items() if key not in self.refused for item in group]

    def stopped(self) -> list[tuple[Entity, Rejection]]:
        """What did not arrive."""
        some = [(item, why) for key, why in self.refused.items() for item in self.groups.get(key, ())]
        return some + self.strange


@dataclass(kw_only=True)
class Drain:
    """Brings events within a run, whose lock is held at each call.

    Args:
        brought: events that were taken so far. deleted: records that went for their sake.
        correlations: what the last of them belonged to.
    """

    run: Run
    outbox: Outbox
    brought: int = 0
    deleted: int = 0
    correlations: deque[str] = field(default_factory=lambda: deque(maxlen=_TOLD))

    def begin(self) -> None:
        """Before the first batch: ask the guard of what waits to be deleted, and free what may go on.

        Raises:
            MassDeleteError: more would go than the guard allows; nothing was taken.
        """
        limits = self.run.limits
        waiting = self.outbox.deletions(most=limits.records + 1)
        if waiting > limits.records:
            self.run.guard(deletes=self.outbox.deletions(most=None), source_empty=False, written=False)
        look_again(self.run.binding, self.outbox)

    def all(self) -> int:
        """Bring what is due, and what may go on then; how many events that was.

        What is published meanwhile is not followed for ever: an application may be as fast as its consumer.
        """
        for _ in range(_ROUNDS):
            due = self.brought + self.outbox.backlog(most=None).due
            while self.brought < due and self.batch():
                pass
            if self.brought == due and not self.outbox.backlog(most=1).due:
                break
        return self.brought

    def batch(self) -> int:
        """Bring up to a batch of events; how many.

        Raises:
            TransientError: source, target or ledger does not answer; no event has used an attempt.
        """
        events = self.outbox.take(self.run.binding.batch_size)
        if not events:
            return 0
        try:
            self._bring(folded(events))
        except LockLostError:
            raise  # somebody else may have taken them by now
        except SyncError:
            with suppress(SyncError):
                self.outbox.put_back([event.number for event in events])
            raise
        self._tell(events)
        return len(events)

    def _tell(self, events: Sequence[Event]) -> None:
        self.brought += len(events)
        told = list(dict.fromkeys(event.correlation_id for event in events))
        self.correlations.extend(told)
        more = f" and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
        path = self.run.binding.spec.path
        _log.info("%s: %d events taken (correlation %s%s)", path, len(events), ", ".join(told[:_TOLD]), more)

    def _bring(self, entities: Sequence[Entity]) -> None:
        run, batch = self.run, _Batch()
        run.lock.check()
        self._assign(entities, batch)
        self._write(batch, list(batch.groups))
        run.settle([key for key in batch.groups if key not in batch.refused])
        self._put_aside(batch)
        self._note(batch)
        self._account(batch)
        run.binding.ledger.progress(run.record, run.counts)

    # Which records

    def _assign(self, entities: Iterable[Entity], batch: _Batch) -> None:
        for entity in entities:
            try:
                batch.groups[record_key(entity.entity_id, entity.ends, self.run.binding.spec)].append(entity)
            except ValueError as error:
                batch.strange.append((entity, _no_key(entity, str(error))))

    def _write(self, batch: _Batch, keys: Sequence[str]) -> None:
        """Write the rows that these keys have, and delete the records of those that have none."""
        if not keys:
            return
        rows, lost = self.outbox.rows(keys)
        self._upsert(rows, batch)
        if lost:
            self._delete(lost, batch)

    def _upsert(self, rows: Iterable[pa.RecordBatch], batch: _Batch) -> None:
        run, target = self.run, self.run.binding.target
        versions = {key: group[-1].last.version for key, group in batch.groups.items()}
        for read in rows:
            run.veil.cover(read)
            mapped, refused = run.binding.mapper(read)
            run.counts.read += read.num_rows
            run.counts.bytes_read += read.nbytes
            batch.prints.update(prints_of(read))
            batch.refused.update({item.key: item for item in refused})
            if not mapped.num_rows:
                continue
            with run.veil.errors():
                for result in target.upsert([mapped], before_write=run.mark):
                    run.counts += replace(result.counts, quarantined=0)
                    batch.refused.update({item.key: item for item in result.rejected})
                    run.note_judged(result, batch.prints, versions=versions)

    def _delete(self, keys: Sequence[str], batch: _Batch) -> None:
        """Under these names there is no row: perhaps under the table's own spelling, else the record goes."""
        again: list[str] = []
        gone: list[str] = []
        for key, found in self._spelled(keys, batch).items():
            if found.key != key:
                batch.groups[found.key] += batch.groups.pop(key)
            (again if found.found and found.key != key else gone).append(found.key)
        batch.gone.update(gone)
        if gone:
            self._remove(gone)
        self._write(batch, again)

    def _spelled(self, keys: Sequence[str], batch: _Batch) -> dict[str, NamedKey]:
        """These keys as the table spells them, and whether it has the row; those that are none are set apart."""
        source = self.run.binding.source
        with suppress(ConfigurationError):
            return dict(source.named(keys))
        found: dict[str, NamedKey] = {}
        for key in keys:
            try:
                found |= source.named([key])
            except ConfigurationError as error:
                batch.strange += [(item, _no_key(item, error.message)) for item in batch.groups.pop(key)]
        return found

    def _remove(self, keys: Sequence[str]) -> None:
        run, target = self.run, self.run.binding.target
        there = target.existing(keys)
        self.deleted += len(there)
        if self.deleted > run.limits.records:
            run.guard(deletes=self.deleted, source_empty=False)
        if there:
            run.delete(target, there)

    # What became of them

    def _put_aside(self, batch: _Batch) -> None:
        """Quarantine for what is given up, and for what waits for another record."""
        run = self.run
        run.refusals.due += len(batch.groups)
        given_up = [
            replace(why, reason=f"{why.reason} ({entity.first})")
            for entity, why in batch.stopped()
            if why.stage != WAITING and self._is_over(entity)
        ]
        waiting = [why for _, why in batch.stopped() if why.stage == WAITING]
        if given_up or waiting:
            run.quarantine(run.veil.rejections([*given_up, *waiting]), batch.prints)

    def _is_over(self, entity: Entity) -> bool:
        return entity.first.attempts + 1 >= self.run.binding.retry_max

    def _note(self, batch: _Batch) -> None:
        notes = [
            EntityNote(
                entity_id=entity.entity_id,
                source_version=entity.last.version,
                # what stays in the target as somebody edited it has not arrived there
                target_version=None if key in self.run.kept else entity.last.version,
                tombstone=key in batch.gone and key not in self.run.kept,
            )
            for key, entity in batch.arrived()
        ]
        notes += [
            EntityNote(entity_id=entity.entity_id, source_version=entity.last.version, pending=True)
            for entity, _ in batch.stopped()
        ]
        self.run.binding.ledger.note_entities(*self.run.place, self.outbox.entity_type, notes)

    def _account(self, batch: _Batch) -> None:
        """Tell the outbox, last of all."""
        for entity, why in batch.stopped():
            if why.stage == WAITING and why.parent is not None:
                self.outbox.block(dict.fromkeys(entity.numbers, (token(why.parent), self._shown(why))))
            else:
                self._refuse(entity, why)
        done: dict[str | None, list[int]] = defaultdict(list)
        for key, entity in batch.arrived():
            done[_remark(entity, gone=key in batch.gone)] += entity.numbers
        target = self.run.binding.target
        came = [key for key in batch.groups if key not in batch.refused and key not in batch.gone]
        tokens = [token(parent) for parent in target.as_parents(came)] if isinstance(target, Awaited) else []
        for note, numbers in done.items():
            self.outbox.complete(numbers, note=note, tokens=tokens)

    def _refuse(self, entity: Entity, why: Rejection) -> None:
        """The lowest event bears the refusal; those above it stand behind it."""
        later = None if self._is_over(entity) else pause_after(entity.first.attempts + 1)
        self.outbox.refuse(entity.first.number, error=self._shown(why), retry_in=later)
        self.outbox.put_back(entity.numbers[1:])
        shown = mask_of(self.run.binding.spec).key(entity.entity_id)
        _log.warning("%s: %s (%s) was refused: %s", self.run.binding.spec.path, shown, entity.first, self._shown(why))

    def _shown(self, why: Rejection) -> str:
        return self.run.veil.rejections([why])[0].reason

    # What a full sync has brought

    def covered(self, snapshot: str) -> None:
        """Complete the events that were there when a run read the whole table: what they tell of is in its rows.

        Not those of records that stay out.
        """
        last: Event | None = None
        while events := self.outbox.seen(snapshot, after=last, most=_PAGE):
            self.run.lock.check()
            last = events[-1]
            keys = {event.number: self._key_of(event) for event in events}
            out = self.run.binding.ledger.quarantined_among(*self.run.place, list(keys.values()))
            done = [event for event in events if keys[event.number] not in out]
            notes = [
                EntityNote(
                    entity_id=item.entity_id,
                    source_version=item.last.version,
                    target_version=item.last.version,
                    tombstone=item.last.deletes,
                )
                for item in folded(done)
            ]
            self.run.binding.ledger.note_entities(*self.run.place, self.outbox.entity_type, notes)
            self.outbox.complete([event.number for event in done], note=COVERED)

    def _key_of(self, event: Event) -> str:
        return key_of(event, self.run.binding.spec)


def _no_key(entity: Entity, why: str) -> Rejection:
    return Rejection(key=entity.entity_id, reason=f"its entity_id is no key of this table: {why}", stage="read")


def _remark(entity: Entity, *, gone: bool) -> str | None:
    """What an operator may wonder about an event that was brought."""
    if gone:
        return None if entity.last.deletes else GONE
    return STAYS if entity.last.deletes else None
