"""Hotels: from Cupid into tables, compared field by field, and proven."""

from __future__ import annotations

from sync_pipelines_tests.rest.hotels import TABLES, Hotels


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


def test_only_what_changed_is_written_and_the_history_says_what_it_was(hotels: Hotels) -> None:
    first, second = hotels.cupid.ids(2)
    hotels.ask_for(first, second)
    hotels.sync()
    before = dict(hotels.execute("SELECT hotel_id, xmin::text FROM properties"))
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
    assert hotels.prove(kind="deep").equal
