"""Bringing the events of an outbox to a target, with the target's lock held.

What is written is the row that the entity has now, never the event's payload: the event says which entity, and in
which order (`engine.events`). So what was promised holds by construction: a redelivered, late or reordered event finds
the row as it is and changes nothing; an update after a delete finds no row and brings no record back; a patch leaves
what it does not name; and the record bears the fingerprint of its row, by which a proof compares it.

The order of writing is: target, ledger, outbox. Who dies in between leaves events that are PROCESSING, which the next
one takes again.

Where many events wait, three things are done at once: while some are written to the target, those before them are
noted and completed, and those after them are taken and read, each in a thread beside. They are of other entities: an
event stays where it is while one of its entity is under way.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from sync_pipelines.engine.aside import Aside
from sync_pipelines.engine.errors import LockLostError, SyncError
from sync_pipelines.engine.events import EntityNote, Event, Outbox, folded, key_of
from sync_pipelines.engine.fleeting import Fleeting
from sync_pipelines.engine.freeing import look_again
from sync_pipelines.engine.intake import Intake, Reader, no_key
from sync_pipelines.engine.keys import NamedKey
from sync_pipelines.engine.naming import named_among, spelled_among
from sync_pipelines.engine.outcome import Outcome, brought, remark

if TYPE_CHECKING:
    from sync_pipelines.engine.run import Run

_log = logging.getLogger(__name__)

COVERED = "a sync of the whole table has seen what became of it"
_PAGE, _ROUNDS = 1000, 10
_TOLD = 20


@dataclass(kw_only=True)
class Drain:
    """Brings events within a run, whose lock is held at each call.

    Args:
        brought: events that were taken so far, each as often as it was. ended: those that were completed or given up,
            each once. deleted: records that were there before and went for their sake.
        correlations: what the last of them belonged to.
    """

    run: Run
    outbox: Outbox
    brought: int = 0
    ended: int = 0
    deleted: int = 0
    correlations: deque[str] = field(default_factory=lambda: deque(maxlen=_TOLD))
    _under_way: list[Intake] = field(default_factory=list)

    @cached_property
    def _reader(self) -> Reader:
        return Reader(run=self.run, outbox=self.outbox)

    @cached_property
    def _fleeting(self) -> Fleeting:
        return Fleeting(target=self.run.binding.target)

    @cached_property
    def _outcome(self) -> Outcome:
        return Outcome(run=self.run, outbox=self.outbox)

    def begin(self) -> None:
        """Before the first batch: ask the guard of what waits to be deleted, and free what may go on.

        Raises:
            MassDeleteError: more would go than the guard allows; nothing was taken.
        """
        limits = self.run.limits
        waiting = [] if limits.allow else self.outbox.deletions(after=None, most=limits.records + 1)
        if len(waiting) > limits.records:
            self.run.guard(deletes=self._doomed(), source_empty=False, written=False)
        look_again(self.run.binding, self.outbox)

    def _doomed(self) -> int:
        """Records that the deletions that wait would take: many may tell of what was made and deleted meanwhile, and
        has never come into the target, or of what is there again."""
        number, last = 0, None
        while events := self.outbox.deletions(after=last, most=_PAGE):
            last = events[-1].entity_id
            named, _ = self._named(list(dict.fromkeys(map(self._key_of, events))))
            gone = dict.fromkeys(found.key for found in named.values() if not found.found)
            number += len(self.run.binding.target.existing(list(gone)))
        return number

    def all(self) -> int:
        """Bring what is due, and what may go on then; how many events that was.

        What is published meanwhile is not followed for ever: an application may be as fast as its consumer.
        """
        for _ in range(_ROUNDS):
            due = self.brought + self.outbox.backlog(most=None).due
            while self.brought < due and self.bring(until=lambda due=due: self.brought >= due):
                pass
            if self.brought == due and not self.outbox.backlog(most=1).due:
                break
        return self.brought

    def bring(self, *, until: Callable[[], bool] = lambda: False) -> int:
        """Bring events until none is due, or `until` says so; how many. Nothing is under way when it returns.

        Raises:
            TransientError: source, target or ledger does not answer; no event has used an attempt.
        """
        before = self.brought
        try:
            with Aside("events-ahead") as ahead, Aside("events-behind") as behind:
                self._flow(ahead, behind, until)
        except LockLostError:
            raise  # somebody else may have taken them by now
        except SyncError:
            with suppress(SyncError):
                self._put_back()
            raise
        finally:
            self._under_way.clear()
        return self.brought - before

    def _flow(self, ahead: Aside, behind: Aside, until: Callable[[], bool]) -> None:
        finishing: deque[Future[None]] = deque()
        most = self.run.binding.batch_size
        intake = self._take(most)
        while intake is not None:
            full = len(intake.events) >= most
            most = self._next(most, intake)
            following = ahead.start(self._take, most) if full and not until() else None
            self._bring(intake)
            finishing.append(behind.start(self._finish, intake))
            intake = self._after(intake, following, finishing)
            if intake is None and not until():
                # of what was under way the later events are due now
                intake = self._take(most)

    def _next(self, most: int, intake: Intake) -> int:
        """How many events are taken next: few at first, and few of large rows."""
        if intake.left:
            return self.run.binding.batch_size
        return min(4 * most, self._reader.most)

    def _after(
        self, intake: Intake, following: Future[Intake | None] | None, finishing: deque[Future[None]]
    ) -> Intake | None:
        """What was taken meanwhile, once what may have failed before it is known."""
        found = None if following is None else following.result()
        while finishing and (found is None or finishing[0].done()):
            finishing.popleft().result()
        if found is not None and not found.groups.keys().isdisjoint(intake.groups):
            # another entity's events name the same record, which was looked at before it was written
            found.read_anew()
        return found

    def _take(self, most: int) -> Intake | None:
        return self._reader.take(most, beside=list(self._under_way), noted=self._under_way.append)

    def _finish(self, intake: Intake) -> None:
        self.ended += self._outcome.finish(intake)
        self._under_way.remove(intake)
        self.run.binding.ledger.progress(self.run.record, self.run.counts)

    def _put_back(self) -> None:
        for intake in list(self._under_way):
            self.outbox.put_back([event.number for event in intake.events])

    def _tell(self, events: Sequence[Event]) -> None:
        self.brought += len(events)
        told = list(dict.fromkeys(event.correlation_id for event in events))
        self.correlations.extend(told)
        more = f" and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
        path = self.run.binding.spec.path
        _log.info("%s: %d events taken (correlation %s%s)", path, len(events), ", ".join(told[:_TOLD]), more)

    # Writing

    def _bring(self, intake: Intake) -> None:
        self.run.lock.check()
        self._fleeting.before(intake)
        self._write(intake)
        self._outcome.put_aside(intake)
        self._tell(intake.events)

    def _write(self, intake: Intake) -> None:
        """Write the rows that were read, read what is left, and delete the records of keys that have no row."""
        self._upsert(intake)
        while intake.left:
            self._reader.read(intake.left, intake)
            self._upsert(intake)
        if intake.lost:
            lost, intake.lost = intake.lost, []
            self._delete(lost, intake)

    def _upsert(self, intake: Intake) -> None:
        run, staged = self.run, intake.staged
        run.counts.read += intake.rows
        run.counts.bytes_read += intake.size
        if staged is None:
            return
        versions = {key: group[-1].last.version for key, group in intake.groups.items() if group}
        with run.veil.errors():
            for result in staged.write():
                run.counts += replace(result.counts, quarantined=0)
                intake.refused.update({item.key: item for item in result.rejected})
                run.note_judged(result, intake.prints, versions=versions)
                run.lock.look()

    def _delete(self, keys: Sequence[str], intake: Intake) -> None:
        """Under these names there is no row: perhaps under the table's own spelling, else the record goes."""
        again: list[str] = []
        gone: list[str] = []
        for key, found in self._spelled(keys, intake).items():
            if found.key != key:
                intake.groups[found.key] += intake.groups.pop(key)
            (again if found.found and found.key != key else gone).append(found.key)
        intake.gone.update(gone)
        size = self.run.binding.batch_size
        for start in range(0, len(gone), size):
            self._remove(gone[start : start + size])
        if again:
            self._reader.read(again, intake)
            self._write(intake)

    def _spelled(self, keys: Sequence[str], intake: Intake) -> dict[str, NamedKey]:
        """These keys as the table spells them, and whether it has the row; those that are none are set apart."""
        found, none = self._named(keys)
        for key, why in none.items():
            intake.strange += [(item, no_key(item, why)) for item in intake.groups.pop(key)]
        return found

    def _named(self, keys: Sequence[str]) -> tuple[dict[str, NamedKey], dict[str, str]]:
        """These keys as the table spells them; and why others of them are none."""
        return named_among(self.run.binding.source.named, keys)

    def _remove(self, keys: Sequence[str]) -> None:
        """Delete records; the guard is asked before more have gone than it lets go without a question."""
        run, target = self.run, self.run.binding.target
        lost = self._fleeting.others(keys)
        if self.deleted + len(lost) > run.limits.records:
            lost = target.existing(lost)
            run.guard(deletes=self.deleted + len(lost), gone=self.deleted, source_empty=False)
        before = run.counts.deleted
        run.delete(target, keys)
        self.deleted += min(run.counts.deleted - before, len(lost))

    # What a full sync has brought

    def covered(self, snapshot: str) -> None:
        """Complete the events that were there when a run read the whole table: what they tell of is in its rows.

        Not those of records that stay out.
        """
        last: Event | None = None
        while events := self.outbox.seen(snapshot, after=last, most=_PAGE):
            self.run.lock.check()
            last = events[-1]
            told = {event.number: self._key_of(event) for event in events}
            spelled = spelled_among(self.run.binding.source.named, list(told.values()))
            keys = {number: spelled[key] for number, key in told.items()}
            out = self.run.binding.ledger.quarantined_among(*self.run.place, list(keys.values()))
            done = [event for event in events if keys[event.number] not in out]
            self._cover(done, keys)

    def _cover(self, events: Sequence[Event], keys: Mapping[int, str]) -> None:
        """Note and complete events; `keys` are those of their records, by the event's number."""
        named, _ = self._named(list(dict.fromkeys(keys[event.number] for event in events)))
        notes: list[EntityNote] = []
        done: dict[str, list[int]] = defaultdict(list)
        for entity in folded(events):
            key = keys[entity.last.number]
            found = named.get(key)
            gone, kept = found is None or not found.found, found is not None and found.key in self.run.kept
            notes.append(brought(entity, found.key if found else key, gone=gone, kept=kept))
            done[remark(entity, gone=gone) or COVERED] += entity.numbers
        self.run.binding.ledger.note_entities(*self.run.place, self.outbox.entity_type, notes)
        for note, numbers in done.items():
            self.outbox.complete(numbers, note=note)

    def _key_of(self, event: Event) -> str:
        return key_of(event, self.run.binding.spec)
