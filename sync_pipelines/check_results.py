"""What was found, as the result of an asset check: passed or not, how grave, numbers, and a table of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import dagster as dg

from sync_pipelines.decide import waited
from sync_pipelines.engine.durations import age, seconds
from sync_pipelines.engine.ledger.proofs import NUMBERS
from sync_pipelines.engine.model import Pending
from sync_pipelines.engine.proof import Proof
from sync_pipelines.engine.spec import TableSpec


class Proven(Protocol):
    """A proof of now, or one from the ledger."""

    @property
    def equal(self) -> bool: ...
    @property
    def missing(self) -> int: ...
    @property
    def stale(self) -> int: ...
    @property
    def extra(self) -> int: ...
    @property
    def samples(self) -> Mapping[str, Sequence[str]]: ...
    @property
    def reasons(self) -> Mapping[str, str]: ...
    @property
    def full_sync_due(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Anew:
    """What a deep look shows beside a proof: numbers, and a sentence where there is something to say."""

    numbers: Mapping[str, Any]
    sentence: str | None

    def beside(self, result: dg.AssetCheckResult) -> dg.AssetCheckResult:
        """The proof's result with this."""
        told = f"{result.description} {self.sentence}" if self.sentence else result.description
        numbers: dict[str, Any] = {**(result.metadata or {}), **self.numbers}
        return result._replace(description=told, metadata=numbers)


SCOPE = "scope"
"""Metadata of a result that speaks of a part of the table: which (`touched`)."""


def result_of(proof: Proven, *, error_above: int = 0, note: str = "", scope: str = "") -> dg.AssetCheckResult:
    """A proof as a check's result: numbers, and up to 20 sample keys of each kind as a table.

    Args:
        error_above: up to so many differing records are a warning only.
        note: what the proof speaks of, where that is not the whole table of now.
        scope: which part of the table it compared; empty is all of it.
    """
    metadata: dict[str, Any] = {name: getattr(proof, name) for name in NUMBERS}
    if scope:
        metadata[SCOPE] = scope
    if proof.full_sync_due:
        metadata["full_sync_due"] = proof.full_sync_due
    if proof.samples:
        metadata["samples"] = dg.MetadataValue.table(
            [
                dg.TableRecord({"difference": kind, "key": key, "why": proof.reasons.get(key, "")})
                for kind, keys in proof.samples.items()
                for key in keys
            ]
        )
    differing = proof.missing + proof.stale + proof.extra
    return dg.AssetCheckResult(
        passed=proof.equal,
        severity=dg.AssetCheckSeverity.ERROR if differing > error_above else dg.AssetCheckSeverity.WARN,
        description=f"{note}: {describe(proof)}" if note else describe(proof),
        metadata=metadata,
    )


def describe(proof: Proven | Proof) -> str:
    """What was found, and that a full sync is due, in a sentence each."""
    numbers = {name: getattr(proof, name) for name in NUMBERS}
    found = "{source_count} records in the source, {target_count} in the target".format(**numbers)
    if proof.equal:
        out = ", ".join(f"{numbers[name]} {name}" for name in ("quarantined", "excluded", "pending") if numbers[name])
        return f"Equal: {found}{f'; {out}' if out else ''}.{_due(proof)}"
    return f"Differs: {found}; {proof.missing} missing, {proof.stale} stale, {proof.extra} extra.{_due(proof)}"


def _due(proof: Proven | Proof) -> str:
    return f" A full sync is due, which pending ones wait for: {proof.full_sync_due}." if proof.full_sync_due else ""


def drift_result(
    *, source: Any, spec: TableSpec, known: Mapping[str, str], target: Sequence[str]
) -> dg.AssetCheckResult:
    """Whether both sides are still shaped as they were: a target that is not is an error, a type a warning.

    Args:
        source: the table as the catalog has it (a lost column or key is an error before this is asked).
        known: the synced columns and their types at the last materialization.
        target: what about the target is not as the document says.
    """
    now = {column.name: column.pg_type for column in source.columns}
    changed = {
        name: f"{known[name]} → {now[name]}" for name in known if name in now and known[name] not in ("", now[name])
    }
    unread = [] if spec.every_column else sorted(set(now) - set(spec.projection))
    problems = [*target, *(f"column {name}: {change}" for name, change in changed.items())]
    return dg.AssetCheckResult(
        passed=not problems,
        severity=dg.AssetCheckSeverity.ERROR if target else dg.AssetCheckSeverity.WARN,
        description="; ".join(problems) or "Source and target are shaped as the document says.",
        metadata={
            "columns": len(now),
            "changed_columns": dg.MetadataValue.json(changed),
            "columns_not_synced": dg.MetadataValue.json(unread),
            "target": dg.MetadataValue.json(list(target)),
        },
    )


class Limits(Protocol):
    """Of the document's `checks` block, as written there."""

    @property
    def lag_warn(self) -> str: ...
    @property
    def lag_error(self) -> str: ...


@dataclass(frozen=True)
class _Lag:
    seconds: float
    warn: float
    error: float


def backlog_result(
    *,
    pending: Pending,
    quarantined: Sequence[Any],
    counts: tuple[int, int],
    limits: Limits,
    last_success: datetime | None,
    resting: str | None = None,
    reviews: Sequence[Any] = (),
    in_review: int = 0,
    notes: Sequence[str] = (),
    now: datetime | None = None,
) -> dg.AssetCheckResult:
    """How long the oldest change has waited (over `lag_error` an error, over `lag_warn` a warning), and quarantine, and
    conflicts that wait for a person.

    A reason to read everything that no run ends is a warning for as long as it stands; what is a lag then, see
    `decide.waited`.

    Args:
        quarantined: up to 20 records in quarantine; counts: quarantined and excluded in all.
        last_success: the time of the source's state that the target holds.
        reviews: up to 20 conflicts in review; in_review: how many there are.
        notes: whatever else is to be said, each a warning.
        resting: why the source is not asked, whose changes are then not known; that alone is no reason to warn.
        now: UTC; for tests.
    """
    lag = _lag(pending, last_success, now or datetime.now(UTC), limits)
    late = lag.seconds > lag.warn
    said = [f"the oldest pending change is {age(lag.seconds)} old"] if late else []
    said += [f"every run must read the whole table: {pending.full_reason}"] if pending.lasting else []
    said += [f"{counts[0]} records in quarantine"] if counts[0] else []
    said += [f"{in_review} conflicts wait for a review (`sync-pipelines conflicts list`)"] if in_review else []
    said += notes
    unasked = [f"its changes are not counted now: {resting}"] if resting else []
    metadata: dict[str, Any] = {"quarantined": counts[0], "excluded": counts[1]}
    waiting = {"pending": pending.changes, "lag_seconds": round(lag.seconds, 1)}
    metadata |= {"not_asked": resting} if resting else waiting
    if pending.full_reason:
        metadata["full_sync_due"] = pending.full_reason
    if in_review:
        metadata["in_review"] = in_review
    if samples := [*(("quarantined", item) for item in quarantined), *(("in review", item) for item in reviews)]:
        metadata["samples"] = dg.MetadataValue.table(
            [dg.TableRecord({"difference": kind, "key": item.key, "why": item.reason}) for kind, item in samples]
        )
    return dg.AssetCheckResult(
        passed=not said,
        severity=dg.AssetCheckSeverity.ERROR if lag.seconds > lag.error else dg.AssetCheckSeverity.WARN,
        description="; ".join([*said, *unasked]) or f"{pending.changes} changes pending.",
        metadata=metadata,
    )


def _lag(pending: Pending, last_success: datetime | None, now: datetime, limits: Limits) -> _Lag:
    return _Lag(
        waited(pending, last_success, now=now) or 0.0, warn=seconds(limits.lag_warn), error=seconds(limits.lag_error)
    )
