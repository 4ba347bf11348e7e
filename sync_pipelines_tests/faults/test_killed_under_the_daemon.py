"""SIGKILL at every write boundary of a run under the daemon: the next run starts, ends equal, embeds nothing twice.

One deployment for all: a sync for each boundary, with a database and a collection of its own (`mortal`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines_tests.dagster.deployment import Deployment, deployed, wait_for
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.faults.equality import assert_equal
from sync_pipelines_tests.faults.mortal import DEATHS, FOLDER, settings, sync_of
from sync_pipelines_tests.faults.shop import change, filled, texts

CODE = """
from sync_pipelines_tests.faults.mortal import location

defs = location()
"""
SECONDS = 300
"""For all of them together: each of the processes of runs takes 5 s to import, on two cores."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def worlds(
    world: World, postgres_server: PostgresServer, world_template: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, World]]:
    """A world for each boundary: a database of its own, one ledger and one Chroma for all."""
    monkeypatch.setenv("SYNC_DATABASE_URL", world.url)
    made = {}
    for boundary in DEATHS:
        name = sync_of(boundary)
        postgres_server.create_database(name, template=world_template)
        url = postgres_server.url(name)
        monkeypatch.setenv(f"{name.upper()}_DATABASE_URL", url)
        made[boundary] = World(url=url, chroma=world.chroma, instance=world.instance)
    yield made
    for one in made.values():
        postgres_server.drop_database(one.url.rpartition("/")[2])


def test_a_run_that_is_killed_under_the_daemon_is_followed_by_one_that_ends_equal(
    worlds: dict[str, World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    orders = tmp_path / "orders"
    orders.mkdir()
    monkeypatch.setenv(FOLDER, str(orders))
    monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)
    for boundary, world in worlds.items():
        (orders / sync_of(boundary)).touch()
        filled(world, **settings(boundary))
        change(world)
    with deployed(tmp_path, CODE, webserver=False) as deployment:
        last = wait_for("their deaths", lambda: _last_words(orders), seconds=SECONDS)
        for world in worlds.values():
            world.put("after")  # so that a run comes also where all was confirmed
        wait_for("equality", lambda: all(_is_equal(world) for world in worlds.values()) or None, seconds=SECONDS)
        dead = [last[sync_of(boundary)]["run_id"] for boundary in DEATHS]
        wait_for("Dagster's word of their deaths", lambda: _all_failed(deployment, dead) or None)
    for boundary, world in worlds.items():
        _nothing_was_lost_or_made_twice(world, last[sync_of(boundary)])


def _last_words(orders: Path) -> dict[str, Any] | None:
    found = {path.stem: json.loads(path.read_text()) for path in orders.glob("*.last")}
    # the file of the order goes last
    return found if len(found) == len(DEATHS) == len(os.listdir(orders)) else None


def _is_equal(world: World) -> bool:
    under_way = any(run.status == "running" for run in world.logs())
    proof = None if under_way else world.prove()
    return proof is not None and proof.equal and not proof.pending


def _all_failed(deployment: Deployment, run_ids: list[str]) -> bool:
    found = [deployment.instance.get_run_by_id(run_id) for run_id in run_ids]
    return all(run is not None and run.status == dg.DagsterRunStatus.FAILURE for run in found)


def _nothing_was_lost_or_made_twice(world: World, last: dict[str, Any]) -> None:
    stored = {tuple(pair) for pair in last["stored"]}
    first, *later = [run for run in reversed(world.logs()) if run.run_id != last["run_id"]]
    assert first.status == "completed"
    assert sum(run.counts.embedded_texts for run in later) == len(texts(world.collection) - stored)
    assert_equal(world)
