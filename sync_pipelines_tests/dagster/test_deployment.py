"""Webserver, daemon and runs as processes of their own, over SQLite and over PostgreSQL storage."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg2
import pytest

from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines_tests.dagster.deployment import Deployment, deployed, wait_for
from sync_pipelines_tests.dagster.world import World

CODE = """
from sync_pipelines_tests.dagster.project import article, definitions

defs = definitions(
    article(
        sensor={"every_seconds": 5},
        schedules={"incremental": "* * * * *", "full": None, "checks": None},
        runs={"batch_size": 50},
    )
)
"""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(params=["sqlite", "postgres"])
def storage(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Dagster's own storage: the default, or a database of its own."""
    monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)
    if request.param == "sqlite":
        yield request.param
        return
    name = f"dagster_{os.getpid()}"
    postgres_server.create_database(name)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", postgres_server.url(name).replace("+psycopg2", ""))
    yield request.param
    postgres_server.drop_database(name)


@pytest.mark.spare_where(storage="sqlite")
def test_a_change_arrives_by_the_sensor_and_a_schedule_ticks(world: World, storage: str, tmp_path: Path):
    world.put("a")
    with deployed(tmp_path, CODE) as deployment:
        by_sensor = wait_for("a run by the sensor", lambda: deployment.succeeded("dagster/sensor_name"))
        assert set(world.stored()) == {"a"}
        wait_for("a run by the schedule", lambda: deployment.succeeded("dagster/schedule_name"))
        answer = deployment.graphql(f'{{ runOrError(runId: "{by_sensor.run_id}") {{ ... on Run {{ status }} }} }}')
        assert answer["runOrError"]["status"] == "SUCCESS"
        held_by_postgres = _tables_of_dagster(os.environ.get("DAGSTER_POSTGRES_URL"))
        assert held_by_postgres == (storage == "postgres")


def _tables_of_dagster(url: str | None) -> bool:
    if url is None:
        return False
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM runs")
            row = cursor.fetchone()
            return row is not None and row[0] > 0
    finally:
        connection.close()


@pytest.mark.exhaustive  # `faults/test_killed_under_the_daemon` kills at every boundary
def test_a_run_killed_by_sigkill_has_a_successor_that_ends_equal(world: World, tmp_path: Path):
    world.execute("""INSERT INTO "Article" SELECT 'k' || n, '{"en": "t"}', repeat('x', 500) || n, 1
                     FROM generate_series(1, 6000) n""")
    with deployed(tmp_path, CODE, webserver=False) as deployment:
        killed = wait_for("a run under way", lambda: _writing(deployment, world))
        os.kill(wait_for("its process", lambda: deployment.pid_of(killed)), signal.SIGKILL)
        stored = len(world.stored())
        assert stored < 6000
        after = wait_for("a successor", lambda: _successor(deployment, killed), seconds=180)
        assert after.run_id != killed
        wait_for("equality", lambda: world.prove().equal or None)
        run = deployment.instance.get_run_by_id(killed)
        assert run is not None
        assert run.status == dg.DagsterRunStatus.FAILURE
    embedded = sum(entry.counts.embedded_texts for entry in world.logs() if entry.status == "completed")
    assert embedded <= 6000 - stored


def _writing(deployment: Deployment, world: World) -> str | None:
    started = {run.run_id for run in deployment.runs() if run.status == dg.DagsterRunStatus.STARTED}
    if not started or not world.exists() or world.collection.count() < 300:
        return None
    return started.pop()


def _successor(deployment: Deployment, killed: str) -> dg.DagsterRun | None:
    done = [run for run in deployment.runs() if run.status == dg.DagsterRunStatus.SUCCESS and run.run_id != killed]
    return done[0] if done else None
