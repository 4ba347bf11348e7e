"""What a target holds and how it was made, and what all runs that the ledger remembers have done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.errors import SyncError
from sync_pipelines.engine.ledger.history import PARTIAL_MODES

if TYPE_CHECKING:
    from sync_pipelines.engine.binding import Binding
    from sync_pipelines.engine.ledger.history import Day, RunRecord
    from sync_pipelines.engine.ledger.ledger import Ledger
    from sync_pipelines.registry import BoundTable

_PAGE = 1000

SUMS = {
    "records_read": "read",
    "records_upserted": "upserted",
    "records_metadata_only": "metadata_only",
    "records_unchanged": "unchanged",
    "records_deleted": "deleted",
    "embedded_texts": "embedded_texts",
    "embedded_characters": "embedded_characters",
    "tokens": "embedded_tokens",
}
"""Name in the totals → field of `engine.model.Counts`."""


@dataclass(frozen=True, kw_only=True)
class TableStats:
    """One table.

    Args:
        holdings: what the target says of itself: records, and what else it knows (for Chroma chunks,
            dimensions, model, embedding, space); or `problem`, where it cannot be asked.
        last_sync: when the newest completed sync ended (UTC); a repair, a check or a run over single records is none.
        totals: sums over the runs in the ledger; `seconds` of those whose duration is known.
        days: the same by day (UTC), the newest first.
    """

    path: str
    holdings: dict[str, Any] = field(default_factory=dict)
    last_sync: datetime | None = None
    totals: dict[str, Any] = field(default_factory=dict)
    days: tuple[Day, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **self.holdings,
            "last_sync": self.last_sync.astimezone(UTC).isoformat() if self.last_sync else None,
            "totals": self.totals,
            "days": [_plain(day) for day in self.days],
        }


def stats_of(bound: BoundTable, *, days: int = 14) -> TableStats:
    """Ask one table's target and ledger.

    Args:
        days: so many days with runs are summed one by one.

    Raises:
        SyncError: the ledger cannot be asked. Where the target cannot, `problem` says so and its holdings are left out.
    """
    binding = bound.binding()
    with binding.ledger as ledger:
        ledger.check()
        runs = list(_runs(ledger, binding.place))
        by_day = tuple(ledger.days(*binding.place, limit=days))
    completed = [run for run in runs if run.status == "completed"]
    synced = [run.completed_at for run in completed if run.mode not in PARTIAL_MODES and run.completed_at]
    return TableStats(
        path=bound.path,
        holdings=_holdings(binding, synced=bool(completed)),
        last_sync=max(synced, default=None),
        totals=totals(runs),
        days=by_day,
    )


def _holdings(binding: Binding, *, synced: bool) -> dict[str, Any]:
    """What the target says of itself; one that a run wrote and that is not there now is a problem."""
    try:
        records, found = binding.target.count(), binding.target.holdings()
    except SyncError as error:
        return {"records": None, "problem": str(error)}
    if synced and not found:
        gone = f"{'/'.join(binding.place)}: its target is not there any more; the next run writes it anew."
        return {"records": records, "problem": gone}
    return {"records": records, **found}


def totals(runs: list[RunRecord]) -> dict[str, Any]:
    """Sums over runs; `success_rate` over those that have ended, None where none has."""
    by_status = {word: sum(run.status == word for run in runs) for word in ("completed", "failed", "cancelled")}
    ended = by_status["completed"] + by_status["failed"]
    lasted = [run.duration_seconds for run in runs if run.duration_seconds is not None]
    return {
        "runs": len(runs),
        **by_status,
        "success_rate": round(by_status["completed"] / ended, 4) if ended else None,
        **{name: sum(getattr(run.counts, part) for run in runs) for name, part in SUMS.items()},
        **_used(runs),
        "seconds": round(sum(lasted), 3),
        "average_seconds": round(sum(lasted) / len(lasted), 3) if lasted else None,
    }


def _used(runs: list[RunRecord]) -> dict[str, Any]:
    """Sums of those runs that know the figure; None where none does. The memory is the most of them all."""
    names = ("cpu_seconds", "warehouse_seconds", "files_rewritten")
    found = {name: [value for run in runs if (value := getattr(run.usage, name)) is not None] for name in names}
    sums = {name: round(sum(values), 3) if values else None for name, values in found.items()}
    costs = [run.cost for run in runs if run.cost is not None]
    return {
        "bytes_read": sum(run.counts.bytes_read for run in runs),
        "bytes_written": sum(run.counts.bytes for run in runs),
        **sums,
        "peak_memory": max((run.usage.peak_memory for run in runs if run.usage.peak_memory), default=None),
        "cost": float(sum(costs)) if costs else None,
    }


def _plain(day: Day) -> dict[str, Any]:
    cost = None if day.cost is None else float(day.cost)
    return {"day": day.day.isoformat(), "runs": day.runs, **asdict(day.counts), **asdict(day.usage), "cost": cost}


def _runs(ledger: Ledger, place: tuple[str, str]) -> Iterator[RunRecord]:
    offset = 0
    while page := ledger.logs(*place, limit=_PAGE, offset=offset):
        yield from page
        offset += _PAGE
