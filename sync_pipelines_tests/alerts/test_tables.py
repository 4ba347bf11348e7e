"""Alerts of real tables in a running daemon: differences behind the sync's back, lag, a ledger that is down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest

from sync_pipelines import checks
from sync_pipelines.registry import BoundTable
from sync_pipelines_tests.alerts import project
from sync_pipelines_tests.alerts.receiver import Receiver
from sync_pipelines_tests.alerts.test_daemon import DIFFERS, _skips, arrived
from sync_pipelines_tests.dagster.deployment import Deployment, deployed, wait_for
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.dagster.world import World

QUIET = {"sensor": {"enabled": False}, "schedules": {"incremental": None, "full": None, "checks": None}}
CODE = """
from sync_pipelines_tests.alerts.project import of_table
from sync_pipelines_tests.dagster.project import article

defs = of_table(article(**{changed!r}), every_seconds=3)
"""
UNREACHABLE = """
from sync_pipelines_tests.alerts import project
from sync_pipelines_tests.dagster.project import article

defs = project.definitions(article(), every_seconds=3)
"""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(autouse=True)
def told(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_ALERT_URLS_OPS", receiver.url + "/ops")
    monkeypatch.setenv("SYNC_ALERT_URLS", receiver.url + "/all")
    monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)


def run(world: World, deployment: Deployment, job: str, *, good: bool = True) -> None:
    """Execute a job of the project here, over the deployment's instance."""
    found = definitions(world.component).resolve_job_def(f"shop_{job}")
    assert found.execute_in_process(instance=deployment.instance, raise_on_error=False).success == good


def prove(world: World, deployment: Deployment, kind: Literal["quick", "deep"], *names: str) -> None:
    """What `sync-pipelines check` does; these are the checks whose result it is."""
    proof = BoundTable(world.component, world.resources).prove(kind)
    assert proof.equal
    checks.report(deployment.instance, world.component, proof, *names)


def test_three_differences_behind_the_syncs_back_are_one_alert_and_their_repair_another(
    world: World, receiver: Receiver, tmp_path: Path
):
    for key in "abc":
        world.put(key)
    world.sync(mode="full")
    changed = {**QUIET, "alerts": {"channels": ["ops"]}}
    with deployed(tmp_path, CODE.format(changed=changed), webserver=False) as deployment:
        wait_for("the first tick", lambda: _skips(deployment, "sync_alerts"))
        held = world.collection.get(ids=["a"], include=["embeddings", "metadatas", "documents"])
        world.collection.delete(ids=["b"])
        world.collection.add(ids=["stranger"], embeddings=held["embeddings"], documents=["x"])
        world.collection.update(ids=["a"], documents=["edited"])
        run(world, deployment, "check_deep")
        found = arrived(deployment, receiver, "opened")[0]
        assert found["path"] == "/ops"
        keys = {(one["difference"], one["key"]) for cause in found["causes"] for one in cause["samples"]}
        assert {("missing", "b"), ("extra", "stranger"), ("stale", "a")} <= keys, json.dumps(found, indent=1)
        repair = definitions(world.component).resolve_job_def("shop_repair")
        config = {"ops": {"shop_repair_tables": {"config": {"deep": True}}}}
        assert repair.execute_in_process(instance=deployment.instance, run_config=config).success
        run(world, deployment, "check_deep")
        arrived(deployment, receiver, "opened", "recovered")


@pytest.mark.exhaustive
def test_a_deep_check_that_could_not_run_is_good_again_when_somebody_has_made_it(
    world: World, receiver: Receiver, tmp_path: Path
):
    """It stayed open until the next deep run, which may be a week away."""
    world.put("a")
    world.sync(mode="full")
    changed = {**QUIET, "alerts": {"channels": ["ops"]}}
    with deployed(tmp_path, CODE.format(changed=changed), webserver=False) as deployment:
        wait_for("the first tick", lambda: _skips(deployment, "sync_alerts"))
        world.execute('ALTER TABLE "Article" RENAME TO "Elsewhere"')
        run(world, deployment, "check_deep", good=False)
        found = arrived(deployment, receiver, "opened")[0]
        assert (found["table"], found["causes"][0]["name"]) == ("shop/article", "run:check_deep")
        world.execute('ALTER TABLE "Elsewhere" RENAME TO "Article"')
        prove(world, deployment, "quick", "count", "content")
        arrived(deployment, receiver, "opened")
        prove(world, deployment, "deep", "count", "content", "deep")
        arrived(deployment, receiver, "opened", "recovered")


@pytest.mark.exhaustive
def test_a_sync_that_failed_is_good_again_when_its_table_is_proven_and_nothing_waits(
    world: World, receiver: Receiver, tmp_path: Path
):
    """The sensor asks for no run where nothing is pending, so that it stayed open until a schedule's."""
    world.put("a")
    world.sync(mode="full")
    changed = {**QUIET, "alerts": {"channels": ["ops"]}, "checks": {"backlog": None, "lag_warn": "1h"}}
    with deployed(tmp_path, CODE.format(changed=changed), webserver=False) as deployment:
        wait_for("the first tick", lambda: _skips(deployment, "sync_alerts"))
        world.execute('ALTER TABLE "Article" RENAME TO "Elsewhere"')
        world.instance = deployment.instance
        assert not world.materialize(raises=False).success
        found = arrived(deployment, receiver, "opened")[0]
        assert (found["table"], found["causes"][0]["name"]) == ("shop/article", "run:incremental")
        world.execute('ALTER TABLE "Elsewhere" RENAME TO "Article"')
        arrived(deployment, receiver, "opened")
        prove(world, deployment, "quick", "count", "content")
        arrived(deployment, receiver, "opened", "recovered")


def test_growing_lag_is_an_alert_and_a_sync_its_end(world: World, receiver: Receiver, tmp_path: Path):
    world.put("a")
    world.sync(mode="full")
    changed = {**QUIET, "checks": {"lag_warn": "2s", "backlog": None, "deep": "never"}}
    with deployed(tmp_path, CODE.format(changed=changed), webserver=False) as deployment:
        wait_for("the first tick", lambda: _skips(deployment, "sync_alerts"))
        world.put("b")
        found = arrived(deployment, receiver, "opened")[0]
        assert (found["severity"], found["causes"][0]["name"]) == ("warn", "lag")
        world.sync()
        arrived(deployment, receiver, "opened", "recovered")


def test_a_ledger_that_is_down_stops_no_alert(
    receiver: Receiver, tmp_path: Path, chroma_database: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:s3cret-word@127.0.0.1:9/app")
    monkeypatch.setenv("ORDERS", str(tmp_path / "orders.json"))
    project.order()
    with deployed(tmp_path, UNREACHABLE, webserver=False) as deployment:
        wait_for("the first tick", lambda: _skips(deployment, "sync_alerts"))
        project.order(count=DIFFERS)
        project.run(deployment.instance, "check")
        arrived(deployment, receiver, "opened")
        assert _skips(deployment, "sync_alerts")
