"""Alerts as a user has them: the sensor in a running daemon, and a local HTTP receiver."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster._core.scheduler.instigation import InstigatorTick
from typer.testing import CliRunner

from sync_pipelines.alerts.runs import SETTLED_SECONDS
from sync_pipelines.cli import app
from sync_pipelines_tests.alerts import project
from sync_pipelines_tests.alerts.project import order
from sync_pipelines_tests.alerts.receiver import Receiver
from sync_pipelines_tests.dagster.deployment import Deployment, deployed, wait_for
from sync_pipelines_tests.spare import spare

CODE = """
from sync_pipelines_tests.alerts.project import definitions

defs = definitions(every_seconds=3)
"""
DIFFERS = {
    "says": "Differs: 3 records in the source, 3 in the target; 1 missing, 1 stale, 1 extra.",
    "numbers": {"missing": 1, "stale": 1, "extra": 1},
    "samples": [["missing", "m-1"], ["stale", "s-1"], ["extra", "e-1"]],
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def daemon(
    request: pytest.FixtureRequest, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployment]:
    """A deployment whose first tick is over; with a webserver where the test asks for one by its parameter."""
    monkeypatch.setenv("ORDERS", str(tmp_path / "orders.json"))
    monkeypatch.setenv("SYNC_ALERT_URLS", receiver.url + "/hooks/s3cret-path")
    monkeypatch.setenv("SYNC_UI_URL", "http://dagster.example.com")
    monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)
    order()
    with deployed(tmp_path, CODE, webserver=getattr(request, "param", False)) as deployment:
        wait_for("the first tick", lambda: _skips(deployment, "sync_alerts"))
        yield deployment


def _ticks(deployment: Deployment, name: str) -> list[InstigatorTick]:
    """The newest ticks of a sensor or schedule that started no run."""
    states = [state for state in deployment.instance.all_instigator_state() if state.instigator_name == name]
    found = [deployment.instance.get_ticks(s.instigator_origin_id, s.selector_id, limit=20) for s in states]
    failed = [tick.error for ticks in found for tick in ticks if tick.error]
    assert not failed, failed[0].to_string()
    return [tick for ticks in found for tick in ticks if tick.skip_reason]


def _skips(deployment: Deployment, name: str) -> list[str]:
    """Why they started none."""
    return [tick.skip_reason or "" for tick in _ticks(deployment, name)]


def arrived(deployment: Deployment, receiver: Receiver, *kinds: str, seconds: float = 90) -> list[dict[str, Any]]:
    """Exactly these messages, now and after a whole tick that began when all that stands now had settled."""
    wait_for(f"messages {kinds}", lambda: len(receiver.posts) >= len(kinds), seconds=seconds)
    settled = time.time() + SETTLED_SECONDS
    wait_for("a later tick", lambda: [t for t in _ticks(deployment, "sync_alerts") if t.timestamp > settled])
    assert tuple(receiver.kinds()) == kinds, json.dumps(receiver.posts, indent=1)
    return receiver.posts


def test_a_failed_check_is_one_message_whatever_follows_and_its_recovery_another(
    daemon: Deployment, receiver: Receiver
):
    order(count=DIFFERS)
    failed = project.run(daemon.instance, "check").dagster_run.run_id
    told = arrived(daemon, receiver, "opened")[0]
    assert told["table"] == "shop/thing"
    assert told["severity"] == "error"
    assert "1 missing, 1 stale, 1 extra" in told["message"]
    for part in ("check count", "m-1", "s-1", "e-1", f"http://dagster.example.com/runs/{failed}", told["alert_id"]):
        assert part in told["message"]
    assert told["causes"][0]["numbers"] == {"missing": 1, "stale": 1, "extra": 1}
    order(count=DIFFERS, deep={"severity": "WARN", "says": "One value differs."})
    project.run(daemon.instance, "check")
    arrived(daemon, receiver, "opened")
    listed = json.loads(CliRunner().invoke(app, ["alerts", "list", "--json"]).stdout)
    assert [cause["name"] for cause in listed["incidents"][0]["causes"]] == ["check:count", "check:deep"]
    order(deep={"severity": "WARN"})
    project.run(daemon.instance, "check")
    arrived(daemon, receiver, "opened")
    order()
    project.run(daemon.instance, "check")
    recovered = arrived(daemon, receiver, "opened", "recovered")[1]
    assert recovered["incident_id"] == told["incident_id"]
    assert recovered["alert_id"] != told["alert_id"]
    assert json.loads(CliRunner().invoke(app, ["alerts", "list", "--json"]).stdout)["incidents"] == []


@pytest.mark.exhaustive
def test_a_warning_that_becomes_an_error_is_told_once_more(daemon: Deployment, receiver: Receiver):
    order(deep={"severity": "WARN", "says": "One value differs."})
    project.run(daemon.instance, "check")
    assert arrived(daemon, receiver, "opened")[0]["severity"] == "warn"
    order(count=DIFFERS, deep={"severity": "WARN"})
    project.run(daemon.instance, "check")
    assert arrived(daemon, receiver, "opened", "escalated")[1]["severity"] == "error"


@pytest.mark.parametrize("how", ["refuses connections", *spare("answers 503", "hangs")])
def test_a_message_arrives_once_after_its_receiver_is_back(daemon: Deployment, receiver: Receiver, how: str):
    if how == "refuses connections":
        receiver.down()
    elif how == "answers 503":
        receiver.status = 503
    else:
        # it never reads to the end, so what hangs is not counted as taken
        receiver.pause, receiver.status = 20, 503
    order(count=DIFFERS)
    project.run(daemon.instance, "check")
    wait_for("a message that waits", lambda: [why for why in _skips(daemon, "sync_alerts") if "1 messages wait" in why])
    order()
    project.run(daemon.instance, "check")
    wait_for("both wait", lambda: [why for why in _skips(daemon, "sync_alerts") if "2 messages wait" in why])
    assert receiver.posts == []
    if how == "refuses connections":
        receiver.up()
    receiver.pause, receiver.status = 0, 200
    arrived(daemon, receiver, "opened", "recovered", seconds=120)


@pytest.mark.exhaustive
def test_a_clean_restart_of_the_daemon_doubles_nothing_and_loses_nothing(daemon: Deployment, receiver: Receiver):
    order(count=DIFFERS)
    project.run(daemon.instance, "check")
    wait_for("the message", lambda: receiver.posts)
    daemon.stop_daemon()  # at once: the tick that sent it may not have ended
    daemon.start_daemon()
    arrived(daemon, receiver, "opened")
    daemon.stop_daemon()
    order()
    project.run(daemon.instance, "check")
    daemon.start_daemon()
    arrived(daemon, receiver, "opened", "recovered")


def test_a_kill_in_the_middle_of_a_tick_doubles_nothing_that_was_taken(daemon: Deployment, receiver: Receiver):
    """The first of two receivers took the message; the tick still waits for the second when all is killed."""
    order(count=DIFFERS)
    slow = Receiver()
    slow.up()
    slow.pause = 4
    try:
        daemon.stop_daemon()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SYNC_ALERT_URLS", f"{receiver.url}/a, {slow.url}/b")
            project.run(daemon.instance, "check")
            daemon.start_daemon()
            wait_for("the first receiver", lambda: receiver.posts)
            daemon.kill_daemon()
            daemon.start_daemon()
            wait_for("the second receiver", lambda: slow.posts)
            arrived(daemon, receiver, "opened")
    finally:
        slow.down()


@pytest.mark.exhaustive
def test_a_failed_run_is_one_message_and_the_next_good_one_its_recovery(daemon: Deployment, receiver: Receiver):
    order(run="fail")
    failed = project.run(daemon.instance, "incremental").dagster_run.run_id
    told = arrived(daemon, receiver, "opened")[0]
    assert told["causes"][0]["name"] == "run:incremental"
    assert told["causes"][0]["run_url"] == f"http://dagster.example.com/runs/{failed}"
    assert "The far system said no" in told["message"]
    assert "s3cret" not in json.dumps({**told, "path": ""})
    project.run(daemon.instance, "incremental")
    arrived(daemon, receiver, "opened")
    order()
    project.run(daemon.instance, "full")
    arrived(daemon, receiver, "opened", "recovered")


LAUNCH = """mutation { launchRun(executionParams: {
    selector: {repositoryLocationName: "code_location.py", repositoryName: "__repository__",
               jobName: "shop_incremental"}, runConfigData: {}})
    { __typename ... on LaunchRunSuccess { run { runId } } } }"""


@pytest.mark.parametrize("daemon", [pytest.param(True, id="webserver")], indirect=True)
def test_a_run_that_is_retried_is_told_when_the_last_try_failed(daemon: Deployment, receiver: Receiver):
    order(run="die")
    launched = wait_for("the webserver", lambda: _launch(daemon), seconds=120)
    assert launched["__typename"] == "LaunchRunSuccess", launched
    ended = wait_for("the last try", lambda: _final_failure(daemon), seconds=240)
    told = arrived(daemon, receiver, "opened")[0]
    assert len(daemon.runs()) == 3
    assert told["causes"][0]["run_id"] == ended


def _launch(daemon: Deployment) -> dict[str, Any] | None:
    try:
        return daemon.graphql(LAUNCH)["launchRun"]
    except OSError:  # not up yet
        return None


def _final_failure(daemon: Deployment) -> str | None:
    final = [run for run in daemon.runs() if run.tags.get("dagster/will_retry") == "false"]
    return final[0].run_id if final else None


@pytest.mark.exhaustive
def test_the_heartbeat_is_pinged_by_the_schedule_and_starts_no_run(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ORDERS", str(tmp_path / "orders.json"))
    monkeypatch.setenv("SYNC_HEARTBEAT_URL", receiver.url + "/ping/s3cret-path")
    monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)
    with deployed(tmp_path, CODE, webserver=False) as deployment:
        wait_for("a ping", lambda: receiver.pings, seconds=200)
        assert receiver.pings[0] == "/ping/s3cret-path"
        assert deployment.runs() == []
        said = wait_for("the tick's end", lambda: _skips(deployment, "sync_heartbeat"))
        assert "Pinged SYNC_HEARTBEAT_URL: 200." in said
