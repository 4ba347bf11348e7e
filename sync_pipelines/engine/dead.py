"""Runs whose process died."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from sync_pipelines.engine.binding import Binding
from sync_pipelines.engine.locks import run_is_alive


class Ending(NamedTuple):
    """How a run ended, and why."""

    status: Literal["failed", "cancelled"]
    error: str


INTERRUPTED = Ending("cancelled", "The run was interrupted.")
DIED = Ending("failed", "killed: the process of this run died before it ended")


def dead_runs(binding: Binding, *, known: Callable[[str], Ending | None] = lambda _: None) -> list[str]:
    """Run ids of this table whose process is gone: their step has started and their lock is free.

    Their books are closed; the caller closes them in Dagster.

    Args:
        known: by run id, how it ended, where somebody else knows it: a run that lost its ledger can fail with a
            clear word in Dagster, and leave its books open.
    """
    opened = binding.ledger.open_runs(*binding.place)
    free = [record for record in opened if not run_is_alive(binding.lock_url, record.run_id)]
    endings = {record.run_id: known(record.run_id) or DIED for record in free}
    # close_dead says False where a run ended between the two looks
    return [
        record.run_id
        for record in free
        if binding.ledger.close_dead(record, endings[record.run_id].error, status=endings[record.run_id].status)
    ]
