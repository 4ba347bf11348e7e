"""Hotels: from Cupid into tables, compared field by field, and proven."""

from __future__ import annotations

import pytest

from sync_pipelines_tests.rest.hotels import TABLES, Hotels, documents


def test_hotels_arrive_with_all_that_belongs_to_them_and_are_proven_equal(hotels: Hotels) -> None:
    ids = hotels.cupid.ids(6)
    hotels.ask_for(*ids)
    assert [hotels.sync(table).upserted for table in TABLES] == [6, 6, 11]  # one has no Arabic texts: 404
    for table in ("properties", "rooms", "photos", "facilities", "policies", "reviews", "translations"):
        assert hotels.execute(f"SELECT count(DISTINCT hotel_id) FROM {table}") == [(6,)], table
    assert hotels.prove("translations").excluded == 1
    for table in TABLES:
        for kind in ("count", "quick", "deep"):
            assert hotels.prove(table, kind).equal, (table, kind)
    shown = "SELECT last_synced IS NOT NULL, sync_status, data_version FROM property_status"
    assert set(hotels.execute(shown)) == {(True, "synced", 1)}


@pytest.mark.slow
def test_only_what_changed_is_written_and_the_history_says_what_it_was(hotels: Hotels) -> None:
    first, second = hotels.cupid.ids(2)
    hotels.ask_for(first, second)
    hotels.sync()
    before = dict(hotels.execute("SELECT hotel_id, xmin::text FROM properties"))
    rooms = dict(hotels.execute("SELECT (hotel_id, room_id)::text, xmin::text FROM rooms"))
    times = "SELECT hotel_id, last_updated, last_synced FROM property_status"
    was = {key: rest for key, *rest in hotels.execute(times)}
    name = hotels.execute("SELECT hotel_name FROM properties WHERE hotel_id = %s", first)[0][0]
    hotels.cupid.change(first, {"hotel_name": "The Other Inn", "stars": 1})
    counts = hotels.sync(mode="full")
    assert (counts.upserted, counts.unchanged) == (1, 1)
    after = dict(hotels.execute("SELECT hotel_id, xmin::text FROM properties"))
    assert after[second] == before[second]
    told = hotels.execute("SELECT record_key, data_version, path, old, new FROM property_changes ORDER BY path")
    assert told[0] == (str(first), 2, "hotel_name", name, "The Other Inn")
    assert [row[2] for row in told] == ["hotel_name", "stars"]
    assert hotels.execute("SELECT data_version FROM properties WHERE hotel_id = %s", first) == [(2,)]
    now = {key: rest for key, *rest in hotels.execute(times)}
    assert now[second][0] == was[second][0]
    assert was[second][1] < now[second][1]
    assert was[first][1] < now[first][0] <= hotels.execute("SELECT now()")[0][0]
    changed = hotels.execute("SELECT DISTINCT changed_at FROM property_changes ORDER BY 1")
    assert all(was[first][1] < moment <= hotels.execute("SELECT now()")[0][0] for (moment,) in changed)
    assert dict(hotels.execute("SELECT (hotel_id, room_id)::text, xmin::text FROM rooms")) == rooms
    assert hotels.prove(kind="deep").equal


@pytest.mark.slow
def test_an_older_window_fetches_what_was_not_fetched_since_it_began(hotels: Hotels) -> None:
    from datetime import UTC, datetime

    from sync_pipelines.engine.model import Scope

    ids = hotels.cupid.ids(3)
    hotels.ask_for(*ids)
    hotels.sync()
    hotels.execute(
        "UPDATE property_checks SET checked_at = '2026-02-01 11:00Z' WHERE record_key = %s; "
        "UPDATE property_checks SET checked_at = now() WHERE record_key <> %s",
        str(ids[0]),
        str(ids[0]),
    )
    hotels.ledger.set_setting("hotels.sync_interval", "9999d")
    hotels.cupid.clear_seen()
    source = hotels.house.bind(documents()["properties"]).source
    for start, due in ((datetime(2026, 2, 1, tzinfo=UTC), 0), (datetime(2026, 2, 2, tzinfo=UTC), 1)):
        with source.changes(Scope(window=(start, None)), since=None) as changes:
            assert changes.rows == due


def test_the_rows_of_a_table_that_was_never_analysed_are_told(hotels: Hotels) -> None:
    hotels.execute("INSERT INTO properties (hotel_id) SELECT generate_series(1, 7)")
    hotels.execute("INSERT INTO policies (hotel_id, policy_id) SELECT generate_series(1, 7), 'pets'")
    held = hotels.house.bind(documents()["properties"]).target.holdings()
    assert (held["properties"]["rows"], held["policies"]["rows"], held["rooms"]["rows"]) == (7, 7, 0)
    hotels.execute("ANALYZE properties")
    hotels.execute("SELECT pg_catalog.pg_stat_reset()")
    assert hotels.house.bind(documents()["properties"]).target.holdings()["properties"]["rows"] == 7
