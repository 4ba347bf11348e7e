"""Two writers never work on one target; one whose lock is lost stops."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from sync_pipelines.engine import run as engine
from sync_pipelines.engine.errors import LockLostError
from sync_pipelines.engine.locks import TargetLock
from sync_pipelines.engine.model import Scope
from sync_pipelines_tests.dagster.deployment import wait_for
from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.faults.boundaries import around, at, bend
from sync_pipelines_tests.faults.equality import assert_equal
from sync_pipelines_tests.faults.writers import fill


@pytest.fixture
def shop(world: World) -> World:
    """Fifty articles that wait for their first sync, in batches of ten."""
    world.component = article(runs={"batch_size": 10})
    fill(world, 50)
    return world


def run_of_its_own(world: World) -> Any:
    """A run in an instance of its own: nothing but the target's lock keeps two of them apart."""
    with dg.DagsterInstance.ephemeral() as instance:
        return replace(world, instance=instance).materialize()


def waiting(world: World) -> bool:
    """Whether a second run asks for the target's lock again and again, and its books are not open yet."""
    tries = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sync run %%'"
    return world.execute(tries)[0][0] == 2 and len(world.logs()) == 1


def test_two_runs_at_once_work_one_after_the_other(shop: World, monkeypatch: pytest.MonkeyPatch):
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        assert go_on.wait(60)

    bend(at("heads", 2, hold), monkeypatch.setattr)
    with ThreadPoolExecutor(2) as pool:
        runs: list[Future[Any]] = [pool.submit(run_of_its_own, shop)]
        assert inside.wait(60)
        shop.put("k0001", body="changed while the first run writes")
        runs.append(pool.submit(run_of_its_own, shop))
        wait_for("the second run at the lock", lambda: waiting(shop) or None, seconds=60)
        go_on.set()
        assert all(run.result().success for run in runs)
    second, first = shop.logs()
    assert second.started_at >= first.completed_at
    assert (first.counts.upserted, second.counts.upserted) == (50, 1)
    assert_equal(shop)


def terminate(world: World) -> None:
    """End the session that holds the target's lock, as an administrator or a restart would."""
    held = world.execute("""SELECT pg_terminate_backend(pid, 60000) FROM pg_locks JOIN pg_stat_activity USING (pid)
                            WHERE locktype = 'advisory' AND application_name LIKE 'sync chroma:%'
                            AND datname = current_database()""")
    assert held == [(True,)]


@pytest.mark.parametrize(
    ("boundary", "stored"),
    [
        pytest.param(("heads", 2), 20, id="between batches"),
        pytest.param(("before confirm", 1), 50, id="at the end", marks=pytest.mark.slow),
    ],
)
def test_a_writer_whose_lock_is_lost_stops_before_the_next_batch_and_before_the_watermark(
    shop: World, monkeypatch: pytest.MonkeyPatch, boundary: tuple[str, int], stored: int
):
    bend(at(*boundary, lambda: terminate(shop)), monkeypatch.setattr)
    binding = shop.component.bind(shop.resources, batch_size=10)
    request = engine.Request(mode="incremental", scope=Scope(), trigger="manual", run_id="the-first")
    with pytest.raises(LockLostError, match="another writer may work there"):
        engine.write(engine.open_run(binding, request))
    assert len(shop.stored()) == stored
    assert shop.watermark() is None
    assert shop.last_run().status == "failed"
    counts = shop.sync()
    assert (counts.unchanged, counts.upserted) == (stored, 50 - stored)
    assert_equal(shop)


@pytest.mark.slow
def test_a_second_writer_that_takes_a_lost_lock_is_not_overwritten(shop: World, monkeypatch: pytest.MonkeyPatch):
    def overtaken() -> None:
        terminate(shop)
        shop.execute("""UPDATE "Article" SET body = 'newer ' || id""")
        shop.sync()

    bend(at("heads", 2, overtaken), monkeypatch.setattr)
    binding = shop.component.bind(shop.resources, batch_size=10)
    request = engine.Request(mode="incremental", scope=Scope(), trigger="manual", run_id="the-first")
    changes = engine.open_run(binding, request)
    with pytest.raises(LockLostError):
        engine.write(changes)
    assert_equal(shop)
    assert shop.sync().read == 0


@pytest.mark.slow
def test_a_rebuild_whose_lock_is_lost_takes_no_place_from_what_a_second_writer_has_brought(
    shop: World, monkeypatch: pytest.MonkeyPatch
):
    shop.sync()

    def overtaken() -> None:
        terminate(shop)
        shop.execute("""UPDATE "Article" SET body = 'newer ' || id""")
        shop.sync()

    proven = around(None, "proven", at("proven", 1, overtaken))(engine.Run._delete_by_absence)
    monkeypatch.setattr(engine.Run, "_delete_by_absence", proven)
    binding = shop.component.bind(shop.resources, batch_size=10)
    request = engine.Request(mode="rebuild", scope=Scope(full=True), trigger="manual", run_id="the-first")
    changes = engine.open_run(binding, request)
    with pytest.raises(LockLostError):
        engine.write(changes)
    assert_equal(shop)


@pytest.mark.slow
def test_through_dagster_a_lost_lock_is_a_retry_that_ends_equal(shop: World, monkeypatch: pytest.MonkeyPatch):
    bend(at("heads", 3, lambda: terminate(shop)), monkeypatch.setattr)
    assert shop.sync().upserted == 20
    assert [run.status for run in shop.logs()] == ["completed", "failed"]
    assert_equal(shop)
    lock = shop.component.bind(shop.resources)
    assert TargetLock(lock.lock_url, lock.lock_name).holder() is None
