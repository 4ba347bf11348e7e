"""Runs whose process died."""

from __future__ import annotations

from sync_pipelines.engine.binding import Binding
from sync_pipelines.engine.locks import run_is_alive


def dead_runs(binding: Binding) -> list[str]:
    """Run ids of this table whose process died: their step has started and their lock is free.

    Their books are closed; the caller closes them in Dagster.
    """
    died = "the process of this run died before it ended"
    opened = binding.ledger.open_runs(*binding.place)
    free = [record for record in opened if not run_is_alive(binding.lock_url, record.run_id)]
    # close_dead says False where a run ended between the two looks
    return [record.run_id for record in free if binding.ledger.close_dead(record, error=died)]
