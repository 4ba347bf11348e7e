"""Runs whose process died: closed in the ledger and in Dagster, so that their slot is free."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from sync_pipelines.engine.binding import Binding
from sync_pipelines.engine.dead import dead_runs
from sync_pipelines.engine.locks import alive_runs
from sync_pipelines.launch import has_own_process
from sync_pipelines.run_status import ending_of

UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

_BIRTH_SECONDS = 120.0
"""A process in the background needs a few seconds until it holds its run's lock; on a loaded machine many."""

_OPEN = {dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING}


def close_dead_runs(instance: dg.DagsterInstance, binding: Binding, *, besides: str | None = None) -> list[str]:
    """Close every run of this table that has started and whose lock is free; returns their ids.

    Args:
        besides: the run that asks, which is alive though its lock is not taken yet.
    """
    found = dead_runs(binding, known=lambda run_id: ending_of(instance, run_id))
    found = [run_id for run_id in found if run_id != besides]
    for run_id in found:
        run = instance.get_run_by_id(run_id)
        if run is not None and run.status in _OPEN:
            instance.report_run_failed(
                run, f"{binding.spec.path}: the process of this run died; closed by the next run."
            )
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return found


def close_orphans(instance: dg.DagsterInstance, lock_url: str) -> list[str]:
    """Close runs of processes of their own that died while they waited or started; returns their ids.

    The ledger does not know them yet, and no daemon watches them, so that nobody else would ever close them.
    """
    born_before = datetime.now(UTC).timestamp() - _BIRTH_SECONDS
    records = instance.get_run_records(dg.RunsFilter(statuses=UNDER_WAY))
    old = [
        record.dagster_run
        for record in records
        if has_own_process(record.dagster_run)
        # one that has started held its lock before
        and (record.start_time or record.create_timestamp.timestamp() < born_before)
    ]
    alive = alive_runs(lock_url, [run.run_id for run in old])
    dead = [run for run in old if run.run_id not in alive]
    for run in dead:
        instance.report_run_failed(run, "The process of this run died; closed by a later command or tick.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in dead]
