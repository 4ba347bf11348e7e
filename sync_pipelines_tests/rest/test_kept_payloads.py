"""What is kept of the answers: rows are made anew without a request, and an application's own table is used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from sync_pipelines import migrations
from sync_pipelines.components.rest_to_postgres import RestToPostgres
from sync_pipelines.engine.errors import RunError
from sync_pipelines_tests.lake.house import House
from sync_pipelines_tests.rest.catalogue import DOCUMENT, Catalogue
from sync_pipelines_tests.rest.hotels import Hotels, documents

pytestmark = pytest.mark.slow


def test_a_new_column_is_filled_from_the_payloads_without_a_request(hotels: Hotels) -> None:
    ids = hotels.cupid.ids(3)
    hotels.ask_for(*ids)
    hotels.execute("ALTER TABLE properties DROP COLUMN airport_code")
    hotels.sync()
    hotels.execute("ALTER TABLE properties ADD COLUMN airport_code text")
    first_seen = "SELECT record_key, first_seen_at, hash FROM property_payloads ORDER BY 1"
    seen = hotels.execute(first_seen)
    hotels.cupid.clear_seen()
    properties = hotels.house.bind(documents()["properties"])
    waiting = properties.source.pending(properties.ledger.watermark("hotels", "properties"))
    assert waiting.full_reason == "the mapping, or a column, changed"
    assert hotels.sync(mode="reparse").upserted == 3
    assert hotels.cupid.seen()["requests"] == 0
    assert hotels.execute(first_seen) == seen  # the payloads are those of before, though their rows are not
    kept = (
        "SELECT payload ->> 'airport_code' FROM property_payloads WHERE part = 'properties' ORDER BY record_key::int8"
    )
    filled = hotels.execute("SELECT airport_code FROM properties ORDER BY hotel_id")
    assert filled == [(code or None,) for (code,) in hotels.execute(kept)]
    assert any(code for (code,) in filled)
    assert not properties.source.pending(properties.ledger.watermark("hotels", "properties"))
    hotels.cupid.change(ids[0], {"stars": 1})
    hotels.sync(mode="full")
    assert {old[0] for old, new in zip(seen, hotels.execute(first_seen), strict=True) if old[1] < new[1]} == {
        str(ids[0])
    }


def test_what_broke_the_contract_is_kept_whole_and_arrives_when_the_mapping_allows_it(hotels: Hotels) -> None:
    (only,) = hotels.cupid.ids(1)
    hotels.ask_for(only)
    hotels.execute("ALTER TABLE properties ADD CONSTRAINT small CHECK (stars < 0)")
    assert hotels.sync().quarantined == 1
    assert hotels.execute("SELECT count(*) FROM properties") == [(0,)]
    assert hotels.execute("SELECT status FROM property_checks WHERE part = 'properties'") == [("refused",)]
    hotels.execute("ALTER TABLE properties DROP CONSTRAINT small")
    hotels.cupid.clear_seen()
    assert hotels.sync(mode="reparse").upserted == 1
    assert hotels.cupid.seen()["requests"] == 0
    assert hotels.quarantine() == {}


def test_a_table_that_somebody_dropped_is_named_and_comes_back_from_the_payloads(hotels: Hotels) -> None:
    hotels.ask_for(*hotels.cupid.ids(2))
    hotels.sync()
    photos = "SELECT * FROM photos ORDER BY hotel_id, photo_id"
    before = hotels.execute(photos)
    hotels.execute("DROP TABLE photos")
    hotels.cupid.clear_seen()
    with pytest.raises(RunError, match=r'there is no table "public"\."photos", .* was dropped') as caught:
        hotels.sync(mode="full")
    assert "db upgrade --sql --whole" in (caught.value.remedy or "")
    for line in migrations.script("hotels", "public").splitlines():
        if line.startswith(('CREATE TABLE "public"."photos" ', 'CREATE INDEX "photos_')):
            hotels.execute(line)
    hotels.sync(mode="reparse")
    assert (hotels.execute(photos), hotels.cupid.seen()["requests"]) == (before, 0)
    assert before
    hotels.execute("DROP TABLE property_changes")
    with pytest.raises(RunError, match=r'there is no table "public"\."property_changes"'):
        hotels.sync()


def test_a_hotel_whose_payload_somebody_removed_goes_on_from_the_version_of_its_history(hotels: Hotels) -> None:
    (only,) = hotels.cupid.ids(1)
    hotels.ask_for(only)
    kept = "SELECT data_version FROM property_payloads WHERE part = 'properties'"
    refuse = "ALTER TABLE properties ADD CONSTRAINT never CHECK (stars < 5)"
    for stars in (1, 2, 3):
        hotels.cupid.change(only, {"stars": stars})
        hotels.sync(mode="full")
    for stars, version, statement in ((3, 3, "SELECT 1"), (4, 4, "SELECT 1"), (5, 4, refuse), (1, 5, "SELECT 1")):
        hotels.execute("TRUNCATE property_payloads")
        hotels.execute(statement)
        hotels.cupid.change(only, {"stars": stars})
        hotels.sync(mode="full")
        assert (hotels.execute(kept), len(hotels.quarantine())) == ([(version,)], int(stars == 5))
    changed = "SELECT data_version, old::int, new::int FROM property_changes WHERE path = 'stars' ORDER BY 1"
    assert hotels.execute(changed) == [(2, 1, 2), (3, 2, 3), (4, 3, 4), (5, 4, 1)]
    assert hotels.execute("SELECT stars, data_version FROM properties") == [(1, 5)]


def test_an_edit_behind_the_syncs_back_is_found_and_mended_from_the_payload(hotels: Hotels) -> None:
    from sync_pipelines.engine.model import Scope
    from sync_pipelines.engine.repair import Wanted, repair
    from sync_pipelines.engine.run import Request

    first, second = hotels.cupid.ids(2)
    hotels.ask_for(first, second)
    hotels.sync()
    hotels.execute("UPDATE rooms SET room_name = 'Broom cupboard' WHERE hotel_id = %s", first)
    hotels.execute("DELETE FROM properties WHERE hotel_id = %s", second)
    proof = hotels.prove()
    assert proof.samples == {"missing": [str(second)], "stale": [str(first)]}
    hotels.cupid.clear_seen()
    binding = hotels.house.bind(documents()["properties"])
    request = Request(mode="repair", scope=Scope(), trigger="manual", run_id="mend")
    assert repair(binding, request, Wanted()).repaired == 2
    assert hotels.cupid.seen()["requests"] == 0
    assert hotels.prove(kind="deep").equal


def test_an_existing_table_of_the_application_is_used_by_its_own_names(hotels: Hotels) -> None:
    hotels.execute("CREATE TABLE inns (id bigint PRIMARY KEY, title text, place text, own_notes text)")
    first, second = hotels.cupid.ids(2)
    hotels.execute("INSERT INTO inns VALUES (%s, 'old', 'old', 'ours'), (1, 'not of Cupid', 'here', 'ours too')", first)
    hotels.ask_for(first, second)
    shipped = documents()["properties"].model_dump(exclude={"target", "name", "conflicts"})
    named, shipped["plausible"] = shipped["plausible"], {}
    columns = {"hotel_id": "id", "hotel_name": "title", "city": "place"}
    target = {"connection": "hotels", "tables": [{"name": "properties", "table": "inns", "columns": columns}]}
    made = {**shipped, "name": "inns", "target": {**target, "books": "inn"}}
    with pytest.raises(ValueError, match=r"plausible\.rating: the document has the columns hotel_id, hotel_name, city"):
        RestToPostgres.model_validate({**made, "plausible": named})
    table = RestToPostgres.model_validate(made)
    assert hotels.house.sync(table).upserted == 2
    assert hotels.house.prove(table, "deep").equal
    held = dict(hotels.execute("SELECT id, own_notes FROM inns"))
    assert held == {first: "ours", second: None, 1: "ours too"}
    assert hotels.execute("SELECT title FROM inns WHERE id = 1") == [("not of Cupid",)]
    # what it said before the sync came is history; the other hotel is new
    kept = "SELECT record_key, path, old FROM inn_changes ORDER BY path"
    assert hotels.execute(kept) == [(str(first), "city", "old"), (str(first), "hotel_name", "old")]


def test_a_plan_says_how_many_requests_a_run_takes_and_sends_none(hotels: Hotels) -> None:
    from sync_pipelines.engine.plan import plan

    hotels.ask_for(*hotels.cupid.ids(4))
    hotels.ledger.set_setting("hotels.rate_limit", "2")
    hotels.cupid.clear_seen()
    found = plan(hotels.house.bind(documents()["translations"]))
    assert (found.requests, found.fetch_seconds) == (8, 4.0)
    assert hotels.cupid.seen()["requests"] == 0


def test_a_plan_speaks_of_the_records_that_the_run_would_ask_for(hotels: Hotels) -> None:
    from sync_pipelines.engine.plan import plan

    edited, due, gone = hotels.cupid.ids(3)
    hotels.ask_for(edited, due, gone)
    hotels.sync()
    binding = hotels.house.bind(documents()["properties"])

    def planned(mode: str = "incremental") -> tuple[int, int, int]:
        found = plan(binding, mode=mode)
        return found.read, found.upserts, found.unchanged

    hotels.execute("UPDATE properties SET hotel_name = 'edited' WHERE hotel_id = %s", edited)
    hotels.execute("DELETE FROM property_ids WHERE hotel_id = %s", gone)
    assert planned() == (0, 0, 0)
    assert hotels.sync().read == 0
    hotels.execute("UPDATE property_checks SET status = 'unfetched' WHERE record_key = %s", str(due))
    assert planned() == (1, 0, 1)
    assert (planned("full"), planned("reparse")) == ((2, 1, 1), (3, 1, 2))
    hotels.execute("ALTER TABLE properties ALTER COLUMN phone TYPE varchar(500)")  # each row is made anew
    anew = hotels.house.bind(documents()["properties"])
    found = plan(anew)
    assert (found.requests, found.read, found.upserts) == (1, 3, 1)
    counts = hotels.sync()
    assert (counts.read, counts.upserted) == (4, 1)


def test_a_plan_expects_what_the_database_refused_to_be_refused_again(hotels: Hotels) -> None:
    from sync_pipelines.engine.plan import plan

    good, bad = hotels.cupid.ids(2)
    hotels.ask_for(good, bad)
    hotels.execute(f"ALTER TABLE properties ADD CONSTRAINT not_this CHECK (hotel_id <> {int(bad)})")
    hotels.sync()
    binding = hotels.house.bind(documents()["properties"])

    def planned(mode: str) -> tuple[int, int, int, int]:
        found = plan(binding, mode=mode)
        return found.read, found.upserts, found.unchanged, found.quarantined

    modes = ("incremental", "full", "reparse")
    assert {mode: planned(mode) for mode in modes[1:]} == dict.fromkeys(modes[1:], (2, 0, 1, 1))
    hotels.execute("UPDATE property_checks SET checked_at = checked_at - interval '13 hours'")
    assert {mode: planned(mode) for mode in modes} == dict.fromkeys(modes, (2, 0, 1, 1))
    hotels.ledger.drop_quarantined("hotels", "properties", [str(bad)])
    assert planned("incremental") == (2, 0, 1, 0)
    hotels.execute(
        "UPDATE property_payloads SET payload = jsonb_set(payload, '{hotel_name}', '\"anew\"') "
        "WHERE part = 'properties' AND record_key = %s",
        str(bad),
    )
    assert planned("incremental") == (2, 1, 1, 0)  # another version of it: it is tried, and nobody knows what comes


def test_a_key_that_an_applications_table_holds_twice_is_named_alone_and_arrives_when_one_is_left(
    rates: House, catalogue: Catalogue
) -> None:
    from sync_pipelines.engine.plan import plan

    rates.execute("CREATE TABLE currency (code text, title text, rate numeric, note int)")
    rates.execute("INSERT INTO currency SELECT 'aud', 'old', 2, n FROM generate_series(1, 3) AS n")
    table = RestToPostgres.model_validate(DOCUMENT)
    counts = rates.sync(table)
    assert (counts.upserted, counts.quarantined) == (4, 1)
    assert rates.execute("SELECT title FROM currency WHERE code = 'aud'") == [("old",)] * 3
    binding = rates.bind(table)
    (refused,) = binding.ledger.list_quarantine("rates", "currency", limit=None)
    assert refused.key == "aud"
    assert refused.reason == (
        '"public"."currency" holds 3 rows of the key aud: delete all but one, and let a unique index of ("code") '
        "keep it so."
    )
    planned = plan(binding, mode="reparse")
    assert (planned.upserts, planned.unchanged, planned.quarantined) == (0, 4, 1)
    assert rates.prove(table).quarantined == 1
    rates.execute("DELETE FROM currency WHERE note > 1")
    assert rates.sync(table, mode="reparse").upserted == 1
    assert rates.prove(table, "deep").equal
    assert binding.ledger.list_quarantine("rates", "currency", limit=None) == []


_DIES = """
import os, signal
from sync_pipelines.targets.rowsets.writing import Writer
from sync_pipelines_tests.lake.house import House
from sync_pipelines_tests.rest.hotels import documents

written = Writer._note_history

def died(self, cursor, found):
    written(self, cursor, found)
    os.kill(os.getpid(), signal.SIGKILL)

Writer._note_history = died
House(os.environ["DATABASE_URL"]).sync(documents()["properties"], mode="reparse")
"""


def test_a_reparse_that_was_killed_leaves_no_half_and_the_next_one_ends_equal_without_a_request(hotels: Hotels) -> None:
    hotels.ask_for(*hotels.cupid.ids(3))
    hotels.sync()
    hotels.execute("ALTER TABLE properties DROP COLUMN fax; ALTER TABLE properties ADD COLUMN fax text")
    hotels.execute("UPDATE properties SET hotel_name = 'edited'")
    hotels.cupid.clear_seen()
    died = subprocess.run([sys.executable, "-c", _DIES], env=os.environ, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert hotels.execute("SELECT count(*) FROM properties WHERE hotel_name = 'edited'") == [(3,)]
    assert hotels.execute("SELECT count(*) FROM property_changes") == [(0,)]
    bound = hotels.house.bind(documents()["properties"])
    assert bound.source.pending(bound.ledger.watermark("hotels", "properties")).full_reason is not None
    assert hotels.sync(mode="reparse").upserted == 3
    assert hotels.prove(kind="quick").equal
    assert hotels.cupid.seen()["requests"] == 0
    assert bound.source.pending(bound.ledger.watermark("hotels", "properties")).full_reason is None
    assert hotels.execute("SELECT DISTINCT data_version FROM properties") == [(2,)]
