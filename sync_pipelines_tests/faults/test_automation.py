"""Schedules and sensors evaluated as the daemon does: what they ask for, what they skip for, and that it runs."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from sync_pipelines.automation import newest_partition
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.dagster.world import World

SCHEDULES = ["shop_incremental_schedule", "shop_full_schedule", "shop_check_schedule"]


def test_a_sync_without_its_far_system_skips_with_the_variables_name(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CHROMA_URL")
    for tick in (world.sensor_tick(), *map(world.schedule_tick, SCHEDULES)):
        assert tick.run_requests == []
        assert "CHROMA_URL and CHROMA_PATH are not set" in tick.skip_message


def test_the_sensor_asks_for_one_incremental_run_of_its_table_and_again_after_a_failure(world: World):
    world.put("a")
    [request] = world.sensor_tick().run_requests
    assert request.run_key is None
    assert request.partition_key == newest_partition(world.component)
    assert list(request.asset_selection) == [world.component.asset_key]
    assert request.run_config == {"ops": {"shop__article": {"config": {"mode": "incremental"}}}}
    assert request.tags["sync/table"] == "shop/article"
    assert request.tags["dagster/max_runtime"] == str(12 * 3600)
    world.execute("""ALTER TABLE "Article" RENAME COLUMN body TO bodies""")
    assert not world.materialize(raises=False).success
    world.execute("""ALTER TABLE "Article" RENAME COLUMN bodies TO body""")
    assert "1 failures in a row: next try at" in world.sensor_tick().skip_message
    world.execute("UPDATE sync.sync_logs SET completed_at = completed_at - interval '31 seconds'")
    assert len(world.sensor_tick().run_requests) == 1
    world.sync()
    assert world.sensor_tick().skip_message == "nothing pending"


@pytest.mark.slow
def test_the_sensor_waits_while_a_run_of_its_table_is_under_way(world: World):
    world.put("a")
    job = definitions(world.component).resolve_job_def("shop_incremental")
    tags = {"sync/table": "shop/article", "dagster/partition": newest_partition(world.component)}
    run = world.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTING, tags=tags)
    assert world.sensor_tick().skip_message == f"run {run.run_id} is queued or running"


def execute(world: World, request: dg.RunRequest, job: str) -> dg.ExecuteInProcessResult:
    """Run just what a request asks for, as the daemon's run would, in this process."""
    whole = definitions(world.component).resolve_job_def(job)
    chosen = whole.get_subset(
        asset_selection=set(request.asset_selection) if request.asset_selection else None,
        asset_check_selection=set(request.asset_check_keys) if request.asset_check_keys is not None else None,
    )
    return chosen.execute_in_process(instance=world.instance, run_config=request.run_config, tags=dict(request.tags))


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "read"), [("incremental", 0), ("full", 1)])
def test_a_schedules_request_runs_in_its_mode_on_the_newest_window(world: World, mode: str, read: int):
    world.put("a")
    world.sync()
    [request] = world.schedule_tick(f"shop_{mode}_schedule").run_requests
    assert request.run_key == "shop/article", "one of several requests of a tick, which have to be told apart"
    assert request.partition_key == newest_partition(world.component)
    assert execute(world, request, f"shop_{mode}").success
    assert (world.last_run().mode, world.last_run().counts.read) == (mode, read)


def test_the_check_schedules_request_proves_the_table_and_writes_nothing(world: World):
    world.put("a")
    world.sync()
    [request] = world.schedule_tick("shop_check_schedule").run_requests
    asked = {key.name for key in request.asset_check_keys}
    assert asked == {"count", "content", "schema", "backlog"}
    assert evaluation_after(world, request).passed
    world.collection.delete(ids=["a"])
    found = evaluation_after(world, request)
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.ERROR
    assert found.metadata["missing"].value == 1
    assert len(world.logs()) == 1
    assert world.stored() == {}


def evaluation_after(world: World, request: Any) -> Any:
    """Execute the check's run; what it found."""
    result = execute(world, request, "shop_check")
    assert result.success
    assert not result.get_asset_materialization_events()
    return next(found for found in result.get_asset_check_evaluations() if found.check_name == "count")
