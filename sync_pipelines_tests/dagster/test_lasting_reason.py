"""A full read for a reason that no run ends is not asked for again at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import dagster as dg
import pytest

from sync_pipelines.check_results import backlog_result
from sync_pipelines.engine.model import Pending
from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.test_checks import check
from sync_pipelines_tests.dagster.world import World

LEAF = "CREATE TABLE leaf_{0} PARTITION OF parted FOR VALUES FROM ({0}00) TO ({1}00)"


@pytest.mark.slow
def test_a_partition_without_triggers_is_read_once_and_then_once_an_hour(world: World):
    world.execute("""CREATE TABLE parted (id int PRIMARY KEY, title jsonb, body text, stock integer,
        "updatedAt" timestamp(3) NOT NULL DEFAULT now()) PARTITION BY RANGE (id)""")
    world.execute(LEAF.format(0, 1))
    source = {"connection": "shop", "table": "parted", "key": ["id"], "changed_at": "updatedAt"}
    world.component = article(source=source)
    world.install()
    world.execute("INSERT INTO parted (id, body) VALUES (1, 'one')")
    world.sync()
    world.execute(LEAF.format(1, 2))
    world.execute("INSERT INTO leaf_1 (id, body) VALUES (101, 'two')")
    assert len(world.sensor_tick().run_requests) == 1
    world.sync()
    assert set(world.stored()) == {"1", "101"}
    tick = world.sensor_tick()
    assert not tick.run_requests
    assert '"leaf_1" lacks capture triggers, which no run ends' in tick.skip_message
    found = check(world)
    assert (found["backlog"].passed, found["backlog"].severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (
        found["backlog"].description == 'every run must read the whole table: "public"."leaf_1" lacks capture triggers'
    )
    (warning,) = world.component.build_source(world.resources).capture_warnings()
    assert "sync-pipelines capture install shop/parted" in warning
    world.install()
    assert len(world.sensor_tick().run_requests) == 1
    world.sync()
    assert world.sensor_tick().skip_message == "nothing pending"


def backlog_after(minutes: int) -> dg.AssetCheckResult:
    return backlog_result(
        pending=Pending(full_reason="leaf lacks capture triggers", lasting=True),
        quarantined=[],
        counts=(0, 0),
        limits=article().checks,
        last_success=datetime.now(UTC) - timedelta(minutes=minutes),
    )


def test_where_no_full_read_came_for_hours_it_is_a_lag_too():
    found = backlog_after(600)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert found.metadata["lag_seconds"].value == pytest.approx(9 * 3600, abs=60)


@pytest.mark.parametrize("minutes", [1, 40, 60])
def test_its_warning_is_the_same_however_long_ago_the_last_full_read_was_within_the_sensors_hour(minutes: int):
    found = backlog_after(minutes)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.description == "every run must read the whole table: leaf lacks capture triggers"
    assert found.metadata["lag_seconds"].value == pytest.approx(0, abs=1)


@pytest.mark.slow
def test_a_reason_that_the_next_run_ends_is_a_lag_also_where_another_one_lasts(world: World):
    world.execute("""CREATE TABLE parted (id int PRIMARY KEY, title jsonb, body text, stock integer,
        "updatedAt" timestamp(3) NOT NULL DEFAULT now()) PARTITION BY RANGE (id)""")
    source = {"connection": "shop", "table": "parted", "key": ["id"], "changed_at": "updatedAt"}
    world.component = article(source=source)
    world.install()
    world.execute(LEAF.format(1, 2))
    asked = world.component.build_source(world.resources)
    assert asked.pending(None) == Pending(full_reason="first run")
    world.sync()
    assert asked.pending(world.watermark()) == Pending(
        full_reason='"public"."leaf_1" lacks capture triggers', lasting=True
    )


def test_a_source_that_rests_is_told_and_its_lag_is_not_known():
    found = backlog_result(
        pending=Pending(),
        resting="the warehouse is STOPPED",
        quarantined=[],
        counts=(2, 0),
        limits=article().checks,
        last_success=datetime.now(UTC),
    )
    assert found.description == "2 records in quarantine; its changes are not counted now: the warehouse is STOPPED"
    assert found.metadata["not_asked"].value == "the warehouse is STOPPED"
    assert not {"pending", "lag_seconds"} & set(found.metadata)


def test_conflicts_that_wait_for_a_person_are_a_warning():
    found = backlog_result(
        pending=Pending(),
        quarantined=[],
        reviews=[SimpleNamespace(key="c1", reason="a person must decide")],
        in_review=1,
        counts=(0, 1),
        limits=article().checks,
        last_success=datetime.now(UTC),
    )
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "1 conflicts wait for a review" in (found.description or "")
    assert found.metadata["in_review"].value == 1
