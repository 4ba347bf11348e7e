"""Settings, start and stop, health, commands: what a user of hotels types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorStatus
from typer.testing import CliRunner

from sync_pipelines.cli import app
from sync_pipelines_tests.dagster.homes import fresh_home
from sync_pipelines_tests.rest.hotels import Hotels

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGSTER_HOME of the test's own."""
    folder = tmp_path / "home"
    fresh_home(folder)
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return folder


def told(*words: str, code: int = 0) -> Any:
    """What a command prints as JSON."""
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_a_setting_is_validated_stored_listed_and_obeyed(hotels: Hotels) -> None:
    told("settings", "set", "hotels", "sync_interval", "24h")
    stored = told("settings", "list", "hotels")["settings"]
    assert [(item["setting_key"], item["setting_value"]) for item in stored] == [("hotels.sync_interval", "24h")]
    assert stored[0]["description"]
    assert stored[0]["updated_at"]
    assert told("health")["syncs"]["hotels"]["sync_interval"] == "1d"
    wrong = {"sync_interval": "often", "rate_limit": "0", "enable_auto": "perhaps", "speed": "1", "review_count": "ten"}
    for name, value in wrong.items():
        result = CliRunner().invoke(app, ["settings", "set", "hotels", name, value])
        assert result.exit_code == 3, result.output
    for value in (" , ", " "):
        result = CliRunner().invoke(app, ["settings", "set", "hotels", "lang", value])
        assert (result.exit_code, "expected at least one value" in result.output) == (3, True), result.output
    for words in (("-1", "--json"), ("--json", "-1"), ("--", "-1")):
        result = CliRunner().invoke(app, ["settings", "set", "hotels", "rate_limit", *words])
        assert (result.exit_code, "'-1': expected a number above 0" in result.output) == (3, True), result.output
    told("settings", "set", "hotels", "sync_interval", "--unset")
    assert told("settings", "get", "hotels", "sync_interval", code=1)["setting_value"] is None


def test_that_no_trigger_finds_what_changes_in_an_api_is_told(hotels: Hotels) -> None:
    result = CliRunner().invoke(app, ["capture", "status", "hotels/properties"])
    assert result.exit_code == 0
    assert result.stderr == "hotels/properties: left out: no trigger finds its changes.\n"


def test_start_and_stop_are_the_states_that_dagster_keeps(hotels: Hotels, monkeypatch: pytest.MonkeyPatch) -> None:
    written, add = list[str](), dg.DagsterInstance.add_instigator_state

    def overwritten_once(instance: dg.DagsterInstance, state: Any) -> Any:
        """A daemon writes the state that it has read before, at the end of its tick."""
        add(instance, state)
        if not written:
            instance.update_instigator_state(state.with_status(InstigatorStatus.RUNNING))
        written.append(state.instigator_name)

    monkeypatch.setattr(dg.DagsterInstance, "add_instigator_state", overwritten_once)
    stopped = told("stop", "hotels")["switches"]
    assert written
    assert {item["name"] for item in stopped} >= {"hotels__properties_changes", "hotels_full_schedule"}
    assert not any(item["running"] for item in stopped)
    assert told("health")["syncs"]["hotels"]["is_started"] is False
    assert all(item["running"] for item in told("start", "hotels", "--interval", "6h")["switches"])
    assert told("settings", "get", "hotels", "sync_interval")["setting_value"] == "6h"
    assert told("health")["syncs"]["hotels"]["is_started"] is True


def test_a_sync_a_reparse_and_one_hotel_at_once_by_commands(hotels: Hotels) -> None:
    first, second = hotels.cupid.ids(2)
    hotels.ask_for(first, second)
    runs = told("sync", "hotels/properties")["runs"]
    assert (runs[0]["status"], runs[0]["counts"]["upserted"]) == ("completed", 2)
    hotels.cupid.change(first, {"stars": 1})
    told("sync", "hotels/properties", "--keys", str(first))
    assert hotels.execute("SELECT stars FROM properties WHERE hotel_id = %s", first) == [(1,)]
    assert told("reparse", "hotels/properties")["runs"][0]["counts"]["unchanged"] == 2
    found = told("health")["syncs"]["hotels"]
    assert (found["is_configured"], found["is_running"]) == (True, False)
    assert 0 < told("status", "hotels/properties")["assets"]["hotels/properties"]["source_count"] <= 2


def test_a_sync_tells_which_hotels_are_marked_and_counts_them_not_as_unchanged(hotels: Hotels) -> None:
    first, second = hotels.cupid.ids(2)
    hotels.ask_for(first, second)
    hotels.sync()
    hotels.cupid.remove(first)
    result = CliRunner().invoke(app, ["sync", "hotels/properties", "--full"])
    assert result.exit_code == 0, result.output
    assert "2 read, 1 metadata only, 1 unchanged" in result.output
    assert "gone from the API, marked (sync_status 'not_found') and kept: 1" in result.output
    hotels.cupid.restore(first)
    again = CliRunner().invoke(app, ["sync", "hotels/properties", "--full"]).stdout
    assert "2 read, 1 metadata only, 1 unchanged" in again
    assert "back, their mark removed: 1" in again
    assert "gone from the API" not in again
    last = CliRunner().invoke(app, ["sync", "hotels/properties", "--full"]).stdout
    assert "2 unchanged" in last
    assert "back" not in last


def last_result(check: str) -> Any:
    """What the UI shows of a check of the hotels' properties."""
    key = dg.AssetCheckKey(dg.AssetKey(["hotels", "properties"]), check)
    with dg.DagsterInstance.get() as instance:
        (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    return record.event.dagster_event.asset_check_evaluation_data


def test_a_deep_check_by_hand_fetches_a_sample_anew_shows_it_in_the_ui_and_what_changed_is_due(hotels: Hotels) -> None:
    first, second = hotels.cupid.ids(2)
    hotels.ask_for(first, second)
    hotels.sync()
    hotels.cupid.change(second, {"stars": 1})
    result = CliRunner().invoke(app, ["check", "hotels/properties", "--deep"])
    assert result.exit_code == 0, result.output
    said = f"Of 2 fetched anew 1 have changed since: {second}."
    assert said in result.stdout.replace("\n", " ")
    shown = last_result("deep")
    assert shown.description.endswith(said)
    assert {name: shown.metadata[name].value for name in ("sample", "sample_changed", "sample_unanswered")} == {
        "sample": 2,
        "sample_changed": 1,
        "sample_unanswered": 0,
    }
    assert "sample" not in last_result("content").metadata
    assert hotels.sync().upserted == 1
    hotels.cupid.clear_seen()
    assert told("check", "hotels/properties")["tables"]["hotels/properties"]["sample"] is None
    assert hotels.cupid.seen()["requests"] == 0
