"""`start`, `stop` and an interval while a daemon runs: what it does, and what CLI and UI say of it."""

from __future__ import annotations

import json
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from typer.testing import CliRunner

from sync_pipelines.cli import app
from sync_pipelines_tests.dagster.deployment import Deployment, deployed, wait_for
from sync_pipelines_tests.rest.hotels import Hotels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SENSOR = "hotels__properties_changes"

CODE = """
from sync_pipelines.components.rest_to_postgres import RestToPostgres
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.rest.hotels import documents

given = documents()["properties"].model_dump(exclude={"conflicts"}, exclude_unset=True)
defs = definitions(RestToPostgres.model_validate({**given, "sensor": {"every_seconds": 5}}))
"""

_ASKED = f"""{{ sensorOrError(sensorSelector: {{repositoryName: "__repository__",
    repositoryLocationName: "code_location.py", sensorName: "{SENSOR}"}}) {{ __typename
    ... on Sensor {{ sensorState {{ status ticks(limit: 1) {{ timestamp status }} }} }} }} }}"""

_START = f"""mutation {{ startSensor(sensorSelector: {{repositoryName: "__repository__",
    repositoryLocationName: "code_location.py", sensorName: "{SENSOR}"}}) {{ __typename }} }}"""


def told(*words: str) -> Any:
    """What a command prints as JSON."""
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code in (0, 1), result.output
    return json.loads(result.stdout)


def seen_in_the_ui(deployment: Deployment) -> str:
    """The state of the sensor, as the UI shows it."""
    return deployment.graphql(_ASKED)["sensorOrError"]["sensorState"]["status"]


def ticks(deployment: Deployment) -> int:
    """How many ticks of the sensor there were."""
    (state,) = [item for item in deployment.instance.all_instigator_state() if item.name == SENSOR]
    return len(deployment.instance.get_ticks(state.instigator_origin_id, state.selector_id))


def succeeded(deployment: Deployment) -> int:
    return sum(run.status.value == "SUCCESS" for run in deployment.runs("dagster/sensor_name"))


def _answer(deployment: Deployment) -> str | None:
    try:
        return seen_in_the_ui(deployment)
    except OSError:
        return None  # it is still starting


def test_a_daemon_obeys_stop_start_and_an_interval_at_once_and_all_say_the_same(hotels: Hotels, tmp_path: Path) -> None:
    first, second = hotels.cupid.ids(2)
    hotels.ask_for(first)
    with deployed(tmp_path, CODE) as deployment:
        wait_for("a run by the sensor", lambda: succeeded(deployment) == 1, seconds=150)

        stopped = {item["name"]: item["running"] for item in told("stop", "hotels")["switches"]}
        assert stopped[SENSOR] is False
        assert wait_for("the webserver", lambda: _answer(deployment)) == "STOPPED"
        assert told("health")["syncs"]["hotels"]["is_started"] is False
        sleep(6)  # a tick that was under way has ended
        hotels.ask_for(second)  # it is due, and nobody asks for it
        before = ticks(deployment)
        sleep(12)  # two ticks of one that runs
        assert (ticks(deployment), len(deployment.runs())) == (before, 1)

        deployment.graphql(_START)  # in the UI
        assert told("health")["syncs"]["hotels"]["is_started"] is True
        wait_for("a run after the start", lambda: succeeded(deployment) == 2, seconds=150)
        assert hotels.execute("SELECT count(*) FROM properties") == [(2,)]

        told("stop", "hotels")
        hotels.execute("UPDATE property_checks SET checked_at = now() - interval '2 h'")
        assert all(item["running"] for item in told("start", "hotels", "--interval", "90m")["switches"])
        assert seen_in_the_ui(deployment) == "RUNNING"
        wait_for("a run by the new interval", lambda: succeeded(deployment) == 3, seconds=150)
