"""Dagster's own history: what is removed, and what stays although it is old."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import dagster as dg
import pytest
import sqlalchemy as sa

from sync_pipelines import dagster_history
from sync_pipelines.dagster_retention import removable, remove
from sync_pipelines.repairs import recheck
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.dagster.test_checks import check
from sync_pipelines_tests.dagster.world import World

pytestmark = pytest.mark.slow


def _old(world: World):
    repository = definitions(world.component).get_repository_def()
    return removable(world.instance, repository, before=datetime.now(UTC) + timedelta(seconds=5))


def _runs(world: World) -> set[str]:
    return {run.run_id for run in world.instance.get_runs()}


def test_the_newest_word_of_each_partition_and_check_stays_however_old(world: World):
    world.put("a")
    first = world.materialize().run_id
    old_window = world.materialize(partition="2024-02-01").run_id
    newest = world.materialize().run_id
    check(world)
    deep = _runs(world) - {first, old_window, newest}
    found = _old(world)
    assert first in found.run_ids
    assert not {old_window, newest, *deep} & set(found.run_ids)
    remove(world.instance, found)
    assert first not in _runs(world)
    assert {old_window, newest, *deep} <= _runs(world)
    statuses = world.instance.get_materialized_partitions(world.component.asset_key)
    assert "2024-02-01" in statuses


@pytest.fixture(params=["files", "postgres"])
def kept(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_server: PostgresServer
) -> Iterator[dg.DagsterInstance]:
    """An instance that keeps what it is told, in either storage."""
    name = f"dagster_{uuid4().hex[:8]}"
    if request.param == "files":
        with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
            yield instance
        return
    postgres_server.create_database(name)
    storage = {"storage": {"postgres": {"postgres_url": postgres_server.url(name)}}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=storage) as instance:
        yield instance


def _rows(instance: dg.DagsterInstance, table: str) -> list[Any]:
    storage = dagster_history._sql(instance)
    assert storage is not None
    with storage.index_connection() as connection:
        return list(connection.execute(sa.text(f"SELECT * FROM {table}")).mappings())


def test_nothing_of_a_removed_run_stays_and_of_what_had_none_the_newest(
    world: World, kept: dg.DagsterInstance, tmp_path: Path
):
    world.instance = kept
    world.put("a")
    for _ in range(2):
        world.materialize()
        check(world)
        recheck(world.component, world.component.bind(world.resources), kept, run_id=None, deep=False)
    keys = definitions(world.component).get_repository_def().asset_graph.asset_check_keys
    newest = kept.event_log_storage.get_latest_asset_check_execution_by_key(sorted(keys))
    before = datetime.now(UTC) + timedelta(seconds=5)
    remove(kept, _old(world))
    assert dagster_history.delete_loose(kept, [world.component.asset_key], before=before) > 0
    runs = {run.run_id for run in kept.get_runs()}
    results = _rows(kept, "asset_check_executions")
    assert {row["run_id"] for row in results} <= {*runs, ""}
    loose = [row for row in results if not row["run_id"]]
    assert sorted(row["check_name"] for row in loose) == ["content", "count"]
    assert {path.stem for path in (tmp_path / "history" / "runs").glob("*.db")} <= {*runs, ".db", "index"}
    assert kept.event_log_storage.get_latest_asset_check_execution_by_key(sorted(keys)) == newest
    assert kept.get_latest_materialization_event(world.component.asset_key) is not None
    ids = {row["id"] for row in _rows(kept, "event_logs") if not row["run_id"]}
    assert {
        row["evaluation_event_storage_id"] for row in _rows(kept, "asset_check_executions") if not row["run_id"]
    } <= ids


def test_of_a_run_whose_removal_was_killed_nothing_stays_after_the_next(kept: dg.DagsterInstance, tmp_path: Path):
    @dg.asset(check_specs=[dg.AssetCheckSpec("good", asset="thing")])
    def thing():
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])

    run_id = dg.materialize([thing], instance=kept).run_id
    assert _rows(kept, "asset_check_executions")
    for end in (KeyboardInterrupt, None):
        with pytest.MonkeyPatch.context() as patch, suppress(KeyboardInterrupt):
            if end:
                patch.setattr(type(kept.run_storage), "delete_run", Mock(side_effect=end))
            dagster_history.delete_run(kept, run_id)
        assert kept.has_run(run_id) is bool(end), "what is left must be found again"
        assert _rows(kept, "asset_check_executions") == []
        assert not [*tmp_path.rglob(f"{run_id}*")]


def test_what_was_reported_today_without_a_run_stays(world: World, kept: dg.DagsterInstance):
    for _ in range(2):
        recheck(world.component, world.component.bind(world.resources), kept, run_id=None, deep=False)
    counted = len(_rows(kept, "asset_check_executions")), len(_rows(kept, "event_logs"))
    ago = datetime.now(UTC) - timedelta(days=90)
    assert dagster_history.delete_loose(kept, [world.component.asset_key], before=ago) == 0
    elsewhere = [dg.AssetKey("elsewhere")]
    assert dagster_history.delete_loose(kept, elsewhere, before=datetime.now(UTC) + timedelta(seconds=5)) == 0
    assert (len(_rows(kept, "asset_check_executions")), len(_rows(kept, "event_logs"))) == counted


def test_a_run_of_today_and_one_of_somebody_else_stay(world: World):
    @dg.job
    def strange(): ...

    theirs = strange.execute_in_process(instance=world.instance).run_id
    world.put("a")
    world.materialize()
    world.materialize()
    repository = definitions(world.component).get_repository_def()
    young = removable(world.instance, repository, before=datetime.now(UTC) - timedelta(days=90))
    assert young.run_ids == ()
    assert theirs not in _old(world).run_ids


@pytest.mark.parametrize(
    ("asset", "check", "ours"),
    [
        (["shop", "article"], None, True),
        (None, (["shop", "article"], "count"), True),
        (["other", "asset"], None, False),
        (None, (["other", "asset"], "x"), False),
        (None, (["shop", "article"], "theirs"), False),
        (["shop", "article"], (["other", "asset"], "x"), False),
        (None, None, False),
    ],
)
def test_an_ad_hoc_run_is_ours_where_its_whole_selection_is(world: World, asset, check, ours: bool):
    """Every code location calls such runs `__ASSET_JOB`, so the name says nothing."""
    run = dg.DagsterRun(
        job_name="__ASSET_JOB",
        run_id=str(uuid4()),
        status=dg.DagsterRunStatus.SUCCESS,
        asset_selection=frozenset({dg.AssetKey(asset)} if asset else ()),
        asset_check_selection=frozenset({dg.AssetCheckKey(dg.AssetKey(check[0]), check[1])} if check else ()),
    )
    world.instance.add_run(run)
    assert (run.run_id in _old(world).run_ids) is ours


def test_the_job_removes_nothing_unless_it_is_told_to(world: World, monkeypatch: pytest.MonkeyPatch):
    import sync_pipelines.definitions as project
    from sync_pipelines import dagster_retention

    shop = definitions(world.component)
    monkeypatch.setattr(project, "load", lambda: (shop, (world.component,)))
    monkeypatch.setattr(dagster_retention, "timedelta", lambda days: timedelta(seconds=-5))
    world.put("a")
    world.materialize()
    world.materialize()
    job, before = shop.resolve_job_def("sync_dagster_clean_up"), _runs(world)
    assert job.execute_in_process(instance=world.instance).success
    assert before <= _runs(world)
    told = {"ops": {"sync_dagster_clean_up_runs": {"config": {"dry_run": False}}}}
    assert job.execute_in_process(instance=world.instance, run_config=told).success
    assert not before <= _runs(world)
