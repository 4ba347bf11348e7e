"""Whose incident a failed run is, and whom that tells: a table's document, or those of a sync's tables together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest

from sync_pipelines.alerts import runs
from sync_pipelines.alerts.incidents import Cause, Incident
from sync_pipelines.alerts.runs import Place
from sync_pipelines.alerts.sensor import Project, _unwatched, policies_of
from sync_pipelines.alerts.state import State
from sync_pipelines.own_runs import Ours
from sync_pipelines_tests.alerts import project
from sync_pipelines_tests.alerts.receiver import Receiver
from sync_pipelines_tests.dagster.project import article, definitions
from sync_pipelines_tests.lake.house import document

BOTH = [Place(path=f"shop/{name}", steps=f"shop__{name}") for name in ("article", "author")]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def of(name: str, **alerts: Any):
    """A table of the sync `shop` (of another: `sync/name`) with this block `alerts`."""
    sync, _, table = name.rpartition("/")
    return article(sync=sync or "shop", name=table, alerts=alerts)


def run(job: str, **config: Any) -> dg.DagsterRun:
    """A run of a whole job of the sync `shop`, as the UI launches it."""
    ops = {"ops": {f"{job}_tables": {"config": config}}} if config else {}
    return dg.DagsterRun(job_name=job, run_id=str(uuid4()), tags={"sync": "shop"}, run_config=ops)


@pytest.mark.parametrize("job", ["shop_incremental", "shop_full", "shop_check", "shop_check_deep"])
def test_a_whole_job_with_a_step_a_table_is_a_run_of_each_table(job: str):
    assert runs.subjects(run(job), BOTH) == ["shop/article", "shop/author"]


@pytest.mark.parametrize("job", ["shop_repair", "shop_plan", "shop_upkeep"])
def test_a_job_with_one_step_for_all_is_of_its_sync_or_of_the_only_table(job: str):
    assert runs.subjects(run(job), BOTH) == ["shop"]
    assert runs.subjects(run(job), BOTH[:1]) == ["shop/article"]
    assert runs.subjects(run(job, table="author"), BOTH) == ["shop/author"]


def test_a_whole_deep_check_that_failed_is_told_of_the_table_whose_step_failed():
    with dg.DagsterInstance.ephemeral() as instance:
        failed = run("shop_check_deep")
        instance.add_run(failed)
        project.report_step_failure(instance, failed.run_id, "shop__author_deep")
        end = dg.DagsterEvent("PIPELINE_FAILURE", job_name=failed.job_name, message="The end.")
        instance.report_dagster_event(end, run_id=failed.run_id)
        ours = Ours(assets=frozenset(), checks=frozenset(), jobs=frozenset({failed.job_name}))
        later = datetime.now(UTC) + timedelta(minutes=1)
        seen, _ = runs.new_ends(instance, 0, BOTH, ours, now=later)
    assert [(item.table, item.name) for item in seen] == [("shop/author", "run:check_deep")]


def test_the_upkeep_of_a_sync_is_a_run_of_that_sync():
    job = definitions(document()).resolve_job_def("shop_upkeep")
    assert job.tags["sync"] == "shop"


def test_what_fails_for_a_whole_sync_is_told_in_every_channel_of_its_tables(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    """Nobody was told: only the channel's variable was set, and a sync has no document."""
    monkeypatch.setenv("SYNC_ALERT_URLS_OPS", receiver.url)
    policy = policies_of([of("article", channels=["ops"]), of("author", channels=["ops", "books"]), of("x/y")])
    assert policy("shop").channels == ("ops", "books")
    assert policy("shop").reachable
    assert policy("shop/article").channels == ("ops",)
    assert policy("x").channels == ("default",)


def test_a_table_whose_channel_has_no_receiver_is_told_of_in_the_default_one_also_with_others(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SYNC_ALERT_URLS_BOOKS", receiver.url)
    policy = policies_of([of("article", channels=["ops"]), of("author", channels=["books"])])
    assert policy("shop").channels == ("ops", "books", "default")


def test_what_fails_for_no_sync_is_told_in_every_channel():
    policy = policies_of([of("article", channels=["ops"]), of("x/y", channels=["books"])])
    assert policy("sync_clean_up").channels == ("ops", "books")
    assert policies_of([])("sync_clean_up").channels == ("default",)


def test_of_several_documents_the_one_that_tells_most_counts():
    policy = policies_of(
        [
            of("article", min_severity="error", remind_after=None),
            of("author", remind_after="3h"),
            of("press", remind_after="2h"),
        ]
    )("shop")
    assert (policy.min_severity, policy.remind_after) == ("warn", timedelta(hours=2))
    assert policies_of([of("article", min_severity="error", remind_after=None)])("shop").remind_after is None


def test_a_table_whose_alerts_are_off_adds_no_channel_to_its_sync():
    off = of("author", enabled=False, channels=["books"])
    policy = policies_of([of("article", channels=["ops"]), off])("shop")
    assert (policy.enabled, policy.channels) == (True, ("ops",))
    assert not policies_of([off])("shop").enabled
    assert policies_of([off])("shop").channels == ("books",), "who was told is told that it is closed"


def test_the_incident_of_a_sync_is_closed_when_nobody_watches_any_of_its_tables():
    tables = [of("article"), of("author", enabled=False)]
    ours = Project(assets=tuple(table.asset_key for table in tables), checks=(), jobs=frozenset())
    cause = Cause(name="run:repair", severity="error", since=NOW, summary="The run failed.")
    incident = Incident(id="1", table="shop", started=NOW, causes={cause.name: cause})
    known = State(open={"shop": incident})
    assert _unwatched(known, tables, ours, {}) == {}
    assert _unwatched(known, tables, ours, {"shop/article": "CHROMA_URL is not set"}) == {
        "shop": "CHROMA_URL is not set."
    }
