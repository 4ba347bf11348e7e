"""The consumer of a table whose triggers (or cursor) tell what changed: nobody notifies, so it looks by itself.

Each look that finds something is a run of the engine as the sensor would ask for, without the orchestrator's start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sync_pipelines.engine.consuming import BOUT_SECONDS, Bout, TableConsumer
from sync_pipelines.engine.draining import Drain
from sync_pipelines.engine.model import Counts
from sync_pipelines.engine.run import Run
from sync_pipelines.engine.waiting import can_arrive

_LASTING_SECONDS = 3600.0
"""So seldom a table is read that each run reads whole, for a reason that no run ends (a partition without triggers)."""


@dataclass(kw_only=True)
class LogConsumer(TableConsumer):
    """Brings what a table's log holds, a run a look; its runs of a minute are reported together."""

    _every: float = 0.0
    _due_at: float = float("-inf")
    _read_whole: float = float("-inf")
    _told_at: float = float("-inf")
    _kept: Bout | None = None

    @property
    def impends(self) -> bool:
        return False

    @property
    def due_in(self) -> float:
        return max(self._due_at, self.paused_until) - self.clock()

    def look(self, *, every: float) -> None:
        """Remember how often to look (seconds), and tell what a minute's runs have brought."""
        self._every = every
        self._tell_kept()

    def step(self) -> int:
        taken = super().step()
        if self.busy:
            self._due_at = float("-inf")
        return taken

    def end(self) -> None:
        super().end()
        self._tell_kept(now=True)

    def _is_due(self) -> bool:
        if self.clock() < self._due_at:
            return False
        self._due_at = self.clock() + self._every
        since = self.binding.ledger.watermark(*self.binding.place)
        pending = self.binding.source.pending(since)
        if pending.lasting:
            return self.clock() - self._read_whole >= _LASTING_SECONDS
        return bool(pending) or self._went_back(since) or can_arrive(self.binding)

    def _oldest(self) -> datetime | None:
        return None  # a run brings all that is pending when it begins

    def _events(self, run: Run, drain: Drain | None) -> int:
        del drain
        return run.counts.upserted + run.counts.deleted

    def _tell(self, bout: Bout) -> None:
        if bout.reason:
            self._read_whole = self.clock()
        self._kept = bout if self._kept is None else _together(self._kept, bout)
        self._tell_kept()

    def _tell_kept(self, *, now: bool = False) -> None:
        if self._kept is None or not (now or self.clock() - self._told_at >= BOUT_SECONDS):
            return
        kept, self._kept, self._told_at = self._kept, None, self.clock()
        self.report(kept)


def _together(earlier: Bout, later: Bout) -> Bout:
    """What both runs did; the rest is that of the later one."""
    counts = Counts()
    counts += earlier.counts
    counts += later.counts
    return replace(
        later,
        counts=counts,
        events=earlier.events + later.events,
        seconds=earlier.seconds + later.seconds,
        reason=later.reason or earlier.reason,
    )
