"""A run that is interrupted, wherever it stands, ends cancelled and holds nothing more in a process that lives on."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from sync_pipelines import failures
from sync_pipelines.automation import newest_partition
from sync_pipelines.engine import run as engine
from sync_pipelines.engine.errors import TransientError
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.locks import RunLock, TargetLock
from sync_pipelines.engine.run import Run
from sync_pipelines.engine.spool import Spool
from sync_pipelines.sources.postgres.source import PostgresSource
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.dagster.world import World


@pytest.fixture
def spools(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the runs of this test spool; one record waits for its sync."""
    monkeypatch.setenv("SYNC_SPOOL_DIR", str(tmp_path / "spools"))
    world.put("a")
    return tmp_path / "spools"


class Execution:
    """A run in this process, as `dagster api execute_run` executes it, and its cancellation by the UI."""

    def __init__(self, world: World) -> None:
        self._instance = world.instance
        self._job = definitions(world.component).resolve_job_def("shop_incremental")
        tags = {"dagster/partition": newest_partition(world.component)}
        self._run = world.instance.create_run_for_job(self._job, tags=tags)
        self.struck = 0

    def cancel(self) -> None:
        """What the launcher does when somebody presses "terminate"."""
        self.struck += 1
        if self.struck == 1:
            self._instance.report_run_canceling(self._run)
            os.kill(os.getpid(), signal.SIGINT)

    def events(self) -> Any:
        return execute_run_iterator(InMemoryJob(self._job), self._run, self._instance)

    def go(self, on_event: Callable[[dg.DagsterEvent], None] = lambda _: None) -> list[str]:
        types = []
        for event in self.events():
            types.append(event.event_type_value)
            on_event(event)
        return types

    @property
    def status(self) -> dg.DagsterRunStatus:
        run = self._instance.get_run_by_id(self._run.run_id)
        assert run is not None
        return run.status


def holds_nothing(world: World, spools: Path) -> bool:
    gc.collect()  # what an interrupt lost on its way to its holder
    of_this_database = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    locks = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = {of_this_database}"
    return world.execute(locks)[0][0] == 0 and not list(spools.glob("changes-*"))


@pytest.mark.slow
def test_a_cancellation_between_the_assets_return_and_the_io_manager_leaves_nothing(world: World, spools: Path):
    execution = Execution(world)
    types = execution.go(lambda event: execution.cancel() if event.event_type_value == "STEP_OUTPUT" else None)
    assert execution.status == dg.DagsterRunStatus.CANCELED
    assert "HANDLED_OUTPUT" not in types
    assert "STEP_UP_FOR_RETRY" not in types
    assert world.last_run().status == "cancelled"
    assert holds_nothing(world, spools)
    assert world.sync().upserted == 1


@pytest.mark.slow
def test_a_caller_that_stops_to_ask_for_events_there_leaves_nothing(world: World, spools: Path):
    """`sync` in a terminal closes the events where it sees a captured Ctrl-C."""
    events = Execution(world).events()
    assert any(event.event_type_value == "STEP_OUTPUT" for event in events)
    assert world.last_run().status == "running"
    events.close()
    assert world.last_run().status == "cancelled"
    assert holds_nothing(world, spools)


PLACES = {
    "locked": (TargetLock, "acquire"),
    "booked": (Ledger, "begin"),
    "spool made": (Spool, "__init__"),
    "read": (PostgresSource, "changes"),
    "opened": (engine, "open_run"),
    "written": (Run, "write"),
    "being closed": (TargetLock, "release"),
    "nearly closed": (RunLock, "release"),
}


@pytest.mark.slow
@pytest.mark.spare_where(place="booked")
@pytest.mark.spare_where(place="read")
@pytest.mark.spare_where(place="nearly closed")
@pytest.mark.parametrize("place", PLACES)
def test_a_cancellation_that_strikes_inside_a_step_leaves_nothing(
    world: World, spools: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    execution = Execution(world)
    owner, name = PLACES[place]
    method = getattr(owner, name)

    def struck(*given: Any, **named: Any) -> Any:
        result = method(*given, **named)
        execution.cancel()  # raises here: what the method gave never reaches its caller
        return result

    monkeypatch.setattr(owner, name, struck)
    types = execution.go()
    monkeypatch.undo()
    monkeypatch.setenv("DATABASE_URL", world.url)
    assert execution.struck
    assert execution.status == dg.DagsterRunStatus.CANCELED
    assert "STEP_UP_FOR_RETRY" not in types
    done = {"locked": [], "written": ["completed"], "being closed": ["completed"], "nearly closed": ["completed"]}
    assert [run.status for run in world.logs()] == done.get(place, ["cancelled"])
    assert holds_nothing(world, spools)


@pytest.mark.slow
def test_a_run_that_dagster_itself_breaks_off_in_between_has_failed(
    world: World, spools: Path, monkeypatch: pytest.MonkeyPatch
):
    storage = world.instance.event_log_storage
    store = storage.store_event

    def full(entry: Any) -> None:
        if entry.dagster_event.event_type_value == "STEP_OUTPUT":
            raise OSError("no space for the event log")
        store(entry)

    monkeypatch.setattr(storage, "store_event", full)
    execution = Execution(world)
    execution.go()
    assert execution.status == dg.DagsterRunStatus.FAILURE
    assert world.last_run().status == "failed"
    assert holds_nothing(world, spools)


class Fault:
    """A method of `Run` that fails so many times before it does its work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, *errors: Exception) -> None:
        self.calls, left, method = 0, list(errors), getattr(Run, name)

        def failing(run: Run, *given: Any) -> Any:
            self.calls += 1
            if left:
                raise left.pop(0)
            return method(run, *given)

        monkeypatch.setattr(Run, name, failing)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, which take no time."""
    found: list[float] = []
    monkeypatch.setattr(failures.time, "sleep", found.append)
    return found


AWAY = TransientError("Chroma does not answer.", sync="shop", table="article")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["open_changes", "write"])
def test_a_transient_error_is_retried_three_times_from_the_asset_on(
    world: World, spools: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float], name: str
):
    opened = Fault(monkeypatch, "begin")
    fault = Fault(monkeypatch, name, AWAY, AWAY, AWAY)
    assert world.sync().upserted == 1
    assert (opened.calls, fault.calls) == (4, 4)  # the stream is opened anew for each try
    assert [low <= pause <= 1.5 * low for low, pause in zip([2, 4, 8], pauses, strict=True)] == [True] * 3
    assert [run.status for run in world.logs()] == ["completed", "failed", "failed", "failed"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["open_changes", "write"])
def test_after_the_last_try_the_run_fails_with_the_sentence_of_the_error(
    world: World, spools: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float], name: str
):
    fault = Fault(monkeypatch, name, *[AWAY] * 9)
    result = world.materialize(raises=False)
    assert fault.calls == 4
    assert len(pauses) == 3
    failed = result.failure_data_for_node("shop__article")
    assert failed.user_failure_data.description == "shop/article: Chroma does not answer."
    assert holds_nothing(world, spools)


@pytest.mark.slow
def test_a_permanent_error_is_not_retried(world: World, monkeypatch: pytest.MonkeyPatch, pauses: list[float]):
    from sync_pipelines.engine.errors import RunError

    fault = Fault(monkeypatch, "write", RunError("The disk is full."))
    world.put("a")
    result = world.materialize(raises=False)
    assert (fault.calls, pauses) == (1, [])
    assert world.failure(result) == "The disk is full."


@pytest.mark.slow
def test_what_a_system_asks_for_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch, pauses: list[float]):
    Fault(monkeypatch, "write", TransientError("Slow down.", retry_after=77.0))
    world.put("a")
    assert world.sync().upserted == 1
    assert pauses == [77.0]


def test_nobody_waits_longer_than_the_most_and_the_run_tells_what_was_asked_for(
    world: World, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
):
    fault = Fault(monkeypatch, "write", TransientError("Slow down.", retry_after=7200.0))
    world.put("a")
    result = world.materialize(raises=False)
    assert (fault.calls, pauses) == (1, [])
    assert world.failure(result) == "Slow down. It asks for a pause of 120 min; a run waits 15 min at most."
    assert failures.pause(0, float("inf")) == 900


@pytest.mark.slow
def test_a_cancellation_in_the_pause_between_two_tries_does_not_wait_for_its_end(
    world: World, spools: Path, monkeypatch: pytest.MonkeyPatch
):
    Fault(monkeypatch, "write", TransientError("Slow down.", retry_after=600.0))
    execution = Execution(world)
    monkeypatch.setattr(failures._log, "warning", lambda *_: signal.setitimer(signal.ITIMER_REAL, 0.5))
    before = signal.signal(signal.SIGALRM, lambda *_: execution.cancel())
    try:
        types = execution.go()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert execution.status == dg.DagsterRunStatus.CANCELED
    assert "STEP_UP_FOR_RETRY" not in types
    assert holds_nothing(world, spools)
