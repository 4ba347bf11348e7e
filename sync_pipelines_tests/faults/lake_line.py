"""The lines of Delta: PostgreSQL → Delta by delta-rs and by a warehouse, and the way back; moments, and cells that
cannot be.

The source and the ledger of the first two are those of the line `chroma`, and what it proves of them holds here: the
classes are the same. So is what the way back reads: the store of the line `delta`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from sync_pipelines.components.base import SyncComponent
from sync_pipelines.engine.errors import SyncError, TransientError
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.repair import Wanted, repair
from sync_pipelines.engine.run import Request
from sync_pipelines_tests.faults.boundaries import Reach
from sync_pipelines_tests.faults.lake_boundaries import bend
from sync_pipelines_tests.faults.matrix import KILLED_RUN, Action, Ended, Moment, Table, strike
from sync_pipelines_tests.faults.systems import COMMITS, CONFLICT, FAULTS, System
from sync_pipelines_tests.lake.house import Lake
from sync_pipelines_tests.lake.reviews import row, rows

MOMENTS = {
    "target read": Moment("sync", ("opened", 1), "target"),
    "target write": Moment("sync", ("committing", 1), "target"),
    "delete": Moment("sync", ("deleting", 1), "target"),
    "confirm": Moment("sync", ("before confirm", 1), "target"),
    "check: target": Moment("check", ("comparing", 1), "target"),
}

_KILLED = "faults/test_killed_lake_runs.py::"
_ONE_CLIENT = "as 'target write': every request goes through one client, which tries it again"
_NO_COMMIT = "nothing is committed there"
_KEEPS_NOTHING = (
    "moto keeps all in its memory; 'refused' also resets what is open, which is all that a killed one shows"
)

DELTA = Table(
    moments=MOMENTS,
    outcomes={},
    elsewhere={
        (boundary, KILLED_RUN): f"{_KILLED}test_a_run_into_delta_that_is_killed"
        for boundary, moment in MOMENTS.items()
        if moment.action == "sync"
    },
    impossible={
        **{("target read", fault): _NO_COMMIT for fault in COMMITS},
        **{("check: target", fault): _NO_COMMIT for fault in COMMITS},
        ("confirm", CONFLICT): "a mark is a commit without rows, which goes in after whatever else has come",
        ("delete", "refused"): _ONE_CLIENT,
        **{
            (boundary, fault): _ONE_CLIENT
            for boundary in ("target read", "delete", "confirm", "check: target")
            for fault in list(FAULTS)[1:5]
            if (boundary, fault) != ("target read", "reset in an answer")
        },
        ("check: target", KILLED_RUN): "a check writes nothing to its target: as in the line of chroma",
    },
    impossible_for={
        ("target", "killed server"): _KEEPS_NOTHING,
        ("target", "disk full"): "moto has none; what one says is told in faults/test_lake_outages.py",
        ("target", "lock time-out"): "a Delta table has no locks: as 'commit conflict'",
        ("target", "read-only"): "moto asks nobody for rights",
    },
    commits=True,
)

_STAND_IN = "as 'refused': what the SDK tries again, and gives up, is one class of errors (databricks_errors)"
_LOST = "lake/test_databricks.py::test_lost_answers_conflicts_and_failed_statements"

WAREHOUSE = Table(
    moments={"target write": MOMENTS["target write"]},
    outcomes={},
    elsewhere={
        **{("target write", fault): _LOST for fault in COMMITS},
        ("target write", KILLED_RUN): f"{_KILLED}test_a_run_into_a_warehouse_that_is_killed",
    },
    impossible={},
    impossible_for={
        **{("target", fault): _STAND_IN for fault in list(FAULTS)[1:6]},
        ("target", "disk full"): "a warehouse's storage has no end",
        ("target", "lock time-out"): "a Delta table has no locks: as 'commit conflict'",
        ("target", "read-only"): "a denied statement fails as any other: "
        "lake/test_databricks.py::test_lost_answers_conflicts_and_failed_statements",
    },
    commits=True,
)

BACK_MOMENTS = {
    "target write": Moment("sync", ("staged", 1), "target"),
    "commit": Moment("sync", ("committing", 1), "target"),
    "delete": Moment("sync", ("deleting", 1), "target"),
    "check: target": Moment("check", ("comparing", 1), "target"),
}
_ONE_SESSION = "as 'target write': a session that is lost, and new ones that are not given"

BACK = Table(
    moments=BACK_MOMENTS,
    outcomes={},
    elsewhere={
        (boundary, KILLED_RUN): f"{_KILLED}test_a_run_back_into_postgresql_that_is_killed"
        for boundary, moment in BACK_MOMENTS.items()
        if moment.action == "sync"
    },
    impossible={
        **{
            (boundary, fault): _ONE_SESSION
            for boundary in ("commit", "delete", "check: target")
            for fault in ("refused", "time-out", "killed server")
        },
        ("delete", "reset in a request"): _ONE_SESSION,
        ("check: target", "reset in a request"): _ONE_SESSION,
        ("delete", "read-only"): "as 'target write': what asks for rights is the transaction",
        ("delete", "disk full"): "deleting needs no room",
        ("check: target", "disk full"): "reading needs no room",
        ("check: target", "read-only"): "reading needs no right to write",
        **{
            ("commit", fault): "the rows are written by then; the fault meets the next batch, as 'target write'"
            for fault in ("disk full", "lock time-out", "read-only")
        },
        ("check: target", KILLED_RUN): "a check writes nothing to its target: as in the line of chroma",
    },
    impossible_for={
        ("target", "resets until given up"): "a table is asked once in each try of a step: as 'reset in a request'",
    },
)


@dataclass
class HouseLine(ABC):
    """A sync between a table of PostgreSQL and one of Delta, run without Dagster.

    Args:
        systems: the target behind its faults. patch: bends the run's boundaries for as long as a fault may strike.
    """

    house: Any
    table: Any
    systems: dict[str, System]
    patch: pytest.MonkeyPatch
    _action: Action = field(init=False, default="sync")
    _may_retry: bool = field(init=False, default=True)
    _written: list[int] = field(init=False, default_factory=list)

    due: ClassVar[int]
    """Records that a sync has to write once it is arranged."""

    @abstractmethod
    def arrange(self, action: Action) -> int: ...

    @abstractmethod
    def assert_held(self) -> None:
        """Both sides hold the same, read by the test itself, and no record twice."""

    def bend(self, reach: Reach, put: Callable[[Any, str, Any], None]) -> None:
        """Name the boundaries of what it does."""
        bend(reach, put)

    @contextmanager
    def striking(self, moment: Moment, fault: str) -> Iterator[None]:
        self._may_retry = fault != CONFLICT
        with self.patch.context() as patch, strike(self.systems, moment, fault) as reach:
            self.bend(reach, patch.setattr)
            yield
        self._may_retry = True

    def act(self, action: Action) -> Ended:
        """As a step of Dagster's: what is transient is tried once more. A conflict is the run's own to mend."""
        try:
            try:
                return self._act(action)
            except TransientError:
                if not self._may_retry:
                    raise
                return self._act(action)
        except SyncError as error:
            return Ended(ok=False, said=str(error))

    def _act(self, action: Action) -> Ended:
        if action == "sync":
            self._written.append(self.house.sync(self.table).upserted)
            return Ended(ok=True)
        if action == "check":
            proof = self.house.prove(self.table, "deep")
            return Ended(ok=True, differences=proof.missing + proof.stale + proof.extra)
        request = Request(mode="repair", scope=Scope(), trigger="test", run_id=str(uuid4()))
        repair(self.house.bind(self.table), request, Wanted(deep=True))
        return Ended(ok=True)

    def confirmed(self) -> Any:
        ledger = self.house.bind(self.table).ledger
        if self._action == "sync":
            return ledger.watermark(*_place(self.table))
        return [ledger.last_proof(*_place(self.table), kind) for kind in ("deep", "quick")]

    def budgets(self) -> Any:
        ledger = self.house.bind(self.table).ledger
        quarantined = [(one.key, one.attempts) for one in ledger.list_quarantine(*_place(self.table))]
        return quarantined, [(one.key, one.event) for one in ledger.record_events(*_place(self.table))]

    def assert_equal(self) -> None:
        self.assert_held()
        for kind in ("quick", "deep"):
            proof = self.house.prove(self.table, kind)
            assert proof.equal, proof

    def assert_made_once(self) -> None:
        """No record is written by two runs that were confirmed."""
        assert sum(self._written) <= self.due


def _place(table: SyncComponent) -> tuple[str, str]:
    return table.sync, table.table_name


class DeltaLine(HouseLine):
    """The table `item`, into Delta."""

    due = 30

    def arrange(self, action: Action) -> int:
        self._action, house = action, self.house
        house.execute("CREATE TABLE item (id text PRIMARY KEY, amount numeric(8,2))")
        house.capture(self.table)
        house.execute("INSERT INTO item SELECT i::text, i FROM generate_series(1, 40) AS i")
        assert house.sync(self.table).upserted == 40
        if action == "sync":
            house.execute("UPDATE item SET amount = amount + 0.5 WHERE amount < 10; DELETE FROM item WHERE amount > 36")
            house.execute("INSERT INTO item SELECT i::text, i FROM generate_series(100, 120) AS i")
            return 0
        far = house.opened(self.table)
        far.edit("5", 77)
        far.add_stranger("zzz")
        far.copy("7")
        return 3

    def assert_held(self) -> None:
        held = sorted((row["id"], row["amount"]) for row in self.house.rows(self.table))
        assert held == sorted(self.house.execute("SELECT id, amount FROM item"))


class WarehouseLine(DeltaLine):
    """The same through a SQL warehouse; nothing stays behind in the Volume."""

    def assert_equal(self) -> None:
        super().assert_equal()
        assert list(self.house.bind(self.table).target.staging._files()) == []


class BackLine(HouseLine):
    """The Delta table `review`, into PostgreSQL. The ledger is reached beside the target's proxy."""

    due = 32

    def arrange(self, action: Action) -> int:
        self._action, house, lake = action, self.house, Lake(self.house)
        lake.write(rows(*(row(f"n{number}") for number in range(40))))
        assert house.sync(self.table).upserted == 40
        if action == "sync":
            lake.table.update({"stars": "5"}, predicate="id < 'n2'")
            lake.table.delete("id IN ('n7', 'n8')")
            lake.write(rows(*(row(f"m{number}") for number in range(20))))
            return 0
        house.execute("DELETE FROM review WHERE id = 'n1'; UPDATE review SET stars = 1 WHERE id = 'n2'")
        house.execute("INSERT INTO review (id, note) VALUES ('stranger', 'x')")
        return 3

    def assert_held(self) -> None:
        wanted = sorted((row["id"], row["stars"]) for row in Lake(self.house).rows())
        assert wanted == sorted(self.house.execute("SELECT id, stars FROM review"))
