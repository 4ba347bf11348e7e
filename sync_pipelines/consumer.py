"""The long-running consumer of a sync: `sync-pipelines consume SYNC`, and `run_consumer` from Python.

Woken by NOTIFY, and by its own poll where none comes (an event behind an open transaction, a lost connection, a table
whose triggers tell what changed). Nodes come before relationships, so that few of these have to wait. One table's
failure stops that table alone, for a while.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.consuming import Bout, TableConsumer
from sync_pipelines.engine.consuming_log import LogConsumer
from sync_pipelines.engine.errors import ConfigurationError, LockBusyError, NotConfiguredError, SyncError
from sync_pipelines.engine.locks import ConsumerLock
from sync_pipelines.engine.patience import patience_of
from sync_pipelines.engine.settings import above_zero, batch_of, resolve
from sync_pipelines.log import log_context

if TYPE_CHECKING:
    import dagster as dg

    from sync_pipelines.engine.urls import NormalisedUrl
    from sync_pipelines.registry import BoundTable

POLL_INTERVAL = 5.0
"""Seconds between two looks where nothing is notified (SYNC_POLL_INTERVAL)."""

LONGEST_POLL_INTERVAL = 86_400.0
"""Seconds; the system's calls that wait take no more than a few weeks."""

_FIRST_POLL, _LONGEST_POLL = 0.05, 1.0
_BUSY_POLL = 0.1
_STEPS_A_TURN = 2
_END_SECONDS = 10.0
_PATIENCE, _LAST_PATIENCE = 5.0, 0.5
"""Seconds for which a target that is away is tried, under way and at the end. The consumer tries again by itself: with
a run's half a minute it ended 41 s after SIGTERM, and after more than 60 s where several tables had open books."""

_WARN_SECONDS = 600.0

_log = logging.getLogger(__name__)


def run_consumer(
    batch_size: int | None = None,
    poll_interval: float | None = None,
    *,
    sync: str = "learning",
    stop: threading.Event | None = None,
) -> None:
    """Consume a sync's events, or what its triggers have logged, until SIGTERM, SIGINT, or until `stop` is set.

    Signals are heard in the main thread. What is under way is finished and confirmed then. Systems that restart are
    waited for. It may run twice, and beside scheduled runs: each holds the target's lock for a second at a time (for a
    run, where triggers tell), and stands back for who waits for it.

    Args:
        batch_size: events a transaction; by default sync_settings, <SYNC>_BATCH_SIZE, SYNC_BATCH_SIZE, YAML, 50.
        poll_interval: seconds; by default <SYNC>_POLL_INTERVAL, SYNC_POLL_INTERVAL, 5.
        sync: its name, or `sync/table`.
        stop: looked at each second while there is work, and at least every poll interval.

    Raises:
        ConfigurationError, NotConfiguredError: no such sync, none of its tables is kept in a graph, or a setting is
            wrong.
    """
    if batch_size is not None:
        batch_of(batch_size)
    tables = _tables(sync)
    interval = _poll_interval(tables[0], poll_interval)
    reporter = _Reporter(tables)
    consumers = [_consumer(table, batch_size, reporter) for table in tables]
    urls = list(dict.fromkeys(table.source().url for table in _following(tables)))
    with ExitStack() as stack:
        stack.callback(reporter.close)
        stack.enter_context(patience_of(_PATIENCE))
        waker = stack.enter_context(_waker(stop or threading.Event()))
        _Consumer(consumers, urls, _lock(tables, sync), waker, interval, lambda: _tell_of_strays(tables)).run()


def _tables(sync: str) -> list[BoundTable]:
    """The tables that are kept in a graph, nodes first."""
    from sync_pipelines.components.outbox_to_neo4j import OutboxToNeo4j
    from sync_pipelines.registry import require_name, tables

    require_name(sync)
    found = tables(sync)
    chosen = [table for table in found if isinstance(table.component, OutboxToNeo4j)]
    if not chosen:
        remedy = "Documents of OutboxToNeo4j can be consumed; sensors and schedules bring all others."
        raise ConfigurationError(f"{sync}: no table of it is kept in a graph.", remedy=remedy)
    if reason := chosen[0].not_configured():
        raise NotConfiguredError(f"{sync}: {reason}.")
    return sorted(chosen, key=lambda table: (table.spec.ends is not None, table.path))


def _tell_of_strays(tables: Sequence[BoundTable]) -> None:
    from sync_pipelines.unfollowed import unfollowed_beside

    for sentence in unfollowed_beside(_following(tables)):
        _log.warning("%s: %s", tables[0].component.sync, sentence)


def _following(tables: Sequence[BoundTable]) -> list[BoundTable]:
    """Those whose application publishes events."""
    return [table for table in tables if table.spec.capture == "outbox"]


def _poll_interval(table: BoundTable, given: float | None) -> float:
    found = given if given is not None else _set_interval(table)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found <= LONGEST_POLL_INTERVAL:
        remedy = f"Give seconds above 0, up to {LONGEST_POLL_INTERVAL:.0f} (a day)."
        raise ConfigurationError(f"A poll interval of {found!r} s is none.", remedy=remedy)
    return float(found)


def _set_interval(table: BoundTable) -> float:
    return resolve(
        "poll_interval",
        sync=table.component.sync,
        parse=above_zero,
        default=POLL_INTERVAL,
        environment=os.environ,
    )


def _consumer(table: BoundTable, batch_size: int | None, reporter: _Reporter) -> TableConsumer:
    binding = table.binding()
    with binding.ledger as ledger:
        ledger.check()
        settings = table.component.run_settings(ledger, batch_size=batch_size)
    kind = TableConsumer if binding.outbox else LogConsumer
    return kind(binding=replace(binding, **settings), report=lambda bout: reporter.report(table, bout))


def _lock(tables: Sequence[BoundTable], asked: str) -> ConsumerLock:
    """Of other tables the sensors go on, also of one whose document comes later: nobody else would bring their rows."""
    first = tables[0]
    whole = asked == first.component.sync
    paths = [table.path for table in tables]
    return ConsumerLock(first.resources.ledger.database_url(), asked if whole else first.path, paths)


@dataclass
class _Waker:
    """What ends the consumer's waiting, and says whether it is to stop."""

    stop: threading.Event
    descriptor: int


@contextmanager
def _waker(stop: threading.Event) -> Generator[_Waker]:
    """SIGTERM and SIGINT set `stop`; a signal ends a wait at once."""
    heard, told = socket.socketpair()
    told.setblocking(False)
    main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGINT) if main else ()

    def asked(number: int, _frame: Any) -> None:
        _log.info("%s: what is under way is finished first", signal.Signals(number).name)
        stop.set()

    before = {number: signal.signal(number, asked) for number in numbers}
    previous = signal.set_wakeup_fd(told.fileno()) if main else -1
    try:
        yield _Waker(stop, heard.fileno())
    finally:
        if main:
            signal.set_wakeup_fd(previous)
        for number, handler in before.items():
            signal.signal(number, handler)
        heard.close()
        told.close()


@dataclass
class _Consumer:
    """The loop over a sync's tables."""

    tables: Sequence[TableConsumer]
    urls: Sequence[NormalisedUrl]
    lock: ConsumerLock
    waker: _Waker
    interval: float
    tell: Callable[[], None] = lambda: None
    _told_at: float = float("-inf")
    _pause: float = field(default=_FIRST_POLL)

    def run(self) -> None:
        from sync_pipelines.sources.postgres.ear import Ear

        ear = Ear(self.urls, wake=self.waker.descriptor)
        _log.info("consuming %s", ", ".join(table.path for table in self.tables))
        try:
            while not self.waker.stop.is_set():
                self._hold()
                self._warn()
                if not self._round():
                    ear.wait(self._rest())
        finally:
            ear.close()
            with patience_of(_LAST_PATIENCE):
                self._end()
            self.lock.release()

    def _hold(self) -> None:
        """The sign of life, by which sensors know that they need not ask for runs."""
        with _told("the ledger"):
            self.lock.hold()

    def _warn(self) -> None:
        """Say what nobody would notice, at the beginning and then now and again."""
        if time.monotonic() - self._told_at >= _WARN_SECONDS:
            self._told_at = time.monotonic()
            with _told("the outbox"):
                self.tell()

    def _round(self) -> int:
        """What is due of each table, for some seconds at most; how many events those were."""
        taken = 0
        for table in self.tables:
            if not table.waits and not self.waker.stop.is_set():
                with _told(table.path), log_context(sync=table.binding.place[0], table=table.binding.place[1]):
                    taken += self._turn(table)
        return taken

    def _turn(self, table: TableConsumer) -> int:
        table.look(every=self.interval)
        taken = 0
        for _ in range(_STEPS_A_TURN):
            found = table.step()
            taken += found
            if not found or self.waker.stop.is_set():
                break
        return taken

    def _rest(self) -> float:
        """How long nothing is looked at unless somebody calls: shortly where an event is there all the same (it waits
        for a transaction to end, or its next try), or another writer has the target."""
        if any(table.busy for table in self.tables):
            return min(_BUSY_POLL, self.interval)
        soon = False
        for table in self.tables:
            if not table.waits:
                with _told(table.path):
                    soon = soon or table.impends
        self._pause = min(self._pause * 1.5, _LONGEST_POLL) if soon else _FIRST_POLL
        due_in = max(min(table.due_in for table in self.tables), _FIRST_POLL)
        return min(self._pause if soon else self.interval, self.interval, due_in)

    def _end(self) -> None:
        """Confirm what is open; another writer is waited for a moment, and confirms it by its own run else."""
        deadline = time.monotonic() + _END_SECONDS
        for table in self.tables:
            while True:
                try:
                    table.end()
                except LockBusyError:
                    if time.monotonic() < deadline:
                        time.sleep(_BUSY_POLL)
                        continue
                except SyncError as error:
                    _log.error("%s", error)
                break


@contextmanager
def _told(what: str) -> Generator[None]:
    """An expected error is a line in the log; the consumer goes on."""
    try:
        yield
    except SyncError as error:
        _log.error("%s", error if str(error).startswith(f"{what}: ") else f"{what}: {error}")


class _Reporter:
    """Records in Dagster what was brought: at most a materialization a minute and asset."""

    def __init__(self, tables: Sequence[BoundTable]) -> None:
        from sync_pipelines.launch import dagster_instance

        self._instance = dagster_instance()

    def report(self, table: BoundTable, bout: Bout) -> None:
        _log.info("%s: %d events in %.0f s, lag %.1f s", table.path, bout.events, bout.seconds, bout.lag)
        try:
            self._instance.report_runless_asset_event(_materialization(table, bout))
        except Exception as error:  # its storage may be away for a moment, which must not hold up the events
            told = "%s: the materialization could not be recorded in Dagster: %s"
            _log.warning(told, table.path, f"{type(error).__name__}: {error}")

    def close(self) -> None:
        with suppress(Exception):
            self._instance.dispose()


def _materialization(table: BoundTable, bout: Bout) -> dg.AssetMaterialization:
    import dagster as dg

    from sync_pipelines.automation import newest_partition

    counts = bout.counts
    return dg.AssetMaterialization(
        asset_key=table.component.asset_key,
        partition=newest_partition(table.component),
        metadata={
            "dagster/row_count": bout.held,
            "mode": f"consumer ({bout.reason})" if bout.reason else "consumer",
            "events": bout.events,
            "read": counts.read,
            "upserted": counts.upserted,
            "unchanged": counts.unchanged,
            "deleted": counts.deleted,
            "quarantined": counts.quarantined,
            "lag_seconds": round(bout.lag, 3),
            "seconds": round(bout.seconds, 3),
            "consumer_run": bout.run_id,
            "correlation_ids": list(bout.correlations),
        },
    )
