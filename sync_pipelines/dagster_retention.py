"""Dagster's own history: runs, their events and compute logs, kept for a stated time.

A run's events say which partitions are green and how each check ended last, so a run that holds the newest such
word stays, however old it is. Ticks of schedules and sensors have a retention of their own in `dagster.yaml`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from sync_pipelines.dagster_history import delete_loose, delete_run
from sync_pipelines.own_runs import Ours

WEEKLY = "30 4 * * 0"
_PAGE = 500
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


class RetentionConfig(dg.Config):
    """How much of Dagster's history is kept."""

    keep_days: int = Field(default=90, ge=1, description="Days for which finished runs and their events are kept.")
    dry_run: bool = Field(default=True, description="Say what would be removed, and remove nothing.")


@dataclass(frozen=True, kw_only=True)
class Removal:
    """Finished runs before a time: those that may go, and how many stay because they hold the newest word."""

    run_ids: tuple[str, ...]
    kept: int


def build_retention(*, timezone: str) -> dg.Definitions:
    """The job `sync_dagster_clean_up` (a dry run unless told otherwise) and its schedule, weekly on Sunday at 4:30."""

    @dg.op(name="sync_dagster_clean_up_runs", out=dg.Out(dg.Nothing))
    def clean(context: dg.OpExecutionContext, config: RetentionConfig):
        from sync_pipelines import registry  # a run that is executed beside a daemon has no repository

        repository = registry.project()[0].get_repository_def()
        before = datetime.now(UTC) - timedelta(days=config.keep_days)
        found = removable(context.instance, repository, before=before)
        context.log.info(f"{len(found.run_ids)} runs are older than {config.keep_days} days; {found.kept} more stay.")
        if not config.dry_run:
            remove(context.instance, found)
            loose = delete_loose(context.instance, repository.asset_graph.get_all_asset_keys(), before=before)
            context.log.info(f"{len(found.run_ids)} runs removed, and {loose} events without a run.")

    @dg.job(name="sync_dagster_clean_up", description="Remove old runs of Dagster's own history; a dry run by default.")
    def sync_dagster_clean_up():
        clean()

    @dg.schedule(
        name="sync_dagster_clean_up_schedule",
        job=sync_dagster_clean_up,
        cron_schedule=WEEKLY,
        execution_timezone=timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def weekly(_: dg.ScheduleEvaluationContext):
        return dg.RunRequest(run_config={"ops": {"sync_dagster_clean_up_runs": {"config": {"dry_run": False}}}})

    return dg.Definitions(jobs=[sync_dagster_clean_up], schedules=[weekly])


def removable(instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, *, before: datetime) -> Removal:
    """The project's finished runs that were made before this time (UTC) and hold no newest word of an asset or check.

    Runs of other code locations in the same instance are not ours to remove.
    """
    needed = set(_newest_words(instance, repository))
    ours = Ours.of(repository)
    old = [run.run_id for run in _finished(instance, before) if _is_ours(run, ours)]
    return Removal(
        run_ids=tuple(run_id for run_id in old if run_id not in needed),
        kept=sum(run_id in needed for run_id in old),
    )


def remove(instance: dg.DagsterInstance, found: Removal) -> None:
    """Remove these runs with all that Dagster keeps of them; one that is gone already is no error."""
    for run_id in found.run_ids:
        delete_run(instance, run_id)


def _is_ours(run: dg.DagsterRun, ours: Ours) -> bool:
    """A job may have another name by now, or its name in two locations: what a run selects says more."""
    return ours.selects(run) if run.asset_selection or run.asset_check_selection else ours.has(run)


def _finished(instance: dg.DagsterInstance, before: datetime) -> Iterator[dg.DagsterRun]:
    filters, cursor = dg.RunsFilter(statuses=_FINISHED, created_before=before), None
    while page := instance.get_run_records(filters, limit=_PAGE, cursor=cursor):
        for record in page:
            yield record.dagster_run
        cursor = page[-1].dagster_run.run_id


def _newest_words(instance: dg.DagsterInstance, repository: dg.RepositoryDefinition) -> Iterator[str]:
    """Ids of the runs that hold the newest materialization of a partition, or the newest result of a check."""
    for key in repository.asset_graph.get_all_asset_keys():
        yield from _newest_materializations(instance, key)
    checks = sorted(repository.asset_graph.asset_check_keys, key=lambda key: key.to_user_string())
    for record in instance.event_log_storage.get_latest_asset_check_execution_by_key(checks).values():
        yield record.run_id


def _newest_materializations(instance: dg.DagsterInstance, key: dg.AssetKey) -> Iterator[str]:
    storage = instance.event_log_storage
    newest = storage.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION)
    ids = sorted(newest.values())
    for start in range(0, len(ids), _PAGE):
        wanted = dg.AssetRecordsFilter(asset_key=key, storage_ids=ids[start : start + _PAGE])
        for record in instance.fetch_materializations(wanted, limit=_PAGE).records:
            yield record.run_id
    whole: Any = instance.get_latest_materialization_event(key)
    if whole is not None:
        yield whole.run_id
