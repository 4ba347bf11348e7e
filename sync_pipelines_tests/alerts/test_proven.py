"""A failed run is good again when somebody else has proven what it did not, and not before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sync_pipelines.alerts import checks, proven, runs
from sync_pipelines.alerts.incidents import Cause, Incident
from sync_pipelines.alerts.runs import Place
from sync_pipelines.engine.ledger.proofs import ProofRecord
from sync_pipelines.engine.model import Pending
from sync_pipelines.status import Facts
from sync_pipelines_tests.alerts import project
from sync_pipelines_tests.alerts.project import KEY, order

FAILED = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAILY = ("count", "content", "schema", "backlog")
DEEP = dg.AssetCheckKey(KEY, "deep")
PLACES = [Place(path="shop/thing", steps="shop__thing"), Place(path="shop/other", steps="shop__other")]


def minutes(number: float) -> datetime:
    return FAILED + timedelta(minutes=number)


def incident(name: str, subject: str = "shop/thing", latest: datetime | None = FAILED) -> dict[str, Incident]:
    cause = Cause(name=name, severity="error", since=minutes(-60), latest=latest, summary="The run failed.")
    return {subject: Incident(id="1", table=subject, started=cause.since, causes={name: cause})}


def tables_of(subject: str) -> list[str]:
    return [place.path for place in PLACES if subject in (place.path, place.sync)]


def over(incidents: dict[str, Incident], passed: Mapping[str, float], whole: Mapping[str, float] = {}) -> list[str]:
    """The causes that are over, where these checks (of any table, or `table:check`) passed so many minutes later, and
    the proofs of these tables began so many minutes later."""

    def asked(table: str, check: str) -> datetime | None:
        at = passed.get(f"{table}:{check}", passed.get(check))
        return None if at is None else minutes(at)

    began = {f"shop/{name}": minutes(at) for name, at in whole.items()}
    return [item.name for item in proven.observed(incidents, tables_of, asked, began) if item.cause is None]


@pytest.mark.parametrize(
    ("cause", "passed", "ends"),
    [
        pytest.param("run:check_deep", {"deep": 1}, True, id="the deep check passed since"),
        pytest.param("run:check_deep", {"deep": -1}, False, id="it passed before the run failed again"),
        pytest.param("run:check_deep", {"deep": 0}, False, id="at the very moment is not after"),
        pytest.param("run:check_deep", {}, False, id="it has not passed"),
        pytest.param("run:check_deep", dict.fromkeys(DAILY, 1), False, id="others say nothing of the deep one"),
        pytest.param("run:check of count", {"count": 1}, True, id="of one check that one"),
        pytest.param("run:check of count", {"content": 1, "deep": 1}, False, id="and no other"),
        pytest.param("run:check", dict.fromkeys(DAILY, 1), True, id="of the daily proof each of its checks"),
        pytest.param("run:check", dict.fromkeys(DAILY[:3], 1), False, id="all but one are not enough"),
        pytest.param("run:check", {**dict.fromkeys(DAILY, 1), "schema": -1}, False, id="nor one from before"),
        pytest.param("run:incremental", dict.fromkeys((*DAILY, "deep"), 1), False, id="a sync is no check"),
        pytest.param("check:deep", {"deep": 1}, False, id="a failed check ends with its own result"),
        pytest.param("check:check", dict.fromkeys(DAILY, 1), False, id="whatever it is called"),
    ],
)
def test_a_run_of_checks_that_failed_is_over_when_each_of_them_passed_since(
    cause: str, passed: dict[str, float], ends: bool
):
    assert over(incident(cause), passed) == ([cause] if ends else [])


def test_a_sync_is_good_again_when_each_of_its_tables_is():
    failed = incident("run:check_deep", "shop")
    assert over(failed, {"shop/thing:deep": 1}) == []
    assert over(failed, {"shop/thing:deep": 1, "shop/other:deep": 2}) == ["run:check_deep"]
    assert over(incident("run:check_deep", "sync_clean_up"), {"deep": 1}) == []


def test_a_failure_whose_last_time_is_not_known_ends_by_a_run_alone():
    assert over(incident("run:check_deep", latest=None), {"deep": 1}) == []


@pytest.mark.parametrize("kind", ["incremental", "full", "assets", "records", "plan"])
def test_a_failed_sync_is_over_when_a_proof_of_the_whole_table_began_since(kind: str):
    cause = f"run:{kind}"
    assert over(incident(cause), {}, {"thing": 1}) == [cause]
    assert over(incident(cause), {}, {"thing": -1}) == []
    assert over(incident(cause), {}, {"other": 1}) == []


def test_of_a_whole_sync_every_table_must_be_proven():
    failed = incident("run:plan", "shop")
    assert over(failed, {}, {"thing": 1}) == []
    assert over(failed, {}, {"thing": 1, "other": -1}) == []
    assert over(failed, {}, {"thing": 1, "other": 1}) == ["run:plan"]


def test_a_failed_repair_is_over_when_the_values_were_proven():
    failed = incident("run:repair")
    assert over(failed, dict.fromkeys(DAILY, 1), {"thing": 1}) == [], "it may have been a deep one"
    assert over(failed, {"deep": -1}) == []
    assert over(failed, {"deep": 1}) == ["run:repair"]


@pytest.mark.parametrize("cause", ["run:upkeep", "run:check", "run:check_deep", "run:check of schema", "lag"])
def test_that_the_content_is_equal_ends_nothing_else(cause: str):
    assert over(incident(cause), {}, {"thing": 1}) == []


def proof(**changed: Any) -> ProofRecord:
    given = {"id": 1, "sync": "shop", "table": "thing", "kind": "quick", "started_at": minutes(1)}
    return ProofRecord(**{**given, "finished_at": minutes(2), **changed})


def facts(**changed: Any) -> Facts:
    return Facts(path="shop/thing", **{"pending": Pending(), "proof": proof(), **changed})


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="quick"),
        pytest.param({"proof": proof(kind="deep")}, id="deep"),
        pytest.param({"proof": proof(kind="count"), "content": proof()}, id="a count came after it"),
        pytest.param({"proof": proof(quarantined=1, excluded=1)}, id="what stays out is no difference"),
        pytest.param({"failures": 3, "last_error": "It failed."}, id="whatever failed before"),
    ],
)
def test_a_proof_of_the_whole_content_counts_while_nothing_waits(changed: dict[str, Any]):
    assert proven.whole_at(facts(**changed)) == minutes(1)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"proof": None}, id="never proven"),
        pytest.param({"proof": proof(kind="count")}, id="a count alone"),
        pytest.param({"proof": proof(missing=1)}, id="a difference"),
        pytest.param({"proof": proof(pending=1)}, id="what was pending then was not compared"),
        pytest.param({"proof": proof(scope="touched")}, id="of some keys"),
        pytest.param({"proof": proof(kind="count"), "content": proof(stale=1)}, id="counts hide no difference"),
        pytest.param({"pending": Pending(changes=1)}, id="a change waits"),
        pytest.param({"pending": Pending(full_reason="the log was purged")}, id="a full sync is due"),
        pytest.param({"pending": None}, id="the source cannot be asked"),
        pytest.param({"running": True}, id="a run is under way"),
        pytest.param({"problem": "The ledger does not answer."}, id="not all could be asked"),
    ],
)
def test_no_other_proof_does(changed: dict[str, Any]):
    assert proven.whole_at(facts(**changed)) is None


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("ORDERS", str(tmp_path / "orders.json"))
    order()
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def passed(instance: dg.DagsterInstance) -> datetime | None:
    """When the newest deep evaluation passed, as the sensor asks."""
    return checks.last_passed(instance, DEEP, lambda run_id: runs.spares(instance, run_id, "shop/thing", PLACES))


def report(instance: dg.DagsterInstance, *, good: bool, **metadata: str) -> None:
    """What `sync-pipelines check --deep` writes."""
    found = dg.AssetCheckEvaluation(asset_key=KEY, check_name="deep", passed=good, metadata=metadata)
    instance.report_runless_asset_event(found)


def test_the_newest_evaluation_counts_whoever_made_it(instance: dg.DagsterInstance):
    assert passed(instance) is None
    report(instance, good=True)
    first = passed(instance)
    project.run(instance, "check")
    second = passed(instance)
    assert first is not None
    assert second is not None
    assert first < second
    report(instance, good=False)
    assert passed(instance) is None
    order(deep={"severity": "WARN"})
    report(instance, good=True)
    project.run(instance, "check")
    assert passed(instance) is None


def test_what_passed_over_a_part_of_the_table_proves_nothing_of_it_and_hides_no_proof(instance: dg.DagsterInstance):
    """A large table's content is proven daily; its syncs look at the keys that they touched."""
    report(instance, good=True, scope="touched")
    assert passed(instance) is None
    report(instance, good=True)
    whole = passed(instance)
    report(instance, good=True, scope="touched")
    assert passed(instance) == whole is not None
    report(instance, good=False, scope="touched")
    assert passed(instance) is None


@pytest.mark.parametrize(
    ("status", "step", "counts"),
    [
        pytest.param("STARTED", None, False, id="under way"),
        pytest.param("CANCELED", None, False, id="cancelled"),
        pytest.param("FAILURE", None, False, id="failed as a whole"),
        pytest.param("FAILURE", "shop__thing_deep", False, id="failed for this table"),
        pytest.param("FAILURE", "elsewhere", False, id="failed in a step of nobody knows which table"),
        pytest.param("FAILURE", "shop__other_deep", True, id="failed for another table"),
    ],
)
def test_what_a_run_has_found_counts_when_it_ended_well_for_the_table(
    instance: dg.DagsterInstance, status: str, step: str | None, counts: bool
):
    run_id = project.run(instance, "check").dagster_run.run_id
    if step:
        project.report_step_failure(instance, run_id, step)
    with instance.run_storage.connect() as connection:
        connection.exec_driver_sql(f"UPDATE runs SET status = '{status}'")
    assert (passed(instance) is not None) == counts
