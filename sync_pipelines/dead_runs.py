"""Runs whose process died: closed in the ledger and in Dagster, so that their slot is free."""

from __future__ import annotations

import dagster as dg

from sync_pipelines.engine.run import Binding, dead_runs

_OPEN = {dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING}


def close_dead_runs(instance: dg.DagsterInstance, binding: Binding, *, besides: str | None = None) -> list[str]:
    """Close every run of this table that has started and whose lock is free; returns their ids.

    Args:
        besides: the run that asks, which is alive though its lock is not taken yet.
    """
    found = [run_id for run_id in dead_runs(binding) if run_id != besides]
    for run_id in found:
        run = instance.get_run_by_id(run_id)
        if run is not None and run.status in _OPEN:
            instance.report_run_failed(run, f"{binding.spec.path}: the process of this run died; closed by the next run.")
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return found
