"""How much a run refuses: a broken mapping or function is no bad record (DESIGN.md §2.4, §2.5)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sync_pipelines.engine.errors import MassRefusalError
from sync_pipelines.engine.guard import Guard
from sync_pipelines.engine.model import Rejection
from sync_pipelines.engine.sensitive import mask_of
from sync_pipelines.engine.spec import TableSpec

FEW = 3
"""So many of a whole table may be refused whatever its size: one cannot tell bad records from a broken mapping."""


@dataclass(kw_only=True)
class Refusals:
    """What one run has refused so far.

    Records that are in quarantine already are read again by each full run, and refused again: they say nothing
    of this run's mapping, so they count neither as refused nor among those that could have been.

    Args:
        guard: its share and number are the limit here, too, and its leave lifts it.
        due: records that the run is to write, in all.
        whole: whether these are the whole table. A run over what is pending may bring a few bad records and
            nothing else, which must not hold up its deletes and what comes after.
        new: records that it was the first to refuse; known: those that it refused again.
        first: the first of the new ones.
    """

    guard: Guard
    due: int = 0
    whole: bool = False
    new: int = 0
    known: int = 0
    first: Rejection | None = None

    def add(self, rejected: Sequence[Rejection], *, new: Collection[str]) -> None:
        """Count refused records; `new` are the keys of those that were not in quarantine before."""
        keys = {rejection.key for rejection in rejected}
        self.new += len(keys.intersection(new))
        self.known += len(keys.difference(new))
        if self.first is None:
            self.first = next((rejection for rejection in rejected if rejection.key in new), None)

    @property
    def fresh(self) -> int:
        """Records of which nothing was known."""
        return self.due - self.known

    @property
    def excessive(self) -> bool:
        """Whether it is more than bad records explain: half a table, or more than the guard's share and number."""
        if self.guard.allow or self.new <= FEW:
            return False
        half = self.whole and 2 * self.new >= self.fresh
        return half or (self.new > self.guard.records and self.new > self.guard.share * self.fresh)

    def check(self, spec: TableSpec) -> None:
        """Stop a run of this table that refuses too much.

        Raises:
            MassRefusalError: with the numbers, the first reason, and how to allow it once.
        """
        if not self.excessive or self.first is None:
            return
        first = mask_of(spec).record(self.first)
        raise MassRefusalError(
            f"{self.new} of {self.fresh} records were refused, the first of them ({first.key!r}) because: "
            f"{first.reason.rstrip('.')}. So many are no bad records: a mapping, function or column is broken, or a "
            "limit reached. Nothing was confirmed or deleted, and none of them was put into quarantine.",
            sync=spec.sync,
            table=spec.name,
            remedy="Mend it and run again. If it is the records indeed, let them into quarantine once: "
            f"sync-pipelines sync {spec.path} --allow-mass-delete (in the launchpad: allow_mass_delete: true), which "
            "lets this one run delete as much as it asks for, too.",
        )
