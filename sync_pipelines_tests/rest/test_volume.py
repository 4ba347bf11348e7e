"""A thousand hotels of which a tenth meets a fault: all that can be reached are there, every other is named."""

from __future__ import annotations

import tracemalloc

import pytest

from sync_pipelines_tests.rest.hotels import Hotels

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

COUNT = 1000
LASTING = ("500", "503", "html", "403")
PASSING = ("429", "502", "504", "cut", "drop")


def test_of_a_thousand_hotels_those_that_can_be_reached_arrive_and_the_others_are_named(
    hotels: Hotels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTELS_MAX_CONCURRENT", "8")
    ids = hotels.cupid.ids(COUNT)
    faulty = ids[::10]
    hotels.ask_for(*ids)
    lost, odd, gone = set(), set(), set()
    for number, key in enumerate(faulty):
        kind = (*LASTING, *PASSING, "404", "wrong_types")[number % (len(LASTING) + len(PASSING) + 2)]
        if kind in PASSING:
            hotels.cupid.fault(kind, key=key, times=1)
        elif kind == "404":
            hotels.cupid.remove(key)
            gone.add(str(key))
        elif kind == "wrong_types":
            hotels.cupid.fault(kind, key=key, fields={"rooms": "none"})
            odd.add(str(key))
        else:
            hotels.cupid.fault(kind, key=key)
            lost.add(str(key))
    hotels.sync()
    there = {str(row[0]) for row in hotels.execute("SELECT hotel_id FROM properties")}
    assert there == {str(key) for key in ids} - lost - odd - gone
    assert set(hotels.quarantine()) == lost | odd
    assert all(hotels.quarantine().values())
    absent = hotels.execute("SELECT record_key FROM property_checks WHERE status = 'absent'")
    assert {row[0] for row in absent} == gone
    assert hotels.prove().equal
    tracemalloc.start()
    hotels.sync(mode="full")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 60_000_000
