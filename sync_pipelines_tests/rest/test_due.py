"""What is due, since when, and what a deep check may ask for."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sync_pipelines.engine.errors import MassDeleteError, TransientError
from sync_pipelines.engine.plan import plan
from sync_pipelines.sources.rest import asked, calls
from sync_pipelines.sources.rest.asked import Asked
from sync_pipelines.sources.rest.client import KeyRefusedError
from sync_pipelines.targets.rowsets import writing
from sync_pipelines.targets.rowsets.looking import absent, coverage
from sync_pipelines_tests.rest.hotels import Hotels, documents

pytestmark = pytest.mark.slow


def source(hotels: Hotels) -> Any:
    return hotels.house.bind(documents()["properties"]).source


def test_a_hotel_that_is_forbidden_waits_for_its_interval_and_one_that_failed_does_not(
    hotels: Hotels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTELS_RETRY_ATTEMPTS", "1")
    forbidden, failed, well = hotels.cupid.ids(3)
    hotels.ask_for(forbidden, failed, well)
    hotels.cupid.fault("403", key=str(forbidden))
    hotels.cupid.fault("500", key=str(failed))
    assert hotels.sync().quarantined == 2
    hotels.cupid.clear_faults()
    before = hotels.cupid.seen()["requests"]
    assert hotels.sync().upserted == 1
    assert hotels.cupid.seen()["requests"] == before + 1
    hotels.execute("UPDATE property_checks SET checked_at = checked_at - interval '13 hours'")
    assert hotels.sync().upserted == 1
    assert hotels.quarantine() == {}


def test_what_was_fetched_before_a_failure_stays_told_and_failures_are_counted_until_it_answers(
    hotels: Hotels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTELS_RETRY_ATTEMPTS", "1")
    ids = hotels.cupid.ids(2)
    hotels.ask_for(*ids)
    hotels.sync()
    told = "SELECT fetched_at, failures FROM property_checks WHERE record_key = %s"
    ((fetched, none),) = hotels.execute(told, str(ids[0]))
    hotels.cupid.fault("500", key=str(ids[0]))
    for _ in range(2):
        hotels.sync(mode="full")
    assert none == 0
    assert hotels.execute(told, str(ids[0])) == [(fetched, 2)]
    hotels.cupid.clear_faults()
    hotels.sync()
    ((again, failures),) = hotels.execute(told, str(ids[0]))
    assert (again > fetched, failures) == (True, 0)


def test_a_run_of_hotels_that_all_fail_for_themselves_is_no_outage(
    hotels: Hotels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTELS_RETRY_ATTEMPTS", "2")
    monkeypatch.setenv("HOTELS_PATIENCE", "1s")
    ids = hotels.cupid.ids(7)
    hotels.ask_for(*ids)
    for key in ids[:6]:
        hotels.cupid.fault("500", key=str(key))
    assert hotels.sync().quarantined == 6
    assert hotels.sync().quarantined == 6
    assert hotels.execute("SELECT failures FROM property_checks WHERE status = 'failed'") == [(2,)] * 6
    hotels.cupid.fault("500")
    with pytest.raises(TransientError, match="is down"):
        hotels.sync()


def test_hotels_that_are_forbidden_hold_up_nobody_and_are_not_taken_for_the_key(hotels: Hotels) -> None:
    ids = [str(key) for key in sorted(hotels.cupid.ids(8))]
    hotels.ask_for(*ids)
    for key in ids[:6]:
        hotels.cupid.fault("403", key=key)
    counts = hotels.sync()
    assert (counts.upserted, counts.quarantined) == (2, 6)
    assert hotels.sync(keys=tuple(ids[:6])).quarantined == 6
    hotels.cupid.fault("403")
    with pytest.raises(KeyRefusedError, match="the first 6 answers are all 403"):
        hotels.sync(keys=tuple(ids[:5]))


def test_the_lag_counts_from_the_end_of_the_interval_and_a_sample_is_of_hotels_that_are_there(hotels: Hotels) -> None:
    ids = hotels.cupid.ids(4)
    hotels.ask_for(*ids, 999_999_999)
    hotels.sync()
    hotels.cupid.remove(ids[0])
    hotels.sync(mode="full")
    with source(hotels).store.cursor() as cursor:
        assert sorted(source(hotels).checks.some(cursor, 9)) == sorted(str(key) for key in ids[1:])
    hotels.execute(
        "UPDATE property_checks SET checked_at = checked_at - interval '13 hours' WHERE record_key IN (%s, %s)",
        *(str(key) for key in ids[:2]),
    )
    watermark = hotels.ledger.watermark("hotels", "properties")
    found = source(hotels).pending(watermark)
    assert found.changes == 2
    assert timedelta(minutes=59) < datetime.now(UTC) - found.oldest < timedelta(minutes=61)


def test_those_that_are_gone_are_counted_over_all_batches_of_a_run(hotels: Hotels) -> None:
    ids = hotels.cupid.ids(3)
    hotels.ask_for(*ids)
    hotels.sync()
    for key in ids:
        hotels.cupid.remove(key)
    with pytest.raises(MassDeleteError):
        hotels.sync(mode="full", batch_size=1)
    # the first two batches are written: in smaller ones than 5 nobody can tell yet
    assert hotels.execute("SELECT count(*) FROM properties WHERE sync_status = 'synced'") == [(1,)]


def test_one_that_was_found_in_an_earlier_batch_of_a_run_shows_that_the_address_is_right(
    hotels: Hotels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTELS_MAX_CONCURRENT", "1")
    found, *others = hotels.cupid.ids(6)
    hotels.ask_for(found, *others)
    hotels.sync()
    hotels.execute("UPDATE property_checks SET status = 'failed' WHERE record_key = %s", str(found))  # asked for first
    for key in others:
        hotels.cupid.remove(key)
    counts = hotels.sync(mode="full", batch_size=1)
    assert (counts.unchanged, counts.metadata_only) == (1, 5)


def test_a_hotel_that_does_not_answer_a_sample_is_counted_and_has_not_changed(
    hotels: Hotels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTELS_RETRY_ATTEMPTS", "1")
    ids = hotels.cupid.ids(3)
    hotels.ask_for(*ids)
    hotels.sync()
    hotels.cupid.fault("500", key=str(ids[0]))
    bound = source(hotels)
    found = bound.sample_anew()
    assert (found.asked, found.changed, found.unanswered) == (3, (), 1)
    bound.sample_anew()
    counted = hotels.execute("SELECT sum(requests) FROM property_requests")
    assert counted == [(hotels.cupid.seen()["requests"],)]


def test_a_budget_that_is_used_up_is_told_and_one_that_was_made_smaller_since_sends_nothing(
    hotels: Hotels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hotels.ask_for(*hotels.cupid.ids(5))
    for budget, upserted in (("4", 4), ("2", 0)):
        caplog.clear()
        monkeypatch.setenv("HOTELS_REQUESTS_A_DAY", budget)
        with caplog.at_level(logging.WARNING):
            assert hotels.sync().upserted == upserted
        assert "hotels/properties: the budget of requests a day is used up; the rest stays due" in caplog.text
    assert hotels.cupid.seen()["requests"] == 4
    caplog.clear()
    monkeypatch.setenv("HOTELS_REQUESTS_A_DAY", "5")
    hotels.sync()
    assert "budget" not in caplog.text
    hotels.ask_for(*hotels.cupid.ids(7)[5:])
    monkeypatch.setenv("HOTELS_REQUESTS_A_DAY", "2")
    assert hotels.sync().upserted == 0
    hotels.execute("UPDATE property_requests SET day = day - 1")  # midnight
    assert hotels.sync().upserted == 2
    assert hotels.execute("SELECT requests FROM property_requests ORDER BY day") == [(5,), (2,)]


def test_a_plan_knows_what_is_left_of_the_budget_and_requests_that_were_refused_are_taken_from_it(
    hotels: Hotels, monkeypatch: pytest.MonkeyPatch
) -> None:
    hotels.ask_for(*hotels.cupid.ids(30))
    monkeypatch.setenv("HOTELS_REQUESTS_A_DAY", "20")
    planned = plan(hotels.house.bind(documents()["properties"]))
    assert planned.requests == 20
    hotels.cupid.fault("401")
    with pytest.raises(KeyRefusedError):
        hotels.sync()
    sent = hotels.cupid.seen()["requests"]
    assert sent > 0
    assert hotels.execute("SELECT requests FROM property_requests") == [(sent,)]
    assert plan(hotels.house.bind(documents()["properties"])).requests == 20 - sent


@pytest.mark.parametrize("days", [3, -3])
def test_a_clock_that_is_not_the_databases_puts_nothing_off_and_makes_nothing_due(
    hotels: Hotels, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(days=days)

    for module in (calls, writing):
        monkeypatch.setattr(module, "datetime", Wrong)
    hotels.ask_for(*hotels.cupid.ids(1))
    hotels.sync()
    assert hotels.execute("SELECT day = (now() AT TIME ZONE 'UTC')::date, requests FROM property_requests") == [
        (True, 1)
    ]
    right = "BETWEEN now() - interval '1 minute' AND now()"
    times = f"SELECT checked_at {right}, fetched_at {right}, status FROM property_checks"
    assert hotels.execute(times) == [(True, True, "current")]
    assert hotels.sync().read == 0


@pytest.mark.parametrize("kind", ["count", "quick", "deep"])
def test_hotels_that_no_run_has_heard_of_are_on_their_way_to_a_proof_of_any_kind(hotels: Hotels, kind: str) -> None:
    ids = hotels.cupid.ids(5)
    for held, known in enumerate((ids[:3], ids[3:])):
        hotels.ask_for(*known)
        proof = hotels.prove(kind=kind)
        assert (proof.source_count, proof.pending, proof.equal) == (3 + 2 * held, len(known), True)
        assert hotels.sync(mode="reparse").upserted == 0
        assert hotels.quarantine() == {}
        hotels.sync()
    assert hotels.prove(kind=kind).target_count == 5


def test_those_that_are_forbidden_come_last_and_one_that_is_gone_in_its_turn(hotels: Hotels) -> None:
    hotels.ask_for(1, 2, 3, 4, 5)
    hotels.sync()
    told = "UPDATE property_checks SET status = %s, http_status = %s, checked_at = %s WHERE record_key = %s"
    for key, status, http_status, day in (
        ("1", "failed", 403, "2026-01-01"),
        ("2", "absent", 404, "2026-01-04"),
        ("3", "current", 200, "2026-01-03"),
        ("4", "failed", 500, "2026-01-05"),
        ("5", "unfetched", None, None),
    ):
        hotels.execute(told, status, http_status, day, key)
    with source(hotels).store.cursor() as cursor:
        assert list(source(hotels).checks.due(cursor, "true")) == [["4", "5", "3", "2", "1"]]


def test_ids_of_a_table_come_once_each_however_many_pages_they_are(
    hotels: Hotels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "_PAGE", 2)
    for number in (4, 5):
        hotels.execute("TRUNCATE property_ids; INSERT INTO property_ids SELECT generate_series(8, 7 + %s)", number)
        found = list(source(hotels).asked.ids.ids())
        assert found == [str(key) for key in range(8, 8 + number)]


def test_a_sensors_look_for_new_ids_reads_their_own_entries_of_the_index_and_no_other(hotels: Hotels) -> None:
    hotels.execute(
        "INSERT INTO property_checks (part, record_key) "
        "SELECT 'properties', n::text FROM generate_series(1, 20000) AS n"
    )
    bound: Any = source(hotels)
    page = [str(number) for number in range(19_990, 20_010)]
    with bound.store.cursor() as cursor:
        assert bound.checks.new_among(cursor, page, limit=100) == 9
        statement = cursor.query.decode()
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
        found = json.dumps(cursor.fetchone()[0])
    assert "record_key = ANY" in found.partition('"Index Cond": ')[2].partition('", ')[0]
    assert max(map(float, re.findall(r'"Actual Rows": ([\d.]+)', found))) <= len(page)


def test_a_sensor_reads_no_ids_where_more_is_due_than_it_counts(hotels: Hotels) -> None:
    hotels.execute(
        "INSERT INTO property_checks (part, record_key) SELECT 'properties', n::text FROM generate_series(1, 5) AS n"
    )
    bound: Any = source(hotels)
    read: list[str] = []
    bound.asked = Asked(ids=NoisyIds([str(number) for number in range(3, 9)], read))
    assert (bound.pending(None, limit=5).changes, read) == (5, [])
    assert (bound.pending(None, limit=6).changes, bound.pending(None, limit=100).changes) == (6, 8)
    assert read


@dataclass
class NoisyIds:
    """Ids that tell of being read."""

    given: list[str]
    read: list[str]

    def ids(self) -> Iterator[str]:
        for key in self.given:
            self.read.append(key)
            yield key


def test_a_hotel_that_nobody_asks_for_any_more_stays_and_is_asked_for_again_when_it_is_put_back(
    hotels: Hotels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTELS_RETRY_ATTEMPTS", "1")
    well, failed, other, never = *hotels.cupid.ids(3), 999_999_999
    hotels.ask_for(well, failed, other, never)
    hotels.cupid.fault("500", key=str(failed))
    hotels.sync()
    bound = hotels.house.bind(documents()["properties"])
    assert (coverage(bound.target).failure_rate, absent(bound.target)) == (0.25, 1)
    hotels.execute("DELETE FROM property_ids WHERE hotel_id <> %s", other)
    hotels.cupid.clear_seen()
    counts = hotels.sync(mode="full")
    assert (counts.read, counts.deleted, hotels.cupid.seen()["requests"]) == (1, 0, 1)
    assert (coverage(bound.target).states, absent(bound.target)) == ({"current": 1}, 0)
    assert hotels.quarantine() == {}
    proof = hotels.prove()
    assert (proof.equal, proof.source_count, proof.quarantined, proof.excluded) == (True, 2, 0, 0)
    kept = "SELECT sync_status FROM properties WHERE hotel_id = %s"
    assert hotels.execute(kept, well) == [("synced",)]
    hotels.cupid.change(well, {"stars": 1})
    hotels.cupid.clear_faults()
    hotels.ask_for(well, failed)
    hotels.execute("UPDATE property_checks SET checked_at = checked_at - interval '13 hours'")
    assert hotels.sync().upserted == 2
    assert hotels.quarantine() == {}


def test_a_hotel_that_fails_and_that_nobody_asks_for_any_more_leaves_the_quarantine_with_what_is_kept_of_it(
    hotels: Hotels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTELS_RETRY_ATTEMPTS", "1")
    failed, broken, other = hotels.cupid.ids(3)
    hotels.ask_for(failed, broken, other)
    hotels.sync()
    hotels.cupid.fault("500", key=str(failed))
    hotels.cupid.fault("wrong_types", key=str(broken))
    assert hotels.sync(mode="full").quarantined == 2
    hotels.execute("DELETE FROM property_ids WHERE hotel_id <> %s", other)
    hotels.sync()
    assert list(hotels.quarantine()) == [str(broken)]  # its payload still breaks the contract
    proof = hotels.prove()
    assert (proof.equal, proof.source_count, proof.target_count, proof.quarantined) == (True, 3, 3, 1)
    hotels.cupid.clear_faults()
    assert hotels.sync().read == 0
    hotels.ask_for(failed)
    assert (hotels.sync().read, hotels.sync().read) == (1, 0)
