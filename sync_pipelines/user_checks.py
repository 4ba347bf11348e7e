"""Asset checks of a table with users: one result over all of them, with a table that says how each one is.

After a run of one user the others are not asked again what their last proof says, which would cost requests for each
of them after each run of any: their last answer stands, and the scheduled checks renew it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import dagster as dg

from sync_pipelines.check_results import SCOPE, result_of
from sync_pipelines.engine.errors import SyncError, TransientError, redact
from sync_pipelines.engine.sensitive import mask_of

if TYPE_CHECKING:
    from sync_pipelines.components.base import SyncComponent
    from sync_pipelines.engine.ledger.ledger import Ledger, ProofRecord

USERS = "users"
"""Metadata of a result: a row for each user."""

OF_NOW = ("schema", "backlog", "freshness")
"""Cheap, or true of this moment alone: asked of every user each time."""

_ERROR, _WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
_MOST = frozenset({"lag_seconds", "age_seconds"})
"""Numbers of which the highest is that of all; others are added up."""

Ask = Callable[["SyncComponent"], "dg.AssetCheckResult | None"]


def ask_each(component: SyncComponent, context: Any, name: str, ask: Ask) -> dg.AssetCheckResult | None:
    """A check of all users; None where the run that asks has nothing to say.

    Args:
        ask: makes the check of one part.
    """
    if reason := component.not_configured(context.resources):
        return dg.AssetCheckResult(passed=True, metadata={"skipped": reason})
    parts = component.parts(context.resources)
    asked = [part for part in parts if name in OF_NOW or part.is_of_run(context.run.tags)]
    found = {str(part.user): answer for part in asked if (answer := _answer(part, ask)) is not None}
    if not found:
        return None
    others = [part for part in parts if part not in asked]
    with context.resources.ledger.ledger() if others else nullcontext() as ledger:
        standing = {str(part.user): _standing(part, name, ledger, context.instance) for part in others}
    return together({**found, **standing})


def _answer(part: SyncComponent, ask: Ask) -> dg.AssetCheckResult | None:
    """One user's result; one who cannot be asked is not good, and hides none of the others."""
    try:
        return ask(part)
    except TransientError as error:
        return _problem(str(error), _WARN)
    except dg.Failure as error:
        return _problem(str(error.description), _ERROR)
    except SyncError as error:
        return _problem(str(error), _ERROR)
    except Exception as error:
        return _problem(redact(f"{part.path}: {type(error).__name__}: {error}"), _ERROR)


def _problem(sentence: str, severity: dg.AssetCheckSeverity) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, severity=severity, description=sentence)


def among_all(
    part: SyncComponent, found: dg.AssetCheckResult, name: str, instance: dg.DagsterInstance, ledger: Ledger | None
) -> dg.AssetCheckResult:
    """One user's result of now among the last ones of the others.

    Args:
        ledger: by default the environment's.
    """
    from types import SimpleNamespace

    from sync_pipelines import registry

    with nullcontext(ledger) if ledger is not None else registry.ledger() as books:
        given = SimpleNamespace(ledger=SimpleNamespace(ledger=lambda **_: nullcontext(books)))
        others = [other for other in part.whole().parts(given) if other.user != part.user]
        standing = {str(other.user): _standing(other, name, books, instance) for other in others}
    return together({str(part.user): found, **standing})


def _standing(part: SyncComponent, name: str, ledger: Any, instance: dg.DagsterInstance) -> dg.AssetCheckResult:
    """What the last look at a user found."""
    kinds = {"count": (None,), "content": ("quick", "deep"), "deep": ("deep",)}.get(name)
    if kinds is None:
        return _last_row(part, name, instance)
    place = (part.sync, part.table_name)
    proofs: list[ProofRecord] = [proof for kind in kinds if (proof := ledger.last_proof(*place, kind)) is not None]
    if not proofs:
        return dg.AssetCheckResult(passed=True, description="not looked at yet")
    newest = max(proofs, key=lambda proof: proof.id)
    return result_of(mask_of(part.spec).proof(newest), error_above=part.checks.error_above)


def _last_row(part: SyncComponent, name: str, instance: dg.DagsterInstance) -> dg.AssetCheckResult:
    """A user's row in the check's last result, whose proofs the ledger does not keep."""
    for row in last_rows(instance, dg.AssetCheckKey(part.asset_key, name)):
        if row.get("user") == part.user:
            severity = _WARN if row["severity"] == _WARN.value else _ERROR
            return dg.AssetCheckResult(passed=bool(row["passed"]), severity=severity, description=str(row["found"]))
    return dg.AssetCheckResult(passed=True, description="not looked at yet")


def last_rows(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> list[Mapping[str, Any]]:
    """The users' rows in the newest result of a check; none where it was never made."""
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status

    ended = {Status.SUCCEEDED, Status.FAILED}
    for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=ended):
        event = record.event.dagster_event if record.event else None
        metadata = event.asset_check_evaluation_data.metadata if event else {}
        return [row.data for row in getattr(metadata.get(USERS), "records", ())]
    return []


def together(results: Mapping[str, dg.AssetCheckResult]) -> dg.AssetCheckResult:
    """One result of those of all users: good where each is, as grave as the worst, numbers added up."""
    bad = {user: found for user, found in results.items() if not found.passed}
    grave = any(found.severity == _ERROR for found in bad.values())
    told = "; ".join(f"{user}: {found.description}" for user, found in (bad or results).items())
    return dg.AssetCheckResult(
        passed=not bad,
        severity=_ERROR if grave else _WARN,
        description=f"{told} ({len(results) - len(bad)} of {len(results)} users are good.)" if bad else told,
        metadata={
            **_numbers(results.values()),
            **_scope(results.values()),
            **_samples(results),
            USERS: dg.MetadataValue.table([_row(user, found) for user, found in sorted(results.items())]),
        },
    )


def _row(user: str, found: dg.AssetCheckResult) -> dg.TableRecord:
    severity = "" if found.passed else found.severity.value
    return dg.TableRecord(
        {"user": user, "passed": found.passed, "severity": severity, "found": found.description or ""}
    )


def _numbers(results: Iterable[dg.AssetCheckResult]) -> dict[str, int | float]:
    sums: dict[str, int | float] = {}
    for found in results:
        for name, value in (found.metadata or {}).items():
            number = getattr(value, "value", value)
            if isinstance(number, int | float) and not isinstance(number, bool):
                held = sums.get(name, 0)
                sums[name] = max(held, number) if name in _MOST else held + number
    return sums


def _scope(results: Iterable[dg.AssetCheckResult]) -> dict[str, Any]:
    """Where one of them speaks of a part of their records, all of it does."""
    return next(({SCOPE: found.metadata[SCOPE]} for found in results if found.metadata and SCOPE in found.metadata), {})


def _samples(results: Mapping[str, dg.AssetCheckResult]) -> dict[str, Any]:
    rows = [
        dg.TableRecord({"user": user, **row.data})
        for user, found in results.items()
        for row in getattr((found.metadata or {}).get("samples"), "records", ())
    ]
    return {"samples": dg.MetadataValue.table(rows)} if rows else {}
