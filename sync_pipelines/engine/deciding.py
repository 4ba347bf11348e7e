"""What becomes of a record whose target was edited too: decided from its three states, by a strategy.

Pure: nothing is read or written here. A conflict is: source and target both changed since the base, and differ. An edit
of the target alone is none, but a strategy may protect it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from sync_pipelines.engine.conflicts import Strategy, kept_by
from sync_pipelines.engine.merging import Merged, merge, same_state

State = Mapping[str, Any]
"""A record's values of JSON, by property."""

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
"""A number as a text spells it: so a column of type numeric comes, whose 10 stood below its 9."""


@dataclass(frozen=True, kw_only=True)
class Sides:
    """A record's states; None where there is no record.

    Args:
        base: what was last synced; None where the sync never wrote it.
        source_version, target_version: by which LAST_WRITE_WINS decides. Of a record that the source has deleted, the
            version of the base.
    """

    source: State | None
    target: State | None
    base: State | None = None
    source_version: Any = None
    target_version: Any = None


class Outcome(Enum):
    """What a record's target holds after a decision."""

    SAME = "same"
    """What it holds: both sides are equal."""

    SOURCE = "source"
    """The source's state, or nothing where the source has none."""

    TARGET = "target"
    """What it holds, although the source says otherwise."""

    MERGED = "merged"
    """The edits of both sides."""

    REVIEW = "review"
    """What it holds, until a person decides."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided.

    Args:
        conflict: whether both sides had changed. values: those of a merge.
        clashes: the properties that a merge cannot decide.
    """

    outcome: Outcome
    conflict: bool = False
    values: State | None = None
    clashes: tuple[str, ...] = ()

    @property
    def stays(self) -> bool:
        """Whether the target is left as it is although the source says otherwise."""
        return self.outcome in (Outcome.TARGET, Outcome.REVIEW)

    @property
    def told(self) -> bool:
        """Whether there is anything to say of it."""
        return self.stays or self.conflict


def decide(strategy: Strategy, sides: Sides) -> Decision:
    """What becomes of a record.

    LAST_WRITE_WINS: the side of the higher version. An edit that has raised no version loses, also to a source that has
    not changed since; of equal versions the source's wins, and a deletion in the target has none.
    """
    if same_state(sides.source, sides.target):
        return Decision(outcome=Outcome.SAME)
    if same_state(sides.target, sides.base):
        return Decision(outcome=Outcome.SOURCE)
    conflict = not same_state(sides.source, sides.base)
    if strategy is Strategy.SOURCE_WINS:
        return Decision(outcome=Outcome.SOURCE, conflict=conflict)
    if strategy is Strategy.LAST_WRITE_WINS:
        wins = is_above(sides.target_version, sides.source_version)
        return Decision(outcome=Outcome.TARGET if wins else Outcome.SOURCE, conflict=conflict)
    if not conflict or strategy is Strategy.TARGET_WINS:
        return Decision(outcome=Outcome.TARGET, conflict=conflict)
    return _merged(sides) if strategy is Strategy.MERGE else Decision(outcome=Outcome.REVIEW, conflict=True)


def _merged(sides: Sides) -> Decision:
    if sides.source is None or sides.target is None:
        return Decision(outcome=Outcome.REVIEW, conflict=True)
    found: Merged = merge(sides.base or {}, sides.source, sides.target)
    if found.clashes:
        return Decision(outcome=Outcome.REVIEW, conflict=True, clashes=found.clashes)
    for outcome, state in ((Outcome.SOURCE, sides.source), (Outcome.TARGET, sides.target)):
        if same_state(found.values, state):
            return Decision(outcome=outcome, conflict=True)
    return Decision(outcome=Outcome.MERGED, conflict=True, values=found.values)


def is_above(version: Any, other: Any) -> bool:
    """Whether a version is higher than another one; one that cannot be compared, or is none, is not."""
    if version is None or other is None:
        return version is not None
    if all(isinstance(side, str) and _NUMBER.fullmatch(side) for side in (version, other)):
        version, other = Decimal(version), Decimal(other)
    try:
        return bool(version > other)
    except TypeError:
        return False


def verdict(decision: Decision, *, source: str, target: str) -> str:
    """What was decided, in a clause that quotes no value.

    Args:
        source, target: how people call the two sides.
    """
    if decision.clashes:
        return f"both changed {', '.join(decision.clashes)}, which a person must decide"
    return {
        Outcome.SAME: "both are the same",
        Outcome.SOURCE: f"the {source}'s version takes its place",
        Outcome.TARGET: f"the {target}'s version stays",
        Outcome.MERGED: "both edits were put together",
        Outcome.REVIEW: "a person must decide",
    }[decision.outcome]


@dataclass(frozen=True, kw_only=True)
class Dispute:
    """A record that was judged, and what is told of it.

    Args:
        why: a sentence. fingerprint: of the source's row; None where it has none.
        sides: as they may be stored, without readable values of sensitive columns.
    """

    key: str
    strategy: Strategy
    decision: Decision
    why: str
    sides: Sides
    fingerprint: str | None = None
    accepted: bool = False

    @property
    def in_review(self) -> bool:
        """Whether it waits for a person."""
        return self.decision.outcome is Outcome.REVIEW and not self.accepted

    @property
    def method(self) -> Strategy | None:
        """The strategy that has decided a conflict; None where a person has to, or both sides had not changed."""
        decided = self.decision.conflict and self.decision.outcome is not Outcome.REVIEW
        return self.strategy if decided else None


@runtime_checkable
class Disputing(Protocol):
    """A target that knows the three states of its records; `rows` are mapped source rows, None where there is none."""

    @property
    def looks(self) -> bool:
        """Whether its document asks for edits to be looked for."""
        ...

    def disputes(self, keys: Sequence[str]) -> Sequence[Dispute]:
        """Those of these records, which the source lacks, that were edited here: whether each stays, and why."""
        ...

    def judged(self, rows: Any, keys: Sequence[str]) -> Mapping[str, Dispute]:
        """What would be decided of these records now."""
        ...

    def shown(self, rows: Any, keys: Sequence[str]) -> Mapping[str, Sides]:
        """The states of these records as people may see them."""
        ...

    def stand(self, row: Any) -> None:
        """Let the target's version of a record stand against this row of the source; the caller holds the lock."""
        ...

    def put_together(self, row: Any, values: State) -> None:
        """Write a record as a person has put it together, against this row of the source; the caller holds the lock."""
        ...


def judged_by(target: object, keys: Sequence[str]) -> tuple[Mapping[str, str], Sequence[Dispute]]:
    """Those of these records, which the source lacks, that a target keeps, with why; and what it says of them, and of
    others that were edited."""
    if not isinstance(target, Disputing) or not keys:
        return kept_by(target, keys), ()
    found = target.disputes(keys)
    return {item.key: item.why for item in found if item.decision.stays}, found
