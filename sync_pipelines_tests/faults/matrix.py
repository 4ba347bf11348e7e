"""The matrix of issue 4, point 9: each boundary of a sync × each fault.

A *line* is a sync under test: it brings its systems, the moments at which each boundary is struck, and what
equality means for it. `run_cell` is the same for all: arrange, strike, act, heal, act again, and ask both sides.

The outcome of a cell is `recovers` (the run that was struck ends equal) or `fails` (it ends with a sentence that
names the system and the remedy, confirms nothing that is not there, and the next one ends equal). In both: nothing
missing, stale, extra or doubled, by the test's own reading and by a deep proof; no record's attempts consumed;
what was stored is not made a second time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sync_pipelines_tests.faults.boundaries import Reach, at
from sync_pipelines_tests.faults.systems import COMMITS, FAULTS, System

Action = Literal["sync", "check", "repair", "alert"]
Outcome = Literal["recovers", "fails"]

KILLED_RUN = "killed run"


@dataclass(frozen=True)
class Moment:
    """Where a fault strikes.

    Args:
        action: what is under way. at: the named boundary (`boundaries`), for the so-many-th time.
        system: which one has the fault.
    """

    action: Action
    at: tuple[str, int]
    system: str


@dataclass(frozen=True)
class Ended:
    """How an action ended: whether it succeeded, what it said if not, and the differences that checks found."""

    ok: bool
    said: str = ""
    differences: int | None = None


class Line(Protocol):
    """A sync in the matrix."""

    systems: Mapping[str, System]

    def arrange(self, action: Action) -> int:
        """Records that are synced; then work for the action: changes, or differences behind the sync's back.

        Returns:
            How many differences a check must find from then on, struck or not, wherever it speaks.
        """

    def striking(self, moment: Moment, fault: str) -> AbstractContextManager[Any]:
        """Within the block the fault strikes at the moment; left without, the block fails."""

    def act(self, action: Action) -> Ended: ...

    def confirmed(self) -> Any:
        """What is confirmed by now: a sync's watermark, a check's or repair's last proof, what alerts were taken."""

    def budgets(self) -> Any:
        """The records in quarantine with their attempts, and every record event."""

    def assert_equal(self) -> None: ...

    def assert_made_once(self) -> None:
        """What was stored before the fault was not made again (embedded, uploaded, …)."""


@contextmanager
def strike(systems: Mapping[str, System], moment: Moment, fault: str) -> Iterator[Reach]:
    """What a line bends its boundaries with; when the block ends, the fault must have struck."""
    struck = []
    fail = getattr(systems[moment.system], {**FAULTS, **COMMITS}[fault])
    yield at(*moment.at, lambda: (struck.append(fault), fail()))
    assert struck, "the boundary was not reached"


def run_cell(line: Line, moment: Moment, fault: str) -> Outcome:
    """Strike, and see that nothing is lost, doubled or wrongly confirmed; how the struck action ended."""
    due = line.arrange(moment.action)
    confirmed, budgets = line.confirmed(), line.budgets()
    system = line.systems[moment.system]
    try:
        with line.striking(moment, fault):
            struck = line.act(moment.action)
    finally:
        system.heal()
    if not struck.ok:
        _says_why(system, fault, struck)
    # what is confirmed moved although it failed: the answer to its last word was lost, not the word
    if struck.ok or (moment.action in ("sync", "alert") and line.confirmed() != confirmed):
        assert struck.differences in (due, None), "a fault was taken for a difference, or hid one"
        if moment.action != "check":
            line.assert_equal()
    else:
        assert line.confirmed() == confirmed
    _acts_again(line, moment.action, due, budgets)
    if moment.action == "check":  # what it named is mended by what comes after it
        assert line.act("repair").ok
    if moment.action == "check" or not struck.ok:
        line.assert_equal()
    return "recovers" if struck.ok else "fails"


def _says_why(system: System, fault: str, struck: Ended) -> None:
    assert re.search(system.words.get(fault, system.words[""]), struck.said), struck.said


def _acts_again(line: Line, action: Action, due: int, budgets: Any) -> None:
    again = line.act(action)
    assert again.ok, again.said
    assert again.differences in (due, None)
    line.assert_made_once()
    assert line.budgets() == budgets


@dataclass(frozen=True)
class Table:
    """The cells of one line: each is run, tested elsewhere, or cannot be, with the reason.

    Args:
        moments: boundary → where it is struck; outcomes: what is not the rule (a reset recovers, the rest fails).
        elsewhere: cell → the test that is it, as `file::test`; impossible: cell → why. A fault that a system
            cannot have is told for all boundaries at once, by `impossible_for`: (system, fault) → why.
        commits: whether the target's faults of commits (`systems.COMMITS`) are columns, too.
    """

    moments: Mapping[str, Moment]
    outcomes: Mapping[tuple[str, str], Outcome]
    elsewhere: Mapping[tuple[str, str], str]
    impossible: Mapping[tuple[str, str], str]
    impossible_for: Mapping[tuple[str, str], str]
    commits: bool = False

    @property
    def faults(self) -> list[str]:
        return [*FAULTS, *(COMMITS if self.commits else ())]

    @property
    def columns(self) -> list[str]:
        return [*self.faults, KILLED_RUN]

    def why_not(self, boundary: str, fault: str) -> str | None:
        """Why there is no such cell, or None."""
        if (boundary, fault) in self.impossible or boundary not in self.moments:
            return self.impossible.get((boundary, fault))
        return self.impossible_for.get((self.moments[boundary].system, fault))

    def cells(self) -> list[tuple[str, str]]:
        """Those that are run here."""
        return [
            (boundary, fault)
            for boundary in self.moments
            for fault in self.faults
            if self.why_not(boundary, fault) is None and (boundary, fault) not in self.elsewhere
        ]

    def spare(self) -> set[tuple[str, str]]:
        """Cells whose neighbours stand for them: of nine on a diagonal one stays, and of each boundary and fault one.

        What is told by name alone (`outcomes`) has no neighbour like it.
        """
        kept, rows = self.cells(), list(self.moments)
        for cell in self.cells():
            is_between = (rows.index(cell[0]) + self.faults.index(cell[1])) % 9 > 0
            others = [other for other in kept if other != cell]
            has_others = all(any(other[place] == cell[place] for other in others) for place in (0, 1))
            if is_between and has_others and cell not in self.outcomes:
                kept = others
        return set(self.cells()) - set(kept)

    def outcome(self, boundary: str, fault: str) -> Outcome:
        rule: Outcome = "recovers" if fault.startswith("reset") or fault in COMMITS else "fails"
        return self.outcomes.get((boundary, fault), rule)
