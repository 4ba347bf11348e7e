"""Rows of `sync_conflicts`: what others are given of them, and what a dispute puts into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from sync_pipelines.engine.deciding import Dispute
from sync_pipelines.engine.ledger.store import REASON_CHARACTERS, storable, utc, utc_or_none


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """A record that stays in its target as it is, although the source says otherwise; times are UTC.

    `accepted_at`: when somebody took the target's version of it, against the source's row of `source_fingerprint`.
    `resolved_at`: when both sides were the same again, or a strategy had decided. What was decided, `method` (a
    strategy) tells, and by whom `resolved_by`; the three `…_data` are there where the table's conflicts are judged by
    values.
    """

    sync: str
    table: str
    key: str
    reason: str
    detected_at: datetime
    run_id: str
    source_fingerprint: str | None = None
    accepted_at: datetime | None = None
    resolved_at: datetime | None = None
    review: bool = False
    strategy: str | None = None
    method: str | None = None
    resolved_by: str | None = None
    resolution_notes: str | None = None
    decided_at: datetime | None = None
    source_version: str | None = None
    target_version: str | None = None
    source_data: Mapping[str, Any] | None = None
    target_data: Mapping[str, Any] | None = None
    base_data: Mapping[str, Any] | None = None

    @property
    def state(self) -> str:
        """`review` where it waits for a person, `accepted` where one has taken the target's, `open`, or `resolved`."""
        if self.resolved_at is not None:
            return "resolved"
        if self.accepted_at is not None:
            return "accepted"
        return "review" if self.review else "open"


class OpenConflict(NamedTuple):
    """A conflict that is open: of which row of the source, and whether somebody has accepted the target's version."""

    source_fingerprint: str | None
    accepted: bool


VALUES = ("source_data", "target_data", "base_data")
TOLD = ("strategy", "source_version", "target_version", *VALUES)
DETAILS = (*TOLD, "review", "method", "resolved_by", "decided_at")
BY_STRATEGY = "strategy"
"""Who has decided where no person had to."""


def details(dispute: Dispute | None) -> dict[str, Any]:
    """The columns that tell of a dispute; nulls where nothing is known."""
    if dispute is None:
        return {**dict.fromkeys(DETAILS), "review": False}
    sides, method = dispute.sides, dispute.method
    return {
        "strategy": dispute.strategy.value,
        "source_version": _word(sides.source_version),
        "target_version": _word(sides.target_version),
        "source_data": sides.source,
        "target_data": sides.target,
        "base_data": sides.base,
        "review": dispute.in_review,
        "method": method.value if method else None,
        "resolved_by": BY_STRATEGY if method else None,
        "decided_at": datetime.now(UTC) if method else None,
    }


def _word(version: Any) -> str | None:
    return None if version is None else storable(str(version), REASON_CHARACTERS)


def listed(book: sa.Table) -> list[sa.Column[Any]]:
    """All but the values, which may be large."""
    return [column for column in book.c if column.name not in VALUES]


def conflict_of(row: Mapping[Any, Any]) -> Conflict:
    """A row as others are given it."""
    told: dict[str, Any] = {
        name: row.get(name) for name in (*TOLD, "method", "resolved_by", "resolution_notes", "review")
    }
    return Conflict(
        sync=row["sync_type"],
        table=row["table_name"],
        key=row["record_key"],
        reason=row["reason"],
        detected_at=utc(row["detected_at"]),
        run_id=row["run_id"],
        source_fingerprint=row["source_fingerprint"],
        accepted_at=utc_or_none(row["accepted_at"]),
        resolved_at=utc_or_none(row["resolved_at"]),
        decided_at=utc_or_none(row["decided_at"]),
        **told,
    )
