"""The weekly clean-up takes what every reader has confirmed, and no reader meets a gap."""

from __future__ import annotations

import dagster as dg
import pytest

from sync_pipelines.resources.postgres import LedgerResource
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.dagster.world import World


def log_lines(world: World) -> int:
    return world.execute("SELECT count(*) FROM sync.change_log")[0][0]


@pytest.mark.slow
def test_confirmed_changes_and_events_go_and_waiting_ones_stay(world: World):
    world.put("a")
    world.sync()
    world.put("a", stock=2)
    world.put("b")
    world.sync()
    world.put("c")
    waiting = log_lines(world)
    for key, days in (("old", 100), ("new", 80)):
        world.execute("SELECT sync.publish_event('USER_DELETED', 'user', %s)", key)
        world.execute(
            "UPDATE sync.sync_event_log SET status = 'COMPLETED', completed_at = now() - make_interval(days => %s) "
            "WHERE entity_id = %s", days, key,
        )  # fmt: skip
    job = definitions(world.component).resolve_job_def("sync_clean_up")
    assert job.execute_in_process(instance=world.instance).success
    assert 1 <= log_lines(world) < waiting
    assert world.execute("SELECT entity_id FROM sync.sync_event_log") == [("new",)]
    counts = world.sync()
    assert (counts.read, counts.upserted) == (1, 1)
    assert world.last_run().reason == ""
    assert world.prove().equal


def test_the_clean_up_runs_every_sunday_at_four(world: World):
    schedule = definitions(world.component).get_repository_def().get_schedule_def("sync_clean_up_schedule")
    assert schedule.cron_schedule == "0 4 * * 0"


def test_without_a_database_the_clean_up_skips_and_a_wrong_url_is_an_error(world: World, monkeypatch):
    schedule = definitions(world.component).get_repository_def().get_schedule_def("sync_clean_up_schedule")

    def tick():
        with dg.build_schedule_context(world.instance, resources={"ledger": LedgerResource()}) as context:
            return schedule.evaluate_tick(context)

    assert len(tick().run_requests) == 1
    monkeypatch.delenv("DATABASE_URL")
    assert "DATABASE_URL is not set" in tick().skip_message
    monkeypatch.setenv("DATABASE_URL", "nonsense")
    with pytest.raises(dg.DagsterError) as caught:
        tick()
    assert "DATABASE_URL is not a PostgreSQL URL" in str(caught.value.__cause__)
