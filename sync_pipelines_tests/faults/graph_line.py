"""The line of events into a graph: PostgreSQL's outbox and the graph behind proxies, moments, and cells that cannot be.

The ledger is that of the line `chroma`, and is reached beside the proxies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sync_pipelines_tests.faults.boundaries import Reach, name_places
from sync_pipelines_tests.faults.lake_line import HouseLine
from sync_pipelines_tests.faults.matrix import KILLED_RUN, Action, Moment, Table
from sync_pipelines_tests.faults.systems import Hanging
from sync_pipelines_tests.graph.app import Application

MOMENTS = {
    "events taken": Moment("sync", ("taking", 1), "source"),
    "target write": Moment("sync", ("writing", 1), "target"),
    "delete": Moment("sync", ("deleting", 1), "target"),
    "completing": Moment("sync", ("completing", 1), "source"),
    "confirm": Moment("sync", ("before confirm", 1), "target"),
    "check: target": Moment("check", ("comparing", 1), "target"),
    "repair: target write": Moment("repair", ("writing", 1), "target"),
}

_KILLED = (
    "graph/test_consumer_faults.py::"
    "test_killed_at_every_boundary_beside_late_publishers_it_loses_and_resurrects_nothing"
)
_STOPPED = (
    "graph/test_faults.py::test_a_graph_that_is_down_fails_the_run_alone_and_one_that_was_killed_keeps_what_it_had"
)
_ONE_CLIENT = "as 'target write': every statement goes through one driver, which tries it again"
_OF_TARGET = [boundary for boundary, moment in MOMENTS.items() if moment.system == "target"]

TABLE = Table(
    moments=MOMENTS,
    outcomes={},
    elsewhere={
        **{(boundary, KILLED_RUN): _KILLED for boundary, moment in MOMENTS.items() if moment.action == "sync"},
        ("repair: target write", KILLED_RUN): "faults/test_killed_runs.py::"
        "test_a_repair_that_is_killed_is_ended_by_the_next_one",
        **{(boundary, "killed server"): _STOPPED for boundary in _OF_TARGET},
    },
    impossible={
        **{
            (boundary, fault): _ONE_CLIENT
            for boundary in ("delete", "confirm", "check: target")
            for fault in ("reset in a request", "time-out")
        },
        ("repair: target write", "time-out"): _ONE_CLIENT,
        ("repair: target write", "reset in a request"): _ONE_CLIENT,
        **{
            ("completing", fault): "as 'events taken': the same table is written by the same sessions"
            for fault in ("reset in a request", "time-out", "killed server", "disk full", "read-only")
        },
        ("check: target", KILLED_RUN): "a check writes nothing to its target: as in the line of chroma",
    },
    impossible_for={
        ("source", "resets until given up"): "an outbox is asked once in each try of a step: as 'reset in a request'",
        ("target", "resets until given up"): "the driver tries for as long as it has patience, not so many times",
        ("target", "disk full"): "a limit on its files ends ArcadeDB as a whole: as 'killed server'",
        ("target", "lock time-out"): "ArcadeDB locks nothing: what somebody else writes meanwhile fails at the commit, "
        "graph/test_conflicts.py::test_an_edit_that_comes_between_the_judgement_and_the_write_is_judged_too",
        ("target", "read-only"): "neither engine of the tests can be made so while it runs",
    },
)


@dataclass
class GraphSystem(Hanging):
    """A graph behind a proxy."""

    words: ClassVar[Mapping[str, str]] = {"": r"Graph .* does not answer: .*Is the server running \(NEO4J_URI\)"}


@dataclass
class GraphLine(HouseLine):
    """The events of the academy's concepts, into nodes; `house` is an `Academy`."""

    due = 29

    def bend(self, reach: Reach, put: Callable[[Any, str, Any], None]) -> None:
        from sync_pipelines.engine.run import Run
        from sync_pipelines.sources.postgres.events import PostgresOutbox
        from sync_pipelines.targets.neo4j.target import GraphTarget
        from sync_pipelines.targets.neo4j.writing import NodeWriter

        places = (
            (PostgresOutbox, "take", "taking"),
            (PostgresOutbox, "complete", "completing"),
            (NodeWriter, "put", "writing"),
            (GraphTarget, "_delete", "deleting"),
            (GraphTarget, "values", "comparing"),
            (Run, "_confirm", "before confirm"),
        )
        name_places(((*place, None) for place in places), reach, put)

    def arrange(self, action: Action) -> int:
        self._action, academy, app = action, self.house, Application(self.house.url)
        academy.execute("INSERT INTO concept (id, title) SELECT 'c' || n, n FROM generate_series(10, 49) AS n")
        assert academy.sync(self.table).upserted == 40
        if action == "sync":
            app.create(*(f"n{number}" for number in range(20)))
            for number in range(10, 19):
                app.update(f"c{number}", title="new")
            app.delete("c40", "c41", "c42", "c43")
            return 0
        academy.cypher("MATCH (n:Concept {sync_key: 'c15'}) SET n.title = 'edited'")
        academy.cypher("MATCH (n:Concept {sync_key: 'c17'}) DELETE n")
        academy.cypher("CREATE (:Concept {title: 'a stranger'})")
        return 3

    def assert_held(self) -> None:
        held = self.house.cypher("MATCH (n:Concept) RETURN n.id AS id, n.title AS title")
        wanted = self.house.execute("SELECT id, title FROM concept")
        assert sorted((row["id"], row["title"]) for row in held) == sorted(wanted)
        states = self.house.execute("SELECT status, max(attempts) FROM sync.sync_event_log GROUP BY status")
        assert states in ([], [("COMPLETED", 0)])
