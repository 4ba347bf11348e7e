"""Fields of payloads that `sensitive:` names: nobody is shown their values, wherever a document is spoken of."""

from __future__ import annotations

import json
import logging
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from sync_pipelines.components.rest_to_postgres import RestToPostgres
from sync_pipelines.engine.errors import SyncError
from sync_pipelines.engine.sensitive import masked
from sync_pipelines.targets.rowsets.hiding import Hidden
from sync_pipelines.targets.rowsets.paths import ANY, paths
from sync_pipelines_tests.cli import hidden
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.lake.house import House
from sync_pipelines_tests.rest.catalogue import DOCUMENT, Catalogue, currency
from sync_pipelines_tests.rest.hotels import Hotels, documents

SECRET = "beside the house of Anna Private"


def properties(*fields: str) -> RestToPostgres:
    """The document that ships, with these fields sensitive."""
    shipped = documents()["properties"]
    given = shipped.model_dump(exclude={"conflicts"}, exclude_unset=True)
    return RestToPostgres.model_validate({**given, "sensitive": list(fields)})


def rates_with(*fields: str) -> RestToPostgres:
    return RestToPostgres.model_validate({**DOCUMENT, "sensitive": list(fields)})


def told(house: House) -> str:
    """All that the ledger has been told, and the checks' table."""
    return house.execute(hidden.TOLD)[0][0] + str(house.execute("SELECT reason FROM property_status"))


@pytest.mark.slow
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_broken_contract_is_told_without_the_value_that_breaks_it(hotels: Hotels, wrapped: bool) -> None:
    (only,) = hotels.cupid.ids(1)
    hotels.ask_for(only)
    if wrapped:
        hotels.cupid.fault("wrapped", key=only)
    hotels.cupid.change(only, {"latitude": SECRET})
    table = properties("latitude")
    assert hotels.house.sync(table).quarantined == 1
    ((reason,),) = hotels.execute("SELECT reason FROM property_checks")
    assert reason == "the payload breaks the contract: latitude: a number is expected, found '***'."
    assert hotels.quarantine() == {str(only): reason}
    assert "Private" not in told(hotels.house)
    hotels.house.sync(table, mode="reparse")
    assert hotels.quarantine() == {str(only): reason}
    assert "Private" not in told(hotels.house)
    assert hotels.execute("SELECT payload::text ~ 'Private' FROM property_payloads") == [(True,)]


@pytest.mark.slow
def test_what_a_constraint_or_a_trigger_says_of_a_hotel_quotes_nothing_of_now_or_before(hotels: Hotels) -> None:
    first, second = hotels.cupid.ids(2)
    hotels.ask_for(first, second)
    table = properties("stars", "rooms[].room_name")
    hotels.house.sync(table)
    hotels.execute(
        "CREATE FUNCTION deny() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'the room % stays', OLD.room_name; END$$; "
        "CREATE TRIGGER deny BEFORE DELETE ON rooms FOR EACH ROW EXECUTE FUNCTION deny()"
    )
    room = hotels.execute("SELECT room_name FROM rooms WHERE hotel_id = %s LIMIT 1", second)[0][0]
    hotels.cupid.change(first, {"stars": 98765432101})  # what PostgreSQL itself says of a row names no value
    hotels.cupid.change(second, {"rooms": []})
    assert hotels.house.sync(table, mode="full").quarantined == 2
    assert hotels.quarantine()[str(first)].endswith("integer out of range [22003].")
    assert "left out for sensitive columns" in hotels.quarantine()[str(second)]
    assert not [word for word in ("98765432101", room) if word in told(hotels.house)]


@pytest.mark.slow
def test_a_hidden_key_is_masked_in_the_checks_and_in_the_reasons(hotels: Hotels) -> None:
    ids = hotels.cupid.ids(3)
    hotels.ask_for(*ids)
    hotels.cupid.fault("500", key=ids[0])
    hotels.cupid.change(ids[1], {"latitude": 123.5})
    hotels.cupid.change(ids[2], {"hotel_id": 77})
    world: Any = World(
        url=hotels.house.url, chroma=None, instance=dg.DagsterInstance.ephemeral(), component=properties("hotel_id")
    )
    found = {check.check_name: check for check in world.materialize().get_asset_check_evaluations()}
    rows = found["failures"].metadata["reasons"].records
    assert {row.data["key"] for row in rows} == {masked(str(ids[0])), masked(str(ids[2]))}
    assert "it is ***, and *** was asked for" in "".join(str(row.data["why"]) for row in rows)
    assert found["plausibility"].metadata["latitude"].value == [masked(str(ids[1]))]
    said = json.dumps([[check.description, str(check.metadata)] for check in found.values()])
    assert not [key for key in ids if str(key) in said]


@pytest.mark.slow
def test_a_sample_that_has_changed_is_named_by_masked_keys(hotels: Hotels) -> None:
    from sync_pipelines_tests.dagster.project import definitions

    (only,) = hotels.cupid.ids(1)
    hotels.ask_for(only)
    table: Any = properties("hotel_id")
    instance = dg.DagsterInstance.ephemeral()
    World(url=hotels.house.url, chroma=None, instance=instance, component=table).materialize()
    hotels.cupid.change(only, {"stars": 1})
    job = definitions(table).resolve_job_def("hotels_check_deep")
    (found,) = job.execute_in_process(instance=instance, raise_on_error=False).get_asset_check_evaluations()
    assert masked(str(only)) in found.description
    assert str(only) not in found.description


def test_a_column_is_hidden_by_its_name_though_its_path_is_another(rates: House, catalogue: Catalogue) -> None:
    catalogue.items[3] = currency("dkk", f"  {SECRET} ")
    table = rates_with("code", "rate")
    assert rates.sync(table).quarantined == 1
    (waiting,) = rates.bind(table).ledger.list_quarantine("rates", "currency")
    assert waiting.reason == "the payload breaks the contract: currency.rate: a number is expected, and this is '***'."
    assert "Private" not in rates.execute(hidden.TOLD)[0][0]
    catalogue.items[3] = currency("dkk")
    rates.sync(table, mode="full")
    rates.execute("UPDATE currency SET rate = 2 WHERE code = 'dkk'")
    assert rates.prove(table).samples == {"stale": [masked("dkk")]}


def test_the_words_of_the_api_are_left_out_where_fields_are_sensitive(
    rates: House, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(catalogue, "answer", lambda *_: (400, {"error": SECRET}))
    with pytest.raises(SyncError, match="Anna Private"):
        rates.sync(rates_with())
    caplog.clear()
    with pytest.raises(SyncError, match="answers 400") as caught:
        rates.sync(rates_with("rate"))
    assert "Private" not in caplog.text + str(caught.value) + str(caught.value.__cause__)


def test_an_odd_payload_at_which_the_mapping_function_fails_is_refused_alone_and_quotes_nothing() -> None:
    from sync_pipelines.engine.rowsets import RowTable
    from sync_pipelines.targets.rowsets.batch import Document, derived

    tables = [RowTable(name="t", record=("id",), kinds={"id": "text"})]
    names = {"guests": [{"name": SECRET}]}

    def rows_of(payload: Any, key: tuple[str, ...]) -> Any:
        raise AttributeError(f"{payload['guests'][0]['name']!r} has no such thing")

    made = derived(Document(key="1", status="current", payload=names), rows_of, tables, Hidden(paths=("guests.name",)))
    assert made.problem == "the payload breaks the contract: AttributeError: '***' has no such thing."


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("code", " x\n1 ", "this is 'x\\n1'"),
        ("code", "it's", 'this is "it\'s"'),
        ("code", "1e3", "would round 1000"),
        ("code", 7, "the key 7."),
        ("rooms[].code", None, "of the room 12"),
        ("rooms.1.code", None, "of the room 12"),
        ("rooms", None, "of the room 12"),
        ("[].code", None, "of the first item 12"),
    ],
)
def test_a_value_is_hidden_however_a_sentence_spells_it(path: str, value: Any, said: str) -> None:
    deep = [{"code": 12}, {"code": 13}]
    payload = deep if path.startswith("[]") else {"code": value, "rooms": deep, "data": {"other": 1}}
    shown = Hidden(paths=(path,)).text(said, ("1",), payload)
    assert "***" in shown
    assert not any(part in shown for part in ("x", "it's", "1000", "7", "12"))


def test_sensitive_names_columns_where_the_document_has_them_and_else_paths() -> None:
    with pytest.raises(ValidationError, match="sensitive: rates: the document has the columns code, title, rate"):
        rates_with("rates")
    with pytest.raises(ValidationError, match="is no path into a payload"):
        properties("rooms..name")
    assert rates_with("code").spec.sensitive == ("code", "id")
    assert properties("[].name", "rooms[].views[]", "data.phone").hidden.keys is False


def test_a_sensitive_path_is_found_in_a_wrapped_payload_too():
    hidden = Hidden(paths=("latitude", "rooms.name", "pool"))
    assert hidden.unknown({"data": ["object"], "data.latitude": ["number"], "rooms[].name": ["text"]}) == ["pool"]


@pytest.mark.parametrize(
    "name",
    [
        *("2026-11-27", "2026-11", "2026", "27.11.2026", "2026-11-27T14:30:00.5Z", "2026-11-27 14:30+01:00", "14:30"),
        *("2026-W48", "2026-Q4", "2026-11-27/2026-11-29", "1270324", "-5", "1,000.5"),
        *("8f14e45f-ceea-467f-9c5b-1d0f8a2b3c4d", "8F14E45F-CEEA-467F-9C5B-1D0F8A2B3C4D"),
    ],
)
def test_a_name_that_is_data_stands_as_a_star(name: str):
    assert [path for path, _ in paths({"of": [{name: {"x": 1}}]})] == ["of", "of[].*", "of[].*.x"]


@pytest.mark.parametrize("name", ["fr", "rate_2", "2x", "1w", "3T", "24h", "-", "", "h-2026", "8f14e45f", "data"])
def test_a_name_that_may_be_that_of_a_field_stands_as_it_is(name: str):
    assert ANY not in dict(paths({name: 1}))


@pytest.mark.parametrize(
    ("path", "is_known"),
    [
        ("prices.*.guest", True),
        ("prices.2026-11-27.guest", True),
        ("rooms.0.name", True),
        ("rooms.*.name", False),
        ("prices.*.name", False),
        ("prices.guest", False),
    ],
)
def test_a_sensitive_path_into_a_map_of_days_or_an_item_of_a_list_is_known(path: str, is_known: bool):
    found = dict(paths({"prices": {"2026-11-27": {"guest": SECRET}}, "rooms": [{"name": SECRET}]}))
    assert Hidden(paths=(path,)).unknown(found) == ([] if is_known else [path])


def test_a_sensitive_field_of_a_map_of_days_is_hidden_on_each_day():
    payload = {"prices": {"2026-11-27": {"guest": "Anna Private"}, "2026-11-28": {"guest": "Otto Secret"}}}
    said = "Anna Private, Otto Secret and somebody"
    assert Hidden(paths=("prices.*.guest",)).text(said, ("1",), payload) == "***, *** and somebody"


@pytest.mark.slow
def test_a_sensitive_path_that_no_payload_has_shows_as_drift(hotels: Hotels) -> None:
    hotels.ask_for(*hotels.cupid.ids(1))
    table: Any = properties("rooms.room_name", "fone", "address.city")
    world = World(url=hotels.house.url, chroma=None, instance=dg.DagsterInstance.ephemeral(), component=table)
    found = {check.check_name: check for check in world.materialize().get_asset_check_evaluations()}["drift"]
    assert "`sensitive` names fone, which none of them has" in found.description
    assert "room_name" not in found.description
    assert "city" not in found.description
