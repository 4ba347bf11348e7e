"""The sensor's decision: from the facts to a request or a reason, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sync_pipelines.engine.model import Pending

FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=1)


def waited(pending: Pending, last_success: datetime | None, *, now: datetime) -> float | None:
    """Seconds since the oldest pending change; 0 where nothing waits, None where it cannot be known.

    What no run could bring yet waits, too: events behind a transaction that somebody has left open (`oldest` alone).

    Where everything is due and the age of the oldest change cannot be known (a purged log, a restored
    database), it is at most the time since the last good sync, which is what is said. A reason that no run ends
    (a partition without triggers) is a warning of its own: the sensor asks for such a run at most hourly, and beyond
    that hour nobody reads the table any more.
    """
    if not pending and pending.oldest is None:
        return 0.0
    since = pending.oldest or last_success
    if since is None:
        return None
    allowed = LONGEST_PAUSE if pending.lasting else timedelta()
    return max((now - since - allowed).total_seconds(), 0.0)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a sensor has read of one table.

    Args:
        not_configured: why the sync is not in use here, or None.
        pending: what waits in the source.
        can_arrive: whether a record that waited for rows of another table to come, or to go, could be written, or
            deleted, now.
        active_runs: ids of runs of this table that are queued or running.
        failures: how many of its runs failed in a row; last_failure: when the last of them ended (UTC).
        last_full: when its last completed run ended (UTC), if it read everything.
        position: when the ledger's watermark was taken; seen: when the newest was that the sensor knows of (UTC).
        now: the time of the tick (UTC).
    """

    pending: Pending
    now: datetime
    not_configured: str | None = None
    can_arrive: bool = False
    active_runs: tuple[str, ...] = ()
    failures: int = 0
    last_failure: datetime | None = None
    last_full: datetime | None = None
    position: datetime | None = None
    seen: datetime | None = None

    @property
    def went_back(self) -> bool:
        """Whether the ledger is older than it was: a database that was restored, which fits its own ledger again.

        The run asks the target; to ask it at each tick would cost a request every 20 seconds, and fail with it.
        """
        return self.position is not None and self.seen is not None and self.position < self.seen


@dataclass(frozen=True)
class Request:
    """Ask for a run, because of this."""

    reason: str


@dataclass(frozen=True)
class Skip:
    """Ask for none, because of this."""

    reason: str


def pause_after(failures: int) -> timedelta:
    """How long to wait after so many failures in a row: 30 s, doubled each time, an hour at most."""
    return min(FIRST_PAUSE * 2 ** min(max(failures - 1, 0), 16), LONGEST_PAUSE)


def decide(facts: Facts) -> Request | Skip:
    """Ask for one run when something waits, none is under way, and the pause after a failure is over."""
    if facts.not_configured:
        return Skip(facts.not_configured)
    if facts.active_runs:
        return Skip(f"run {facts.active_runs[0]} is queued or running")
    if not facts.pending and not facts.went_back and not facts.can_arrive:
        return Skip("nothing pending")
    if facts.failures and facts.last_failure is not None:
        due = facts.last_failure + pause_after(facts.failures)
        if facts.now < due:
            return Skip(f"{facts.failures} failures in a row: next try at {due:%Y-%m-%d %H:%M:%S} UTC")
    if facts.pending.lasting and facts.last_full is not None and facts.now < facts.last_full + LONGEST_PAUSE:
        due = f"{facts.last_full + LONGEST_PAUSE:%Y-%m-%d %H:%M:%S} UTC"
        return Skip(f"{facts.pending.full_reason}, which no run ends (see `sync-pipelines status`): next try at {due}")
    if not facts.pending and facts.went_back:
        return Request("the ledger is older than it was (a restored database?)")
    if not facts.pending:
        return Request("what a record waited for has come, or what held it is gone")
    return Request(facts.pending.full_reason or f"{facts.pending.changes} changes pending")
