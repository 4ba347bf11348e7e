"""The line of a REST API into PostgreSQL: Cupid and the target behind proxies, moments, and cells that cannot be.

The ledger is that of the line `chroma`, and is reached beside the proxies; what PostgreSQL shows as a target is that of
the line `back`, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sync_pipelines_tests.faults.boundaries import Reach, name_places
from sync_pipelines_tests.faults.lake_line import HouseLine
from sync_pipelines_tests.faults.matrix import KILLED_RUN, Action, Moment, Table
from sync_pipelines_tests.faults.systems import Hanging

MOMENTS = {
    "request": Moment("sync", ("asking", 12), "source"),
    "target write": Moment("sync", ("writing", 2), "target"),
    "books": Moment("sync", ("noting", 2), "target"),
    "confirm": Moment("sync", ("before confirm", 1), "target"),
    "check: target": Moment("check", ("comparing", 1), "target"),
    "repair: target write": Moment("repair", ("writing", 1), "target"),
}

_KILLED = "faults/test_killed_rest_runs.py::test_a_run_of_hotels_that_is_killed"
_ONE_SESSION = "as 'target write': one session writes a run's batches"
_OWN = (
    "a request that fails while others are answered has failed for its record: "
    "rest/test_hotels_in_trouble.py::test_a_hotel_that_fails_fails_nobody_else_and_is_asked_first_next_time"
)

TABLE = Table(
    moments=MOMENTS,
    outcomes={},
    elsewhere={
        **{(boundary, KILLED_RUN): _KILLED for boundary, moment in MOMENTS.items() if moment.action == "sync"},
        ("repair: target write", KILLED_RUN): "faults/test_killed_runs.py::"
        "test_a_repair_that_is_killed_is_ended_by_the_next_one",
    },
    impossible={
        **{
            (boundary, fault): _ONE_SESSION
            for boundary in ("books", "confirm", "check: target", "repair: target write")
            for fault in ("refused", "time-out", "killed server", "reset in a request")
        },
        **{
            (boundary, fault): "all is written by then"
            for boundary in ("confirm", "check: target")
            for fault in ("disk full", "lock time-out", "read-only")
            if (boundary, fault) != ("check: target", "lock time-out")
        },
        **{
            ("books", fault): "the same transaction has the rows by then: whoever makes the fault would wait for it"
            for fault in ("lock time-out", "disk full")
        },
        ("check: target", KILLED_RUN): "a check writes nothing to its target: as in the line of chroma",
    },
    impossible_for={
        ("source", "resets until given up"): _OWN,
        ("source", "killed server"): "as 'refused': the stand-in keeps nothing between two requests",
        (
            "source",
            "disk full",
        ): "an API has no disk that anybody sees: it answers 500, see sources/rest/test_client.py",
        ("source", "lock time-out"): "an API has no locks that anybody sees",
        ("source", "read-only"): "nothing is written to the API",
        ("target", "resets until given up"): "a session is not tried again within a step: as 'reset in a request'",
    },
)


@dataclass
class ApiSystem(Hanging):
    """An API behind a proxy."""

    words: ClassVar[Mapping[str, str]] = {"": r"is down or shut for now: .*What is left stays due"}


def bend(reach: Reach, put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Call `reach` at every boundary of this process's runs; `put` is setattr, or a monkeypatch's."""
    from sync_pipelines.engine.ledger.ledger import Ledger
    from sync_pipelines.engine.run import Run
    from sync_pipelines.sources.rest.client import RestClient
    from sync_pipelines.targets.rowsets.target import RowsetTarget
    from sync_pipelines.targets.rowsets.writing import Writer

    places = (
        (RestClient, "_ask", "asking", None),
        (Writer, "_together", "writing", None),
        (Writer, "_write_rows", None, "written"),
        (Writer, "_note", "noting", "noted"),
        (Writer, "write", None, "committed"),
        (RowsetTarget, "values", "comparing", None),
        (Run, "_confirm", "before confirm", None),
        (Ledger, "finish", "closing", "confirmed"),
    )
    name_places(places, reach, put)


@dataclass
class RestLine(HouseLine):
    """Hotels, into `properties` and what belongs to it; `house` is a `Hotels`' house, `cupid` its API."""

    cupid: Any = None

    due = 24

    def bend(self, reach: Reach, put: Callable[[Any, str, Any], None]) -> None:
        bend(reach, put)

    def arrange(self, action: Action) -> int:
        self._action, ids = action, self.cupid.ids(48)
        self._ask_for(ids[:28])
        assert self.house.sync(self.table).upserted == 28
        if action == "sync":
            self._ask_for(ids[28:])
            for key in ids[:4]:
                self.cupid.change(key, {"hotel_name": "another name"})
            old = "UPDATE property_checks SET checked_at = now() - interval '2 days' WHERE record_key = ANY (%s)"
            self.house.execute(old, [str(key) for key in ids[:24]])
            return 0
        first, second = ids[:2]
        self.house.execute("UPDATE properties SET hotel_name = 'edited' WHERE hotel_id = %s", first)
        self.house.execute("DELETE FROM rooms WHERE hotel_id = %s", second)
        return 2

    def _ask_for(self, ids: list[int]) -> None:
        self.house.execute("INSERT INTO property_ids (hotel_id) SELECT unnest(%s::bigint[])", ids)

    def assert_held(self) -> None:
        held = (
            "SELECT record_key, hotel_name, payload ->> 'hotel_name' FROM property_payloads AS p JOIN properties AS t "
        )
        rows = self.house.execute(f"{held} ON t.hotel_id::text = p.record_key WHERE p.part = 'properties'")
        assert self.house.execute("SELECT count(*) FROM property_ids") == [(len(rows),)]
        assert [row for row in rows if row[1] != row[2]] == []
        assert self.house.execute("SELECT count(DISTINCT hotel_id) FROM rooms") == [(len(rows),)]
        if self._action == "sync":
            wanted = {str(key) for key in self.cupid.ids(4)}
            assert {row[0] for row in rows if row[1] == "another name"} == wanted
