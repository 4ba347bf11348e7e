"""What became of events that were brought: told to the quarantine, to the ledger, and to the outbox last of all."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sync_pipelines.engine.conflicts import Awaited
from sync_pipelines.engine.events import Entity, EntityNote, Outbox, pause_after, together, token
from sync_pipelines.engine.intake import Intake
from sync_pipelines.engine.model import WAITING, Rejection
from sync_pipelines.engine.sensitive import mask_of

if TYPE_CHECKING:
    from sync_pipelines.engine.run import Run

_log = logging.getLogger(__name__)

GONE = "the table has no such row (any more), so there was nothing to write"
STAYS = "its row is still there, or is there again, and was written as it is"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Tells what became of events, within a run."""

    run: Run
    outbox: Outbox

    def put_aside(self, intake: Intake) -> None:
        """Quarantine for what is given up, and for what waits for another record.

        Raises:
            MassRefusalError: too much was refused.
        """
        run = self.run
        run.refusals.due += len(intake.groups)
        given_up = [
            replace(why, reason=f"{why.reason} ({entity.first})")
            for entity, why in intake.stopped()
            if why.stage != WAITING and self._is_over(entity)
        ]
        waiting = [why for _, why in intake.stopped() if why.stage == WAITING]
        if given_up or waiting:
            run.quarantine(run.veil.rejections([*given_up, *waiting]), intake.prints)

    def _is_over(self, entity: Entity) -> bool:
        return entity.first.attempts + 1 >= self.run.binding.retry_max

    def finish(self, intake: Intake) -> int:
        """All that is noted: in the ledger first, in the outbox last; how many events that ends."""
        self.run.settle([key for key in intake.groups if key not in intake.refused])
        self._note(intake)
        self._account(intake)
        given_up = sum(why.stage != WAITING and self._is_over(entity) for entity, why in intake.stopped())
        return given_up + sum(len(entity.events) for _, entity in intake.arrived())

    def _note(self, intake: Intake) -> None:
        kept = self.run.kept
        notes = [brought(entity, key, gone=key in intake.gone, kept=key in kept) for key, entity in intake.arrived()]
        notes += [
            EntityNote(entity_id=entity.entity_id, record_key=why.key, source_version=entity.last.version, pending=True)
            for entity, why in intake.stopped()
        ]
        self.run.binding.ledger.note_entities(*self.run.place, self.outbox.entity_type, together(notes))

    def _account(self, intake: Intake) -> None:
        for entity, why in intake.stopped():
            if why.stage == WAITING and why.parent is not None:
                self.outbox.block(dict.fromkeys(entity.numbers, (token(why.parent), self._shown(why))))
            else:
                self._refuse(entity, why)
        done: dict[str | None, list[int]] = defaultdict(list)
        for key, entity in intake.arrived():
            done[remark(entity, gone=key in intake.gone)] += entity.numbers
        target = self.run.binding.target
        # what waits for a record that went is looked at again, too: it may have come and gone at once, and what waited
        # for it may be gone with it
        known = [key for key in intake.groups if key not in intake.refused]
        tokens = [token(parent) for parent in target.as_parents(known)] if isinstance(target, Awaited) else []
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


def brought(entity: Entity, key: str, *, gone: bool, kept: bool) -> EntityNote:
    """What the ledger is told of an entity whose events have arrived.

    Args:
        key: of its record. gone: the source has no row of it. kept: it stays in the target as somebody edited it, so
            nothing arrived there.
    """
    return EntityNote(
        entity_id=entity.entity_id,
        record_key=key,
        source_version=entity.last.version,
        target_version=None if kept else entity.last.version,
        tombstone=gone and not kept,
    )


def remark(entity: Entity, *, gone: bool) -> str | None:
    """What an operator may wonder about an event that was brought."""
    if gone:
        return None if entity.last.deletes else GONE
    return STAYS if entity.last.deletes else None
