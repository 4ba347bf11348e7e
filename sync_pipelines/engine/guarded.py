"""What a run asks before it deletes: how much that would be, of what the target held before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

from sync_pipelines.engine.guard import Guard
from sync_pipelines.engine.held import Held
from sync_pipelines.engine.measure import forget, held_before, note
from sync_pipelines.engine.model import RETRIED, UNFETCHED, Rejection, Watermark
from sync_pipelines.engine.refusals import Refusals

_COMMANDS = {
    "full": "sync {path} --full",
    "rebuild": "sync {path} --rebuild",
    "records": "sync {path} --key KEY",
    "repair": "repair {path}",
}
"""Mode → what starts such a run in a terminal; `sync {path}` for the others."""


@runtime_checkable
class Marking(Protocol):
    """A target that marks what the source says to have no more, and deletes nothing."""

    def guard_marks(self, check: Callable[[int, int], object]) -> None:
        """Before each batch that marks any, call this with how many records that were there are marked by then, and
        how many were found; what it raises keeps the batch from being written."""
        ...


@dataclass(kw_only=True)
class Guarded(Held):
    """The holdings of a run that may delete.

    Args:
        before: records that a deletion is measured by. since: the watermark that the run began with.
        measured: `before` has to stand in the ledger from the first write until the guard was asked.
    """

    before: int = 0
    since: Watermark | None = None
    measured: bool = False

    @cached_property
    def limits(self) -> Guard:
        """The table's guard, lifted where this run's config says so."""
        return replace(self.binding.guard, allow=self.request.allow_mass_delete)

    @cached_property
    def refusals(self) -> Refusals:
        """What it has refused so far; whoever has it write says how many records are `due`."""
        return Refusals(guard=self.limits)

    def quarantine(self, rejected: Sequence[Rejection], fingerprints: Mapping[str, str]) -> None:
        """Put records into quarantine, count those that are not dropped, and stop where they are too many.

        Args:
            fingerprints: of the source's rows, among them those of the records, where it has them.
        """
        if not rejected:
            return
        ledger = self.binding.ledger
        known = {item.key: fingerprints[item.key] for item in rejected if item.key in fingerprints}
        ledger.quarantine(self.record, rejected, fingerprints=known)
        keys = [item.key for item in rejected]
        dropped = ledger.excluded_among(*self.place, keys)
        self.counts.quarantined += sum(key not in dropped for key in keys)
        self._stop_if_too_many(rejected)
        # it was not kept on purpose this time, and counts once
        ledger.settle_conflicts(*self.place, keys, as_="refused")

    def _stop_if_too_many(self, rejected: Sequence[Rejection]) -> None:
        ledger = self.binding.ledger
        # one that waits for another, is not let go for its sake, or was not given, says nothing of the mapping
        rejected = [item for item in rejected if item.stage not in (*RETRIED, UNFETCHED)]
        self.refusals.add(rejected, new=ledger.new_among(self.record, [item.key for item in rejected]))
        if self.refusals.excessive:
            self.counts.quarantined = max(self.counts.quarantined - ledger.withdraw(self.record), 0)
            self.refusals.check(self.binding.spec)

    def measure_before(self, deletes: int) -> None:
        """Before anything is written: what a deletion of at most so many is measured by, at each attempt."""
        if deletes > self.limits.records:
            self.before = held_before(self.binding, self.before, self.since)
            self.measured = True

    def note_before(self) -> None:
        """Leave that number in the ledger, just before the first write: a run that writes nothing thins no share."""
        if self.measured:
            note(self.binding, self.before, self.since)

    def guard(
        self, *, deletes: int, source_empty: bool, left: int | None = None, written: bool = True, gone: int = 0
    ) -> None:
        """Stop before a deletion that the guard refuses; see `Guard.check`. Where nothing goes it is not asked."""
        sync, table = self.place
        if deletes:
            self.limits.check(
                deletes=deletes,
                held=self.before,
                source_empty=source_empty,
                left=left,
                written=written,
                gone=gone,
                now=self.binding.target.count(),
                confirmed=self.since.records if self.since else None,
                command=_COMMANDS.get(self.request.mode, "sync {path}").format(path=f"{sync}/{table}"),
                sync=sync,
                table=table,
            )
        if self.measured:
            forget(self.binding)
            self.measured = False

    def guard_marks(self) -> None:
        """Let nothing that looks like a wrong address mark the records of a target as gone."""
        if isinstance(self.binding.target, Marking):
            self.binding.target.guard_marks(self._check_marks)

    def _check_marks(self, gone: int, found: int) -> None:
        sync, table = self.place
        command = _COMMANDS.get(self.request.mode, "sync {path}").format(path=f"{sync}/{table}")
        self.limits.check_marks(gone=gone, found=found, held=self.before, command=command, sync=sync, table=table)

    def guard_first(self, deletes: Callable[[], int], *, source_empty: bool) -> None:
        """Ask the guard before anything is written, where no confirmed run says what the target held.

        What this run writes could else not be told from what was there, when it is tried again.
        """
        if self.before and (self.since is None or self.since.records is None):
            self.guard(deletes=deletes(), source_empty=source_empty, written=False)
