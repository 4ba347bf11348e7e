"""Asset checks: source and target are asked themselves, never the writer."""

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from sync_pipelines.engine.proof import Proof, counted, prove
from sync_pipelines.failures import working_on

if TYPE_CHECKING:
    from sync_pipelines.components.base import SyncComponent


def build_checks(component: "SyncComponent") -> list[dg.AssetChecksDefinition]:
    """The checks of one table; unpartitioned, since partitioned ones break with runs over a range."""
    return [_count_check(component)]


def _count_check(component: "SyncComponent") -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=component.asset_key,
        name="count",
        description="The records of the source against those of the target, both asked; differences are named.",
        required_resource_keys=set(component.resource_keys),
    )
    def count(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        if reason := component.not_configured(context.resources):
            return dg.AssetCheckResult(passed=True, metadata={"skipped": reason})
        run_id = context.run.run_id
        with working_on(component.sync, component.table_name, run_id=run_id):
            limit = 0 if "sync/proof" in context.run.tags else component.checks.content_limit
            return result_of(prove_and_record(component, context.resources, run_id=run_id, counts_above=limit))

    return count


def prove_and_record(component: "SyncComponent", resources: Any, *, run_id: str | None, counts_above: int = 0) -> Proof:
    """Prove a table now and keep the result in `reconciliation_runs`, where `status` finds it.

    Args:
        counts_above: a table of more records whose counts agree is not listed key by key; 0 always lists.
    """
    with closing(component.bind(resources)) as binding:
        binding.ledger.check()
        started = datetime.now(UTC)
        proof = counted(binding, above=counts_above) if counts_above else None
        kind = "count" if proof else "quick"
        proof = proof or prove(binding)
        binding.ledger.record_proof(*binding.place, kind=kind, started_at=started, proof=proof, run_id=run_id)
        return proof


def result_of(proof: Proof) -> dg.AssetCheckResult:
    """The proof as a check's result: numbers, and up to 20 sample keys of each kind as a table."""
    metadata: dict[str, Any] = {
        "source_count": proof.source_count,
        "target_count": proof.target_count,
        "missing": proof.missing,
        "stale": proof.stale,
        "extra": proof.extra,
        "quarantined": proof.quarantined,
        "excluded": proof.excluded,
        "pending": proof.pending,
    }
    if proof.samples:
        records = [
            dg.TableRecord({"difference": kind, "key": key}) for kind, keys in proof.samples.items() for key in keys
        ]
        metadata["samples"] = dg.MetadataValue.table(records)
    return dg.AssetCheckResult(
        passed=proof.equal, severity=dg.AssetCheckSeverity.ERROR, description=describe(proof), metadata=metadata
    )


def describe(proof: Proof) -> str:
    """One sentence of what was found."""
    found = f"{proof.source_count} records in the source, {proof.target_count} in the target"
    if proof.equal:
        return f"Equal: {found}."
    return f"Differs: {found}; {proof.missing} missing, {proof.stale} stale, {proof.extra} extra."
