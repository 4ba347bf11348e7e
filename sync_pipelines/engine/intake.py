"""Events on their way into a target: which records they name, the rows that those have now, and what is made of them.

Nothing here writes to the target, so the next events are made ready while it is written to (`engine.draining`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from sync_pipelines.engine.batches import prints_of
from sync_pipelines.engine.events import Entity, Event, Outbox, by_record, folded, left_by
from sync_pipelines.engine.model import Rejection
from sync_pipelines.engine.staging import Staged, Staging

if TYPE_CHECKING:
    from sync_pipelines.engine.run import Run

TRANSACTIONS = 20
"""So many transactions' events are taken at a time at most: taking, noting and completing cost the same for all."""

MOST_EVENTS = 1000
"""As many as a statement is given keys."""


@dataclass(kw_only=True)
class Intake:
    """Events that were taken together, and what is known of them.

    Args:
        groups: key → the entities that name it, each with the events that do; none where they named it before, and only
            its row is looked at. strange: those that name no record, with why.
        refused: key → why; prints: fingerprints of the rows that were read.
        shared: keys that events which were under way then name, too.
        lost: keys without a row; gone: records that the source has no more; left: keys that are still to be read.
        staged: what the target has made ready of the rows that were read last; rows, size: how many, in bytes.
    """

    events: Sequence[Event]
    groups: dict[str, list[Entity]] = field(default_factory=lambda: defaultdict(list))
    strange: list[tuple[Entity, Rejection]] = field(default_factory=list)
    refused: dict[str, Rejection] = field(default_factory=dict)
    prints: dict[str, str] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    left: Sequence[str] = ()
    staged: Staged | None = None
    rows: int = 0
    size: int = 0

    def read_anew(self) -> None:
        """Forget what was read."""
        self.left = list(self.groups)
        self.lost, self.refused, self.staged, self.rows, self.size = [], {}, None, 0, 0

    def doubted(self) -> set[str]:
        """The records that somebody may have written since, or not: who took one of their events before, or beside."""
        found = ((key, event) for key, group in self.groups.items() for entity in group for event in entity.events)
        return self.shared.union(key for key, event in found if event.again)

    def arrived(self) -> list[tuple[str, Entity]]:
        return [(key, item) for key, group in self.groups.items() if key not in self.refused for item in group]

    def stopped(self) -> list[tuple[Entity, Rejection]]:
        """What did not arrive."""
        some = [(item, why) for key, why in self.refused.items() for item in self.groups.get(key, ())]
        return some + self.strange


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Takes events, and makes them ready, within a run."""

    run: Run
    outbox: Outbox

    @property
    def most(self) -> int:
        """How many events are taken at a time at most."""
        size = self.run.binding.batch_size
        return max(size, min(TRANSACTIONS * size, MOST_EVENTS))

    def take(self, most: int, *, beside: Sequence[Intake], noted: Callable[[Intake], object]) -> Intake | None:
        """Take events and make ready what can be; None where none are due.

        Args:
            beside: what is under way; its entities' events stay where they are.
            noted: is told what was taken before anything can fail.
        """
        events = self.outbox.take(most, beside=[event.entity_id for item in beside for event in item.events])
        if not events:
            return None
        intake = Intake(events=events)
        noted(intake)
        self._assign(folded(events), intake)
        intake.shared.update(key for item in beside for key in list(item.groups) if key in intake.groups)
        self.read(list(intake.groups), intake)
        return intake

    def _assign(self, entities: Iterable[Entity], intake: Intake) -> None:
        for entity in entities:
            try:
                for key, events in by_record(entity, self.run.binding.spec).items():
                    intake.groups[key].append(events)
                for key in left_by(entity, self.run.binding.spec):
                    intake.groups.setdefault(key, [])
            except ValueError as error:
                intake.strange.append((entity, no_key(entity, str(error))))

    def read(self, keys: Sequence[str], intake: Intake) -> None:
        """Read rows, and let the target look at them; of large ones some keys are `left`."""
        intake.staged, intake.rows, intake.size, intake.left = None, 0, 0, ()
        if not keys:
            return
        found = self.outbox.rows(keys)
        intake.lost += found.lost
        intake.left = found.left
        if found.rows:
            self._stage(pa.concat_batches(found.rows), intake)

    def _stage(self, rows: pa.RecordBatch, intake: Intake) -> None:
        run = self.run
        run.veil.cover(rows)
        mapped, refused = run.binding.mapper(rows)
        intake.rows, intake.size = rows.num_rows, rows.nbytes
        intake.prints.update(prints_of(rows))
        intake.refused.update({item.key: item for item in refused})
        target, size = run.binding.target, run.binding.batch_size
        assert isinstance(target, Staging), "a target that follows events"
        doubted = list(intake.groups) if run.cut_off else intake.doubted()
        if mapped.num_rows:
            with run.veil.errors():
                intake.staged = target.stage(
                    mapped, size=size, doubted=doubted, before_write=run.mark, check=run.lock.check
                )


def no_key(entity: Entity, why: str) -> Rejection:
    """Why an entity names no record."""
    told = why.removeprefix("no key of this table: ")  # as a source begins it
    return Rejection(key=entity.entity_id, reason=f"its entity_id is no key of this table: {told}", stage="read")
