"""How the tables of this project are: from facts to a report, without asking anything (`reporting` asks).

report([Facts(path="knowledge/knowledge_reference", …)], now=now).as_dict()
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sync_pipelines.decide import waited
from sync_pipelines.engine.durations import age, brief
from sync_pipelines.engine.ledger.proofs import ProofRecord
from sync_pipelines.engine.model import Pending


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """From the table's `checks` block: how old a proof may be, and lag that warns or alarms."""

    proof_within: timedelta = timedelta(hours=26)
    lag_warn: timedelta = timedelta(minutes=15)
    lag_error: timedelta = timedelta(hours=2)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was found out about one table.

    Args:
        path: `sync/table`. user: whose part of it this is, of a table with users; its path is that of the whole.
        not_configured: why the sync is not in use here, or None.
        problem: the sentence of what could not be asked (source, ledger or target out of reach), or None.
        proof: the newest proof of any kind; content: the newest that compared keys and fingerprints, where
            the newest one of all compared counts alone.
        pending: what waits in the source, None where it could not be asked.
        last_success: when the newest completed sync ended; last_error: why the newest failed sync failed.
        failures: failed syncs since the last completed one, and since the newest proof began that found the whole
            table equal, and nothing waiting.
        running: a run of it is queued or running, or has its books open.
        quarantined, excluded: records that stay out now; in_review: those of them that wait for a person.
        warnings: what an operator should know of the capture.
        interval: from one scheduled run to the next; next_run: when the next one starts.
    """

    path: str
    user: str | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    not_configured: str | None = None
    problem: str | None = None
    proof: ProofRecord | None = None
    content: ProofRecord | None = None
    pending: Pending | None = None
    last_success: datetime | None = None
    last_error: str | None = None
    failures: int = 0
    running: bool = False
    quarantined: int | None = None
    excluded: int | None = None
    in_review: int = 0
    warnings: Sequence[str] = ()
    interval: timedelta | None = None
    next_run: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class TableStatus:
    """How one table is; None is what is not known. Times are UTC, `interval` reads 6h or 20m.

    Args:
        lag_seconds: the age of the oldest pending change, 0 where nothing waits, or a reason alone that no run ends.
        pending: changes that wait; full_sync_due: why the next run will read everything, or None.
        checked_at: when the proof ended whose numbers these are.
        problems: why it is not healthy; warnings: what is no reason for that.
        users: of a table with users how each of them is; None of any other.
    """

    configured: bool
    source_count: int | None = None
    target_count: int | None = None
    missing: int | None = None
    stale: int | None = None
    extra: int | None = None
    quarantined: int | None = None
    excluded: int | None = None
    last_success: datetime | None = None
    lag_seconds: float | None = None
    healthy: bool | None = None
    running: bool = False
    next_run: datetime | None = None
    interval: str | None = None
    last_error: str | None = None
    checked_at: datetime | None = None
    pending: int | None = None
    full_sync_due: str | None = None
    problems: Sequence[str] = ()
    warnings: Sequence[str] = ()
    reason: str | None = None
    users: Mapping[str, TableStatus] | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """How all of them are."""

    generated_at: datetime
    healthy: bool
    assets: dict[str, TableStatus]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; times as ISO 8601 in UTC."""
        found = _plain(asdict(self))
        for asset in found["assets"].values():
            _drop_users(asset)
        return found


def report(facts: Iterable[Facts], *, now: datetime) -> Report:
    """The report of these tables; those that are not configured do not count for its health."""
    from sync_pipelines.user_status import of_users

    assets: dict[str, TableStatus] = {}
    users: dict[str, dict[str, TableStatus]] = {}
    for found in facts:
        assets[found.path] = status = table_status(found, now=now)
        if found.user is not None:
            users.setdefault(found.path, {})[found.user] = status
    assets.update({path: of_users(each) for path, each in users.items()})
    healthy = all(found.healthy for found in assets.values() if found.configured)
    return Report(generated_at=now, healthy=healthy, assets=assets)


def table_status(facts: Facts, *, now: datetime) -> TableStatus:
    """How one table is at this moment."""
    if facts.not_configured:
        return TableStatus(configured=False, reason=facts.not_configured)
    numbers = _numbers(facts)
    lag = lag_of(facts, now=now)
    problems = tuple(_problems(facts, numbers, lag, now=now))
    return TableStatus(
        configured=True,
        **numbers,
        last_success=facts.last_success,
        lag_seconds=lag,
        healthy=not problems,
        running=facts.running,
        next_run=facts.next_run,
        interval=None if facts.interval is None else brief(facts.interval),
        last_error=facts.problem or (facts.last_error if facts.failures else None),
        checked_at=_checked_at(facts),
        pending=facts.pending.changes if facts.pending else None if facts.pending is None else 0,
        full_sync_due=facts.pending.full_reason if facts.pending else None,
        problems=problems,
        warnings=tuple(_warnings(facts, lag)),
    )


def lag_of(facts: Facts, *, now: datetime) -> float | None:
    """Seconds since the oldest pending change, see `decide.waited`; None where it is not known."""
    return None if facts.pending is None else waited(facts.pending, facts.last_success, now=now)


def _numbers(facts: Facts) -> dict[str, Any]:
    """Counts of the newest proof; differences of the newest that looked for them."""
    proof, content = facts.proof, facts.content or facts.proof
    return {
        "source_count": proof.source_count if proof else None,
        "target_count": proof.target_count if proof else None,
        "missing": content.missing if content else None,
        "stale": content.stale if content else None,
        "extra": content.extra if content else None,
        "quarantined": facts.quarantined,
        "excluded": facts.excluded,
    }


def _checked_at(facts: Facts) -> datetime | None:
    content = facts.content or facts.proof
    return content.finished_at if content else None


def _problems(facts: Facts, numbers: dict[str, int | None], lag: float | None, *, now: datetime) -> Iterable[str]:
    if facts.problem:
        yield facts.problem
        return
    if facts.last_success is None:
        yield "it was never synced"
    if facts.failures:
        yield f"{facts.failures} failed syncs in a row" if facts.failures > 1 else "the last sync failed"
    yield from _doubts(facts, numbers, now=now)
    if lag is not None and lag > facts.thresholds.lag_error.total_seconds():
        yield f"the oldest pending change is {age(lag)} old"


def _doubts(facts: Facts, numbers: dict[str, int | None], *, now: datetime) -> Iterable[str]:
    differences = [f"{numbers[kind]} {kind}" for kind in ("missing", "stale", "extra") if numbers[kind]]
    if differences:
        yield ", ".join(differences)
    checked = _checked_at(facts)
    if checked is None:
        yield "it was never proven"
    elif now - checked > facts.thresholds.proof_within:
        yield f"the last proof is older than {brief(facts.thresholds.proof_within)}"


def _warnings(facts: Facts, lag: float | None) -> Iterable[str]:
    yield from facts.warnings
    if facts.quarantined:
        yield f"{facts.quarantined} in quarantine"
    if facts.in_review:
        yield f"{facts.in_review} conflicts wait for a review"
    warn, error = (limit.total_seconds() for limit in (facts.thresholds.lag_warn, facts.thresholds.lag_error))
    if lag is not None and warn < lag <= error:
        yield f"the oldest pending change is {age(lag)} old"


def _drop_users(asset: dict[str, Any]) -> None:
    """`users` is said of a table that has some alone."""
    if asset["users"] is None:
        del asset["users"]
        return
    for user in asset["users"].values():
        _drop_users(user)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
