"""SIGKILL at every boundary of a run that fetches from an API: whole hotels are left, and the next run ends equal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sync_pipelines_tests.faults.child import Children
from sync_pipelines_tests.faults.rest_line import RestLine
from sync_pipelines_tests.faults.test_killed_lake_runs import kill_then_run_again
from sync_pipelines_tests.rest.hotels import Hotels, documents
from sync_pipelines_tests.spare import spare

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_HALF = """SELECT hotel_id FROM properties AS p WHERE NOT EXISTS (SELECT FROM rooms AS r WHERE r.hotel_id = p.hotel_id)
    OR NOT EXISTS (SELECT FROM property_payloads WHERE record_key = p.hotel_id::text AND part = 'properties')"""


class Killed(RestLine):
    """Between the killed run and the next one no hotel is half there."""

    def act(self, action):
        assert self.house.execute(_HALF) == []
        return super().act(action)


@pytest.mark.parametrize(
    "boundary",
    [*spare(("asking", 12), ("noted", 2), ("confirmed", 1), ("closing", 1)), ("written", 2), ("committed", 2)],
    ids=lambda boundary: boundary[0],
)
def test_a_run_of_hotels_that_is_killed(
    hotels: Hotels, children: Children, home: Path, monkeypatch: pytest.MonkeyPatch, boundary: tuple[str, int]
):
    line = Killed(hotels.house, documents()["properties"], {}, monkeypatch, cupid=hotels.cupid)
    named = {name: os.environ[name] for name in ("CUPID_BASE_URL", "CUPID_API_KEY", "HOTELS_RATE_LIMIT")}
    kill_then_run_again(line, children, home, boundary, **named)
