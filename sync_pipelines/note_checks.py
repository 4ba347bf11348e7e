"""Asset checks of notes, beside those of every table.

| check | asks |
|---|---|
| `duplicates` | whether a note has more than one page in the user's database |
| `freshness` | when the user was last synced |
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from sync_pipelines.engine.durations import age, seconds

if TYPE_CHECKING:
    from sync_pipelines.checks import Asked, Work
    from sync_pipelines.targets.notion.target import NotionTarget

_SHOWN = 20


def note_checks() -> dict[str, tuple[str, Work]]:
    """Name → description and work."""
    return {
        "duplicates": ("Whether a note has several pages, made by hand or by a late request.", duplicates),
        "freshness": ("When each user was last synced.", freshness),
    }


def duplicates(asked: Asked) -> dg.AssetCheckResult:
    """A note with several pages is an error: which of them holds what people wrote only people can say."""
    from sync_pipelines.targets.notion.copies import told

    target: NotionTarget = asked.binding.target  # ty: ignore[invalid-assignment]
    found = target.doubles()
    rows = [
        dg.TableRecord({"difference": "duplicate", "key": key, "why": ", ".join(sorted(copy.place for copy in copies))})
        for key, copies in sorted(found.items())[:_SHOWN]
    ]
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.ERROR,
        description=told(found, asked.component.path) if found else "Each note has one page.",
        metadata={
            "duplicates": len(found),
            "own_copies": sum(copy.ours for copies in found.values() for copy in copies),
            **({"samples": dg.MetadataValue.table(rows)} if rows else {}),
        },
    )


def freshness(asked: Asked) -> dg.AssetCheckResult:
    """A user whose last good sync is older than `checks.fresh_within` is an error, one who had none yet a warning."""
    from sync_pipelines.reporting import last_success

    last = last_success(asked.binding.ledger, asked.binding.place)
    if last is None:
        severity = dg.AssetCheckSeverity.WARN
        return dg.AssetCheckResult(passed=False, severity=severity, description="it was never synced")
    old, limit = (datetime.now(UTC) - last).total_seconds(), seconds(asked.component.checks.fresh_within)
    return dg.AssetCheckResult(
        passed=old <= limit,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"last synced {age(old)} ago",
        metadata={"age_seconds": round(old, 1)},
    )
