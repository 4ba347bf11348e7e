"""The ping that tells that the daemons live."""

from __future__ import annotations

import time

import dagster as dg
import pytest

from sync_pipelines.alerts.definitions import build_alerts
from sync_pipelines.alerts.heartbeat import NAME, beat
from sync_pipelines.launch import HEARTBEAT_SECONDS
from sync_pipelines_tests.alerts.receiver import Receiver


@pytest.fixture
def instance(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as made:
        _heartbeats(made, age=0)
        yield made


def _heartbeats(instance: dg.DagsterInstance, *, age: float, kinds: tuple[str, ...] = ()) -> None:
    from dagster._daemon.types import DaemonHeartbeat

    for kind in kinds or instance.get_required_daemon_types():
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age, kind, "test", []))


def test_without_the_variable_the_tick_says_which_one(instance: dg.DagsterInstance):
    assert beat(instance).startswith("SYNC_HEARTBEAT_URL is not set")


def test_it_pings_while_the_daemons_live(instance: dg.DagsterInstance, receiver: Receiver, monkeypatch):
    monkeypatch.setenv("SYNC_HEARTBEAT_URL", f"{receiver.url}/s3cret")
    assert beat(instance) == "Pinged SYNC_HEARTBEAT_URL: 200."
    assert receiver.pings == ["/s3cret"]


def test_it_does_not_ping_where_another_daemon_is_silent(instance: dg.DagsterInstance, receiver: Receiver, monkeypatch):
    monkeypatch.setenv("SYNC_HEARTBEAT_URL", receiver.url)
    _heartbeats(instance, age=HEARTBEAT_SECONDS + 5, kinds=("SENSOR",))
    assert "sensor" in beat(instance)
    assert receiver.pings == []


def test_it_does_not_ping_where_the_queue_never_started(instance: dg.DagsterInstance, receiver: Receiver, monkeypatch):
    monkeypatch.setenv("SYNC_HEARTBEAT_URL", receiver.url)
    instance.wipe_daemon_heartbeats()
    _heartbeats(instance, age=0, kinds=("SENSOR", "SCHEDULER"))
    assert "queued_run_coordinator" in beat(instance)
    assert receiver.pings == []


@pytest.mark.slow
@pytest.mark.parametrize("how", ["down", "refuses", "hangs", "nonsense"])
def test_a_ping_that_fails_is_said_in_time_and_without_the_url(
    instance: dg.DagsterInstance, receiver: Receiver, monkeypatch, how: str
):
    monkeypatch.setenv("SYNC_HEARTBEAT_URL", f"{receiver.url}/s3cret" if how != "nonsense" else "s3cret")
    if how == "down":
        receiver.down()
    receiver.status = 500 if how == "refuses" else 200
    receiver.pause = 30 if how == "hangs" else 0
    started = time.monotonic()
    said = beat(instance)
    assert time.monotonic() - started < 15  # the receiver hangs for 30
    assert "SYNC_HEARTBEAT_URL" in said
    assert "Pinged" not in said
    assert "s3cret" not in said


def test_the_schedule_runs_by_default_every_minute_and_its_tick_asks_for_no_run(instance: dg.DagsterInstance):
    schedule = build_alerts(()).resolve_schedule_def(NAME)
    assert (schedule.cron_schedule, schedule.default_status) == ("* * * * *", dg.DefaultScheduleStatus.RUNNING)
    found = schedule.evaluate_tick(dg.build_schedule_context(instance=instance))
    assert found.run_requests == []
    assert "SYNC_HEARTBEAT_URL" in (found.skip_message or "")
