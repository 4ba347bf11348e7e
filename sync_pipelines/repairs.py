"""Repairs under Dagster: mend one table, then prove it again, so that its checks say how it is now."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sync_pipelines.checks import report
from sync_pipelines.dead_runs import close_dead_runs
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.naming import real_keys
from sync_pipelines.engine.proof import Proof, prove_and_record
from sync_pipelines.engine.repair import Repair, Wanted, repair
from sync_pipelines.engine.run import Binding, Request

if TYPE_CHECKING:
    import dagster as dg

    from sync_pipelines.components.base import SyncComponent


def repair_table(component: SyncComponent, context: dg.OpExecutionContext, config: Any) -> dict[str, Any]:
    """Repair a table as a `jobs.RepairConfig` says; the observation's metadata."""
    binding = component.bind(context.resources)  # the run closes it
    binding = replace(binding, **component.run_settings(binding.ledger, batch_size=config.batch_size))
    wanted = Wanted(deep=config.deep, keys=None if config.keys is None else real_keys(binding, config.keys))
    close_dead_runs(context.instance, binding, besides=context.run_id)
    request = Request(
        mode="repair",
        scope=Scope(),
        trigger=context.run.tags.get("sync/trigger", "manual"),
        run_id=context.run_id,
        allow_mass_delete=config.allow_mass_delete,
    )
    done = repair(binding, request, wanted, keep=context.resources.ledger.keep)
    with closing(component.bind(context.resources)) as again:
        recheck(component, again, context.instance, run_id=context.run_id, deep=wanted.deep)
    return _numbers(done)


def recheck(
    component: SyncComponent, binding: Binding, instance: dg.DagsterInstance | None, *, run_id: str | None, deep: bool
) -> Proof:
    """Prove a table and write it as the result of its checks, where there is an instance of Dagster.

    Deep too where the last deep proof found something.
    """
    last = binding.ledger.last_proof(*binding.place, "deep")
    kind = "deep" if deep or (last is not None and not last.equal) else "quick"
    proof = prove_and_record(binding, kind, run_id=run_id)
    if instance is not None:
        report(
            instance,
            component,
            proof,
            "count",
            "content",
            *(("deep",) if kind == "deep" else ()),
            ledger=binding.ledger,
        )
    return proof


def _numbers(done: Repair) -> dict[str, Any]:
    found, counts = done.found, done.counts
    return {
        "missing": found.missing,
        "stale": found.stale,
        "extra": found.extra,
        "repaired": done.repaired,
        "upserted": counts.upserted,
        "metadata_only": counts.metadata_only,
        "deleted": counts.deleted,
        "quarantined": counts.quarantined,
        "embedded_texts": counts.embedded_texts,
    }
