"""A run that is executed by this process, not by the daemon: `sync` in a terminal, and runs in the background.

Three things that Dagster does for the runs of its daemon are done here: a sign of life (the run's lock, held
from before its first step), an ear for cancellation, and a wait for the pool's slot that Ctrl-C can end
(Dagster's own wait inside a run spins at full load and hears no signal: dagster 1.13,
`InstanceConcurrencyContext.interval_to_next_pending_claim_check`).

`python -m sync_pipelines.execution RUN_ID` executes a run that was created by `launch.create`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from sync_pipelines.engine.errors import SyncError, redact
from sync_pipelines.engine.model import Counts

if TYPE_CHECKING:
    import dagster as dg

    from sync_pipelines.engine.dead import Ending
    from sync_pipelines.engine.run import Binding

POLL_SECONDS = 1.0
_SLOT_SECONDS = 0.5
_DEAD_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is.

    Args:
        phase: `waiting` (another run works on the target), `running`, or `checking` (its books are closed).
        holder: the run that is waited for, where known.
        seconds: since this process took the run up.
        counts: of the batches that are written, None before the run has opened its books.
        embedded: texts that were embedded, also for the batch under way.
    """

    run_id: str
    table: str
    phase: str
    seconds: float
    counts: Counts | None = None
    holder: str | None = None
    embedded: int = 0


Listener = Callable[[Progress], None]


def execute(
    instance: dg.DagsterInstance, run_id: str, binding: Binding, *, on_progress: Listener | None = None
) -> dg.DagsterRun:
    """Execute a run that was created and not started, here and now; the run as it ended.

    In the main thread Ctrl-C and SIGTERM cancel it: the ledger and Dagster say cancelled, lock and slot are
    free. A cancellation from outside (UI, `jobs cancel`) ends it the same way, without KeyboardInterrupt.

    Raises:
        KeyboardInterrupt: it was cancelled by a signal to this process.
        TransientError: the ledger's database cannot be reached.
    """
    with Keeper(instance, run_id, binding, on_progress or _nobody) as keeper:
        try:
            with _signals():
                _claim_slots(instance, run_id, keeper)
                _iterate(instance, run_id, keeper)
        except KeyboardInterrupt:
            keeper.interrupted = True
        except Exception as error:
            _report_failed(instance, run_id, error)
            raise
        finally:
            _tidy(instance, run_id, keeper)
    run = _run(instance, run_id)
    if keeper.interrupted and not keeper.asked_from_outside:
        raise KeyboardInterrupt
    return run


class Keeper:
    """Holds the run's lock, listens for a cancellation, and tells how far the run is, once a second."""

    def __init__(self, instance: dg.DagsterInstance, run_id: str, binding: Binding, on_progress: Listener) -> None:
        from sync_pipelines.engine.locks import RunLock

        self.binding = binding
        self.phase, self.holder = "running", None
        self.interrupted = False
        self.asked_from_outside = False
        self._instance, self._run_id, self._on_progress = instance, run_id, on_progress
        self._lock = RunLock(binding.lock_url, run_id)
        self._started, self._embedded = time.monotonic(), _embedded()
        self._over = threading.Event()
        self._in_main = threading.current_thread() is threading.main_thread()
        self._thread = threading.Thread(target=self._keep, name=f"keeper of {run_id[:8]}", daemon=True)

    def __enter__(self) -> Keeper:
        self._lock.acquire()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._lock.release()

    def waiting(self, holder: str | None) -> None:
        self.phase, self.holder = "waiting", holder

    def running(self) -> None:
        self.phase, self.holder = "running", None

    def stop_listening(self) -> None:
        """From here on the run is being cancelled: a second signal would hit the tidying."""
        self._in_main = False

    def _keep(self) -> None:
        while not self._over.wait(POLL_SECONDS):
            try:
                self._hold()
                self._listen()
                self._on_progress(self._progress())
            except SyncError as error:
                _log.debug("progress of run %s is not known: %s", self._run_id, error)
            except Exception:
                # a passing fault of Dagster's storage must not end the sign of life
                _log.debug("run %s could not be looked at", self._run_id, exc_info=True)

    def _hold(self) -> None:
        from sync_pipelines.engine.errors import LockLostError

        try:
            self._lock.check()
        except LockLostError:  # the database was restarted; a step would notice by itself
            self._lock.acquire()

    def _listen(self) -> None:
        from dagster import DagsterRunStatus

        run = self._instance.get_run_by_id(self._run_id)
        if run is None or run.status != DagsterRunStatus.CANCELING or not self._in_main:
            return
        self.asked_from_outside = True
        self.stop_listening()
        os.kill(os.getpid(), signal.SIGINT)

    def _progress(self) -> Progress:
        record = own_record(self.binding, self._run_id)
        return Progress(
            run_id=self._run_id,
            table=self.binding.spec.path,
            phase=self.phase,
            seconds=time.monotonic() - self._started,
            counts=record.counts if record else None,
            holder=self.holder,
            embedded=_embedded() - self._embedded,
        )


def _embedded() -> int:
    """Texts that this process has embedded; 0 where nothing has loaded what embeds."""
    loaded = sys.modules.get("sync_pipelines.targets.embedding")
    return loaded.TOTAL.texts if loaded else 0


def own_record(binding: Binding, run_id: str):
    """The run's open row in the ledger, or None."""
    open_runs = binding.ledger.open_runs(*binding.place)
    return next((record for record in open_runs if record.run_id == run_id), None)


@contextmanager
def _signals() -> Generator[None]:
    """Ctrl-C and SIGTERM interrupt, also where a shell started us in the background with SIGINT ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _claim_slots(instance: dg.DagsterInstance, run_id: str, keeper: Keeper) -> None:
    from sync_pipelines.dead_runs import close_dead_runs

    looked = time.monotonic()
    for step, pool in _pools(instance, run_id):
        while not _claim(instance, run_id, step, pool):
            keeper.waiting(_holder(instance, pool))
            if time.monotonic() - looked > _DEAD_SECONDS:
                close_dead_runs(instance, keeper.binding, besides=run_id)
                looked = time.monotonic()
            time.sleep(_SLOT_SECONDS)
    keeper.running()


def _pools(instance: dg.DagsterInstance, run_id: str) -> list[tuple[str, str]]:
    """The run's steps that need a slot of a pool, and the pool of each."""
    snapshot_id = _run(instance, run_id).execution_plan_snapshot_id
    snapshot = instance.get_execution_plan_snapshot(snapshot_id) if snapshot_id else None
    return [(step.key, step.pool) for step in snapshot.steps if step.pool] if snapshot else []


def _claim(instance: dg.DagsterInstance, run_id: str, step: str, pool: str) -> bool:
    """Ask for a slot as the executor would; when the executor asks, the slot is the run's already."""
    from dagster._core.instance.config import PoolGranularity

    storage, pools = instance.event_log_storage, instance.event_log_storage.get_pool_config()
    if not storage.supports_global_concurrency_limits or pools.pool_granularity == PoolGranularity.RUN:
        return True
    if pool not in {limit.name for limit in storage.get_pool_limits()}:
        if pools.default_pool_limit is None:
            return True
        storage.initialize_concurrency_limit_to_default(pool)
    return storage.claim_concurrency_slot(pool, run_id, step, 0).is_claimed


def _holder(instance: dg.DagsterInstance, pool: str) -> str | None:
    slots = instance.event_log_storage.get_concurrency_info(pool).claimed_slots
    return slots[0].run_id if slots else None


def _iterate(instance: dg.DagsterInstance, run_id: str, keeper: Keeper) -> None:
    from dagster._core.definitions.job_base import InMemoryJob
    from dagster._core.execution.api import execute_run_iterator
    from dagster._utils.interrupts import check_captured_interrupt

    from sync_pipelines.launch import job_definition

    run = _run(instance, run_id)
    started = execute_run_iterator(InMemoryJob(job_definition(run.job_name)), run, instance)
    events = cast("Generator[dg.DagsterEvent]", started)  # it is one, and closing it ends the run
    for event in events:
        if _is_interrupt(event) or check_captured_interrupt():
            keeper.interrupted = True
            keeper.stop_listening()
            # Dagster calls an interrupted run failed unless its end was asked for before
            _ask_for_its_end(instance, run_id)
            events.close()
            return


def _is_interrupt(event: dg.DagsterEvent) -> bool:
    from dagster._core.execution.plan.objects import ErrorSource

    return event.is_step_failure and event.step_failure_data.error_source == ErrorSource.INTERRUPT


def _ask_for_its_end(instance: dg.DagsterInstance, run_id: str) -> None:
    from dagster import DagsterRunStatus

    run = _run(instance, run_id)
    if not run.is_finished and run.status != DagsterRunStatus.CANCELING:
        instance.report_run_canceling(run, "Interrupted by Ctrl-C or SIGTERM.")


def _report_failed(instance: dg.DagsterInstance, run_id: str, error: Exception) -> None:
    run = _run(instance, run_id)
    if not run.is_finished:
        instance.report_run_failed(run, redact(f"{type(error).__name__}: {error}"))


def _tidy(instance: dg.DagsterInstance, run_id: str, keeper: Keeper) -> None:
    """Leave nothing of an ended run: no state under way, no slot, no open books."""
    from sync_pipelines.engine.dead import INTERRUPTED
    from sync_pipelines.run_status import ending_of

    keeper.stop_listening()
    run = _run(instance, run_id)
    if not run.is_finished:
        _ask_for_its_end(instance, run_id)
        instance.report_run_canceled(run, "Cancelled before it was done.")
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    with suppress(SyncError):
        close_books(keeper.binding, run_id, INTERRUPTED if keeper.interrupted else ending_of(instance, run_id))


def close_books(binding: Binding, run_id: str, ending: Ending | None) -> None:
    """Close the ledger's row of a run that ended without doing so (interrupted between reading and writing)."""
    from sync_pipelines.engine.dead import INTERRUPTED, Ending

    record = own_record(binding, run_id)
    if record is not None:
        found = ending or Ending("failed", INTERRUPTED.error)
        binding.ledger.finish(record, status=found.status, counts=record.counts, error=found.error)


def _run(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    run = instance.get_run_by_id(run_id)
    if run is None:
        raise SyncError(f"There is no run {run_id} in DAGSTER_HOME.")
    return run


def _nobody(_: Progress) -> None:
    """Nobody wants to know."""


def main(run_id: str) -> int:
    """Execute one run in a process of its own; 0 when it completed, 1 when it did not."""
    from dagster import DagsterRunStatus

    from sync_pipelines import log
    from sync_pipelines.launch import dagster_instance
    from sync_pipelines.registry import tables

    log.configure()
    with dagster_instance() as instance:
        try:
            binding = tables(_run(instance, run_id).tags["sync/table"])[0].binding()
            run = execute(instance, run_id, binding)
        except KeyboardInterrupt:
            return 1
        except Exception as error:
            _report_failed(instance, run_id, error)
            raise
    return 0 if run.status == DagsterRunStatus.SUCCESS else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
