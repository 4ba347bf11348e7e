"""Asset checks of what comes from an API, beside those of every table.

| check | asks |
|---|---|
| `failures` | which share of the records that are asked for failed or was refused, and why; coverage as a table |
| `drift` | whether the payloads have new fields, or lack ones that they had |
| `plausibility` | whether numbers lie in the ranges that the document states |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from sync_pipelines.check_results import Anew
from sync_pipelines.engine.sensitive import mask_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sync_pipelines.checks import Asked, Work
    from sync_pipelines.engine.binding import Binding
    from sync_pipelines.engine.sensitive import Mask
    from sync_pipelines.sources.rest.source import RestSource
    from sync_pipelines.targets.rowsets.looking import Coverage, Fields
    from sync_pipelines.targets.rowsets.target import RowsetTarget

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


def rest_checks(component: Any) -> dict[str, tuple[str, Work]]:
    """Name → description and work, of a table that comes from an API."""
    found: dict[str, tuple[str, Work]] = {
        "failures": ("Records that failed or were refused, and why; how many are in which state.", failures),
        "drift": ("Whether the payloads have new fields, or lack ones that they had.", drift),
    }
    if component.plausible:
        found["plausibility"] = ("Whether numbers lie in the ranges that the document states.", plausibility)
    return found


def failures(asked: Asked) -> dg.AssetCheckResult:
    """Above `fetch.failures_warn` it is a warning, above `fetch.failures_error` an error."""
    from sync_pipelines.targets.rowsets.looking import coverage

    limits, found = asked.component.fetch, coverage(_store(asked))  # ty: ignore[missing-attribute]
    mask = mask_of(asked.component.spec)
    rate = found.failure_rate
    told = ", ".join(f"{count} {status}" for status, count in found.states.items()) or "none"
    return dg.AssetCheckResult(
        passed=rate <= limits.failures_warn,
        severity=ERROR if rate > limits.failures_error else WARN,
        description=f"{rate:.1%} of {found.asked} records failed or were refused: {told}.",
        metadata={"failure_rate": rate, **found.states, "coverage": _table(found), **_reasons(found, mask)},
    )


def _table(found: Coverage) -> Any:
    days = "\n".join(f"| {day} | {count} |" for day, count in found.by_day.items())
    states = "\n".join(f"| {status} | {count} |" for status, count in found.states.items())
    return dg.MetadataValue.md(
        f"| state | records |\n|---|---|\n{states}\n\n| fetched on | records |\n|---|---|\n{days}"
    )


def _reasons(found: Coverage, mask: Mask) -> Mapping[str, Any]:
    records = [dg.TableRecord({"key": mask.key(key), "why": why, "records": n}) for key, why, n in found.reasons]
    return {"reasons": dg.MetadataValue.table(records)} if records else {}


def drift(asked: Asked) -> dg.AssetCheckResult:
    """A field that is new, or gone from all payloads, is a warning until somebody says that it is expected."""
    from sync_pipelines.targets.rowsets.looking import fields

    store = _store(asked)
    found = fields(store)
    told = [f"new field {path}" for path in found.new] + [f"missing field {path}" for path in found.vanished]
    told += [f"`sensitive` names {path}, which none of them has" for path in _unknown(store, found)]
    where = f"{store.books.table('fields')} WHERE {store.books.mine}"
    remedy = (
        f" They are kept in the payloads. Accept them: UPDATE {store.books.table('fields')} SET expected = true "
        f"WHERE {store.books.mine}; what is gone for good: DELETE FROM {where} AND path = …"
    )
    return dg.AssetCheckResult(
        passed=not told,
        severity=WARN,
        description=f"{'; '.join(told)}.{remedy}" if told else f"{found.looked_at} payloads have the fields they had.",
        metadata={"payloads": found.looked_at, "new": list(found.new), "missing": list(found.vanished)},
    )


def _unknown(store: RowsetTarget, found: Fields) -> list[str]:
    return store.documents.hidden.unknown(found.known) if found.looked_at else []


def plausibility(asked: Asked) -> dg.AssetCheckResult:
    """Values outside of their range are a warning: they are what the API says."""
    from sync_pipelines.targets.rowsets.looking import implausible

    ranges = asked.component.ranges  # ty: ignore[missing-attribute]
    store, mask = _store(asked), mask_of(asked.component.spec)
    found = list(implausible(store, ranges))
    told = [f"{item.count} of {item.column} outside {item.lowest:g} to {item.highest:g}" for item in found]
    return dg.AssetCheckResult(
        passed=not found,
        severity=WARN,
        description="; ".join(told) or f"{', '.join(ranges)}: all in their ranges.",
        metadata={item.column: dg.MetadataValue.json(mask.keys(item.samples)) for item in found},
    )


def fetched_anew(binding: Binding) -> Anew:
    """A sample of records, fetched anew, and what it shows: what changed since they were kept is due at once."""
    source: RestSource = binding.source  # ty: ignore[invalid-assignment]
    found = source.sample_anew()
    changed = ", ".join(mask_of(binding.spec).keys(found.changed))
    told = f"Of {found.asked} fetched anew {len(found.changed)} have changed since{f': {changed}' if changed else ''}."
    numbers = {"sample": found.asked, "sample_changed": len(found.changed), "sample_unanswered": found.unanswered}
    return Anew(numbers=numbers, sentence=told if found.asked else None)


def _store(asked: Asked) -> RowsetTarget:
    return asked.binding.target  # ty: ignore[invalid-explicit-return]
