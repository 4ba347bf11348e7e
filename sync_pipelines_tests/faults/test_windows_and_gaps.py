"""Midnight, a sensor that was off, a log that is gone, a target that is gone: the next incremental run ends equal."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import dagster as dg
import pytest

from sync_pipelines.automation import run_request
from sync_pipelines.sources.postgres.capture import remove
from sync_pipelines.sources.postgres.readers import purge
from sync_pipelines_tests.dagster.project import article, definitions
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.faults.equality import assert_equal

DAY = timedelta(days=1)


def daily(**changed: object):
    """Article in windows of a day, the first of them ten days ago."""
    start = (datetime.now(UTC) - 10 * DAY).date().isoformat()
    return article(partitions={"every": "day", "start": start}, **changed)


def test_a_run_asked_for_before_midnight_and_executed_after_it_brings_all(world: World):
    world.component = daily()
    world.put("a")
    world.sync()
    midnight = datetime.combine(datetime.now(UTC), time(), UTC)
    with dg.partition_loading_context(effective_dt=midnight - timedelta(seconds=1)):
        request = run_request(world.component)
    assert request.partition_key == (midnight - DAY).date().isoformat()
    world.put("before", body="committed before midnight")
    world.execute("""UPDATE "Article" SET "updatedAt" = %s WHERE id = 'before'""", midnight - timedelta(seconds=2))
    world.put("after", body="committed after midnight")
    world.execute("""DELETE FROM "Article" WHERE id = 'a'""")
    job = definitions(world.component).resolve_job_def("shop_incremental")
    result = job.execute_in_process(
        instance=world.instance,
        partition_key=request.partition_key,
        run_config=request.run_config,
        tags=dict(request.tags),
    )
    assert result.success
    assert (world.last_run().counts.upserted, world.last_run().counts.deleted) == (2, 1)
    assert_equal(world)
    assert world.sync().read == 0


def test_a_sensor_that_was_off_for_three_days_asks_for_one_run_that_brings_all(world: World):
    world.component = daily()
    for key in "abc":
        world.put(key)
    world.sync()
    for days, key in enumerate("bcdef"):
        world.put(key, body=f"written {days} days ago")
        world.execute(
            """UPDATE "Article" SET "updatedAt" = (now() - %s * interval '1 day') AT TIME ZONE 'UTC' WHERE id = %s""",
            days,
            key,
        )
    world.execute("""DELETE FROM "Article" WHERE id = 'a'""")
    world.execute("""UPDATE sync.change_log SET changed_at = changed_at - interval '3 days'""")
    [request] = world.sensor_tick().run_requests
    assert request.partition_key == datetime.now(UTC).date().isoformat()
    counts = world.sync(partition=request.partition_key)
    assert (counts.read, counts.deleted) == (5, 1)
    assert_equal(world)
    assert world.sensor_tick().skip_message == "nothing pending"


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("DELETE FROM sync.change_log", id="deleted"),
        pytest.param("TRUNCATE sync.change_log", id="truncated", marks=pytest.mark.slow),
    ],
)
def test_a_log_that_somebody_emptied_is_recognised(world: World, statement: str):
    for key in "abc":
        world.put(key)
    world.sync()
    world.put("a", body="changed")
    world.put("d")
    world.execute("""DELETE FROM "Article" WHERE id = 'b'""")
    world.execute(statement)
    assert world.sync().deleted == 1
    assert "log purged" in world.last_run().reason
    assert_equal(world)


@pytest.mark.slow
def test_a_log_that_is_cleaned_below_what_is_confirmed_costs_nothing(world: World):
    world.put("a")
    world.sync()
    world.put("b")
    world.sync()
    assert sum(done.deleted for done in purge(world.url)) == 2
    world.put("c")
    assert world.sync().read == 1
    assert_equal(world)


@pytest.mark.parametrize(
    "emptied", [pytest.param(False, id="dropped"), pytest.param(True, id="emptied", marks=pytest.mark.slow)]
)
def test_a_collection_that_is_gone_is_filled_again_with_what_changed_meanwhile(world: World, emptied: bool):
    for key in "abc":
        world.put(key)
    world.sync()
    if emptied:
        world.collection.delete(ids=["a", "b", "c"])
    else:
        world.client.delete_collection("article")
    world.put("a", body="changed")
    world.execute("""DELETE FROM "Article" WHERE id = 'b'""")
    assert world.sync().upserted == 2
    assert_equal(world)


def test_triggers_that_are_installed_late_miss_nothing(world: World):
    for key in "abc":
        world.put(key)
    world.sync()
    remove(world.url, world.component.spec)
    world.put("a", body="changed without a trigger")
    world.put("d")
    world.execute("""DELETE FROM "Article" WHERE id = 'b'""")
    failed = world.materialize(raises=False)
    assert not failed.success
    assert "capture install shop/article" in world.failure(failed)
    world.install()
    world.put("e")
    counts = world.sync()
    assert (counts.upserted, counts.unchanged, counts.deleted) == (3, 1, 1)
    assert_equal(world)
