"""Hotels under Dagster: assets, checks, sensor, status."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from sync_pipelines.cli import app
from sync_pipelines.components.assets import build_asset
from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.plan import plan
from sync_pipelines.registry import BoundTable, databases
from sync_pipelines.reporting import facts_of
from sync_pipelines.status import table_status
from sync_pipelines.targets.rowsets.looking import implausible
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.rest.hotels import TABLES, Hotels, documents

pytestmark = pytest.mark.slow


@pytest.fixture
def world(hotels: Hotels) -> World:
    component: Any = documents()["properties"]
    return World(url=hotels.house.url, chroma=None, instance=dg.DagsterInstance.ephemeral(), component=component)


def test_a_materialization_tells_requests_and_its_checks_tell_what_is_odd(
    hotels: Hotels, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ids = hotels.cupid.ids(9)
    hotels.ask_for(*ids, 999_999_999)
    hotels.cupid.fault("500", key=ids[0])
    hotels.cupid.change(ids[1], {"latitude": 123.5})
    result = world.materialize()
    assert result.success
    assert "10 records to fetch" in caplog.messages
    assert not [line for line in caplog.messages if "in the log" in line]  # an API has none
    metadata = result.asset_materializations_for_node("hotels__properties")[0].metadata
    assert metadata["requests"].value >= 10
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert {name for name, check in checks.items() if not check.passed} == {"failures", "plausibility", "backlog"}
    assert "1 absent" in checks["failures"].description
    assert checks["plausibility"].metadata["latitude"].value == [str(ids[1])]


def test_ratings_and_coordinates_beyond_what_can_be_are_odd_and_the_last_that_can_be_is_not(hotels: Hotels) -> None:
    (only,) = hotels.cupid.ids(1)
    hotels.ask_for(only)
    odd = {"rating": 10.1, "stars": 8, "latitude": -90.1, "longitude": 180.1, "review_count": -1}
    last = {"rating": 10.0, "stars": 7, "latitude": -90.0, "longitude": 180.0, "review_count": 0}
    table = documents()["properties"]
    store: Any = hotels.house.bind(table).target
    for values, told in ((odd, set(odd)), (last, set())):
        hotels.cupid.change(only, values)
        hotels.sync(mode="full")
        assert {item.column for item in implausible(store, table.ranges)} == told
    assert documents()["reviews"].ranges == {"average_score": (0.0, 10.0)}


@pytest.mark.parametrize("column", ["hotel_name", "raiting"])
def test_a_range_of_what_is_no_column_of_numbers_is_told_by_its_name(hotels: Hotels, column: str) -> None:
    store: Any = hotels.house.bind(documents()["properties"]).target
    with pytest.raises(RunError, match=rf"plausible\.{column}: .* has no such column of numbers") as caught:
        list(implausible(store, {"rating": (0, 10), column: (0, 10)}))
    assert "it has: hotel_id, cupid_id," in str(caught.value)


def test_a_new_field_shows_as_drift_and_is_in_the_payload(hotels: Hotels, world: World) -> None:
    only = hotels.cupid.ids(1)[0]
    hotels.ask_for(only)
    assert _checked(world)["drift"].passed
    hotels.cupid.change(only, {"wellness": {"pool": True}}, drop=["fax"])
    hotels.sync(mode="full")
    found = _checked(world)["drift"]
    assert "new field wellness; new field wellness.pool; missing field fax" in found.description
    assert hotels.execute("SELECT payload -> 'wellness' FROM property_payloads") == [({"pool": True},)]


def test_a_new_day_in_a_map_of_days_is_no_new_field_and_a_new_field_of_a_day_is(hotels: Hotels, world: World) -> None:
    only = hotels.cupid.ids(1)[0]
    hotels.ask_for(only)
    hotels.cupid.change(only, {"prices": {"2026-11-27": {"amount": 1}}})
    assert _checked(world)["drift"].passed
    hotels.cupid.change(only, {"prices": {"2026-11-28": {"amount": 2}, "2026-11-29": {"amount": 2}}})
    hotels.sync(mode="full")
    assert _checked(world)["drift"].passed
    hotels.cupid.change(only, {"prices": {"2026-11-28": {"amount": 2, "tax": 1}}})
    hotels.sync(mode="full")
    assert _checked(world)["drift"].description.startswith("new field prices.*.tax. They are kept")


def test_days_that_were_noted_as_fields_of_their_own_become_one(hotels: Hotels, world: World) -> None:
    only = hotels.cupid.ids(1)[0]
    hotels.ask_for(only)
    hotels.cupid.change(only, {"prices": {"2026-11-28": {"amount": 1}}})
    _checked(world)
    hotels.execute("DELETE FROM property_fields WHERE path ~ '[*]'")
    hotels.execute(
        "INSERT INTO property_fields (part, path, kinds, expected) "
        "VALUES ('properties', 'prices.2026-11-27', '{object}', true), "
        "('properties', 'prices.2026-11-27.amount', '{number}', true), "
        "('properties', 'prices.2026-11-28', '{object}', false)"
    )
    assert _checked(world)["drift"].passed
    noted = "SELECT path, expected FROM property_fields WHERE path ~ '^prices.' ORDER BY path"
    assert hotels.execute(noted) == [("prices.*", True), ("prices.*.amount", True)]


def _checked(world: World) -> dict[str, Any]:
    return {check.check_name: check for check in world.materialize().get_asset_check_evaluations()}


def test_a_deep_check_fetches_a_sample_anew_and_what_changed_is_due_at_once(hotels: Hotels, world: World) -> None:
    from sync_pipelines_tests.dagster.project import definitions

    ids = hotels.cupid.ids(3)
    hotels.ask_for(*ids)
    world.materialize()
    hotels.cupid.change(ids[2], {"stars": 1})
    job = definitions(world.component).resolve_job_def("hotels_check_deep")
    found = job.execute_in_process(instance=world.instance, raise_on_error=False).get_asset_check_evaluations()[0]
    assert found.passed
    assert found.metadata["sample"].value == 3
    assert found.metadata["sample_changed"].value == 1
    assert hotels.sync().upserted == 1


def test_the_sensor_asks_when_the_interval_of_now_is_over(hotels: Hotels, world: World) -> None:
    hotels.ask_for(*hotels.cupid.ids(2))
    assert world.sensor_tick().run_requests
    world.materialize()
    assert world.sensor_tick().skip_message == "nothing pending"
    hotels.execute("UPDATE property_checks SET checked_at = now() - interval '13 h', fetched_at = now()")
    assert world.sensor_tick().run_requests
    hotels.ledger.set_setting("hotels.sync_interval", "24h")
    assert world.sensor_tick().skip_message == "nothing pending"
    hotels.ask_for(7)
    assert world.sensor_tick().run_requests
    hotels.ledger.set_setting("hotels.enable_auto", "off")
    assert "switched off" in world.sensor_tick().skip_message


def test_status_says_when_a_table_is_due_and_counts_what_the_api_has_not(hotels: Hotels, world: World) -> None:
    hotels.ask_for(*hotels.cupid.ids(2), 999_999_999)
    world.materialize()
    now = datetime.now(UTC)
    bound = BoundTable(documents()["properties"], world.resources)
    found = table_status(facts_of(bound, live=True, now=now), now=now)
    assert (found.source_count, found.target_count, found.excluded, found.pending) == (3, 2, 1, 0)
    assert found.interval == "12h"
    assert timedelta(hours=11) < found.next_run - now < timedelta(hours=13)
    assert found.healthy


def test_without_a_key_nothing_is_known_and_no_table_is_made(
    hotels: Hotels, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [branch for item in databases() for branch in item.branches if branch == "hotels"] == ["hotels"]
    monkeypatch.delenv("CUPID_API_KEY")
    bound = BoundTable(documents()["properties"], world.resources)
    found = table_status(facts_of(bound, live=False, now=datetime.now(UTC)), now=datetime.now(UTC))
    assert found.reason == "not configured: CUPID_API_KEY is not set"
    assert (found.source_count, found.healthy, found.lag_seconds, found.last_success) == (None, None, None, None)
    assert all("hotels" not in item.branches for item in databases())
    assert world.sensor_tick().skip_message == "not configured: CUPID_API_KEY is not set"


def test_runs_of_one_api_queue_so_that_its_connections_are_no_more_than_allowed():
    pools = {name: build_asset(document).op.pool for name, document in documents().items()}
    assert pools == dict.fromkeys(TABLES, "api/cupid")


def test_the_lag_of_an_api_is_that_of_what_is_due(hotels: Hotels) -> None:
    hotels.ask_for(*hotels.cupid.ids(1))

    def lag() -> tuple[Any, Any]:
        told = CliRunner().invoke(app, ["capture", "lag", "hotels/properties", "--json"])
        (found,) = json.loads(told.stdout)["tables"]
        return found["lag_seconds"], found["full_reason"]

    assert lag() == (None, "first run")
    hotels.sync()
    assert lag() == (0.0, None)


def test_a_plan_does_not_count_what_the_api_has_never_had(hotels: Hotels) -> None:
    hotels.ask_for(*hotels.cupid.ids(1), 999_999_999)
    hotels.sync()
    made = plan(hotels.house.bind(documents()["properties"]), mode="full")
    assert (made.unchanged, made.quarantined, made.requests) == (1, 0, 2)
