"""Hotels that are gone, fail, break the contract or wait; an API that goes down; runs that die."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipelines.engine.errors import MassDeleteError, RunError, TransientError
from sync_pipelines.engine.plan import plan
from sync_pipelines.engine.waiting import can_arrive
from sync_pipelines_tests.rest.hotels import TABLES, Hotels, documents

STATUS = "SELECT sync_status, data_version FROM properties WHERE hotel_id = %s"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for an API that a fault has shut."""
    monkeypatch.setenv("HOTELS_RETRY_ATTEMPTS", "1")
    monkeypatch.setenv("HOTELS_PATIENCE", "0.1s")


@pytest.mark.slow
def test_a_hotel_that_answers_404_is_marked_and_kept_and_comes_back_by_itself(hotels: Hotels) -> None:
    first, second, never = *hotels.cupid.ids(2), 999_999_999
    hotels.ask_for(first, second, never)
    hotels.sync()
    hotels.cupid.remove(first)
    counts = hotels.sync(mode="full")
    assert (counts.upserted, counts.deleted, counts.quarantined) == (0, 0, 0)
    assert (counts.metadata_only, counts.unchanged) == (1, 2)
    assert hotels.sync(mode="full").metadata_only == 0
    assert hotels.execute(STATUS, first) == [("not_found", 1)]
    proof = hotels.prove()
    assert proof.equal
    assert (proof.source_count, proof.target_count, proof.excluded) == (3, 2, 1)
    hotels.cupid.restore(first)
    back = hotels.sync(mode="full")
    assert (back.upserted, back.metadata_only, back.unchanged) == (0, 1, 2)
    assert hotels.execute(STATUS, first) == [("synced", 1)]
    reason = "SELECT reason FROM property_status WHERE hotel_id = %s"
    assert "has it again" in hotels.execute(reason, first)[0][0]
    assert hotels.sync(mode="full").unchanged == 3
    assert hotels.execute(reason, first) == [(None,)]


@pytest.mark.slow
def test_a_hotel_that_comes_back_otherwise_is_counted_once(hotels: Hotels) -> None:
    changed, broken, other = hotels.cupid.ids(3)
    hotels.ask_for(changed, broken, other)
    hotels.sync()
    hotels.cupid.remove(changed)
    hotels.cupid.remove(broken)
    assert hotels.sync(mode="full").metadata_only == 2
    hotels.cupid.restore(changed)
    hotels.cupid.restore(broken)
    hotels.cupid.change(changed, {"stars": 1})
    hotels.cupid.fault("wrong_types", key=str(broken))
    back = hotels.sync(mode="full")
    assert (back.upserted, back.metadata_only, back.unchanged, back.quarantined) == (1, 0, 1, 1)


def test_a_failure_between_says_nothing_of_whether_a_hotel_is_gone(hotels: Hotels) -> None:
    ids = hotels.cupid.ids(6)
    hotels.ask_for(*ids)
    hotels.sync()
    for key in ids[:5]:
        hotels.cupid.remove(key)
    assert hotels.sync(mode="full").metadata_only == 5
    for status in ("500", "500"):
        for key in ids:
            hotels.cupid.fault(status, key=str(key))
        assert hotels.sync(mode="full").quarantined == 6
    hotels.cupid.clear_faults()
    hotels.cupid.remove(ids[5])
    # the last one is newly gone; were the five counted again, it would be 6 of 6, and the guard would stop the run
    assert hotels.sync(mode="full").metadata_only == 1
    hotels.cupid.fault("500", key=str(ids[0]))
    hotels.sync(mode="full")
    hotels.cupid.clear_faults()
    hotels.cupid.restore(ids[0])
    back = hotels.sync(mode="full")
    assert (back.upserted, back.metadata_only, back.unchanged) == (0, 1, 5)
    assert hotels.execute(STATUS, ids[0]) == [("synced", 1)]
    reason = "SELECT reason FROM property_status WHERE hotel_id = %s"
    assert "has it again" in hotels.execute(reason, ids[0])[0][0]


@pytest.mark.slow
def test_a_hotel_that_is_gone_after_its_payload_broke_the_contract_is_left_out_and_an_edit_of_another_is_not(
    hotels: Hotels,
) -> None:
    broken, whole, other = hotels.cupid.ids(3)
    hotels.ask_for(broken, whole, other)
    hotels.sync()
    hotels.cupid.fault("wrong_types", key=str(broken))
    assert hotels.sync(mode="full").quarantined == 1
    assert (hotels.prove().quarantined, hotels.prove().excluded) == (1, 0)
    hotels.cupid.clear_faults()
    hotels.cupid.remove(broken)
    hotels.cupid.remove(whole)
    hotels.sync(mode="full")
    for kind in ("quick", "deep"):
        proof = hotels.prove(kind=kind)
        assert (proof.equal, proof.quarantined, proof.excluded) == (True, 0, 1)
    hotels.execute("UPDATE properties SET hotel_name = 'edited' WHERE hotel_id IN (%s, %s)", broken, whole)
    assert hotels.prove(kind="deep").samples == {"stale": [str(whole)]}


@pytest.mark.slow
def test_an_address_that_has_no_hotel_at_all_marks_none_as_gone(hotels: Hotels) -> None:
    ids = hotels.cupid.ids(6)
    hotels.ask_for(*ids)
    hotels.sync()
    for key in ids:
        hotels.cupid.remove(key)
    with pytest.raises(MassDeleteError) as caught:
        hotels.sync(mode="full")
    for part in ("6 of the 6 records", "none was found", "wrong address", "sync hotels/properties --full --allow"):
        assert part in str(caught.value)
    assert hotels.execute("SELECT DISTINCT sync_status FROM properties") == [("synced",)]
    hotels.cupid.restore(ids[5])
    hotels.sync(mode="full")
    assert hotels.execute("SELECT count(*) FROM properties WHERE sync_status = 'not_found'") == [(5,)]
    hotels.cupid.remove(ids[5])
    hotels.sync(mode="full")
    assert hotels.execute("SELECT DISTINCT sync_status FROM properties") == [("not_found",)]


@pytest.mark.slow
def test_a_hotel_that_fails_fails_nobody_else_and_is_asked_first_next_time(hotels: Hotels) -> None:
    ids = hotels.cupid.ids(5)
    hotels.ask_for(*ids)
    hotels.cupid.fault("500", key=ids[4])
    hotels.cupid.fault("html", key=ids[3])
    hotels.cupid.fault("wrong_types", key=ids[2], fields={"latitude": "north"})
    counts = hotels.sync()
    assert (counts.upserted, counts.quarantined) == (2, 3)
    told = hotels.quarantine()
    assert "latitude" in told[str(ids[2])]
    assert "500" in told[str(ids[4])]
    assert hotels.prove().equal
    hotels.cupid.clear_faults()
    hotels.cupid.clear_seen()
    assert hotels.sync().upserted == 2  # the one that broke the contract was answered: it is due with the others
    assert set(hotels.cupid.seen()["keys"]) == {str(ids[3]), str(ids[4])}
    assert hotels.sync(mode="full").upserted == 1
    assert hotels.quarantine() == {}


@pytest.mark.slow
def test_an_unchanged_hotel_costs_no_write_but_that_of_its_check(hotels: Hotels) -> None:
    hotels.ask_for(*hotels.cupid.ids(4))
    for table in TABLES:
        hotels.sync(table)
    tables = [row[0] for row in hotels.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    wide = [name for name in tables if name not in ("property_checks", "property_requests")]

    def versions() -> list[Any]:
        return [hotels.execute(f"SELECT ctid::text, xmin::text FROM {name} ORDER BY ctid") for name in wide]

    before = versions()
    assert [hotels.sync(table, mode="full").upserted for table in TABLES] == [0, 0, 0]
    assert versions() == before


@pytest.mark.slow
def test_reviews_wait_for_their_hotel_and_arrive_without_another_request(hotels: Hotels) -> None:
    (only,) = hotels.cupid.ids(1)
    hotels.ask_for(only)
    assert hotels.sync("reviews").quarantined == 1
    reviews = hotels.house.bind(documents()["reviews"])

    def planned() -> tuple[int, int]:
        found = plan(reviews)
        return found.upserts, found.quarantined

    assert not can_arrive(reviews)
    assert planned() == (0, 1)
    hotels.sync()
    assert can_arrive(reviews)
    assert planned() == (1, 0)
    hotels.cupid.clear_seen()
    assert hotels.sync("reviews").upserted == 1
    assert hotels.cupid.seen()["requests"] == 0
    assert hotels.quarantine("reviews") == {}


@pytest.mark.slow
def test_an_api_that_goes_down_fails_the_run_whose_rest_is_fetched_by_the_next(hotels: Hotels) -> None:
    ids = hotels.cupid.ids(30)
    hotels.ask_for(*ids[:5])
    hotels.sync()
    hotels.ask_for(*ids[5:])
    hotels.cupid.fault("503")
    with pytest.raises(TransientError, match="is down"):
        hotels.sync()
    assert hotels.prove().equal  # what was not answered is due, or named in quarantine
    hotels.cupid.clear_faults()
    hotels.cupid.clear_seen()
    hotels.sync()
    assert hotels.execute("SELECT count(*) FROM properties") == [(30,)]
    assert hotels.cupid.seen()["requests"] == 25
    assert hotels.quarantine() == {}


def test_a_refused_key_stops_the_run_with_the_name_of_its_variable(hotels: Hotels) -> None:
    hotels.ask_for(*hotels.cupid.ids(3))
    hotels.cupid.fault("401")
    with pytest.raises(RunError, match="CUPID_API_KEY"):
        hotels.sync()
    assert hotels.quarantine() == {}


@pytest.mark.slow
def test_a_budget_of_requests_a_day_leaves_the_rest_due(hotels: Hotels, monkeypatch: pytest.MonkeyPatch) -> None:
    hotels.ask_for(*hotels.cupid.ids(7))
    monkeypatch.setenv("HOTELS_REQUESTS_A_DAY", "4")
    assert hotels.sync().upserted == 4
    assert hotels.sync().upserted == 0
    proof = hotels.prove()
    assert proof.equal
    assert proof.pending == 3
    assert hotels.execute("SELECT requests FROM property_requests") == [(4,)]


@pytest.mark.slow
def test_a_run_that_dies_at_any_statement_leaves_whole_hotels_and_the_next_one_ends_equal(
    hotels: Hotels, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sync_pipelines.targets.rowsets import writing

    ids = hotels.cupid.ids(2)
    hotels.ask_for(*ids)
    real, left = writing._values, [0]

    def mortal(*args: Any, **more: Any) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        real(*args, **more)

    monkeypatch.setattr(writing, "_values", mortal)
    deaths = 0
    while True:
        left[0] = deaths % 40
        try:
            hotels.sync(batch_size=1)
            break
        except KeyboardInterrupt:
            deaths += 1
        assert hotels.execute("SELECT hotel_id FROM properties EXCEPT SELECT hotel_id FROM rooms") == []
        kept = "SELECT count(*) FROM property_payloads WHERE part = 'properties'"
        assert hotels.execute(kept) == hotels.execute("SELECT count(*) FROM properties")
    assert deaths > 8
    assert hotels.execute("SELECT count(*) FROM properties") == [(2,)]
    assert hotels.prove(kind="deep").equal
