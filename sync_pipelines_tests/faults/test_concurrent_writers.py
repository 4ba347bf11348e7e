"""Twenty applications write while syncs run: when it is quiet, source and target are equal."""

from __future__ import annotations

import time

import pytest

from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.faults.equality import EQUAL, articles, assert_equal, differences, held
from sync_pipelines_tests.faults.writers import Writers, fill

# Deletes are a quarter of all writes here: the guard against mass deletion has tests of its own.
UNGUARDED = {"mass_delete": {"share": 1.0}}

SIX, TWENTY = (6, 200, 0.4, 2.0), (20, 2000, 3.0, 20.0)
crowd = pytest.mark.parametrize(
    ("threads", "keys", "delay", "seconds"),
    [pytest.param(*SIX, id="six"), pytest.param(*TWENTY, id="twenty", marks=pytest.mark.slow)],
)


def sync_until_quiet(world: World, writers: Writers, seconds: float) -> int:
    """Run incremental syncs while others write, then one more; the number of syncs. No check raised an alarm."""
    syncs = 0
    with writers:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline or syncs < 2:
            result = world.materialize()
            assert result.success
            syncs += 1
            if world.component.source.capture == "trigger":
                assert result.get_asset_check_evaluations()[0].passed, result.get_asset_check_evaluations()
    world.sync()
    return syncs


@crowd
def test_whatever_commits_late_or_rolls_back_the_target_ends_equal(
    world: World, threads: int, keys: int, delay: float, seconds: float
):
    world.component = article(checks=UNGUARDED)
    fill(world, keys // 2)
    world.sync()
    writers = Writers(world.url, threads=threads, keys=keys, delay=delay)
    assert sync_until_quiet(world, writers, seconds) >= 2
    assert min(writers.done[ending] for ending in ("committed", "rolled back", "back to a savepoint")) > 0
    assert_equal(world)
    assert world.sync().read == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("threads", "keys", "delay", "seconds"),
    [
        pytest.param(*SIX, id="six"),
        pytest.param(*TWENTY, id="twenty", marks=[pytest.mark.slow, pytest.mark.exhaustive]),
    ],
)
def test_by_cursor_every_insert_and_update_arrives_and_a_full_run_finds_the_deletes(
    world: World, threads: int, keys: int, delay: float, seconds: float
):
    source = {**article().source.model_dump(exclude_none=True), "capture": "cursor", "lookback": "0s"}
    world.component = article(checks=UNGUARDED, source=source)
    fill(world, keys // 2)
    world.sync()
    sync_until_quiet(world, Writers(world.url, threads=threads, keys=keys, delay=delay, seed=2), seconds)
    found = differences(articles(world), held(world.collection))
    assert (found["missing"], found["stale"]) == ([], [])
    assert found["extra"]
    world.sync(mode="full")
    assert differences(articles(world), held(world.collection)) == EQUAL
    assert world.prove().equal


def test_a_row_changed_without_a_new_change_time_arrives(world: World):
    world.put("a")
    world.sync()
    world.execute("""UPDATE "Article" SET body = 'typed by hand' WHERE id = 'a'""")
    assert world.sync().upserted == 1
    assert_equal(world)


def test_rows_dated_in_the_past_and_in_the_future_arrive(world: World):
    world.put("a")
    world.sync()
    world.execute("""INSERT INTO "Article" VALUES ('past', '{}', 'clock set back', 1, '1999-01-01')""")
    world.execute("""INSERT INTO "Article" VALUES ('future', '{}', 'clock set forward', 1, '2999-01-01')""")
    world.execute("""UPDATE "Article" SET body = 'set back', "updatedAt" = "updatedAt" - interval '1 day'
                     WHERE id = 'a'""")
    assert world.sync().upserted == 3
    assert_equal(world)
