"""What is read from Dagster's storage: evaluations of checks and ends of runs, each once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest

from sync_pipelines.alerts import checks, lag, runs
from sync_pipelines.alerts.runs import Place
from sync_pipelines.alerts.sensor import _project
from sync_pipelines.own_runs import Ours
from sync_pipelines.status import Thresholds
from sync_pipelines_tests.alerts import project
from sync_pipelines_tests.alerts.project import CHECKS, KEY, order

KEYS = [dg.AssetCheckKey(KEY, name) for name in CHECKS]
PLACES = [Place(path="shop/thing", steps="shop__thing")]
DAILY = ("count", "content", "schema", "backlog")
OURS = Ours(
    assets=frozenset({KEY}),
    checks=frozenset(dg.AssetCheckKey(KEY, name) for name in (*DAILY, "deep")),
    jobs=frozenset({"shop_incremental", "shop_full", "shop_check", "shop_check_deep", "__ASSET_JOB"}),
)
LATER = timedelta(minutes=1)


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("ORDERS", str(tmp_path / "orders.json"))
    order()
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def evaluated(
    instance: dg.DagsterInstance, taken: dict[str, tuple[int, ...]], now: datetime | None = None
) -> tuple[list[tuple[str, bool]], dict]:
    seen, now_taken = checks.new_evaluations(instance, KEYS, taken, now=now or datetime.now(UTC))
    return [(item.name, item.cause is None) for item in seen], now_taken


def ended(instance: dg.DagsterInstance, position: int | None) -> tuple[list[tuple[str, str, bool]], int]:
    seen, after = runs.new_ends(instance, position, PLACES, OURS, now=datetime.now(UTC) + LATER)
    return [(item.table, item.name, item.cause is None) for item in seen], after


def test_each_evaluation_is_taken_once(instance: dg.DagsterInstance):
    _, taken = evaluated(instance, {})
    order(count={"severity": "WARN"})
    project.run(instance, "check")
    order()
    project.run(instance, "check")
    seen, taken = evaluated(instance, taken)
    assert sorted(seen) == [("check:count", False), *[("check:count", True)], *[("check:deep", True)] * 2]
    assert evaluated(instance, taken)[0] == []


def test_the_first_look_takes_the_newest_evaluation_alone(instance: dg.DagsterInstance):
    order(count={"severity": "WARN"})
    project.run(instance, "check")
    order()
    project.run(instance, "check")
    assert sorted(evaluated(instance, {})[0]) == [("check:count", True), ("check:deep", True)]


def test_an_evaluation_that_was_planned_before_and_ends_after_another_is_not_missed(instance: dg.DagsterInstance):
    """Its row has the lower id: the last id that was seen is no cursor."""
    order(count={"severity": "WARN"})
    ids = []
    for _ in range(2):
        project.run(instance, "check")
        ids += list(evaluated(instance, {})[1]["shop/thing:count"])
    taken = {"shop/thing:count": (max(ids),), "shop/thing:deep": evaluated(instance, {})[1]["shop/thing:deep"]}
    assert evaluated(instance, taken)[0] == [("check:count", False)]


def test_the_results_of_a_run_under_way_wait_for_its_others_but_not_for_long(instance: dg.DagsterInstance):
    _, taken = evaluated(instance, {})
    order(count={"severity": "WARN"})
    project.run(instance, "check")
    with instance.run_storage.connect() as connection:
        connection.exec_driver_sql("UPDATE runs SET status = 'STARTED'")
    assert evaluated(instance, taken)[0] == []
    late = datetime.now(UTC) + timedelta(seconds=checks.PATIENCE_SECONDS)
    assert len(evaluated(instance, taken, late)[0]) == 2


@pytest.mark.slow
def test_more_evaluations_than_a_page_are_all_taken(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checks, "PAGE", 3)
    _, taken = evaluated(instance, {})
    for _ in range(8):
        project.run(instance, "check")
    seen, taken = evaluated(instance, taken)
    assert len(seen) == 16
    assert evaluated(instance, taken)[0] == []
    project.run(instance, "check")
    assert len(evaluated(instance, taken)[0]) == 2


def test_numbers_and_at_most_twenty_keys_of_every_difference_are_read(instance: dg.DagsterInstance):
    samples = [["missing", f"m-{n}"] for n in range(30)] + [["extra", "e-1"]]
    order(count={"says": "password=s3cret-word", "numbers": {"missing": 30, "extra": 1}, "samples": samples})
    project.run(instance, "check")
    seen, _ = checks.new_evaluations(instance, KEYS, {}, now=datetime.now(UTC))
    cause = next(item.cause for item in seen if item.cause)
    assert cause.numbers == {"missing": 30, "extra": 1}
    assert len(cause.samples) == 20
    assert ("extra", "e-1") in cause.samples
    assert "s3cret" not in cause.summary


@pytest.mark.slow
def test_a_failed_run_and_what_a_good_one_mends(instance: dg.DagsterInstance):
    _, position = ended(instance, None)
    order(run="fail")
    project.run(instance, "full")
    seen, position = ended(instance, position)
    assert seen == [("shop/thing", "run:full", False)]
    order()
    project.run(instance, "incremental")
    seen, position = ended(instance, position)
    assert ("shop/thing", "run:incremental", True) in seen
    assert ("shop/thing", "run:full", True) not in seen
    project.run(instance, "full")
    assert ("shop/thing", "run:full", True) in ended(instance, position)[0]


def test_a_run_that_will_be_retried_is_no_failure_yet(instance: dg.DagsterInstance):
    _, position = ended(instance, None)
    order(run="fail")
    failed = project.run(instance, "incremental")
    instance.add_run_tags(failed.run_id, {"dagster/will_retry": "true"})
    assert ended(instance, position)[0] == []


def test_a_failure_settles_before_it_is_taken(instance: dg.DagsterInstance):
    """Dagster stores `dagster/will_retry` just after the failure."""
    _, position = ended(instance, None)
    order(run="fail")
    project.run(instance, "incremental")
    seen, after = runs.new_ends(instance, position, PLACES, OURS, now=datetime.now(UTC))
    assert (seen, after) == ([], position)
    assert len(ended(instance, after)[0]) == 1


def test_more_runs_than_a_page_are_all_taken_in_their_order(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runs, "PAGE", 2)
    _, position = ended(instance, None)
    for what in ("fail", "fail", "good", "fail", "good", "good"):
        order(run=what)
        project.run(instance, "full")
    found: list[bool] = []
    for _ in range(6):
        seen, position = ended(instance, position)
        found += [is_good for _, name, is_good in seen if name == "run:full"]
    assert found == [False, False, True, False, True, True]


def over(
    instance: dg.DagsterInstance,
    job: str,
    *checks: str,
    good: bool = True,
    of: dg.AssetKey = KEY,
    assets: bool | None = False,
) -> None:
    """A run of this job that ends now, over these checks of an asset, or over the asset itself.

    Args:
        assets: None leaves the selection of assets out, as the UI does.
    """
    run = dg.DagsterRun(
        job_name=job,
        run_id=str(uuid4()),
        tags={} if job.startswith("__") else {"sync": "shop"},
        asset_selection=None if assets is None else frozenset({of} if assets else ()),
        asset_check_selection=frozenset(dg.AssetCheckKey(of, name) for name in checks),
    )
    instance.add_run(run)
    kind = dg.DagsterEventType.RUN_SUCCESS if good else dg.DagsterEventType.RUN_FAILURE
    event = dg.DagsterEvent(kind.value, job_name=job, message="The end.")
    instance.report_dagster_event(event, run_id=run.run_id)


def still_open(instance: dg.DagsterInstance, position: int) -> set[str]:
    """The causes that are open after what ended since."""
    found: set[str] = set()
    for _, name, good in ended(instance, position)[0]:
        (found.discard if good else found.add)(name)
    return found


@pytest.mark.parametrize("assets", [False, None])
def test_a_run_over_the_backlog_alone_mends_no_failed_check(instance: dg.DagsterInstance, assets: bool | None):
    _, position = ended(instance, None)
    over(instance, "shop_check", *DAILY, good=False)
    over(instance, "shop_check", "backlog", assets=assets)
    assert still_open(instance, position) == {"run:check"}
    over(instance, "shop_check", *DAILY)
    assert still_open(instance, position) == set()


@pytest.mark.parametrize("job", ["shop_check", "__ASSET_JOB"])
def test_a_failed_run_over_some_checks_is_mended_by_one_that_covers_them(instance: dg.DagsterInstance, job: str):
    _, position = ended(instance, None)
    over(instance, job, "backlog", "count", good=False)
    over(instance, job, "deep")
    over(instance, job, "content", "schema")
    over(instance, "shop_incremental", *DAILY, assets=True)
    assert still_open(instance, position) == {"run:check of backlog", "run:check of count"}
    over(instance, job, "backlog", "count", "schema")
    assert still_open(instance, position) == set()


def test_a_failed_run_over_chosen_checks_ends_with_the_scheduled_runs_of_each(instance: dg.DagsterInstance):
    _, position = ended(instance, None)
    over(instance, "__ASSET_JOB", "content", "deep", good=False)
    assert still_open(instance, position) == {"run:check of content", "run:check_deep"}
    over(instance, "shop_check", *DAILY)
    assert still_open(instance, position) == {"run:check_deep"}
    over(instance, "shop_check_deep")
    assert still_open(instance, position) == set()


@pytest.mark.parametrize("checks", [(), DAILY, (*DAILY, "deep")])
def test_a_run_of_every_check_mends_one_over_some_of_them(instance: dg.DagsterInstance, checks: tuple[str, ...]):
    _, position = ended(instance, None)
    over(instance, "shop_check", "backlog", good=False)
    over(instance, "shop_check", *checks)
    assert still_open(instance, position) == set()


def test_a_deep_check_that_somebody_asked_for_mends_a_scheduled_one(instance: dg.DagsterInstance):
    _, position = ended(instance, None)
    over(instance, "shop_check_deep", "deep", good=False)
    over(instance, "shop_check", *DAILY)
    assert still_open(instance, position) == {"run:check_deep"}
    over(instance, "__ASSET_JOB", "deep")
    assert still_open(instance, position) == set()


@pytest.mark.parametrize("selection", [{"assets": True}, {}])
def test_an_ad_hoc_run_of_another_code_location_is_not_ours(instance: dg.DagsterInstance, selection: dict[str, bool]):
    """Every code location calls such runs `__ASSET_JOB`."""
    theirs = dg.AssetKey(["other", "asset"])
    _, position = ended(instance, None)
    over(instance, "__ASSET_JOB", "x", good=False, of=theirs, **selection)
    over(instance, "__ASSET_JOB", good=False)
    assert still_open(instance, position) == set()
    over(instance, "__ASSET_JOB", good=False, assets=True)
    assert still_open(instance, position) == {"run:assets"}


def test_the_name_of_ad_hoc_runs_is_none_of_our_jobs_so_an_incident_on_it_ends():
    repository = project.definitions(every_seconds=30).get_repository_def()
    assert "__ASSET_JOB" in repository.job_names
    assert "__ASSET_JOB" not in _project(SimpleNamespace(repository_def=repository)).subjects()
    assert {"shop", "shop/thing", "shop_check"} <= _project(SimpleNamespace(repository_def=repository)).subjects()


def test_runs_of_another_code_location_are_not_ours(instance: dg.DagsterInstance):
    order(run="fail")
    project.run(instance, "full")
    assert (
        runs.new_ends(instance, None, PLACES, replace(OURS, jobs=frozenset()), now=datetime.now(UTC) + LATER)[0] == []
    )


@pytest.mark.parametrize(
    ("step", "table"),
    [
        ("shop__art", "shop/art"),
        ("shop__art_icle", "shop/art_icle"),
        ("shop__art_icle_count", "shop/art_icle"),
        ("shop__art_count", "shop/art"),
        ("shop__article", None),
    ],
)
def test_a_step_belongs_to_the_table_with_the_longest_fitting_name(step: str, table: str | None):
    places = [Place(path="shop/art", steps="shop__art"), Place(path="shop/art_icle", steps="shop__art_icle")]
    assert runs.table_of(step, places) == table


NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = Thresholds(lag_warn=timedelta(minutes=15), lag_error=timedelta(hours=2))


@pytest.mark.parametrize(
    ("seconds", "severity"), [(0, None), (900, None), (901, "warn"), (7200, "warn"), (7201, "error")]
)
def test_lag_beyond_the_thresholds_of_the_document_is_a_cause(seconds: int, severity: str | None):
    seen, _ = lag.observed([lag.Lateness(path="shop/article", thresholds=LIMITS, seconds=seconds)], {}, now=NOW)
    assert (seen[0].cause.severity if seen[0].cause else None) == severity


def test_a_database_that_hangs_holds_one_thread_however_often_its_lag_is_asked(monkeypatch: pytest.MonkeyPatch):
    go_on, asked = Event(), list[str]()

    def hang(tables: list[Any], *_: Any) -> None:
        asked.extend(table.path for table in tables)
        assert go_on.wait(60)

    monkeypatch.setattr(lag, "_ask_all", hang)
    monkeypatch.setattr("sync_pipelines.reporting.thresholds", lambda _: LIMITS)
    table = SimpleNamespace(sync="of_a_test", path="of_a_test/table")
    for _ in range(3):
        (found,) = lag.ask([table], None, now=NOW, within=0.01)
        assert found.problem == "its source or ledger did not answer within 0 s"
    go_on.set()
    lag._under_way.pop("of_a_test").join(60)
    assert asked == ["of_a_test/table"]


def test_a_lag_that_cannot_be_asked_is_a_cause_after_as_long_and_none_before():
    found = [lag.Lateness(path="shop/article", thresholds=LIMITS, problem="The database {is} down.")]
    seen, silent = lag.observed(found, {}, now=NOW)
    assert (seen, silent) == ([], {"shop/article": NOW})
    seen, silent = lag.observed(found, silent, now=NOW + timedelta(hours=3))
    assert seen[0].cause
    assert seen[0].cause.severity == "error"
    assert "The database {is} down." in seen[0].cause.summary
    assert silent == {"shop/article": NOW}
