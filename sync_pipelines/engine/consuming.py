"""A long-running consumer of one table's events: the target's lock for a second at a time, books for a minute.

Each minute with work is a run of the engine as every other: it opens its books, looks at what it stands on (a target
that was dropped or restored, a changed mapping and a first run become a full sync), and moves the watermark at its end.
Between those seconds the lock is free, so that repairs, full runs and other consumers have their turn.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sync_pipelines.engine.binding import Binding, Request
from sync_pipelines.engine.dead import DIED
from sync_pipelines.engine.draining import Drain
from sync_pipelines.engine.errors import LockBusyError, SyncError
from sync_pipelines.engine.events import Outbox
from sync_pipelines.engine.freeing import look_again
from sync_pipelines.engine.locks import LONGEST_POLL, TargetLock, run_is_alive
from sync_pipelines.engine.model import ChangeSet, Counts, Scope, Watermark
from sync_pipelines.engine.run import Run, begin
from sync_pipelines.engine.waiting import can_arrive

TRIGGER = "consumer"
"""What the ledger says of who asked for these runs."""

BOUT_SECONDS = 60.0
"""So long one run of a consumer takes at most, and so often at most it is reported."""

TURN_SECONDS = 1.0
"""So long it holds the lock at most, but for what is under way then."""

_ALIVE_SECONDS = 5.0
_BACK_SECONDS = 1.5 * LONGEST_POLL
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_AWAITED = "another writer has the target, or waits for it"


@dataclass(frozen=True, kw_only=True)
class Bout:
    """What one run of a consumer did.

    Args:
        events: that were completed or given up, each once however often it was tried; of a table without an outbox,
            records that were written or deleted. lag: seconds since the oldest event that waits was published, at the
            end; 0 where none does.
        correlations: what its last events belonged to. held: records in the target.
    """

    run_id: str
    counts: Counts
    events: int
    seconds: float
    lag: float
    held: int
    reason: str = ""
    correlations: tuple[str, ...] = ()


@dataclass(kw_only=True)
class TableConsumer:
    """Consumes one table.

    Args:
        binding: the table; its lock is tried, never waited for. report: told of each run that ended.
        clock: for tests.
    """

    binding: Binding
    report: Callable[[Bout], object] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    busy: bool = False
    paused_until: float = 0.0
    _failures: int = 0
    _run: Run | None = None
    _changes: ChangeSet | None = None
    _drain: Drain | None = None
    _began: float = 0.0
    _alive: float = float("-inf")
    _stood_back: float | None = None
    _checked: float = float("-inf")
    _seen: datetime | None = None
    _next_look: float = float("-inf")

    def __post_init__(self) -> None:
        self.binding = replace(self.binding, lock_timeout=0.0)

    @property
    def path(self) -> str:
        """`sync/table`."""
        return self.binding.spec.path

    @property
    def outbox(self) -> Outbox:
        found = self.binding.outbox
        assert found is not None, "the document says events: outbox"
        return found

    @property
    def waits(self) -> bool:
        """Whether it pauses after a failure."""
        return self.clock() < self.paused_until

    def step(self) -> int:
        """Bring what is due, for a second at most; how many events. `busy` says whether another writer has the target.

        Raises:
            SyncError: as a run does; the next steps are put off, longer each time.
        """
        self.busy = False
        try:
            taken = self._step()
        except LockBusyError:
            self.busy = True
            if self._drain is None:  # the run has not begun
                self._forget()
            return 0
        except SyncError as error:
            self._give_up(error)
            raise
        self._failures = 0
        return taken

    @property
    def impends(self) -> bool:
        """Whether there is something that can be brought before long, though not now."""
        return self.outbox.backlog(most=1).oldest is not None

    @property
    def due_in(self) -> float:
        """Seconds until it looks by itself, however often others are woken meanwhile."""
        return float("inf")

    def look(self, *, every: float) -> None:
        """Free what stood still, at most so often (seconds), and no more than a twentieth of the time."""
        began = self.clock()
        if began >= self._next_look:
            look_again(self.binding, self.outbox)
            self._next_look = began + max(every, 20 * (self.clock() - began))

    def end(self) -> None:
        """End the run that is open, if any: what was brought is confirmed.

        Raises:
            LockBusyError: another writer has the target; what was brought stands, and the next run confirms it.
        """
        if self._run is None:
            return
        try:
            self._conclude()
        except SyncError as error:
            self._give_up(error)
            raise

    def _step(self) -> int:
        if self._run is not None and self.clock() - self._began >= BOUT_SECONDS:
            self._conclude()
        if self._run is None:
            return self._open() if self._is_due() else 0
        return self._turn(self._run)

    def _turn(self, run: Run) -> int:
        assert self._drain is not None
        if self.clock() - self._alive >= _ALIVE_SECONDS:
            run.sign_of_life.check()
            self._alive = self.clock()
        if self._stands_back(awaited=run.lock.is_awaited()) or not run.lock.retake():
            raise LockBusyError(_AWAITED)
        try:
            return self._bring(self._drain)
        finally:
            run.lock.give_way()

    def _stands_back(self, *, awaited: bool) -> bool:
        """Whether it leaves the lock to somebody who waits for it: for as long as that one needs to come by.

        Who waits for ever (a process that was stopped) holds it up no longer than that between two turns.
        """
        if not awaited:
            self._stood_back = None
        elif self._stood_back is None:
            self._stood_back = self.clock()
        elif self.clock() - self._stood_back >= _BACK_SECONDS:
            self._stood_back = None
            return False
        return self._stood_back is not None

    def _bring(self, drain: Drain) -> int:
        ends = self.clock() + TURN_SECONDS
        return drain.bring(until=lambda: self.clock() >= ends)

    def _is_due(self) -> bool:
        """Whether there is work; once a minute it is asked whether everything is to be read, and whether a record has
        come that one without an event waits for (a repair may have put it aside)."""
        if self.outbox.backlog(most=1).due:
            return True
        if self.clock() - self._checked < BOUT_SECONDS:
            return False
        self._checked = self.clock()
        since = self.binding.ledger.watermark(*self.binding.place)
        return bool(self.binding.source.pending(since)) or self._went_back(since) or can_arrive(self.binding)

    def _went_back(self, since: Watermark | None) -> bool:
        """Whether the ledger is older than it was: a database that was restored, which fits its own ledger again.

        The sensor would see it, and rests while a consumer runs.
        """
        back = since is not None and self._seen is not None and since.taken_at < self._seen
        if since is not None and not back:
            self._seen = since.taken_at
        return back

    def _open(self) -> int:
        """Begin a run; one that reads everything is all that it does."""
        if self._stands_back(awaited=TargetLock(self.binding.lock_url, self.binding.lock_name).is_awaited()):
            raise LockBusyError(_AWAITED)
        request = Request(mode="incremental", scope=Scope(), trigger=TRIGGER, run_id=str(uuid.uuid4()))
        self._began = self._checked = self.clock()
        begin(self.binding, request, keep=self._keep)
        run = self._run
        assert run is not None
        self._close_dead(run)
        changes = self._changes = run.open_changes()
        run.bring(changes)
        self._drain = run.drain(changes)
        if self._drain is None:
            return self._conclude()
        try:
            return self._bring(self._drain)
        finally:
            run.lock.give_way()

    def _close_dead(self, run: Run) -> None:
        """Close the books of consumers that were killed: no Dagster run is theirs, by which somebody else would."""
        for record in self.binding.ledger.open_runs(*self.binding.place):
            theirs = record.trigger == TRIGGER and record.run_id != run.request.run_id
            if theirs and not run_is_alive(self.binding.lock_url, record.run_id):
                self.binding.ledger.close_dead(record, DIED.error)

    def _keep(self, run: Run) -> None:
        self._run = run

    def _conclude(self) -> int:
        """Confirm, close, and tell; 1, for there may be more to do."""
        run, changes, drain = self._run, self._changes, self._drain
        assert run is not None
        assert changes is not None
        if drain is not None and not run.lock.retake():
            raise LockBusyError("another writer has the target")
        with run:
            changes.touched += drain.brought if drain else 0
            if drain is not None and drain.brought:
                _bring_forward(run, changes)
            run.conclude(changes)
            confirmed = self.binding.ledger.watermark(*self.binding.place)
            self._seen = confirmed.taken_at if confirmed else None
        self._forget()
        self._tell(self._told(run, drain))
        return 1

    def _tell(self, bout: Bout) -> None:
        self.report(bout)

    def _oldest(self) -> datetime | None:
        return self.outbox.backlog(most=1).oldest

    def _events(self, run: Run, drain: Drain | None) -> int:
        del run
        return drain.ended if drain else 0

    def _told(self, run: Run, drain: Drain | None) -> Bout:
        oldest = self._oldest()
        return Bout(
            run_id=run.request.run_id,
            counts=run.counts,
            events=self._events(run, drain),
            seconds=self.clock() - self._began,
            lag=max((datetime.now(UTC) - oldest).total_seconds(), 0.0) if oldest else 0.0,
            held=run.held,
            reason=run.reason,
            correlations=tuple(drain.correlations) if drain else (),
        )

    def _give_up(self, error: SyncError) -> None:
        """Close what is open; what was brought stands, and its events are completed."""
        run = self._run
        self._forget()
        self._failures += 1
        pause = min(_FIRST_PAUSE * 2 ** min(self._failures - 1, 10), _LONGEST_PAUSE)
        self.paused_until = self.clock() + pause
        if run is not None:
            with suppress(SyncError):  # the error that counts is the first; dead books are closed by the next run
                run.close(error)

    def _forget(self) -> None:
        self._run = self._changes = self._drain = None


def _bring_forward(run: Run, changes: ChangeSet) -> None:
    """The watermark is of now: the run has read rows until this moment."""
    with run.binding.source.changes(Scope(), since=run.since) as now:
        if not now.full:
            changes.watermark = now.watermark
