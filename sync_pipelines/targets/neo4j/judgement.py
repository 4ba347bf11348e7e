"""What a judge of a graph's records is told, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.conflicts import Strategy
from sync_pipelines.engine.deciding import Decision, Dispute, Sides, State, verdict
from sync_pipelines.engine.ledger.bases import KnownBase
from sync_pipelines.engine.ledger.conflict_rows import OpenConflict
from sync_pipelines.engine.ledger.ledger import Ledger


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a table's document says of conflicts.

    Args:
        by: the property that LAST_WRITE_WINS compares; None where an edit never has a version.
        hidden: properties whose values nobody is shown.
    """

    strategy: Strategy
    by: str | None = None
    hidden: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TableBooks:
    """What of the ledger belongs to one table."""

    ledger: Ledger
    place: tuple[str, str]

    def known(self, keys: Sequence[str]) -> tuple[Mapping[str, KnownBase], Mapping[str, OpenConflict]]:
        return self.ledger.known_bases(*self.place, keys)

    def keep(self, bases: Mapping[str, KnownBase]) -> None:
        self.ledger.keep_bases(*self.place, bases)

    def forget(self, keys: Sequence[str]) -> None:
        self.ledger.forget_bases(*self.place, keys)


@dataclass(frozen=True, kw_only=True)
class Held:
    """A record of the graph.

    Args:
        mark: the fingerprint of the source's row that the sync last wrote there. state: as JSON.
        row: as a batch has it; raw: what the driver gave. None where it was not read, but is taken to be its base.
    """

    mark: str | None
    state: State
    row: Mapping[str, Any] | None = None
    raw: Mapping[str, Any] | None = None


@dataclass(kw_only=True)
class Judgement:
    """What becomes of a batch.

    Args:
        rows: what is to be written, merged where that was decided. told: what was decided, by key.
        held: what the graph held of those that were judged; there: fingerprint and ends of all.
        before, after: bases to keep before and after they are written.
        were: bases as they stood where others are noted before the records are written.
        lost: records whose bases say nothing any more. doubt: of the writer.
        odd: those of which something is told, or that are like the source by their fingerprint alone.
    """

    rows: pa.RecordBatch
    told: list[Dispute] = field(default_factory=list)
    held: Mapping[str, Held] = field(default_factory=dict)
    there: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    before: dict[str, KnownBase] = field(default_factory=dict)
    after: dict[str, KnownBase] = field(default_factory=dict)
    were: dict[str, KnownBase] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    doubt: bool = False
    odd: set[str] = field(default_factory=set)

    @property
    def kept(self) -> dict[str, str]:
        return {item.key: item.why for item in self.told if item.decision.stays}


class EditedError(Exception):
    """Somebody has edited a record since it was judged; nothing was written."""


def words(decision: Decision, sides: Sides, strategy: Strategy) -> str:
    """What was decided, in a sentence that quotes no value."""
    there = "deleted in the graph" if sides.target is None else "edited in the graph"
    if sides.base is None and sides.target is not None:
        there = "made in the graph, too" if sides.source is not None else "made in the graph, and the source lacks it"
    elif decision.conflict:
        there += " and deleted in the source" if sides.source is None else " and changed in the source"
    told = verdict(decision, source="source", target="graph")
    return f"it was {there}: {told} ({strategy.value})"
