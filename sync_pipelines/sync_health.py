"""How each sync is as a whole, from what `status` says of its tables: no question is asked here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.durations import age

if TYPE_CHECKING:
    from sync_pipelines.status import Report, TableStatus

_GRACE = 0.5
"""A sync is overdue when its next run should have begun this part of its interval ago."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, kw_only=True)
class SyncHealth:
    """One sync; None is what is not known, of one that is not configured nearly all.

    Args:
        is_running: a run of it is queued or under way. is_started: its sensors and schedules ask for runs.
        is_overdue: the last good sync of one of its tables is more than an interval and a half ago.
        last_sync_age: seconds since the last good sync of the table whose is the oldest; next_sync_in: seconds to the
            next run of any. sync_interval: from one run to the next, as `12h`.
        summary: one sentence.
    """

    is_configured: bool
    is_running: bool | None = None
    is_started: bool | None = None
    is_healthy: bool | None = None
    is_overdue: bool | None = None
    last_sync_age: float | None = None
    next_sync_in: float | None = None
    sync_interval: str | None = None
    summary: str = ""
    checked_at: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        checked_at = None if self.checked_at is None else self.checked_at.astimezone(UTC).isoformat()
        return {**asdict(self), "checked_at": checked_at}


def sync_health(report: Report, started: Mapping[str, bool] | None = None) -> dict[str, SyncHealth]:
    """Each sync of a report.

    Args:
        started: whether its sensors and schedules run, by sync; None where there is no instance of Dagster.
    """
    by_sync: dict[str, dict[str, TableStatus]] = defaultdict(dict)
    for path, found in report.assets.items():
        by_sync[path.partition("/")[0]][path] = found
    return {
        sync: _of(tables, report.generated_at, (started or {}).get(sync)) for sync, tables in sorted(by_sync.items())
    }


def _of(tables: Mapping[str, TableStatus], now: datetime, started: bool | None) -> SyncHealth:
    used = {path: found for path, found in tables.items() if found.configured}
    if not used:
        reason = next((found.reason for found in tables.values() if found.reason), "not configured")
        return SyncHealth(is_configured=False, summary=reason, checked_at=now)
    oldest = _oldest(used.values(), now)
    interval = next((found.interval for found in used.values() if found.interval), None)
    overdue = _is_overdue(oldest, interval)
    next_run = min((found.next_run for found in used.values() if found.next_run), default=None)
    return SyncHealth(
        is_configured=True,
        is_running=any(found.running for found in used.values()),
        is_started=started,
        is_healthy=all(found.healthy for found in used.values()),
        is_overdue=overdue,
        last_sync_age=oldest,
        next_sync_in=None if next_run is None else max((next_run - now).total_seconds(), 0.0),
        sync_interval=interval,
        summary=_summary(used, oldest, overdue=bool(overdue)),
        checked_at=now,
    )


def _oldest(tables: Iterable[TableStatus], now: datetime) -> float | None:
    """Seconds since the last good sync of the table that has waited the longest; None where one never had any."""
    last = [found.last_success for found in tables]
    known = [moment for moment in last if moment is not None]
    return (now - min(known)).total_seconds() if known and len(known) == len(last) else None


def _is_overdue(oldest: float | None, interval: str | None) -> bool | None:
    if interval is None:
        return None
    span = int(interval[:-1]) * _SECONDS[interval[-1]]
    return oldest is None or oldest > span * (1 + _GRACE)


def _summary(tables: Mapping[str, TableStatus], oldest: float | None, *, overdue: bool) -> str:
    bad = [_told(path, found) for path, found in tables.items() if not found.healthy]
    if bad:
        return "; ".join(bad)
    synced = "never synced" if oldest is None else f"last synced {age(oldest)} ago"
    number = f"{len(tables)} table{'s' if len(tables) > 1 else ''}"
    return f"{number} healthy, {synced}{', overdue' if overdue else ''}"


def _told(path: str, found: TableStatus) -> str:
    """The problems of a table; an error names it already."""
    return f"{path}: {'; '.join(problem.removeprefix(f'{path}: ') for problem in found.problems)}"
