"""Ending runs from outside: those that are cancelled, and those whose process is gone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sync_pipelines import execution, launch
from sync_pipelines.engine.errors import ConfigurationError, TransientError
from sync_pipelines.run_status import concerns

if TYPE_CHECKING:
    import dagster as dg

    from sync_pipelines.registry import BoundTable


def close_dead(instance: dg.DagsterInstance, chosen: Iterable[BoundTable]) -> list[str]:
    """Close the runs whose process is gone; their ids.

    Both kinds: those that began to write (the ledger has them open, their lock is free), and those of
    `trigger` that died while they waited or started (`launch.OWN_PROCESS`), which no daemon would ever close.

    Raises:
        ConfigurationError: a table cannot be bound; the runs of the others are closed.
    """
    from sync_pipelines.dead_runs import close_dead_runs, close_orphans

    configured = [bound for bound in chosen if not bound.not_configured()]
    if not configured:
        return []
    closed: list[str] = []
    problems: list[ConfigurationError] = []
    for bound in configured:
        try:
            binding = bound.binding()
        except ConfigurationError as error:  # of one user, whose tokens no key opens
            problems.append(error)
            continue
        with binding.ledger:
            closed += close_dead_runs(instance, binding)
    closed += close_orphans(instance, configured[0].resources.ledger.database_url())
    if problems:
        raise problems[0]
    return closed


def ask_for_end(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    if run.is_finished:
        return
    if run.status.value in ("QUEUED", "NOT_STARTED") and not _is_alive(run):
        instance.report_run_canceling(run, "Cancelled before it started.")
        instance.report_run_canceled(run)
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    elif launch.has_own_process(run):
        _ask_own_process(instance, run)
    else:
        _ask_launcher(instance, run)


def _ask_own_process(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Its process looks once a second whether its end is asked for; a dead one is closed here."""
    if _is_alive(run):
        instance.report_run_canceling(run)
        return
    _force(instance, run)


def _ask_launcher(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    from dagster._core.errors import DagsterError

    try:
        if instance.run_coordinator.cancel_run(run.run_id) or _is_alive(run):
            return
    except DagsterError as error:
        if _is_alive(run):
            raise TransientError(
                f"The code server that executes run {run.run_id} does not answer: {error}",
                remedy="Look at `dagster dev` or the code location's server, then cancel again.",
            ) from error
    _force(instance, run)


def _force(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """End a run that has no process any more."""
    from sync_pipelines.engine.dead import INTERRUPTED

    instance.report_run_canceled(run, "Cancelled; its process was gone already.")
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    bound = _table_of(run)
    if bound is not None:
        binding = bound.binding()
        with binding.ledger:
            execution.close_books(binding, run.run_id, INTERRUPTED)


def _is_alive(run: dg.DagsterRun) -> bool:
    from sync_pipelines.engine.locks import run_is_alive
    from sync_pipelines.registry import resources

    return run_is_alive(resources().ledger.database_url(), run.run_id)


def _table_of(run: dg.DagsterRun) -> BoundTable | None:
    from sync_pipelines.registry import tables

    found = [bound for bound in tables() if concerns(run, bound)]
    return found[0] if len(found) == 1 else None
