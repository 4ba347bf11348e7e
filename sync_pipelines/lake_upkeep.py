"""The weekly upkeep of a sync's Delta tables, as the job `<sync>_upkeep`: OPTIMIZE, then VACUUM."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
from pydantic import Field

from sync_pipelines.engine.errors import TransientError
from sync_pipelines.failures import together, working_on

if TYPE_CHECKING:
    from sync_pipelines.components.base import SyncComponent
    from sync_pipelines.components.postgres_to_delta import PostgresToDelta

WEEKLY = "0 4 * * 0"
_LOCK_SECONDS = 900.0


class UpkeepConfig(dg.Config):
    """What is done."""

    optimize: bool = Field(default=True, description="Put small files together.")
    vacuum: bool = Field(default=True, description="Remove files that no version within the retention needs.")
    retention_hours: int = Field(
        default=168, ge=0, description="Hours for which old versions can be read; a table that asks for more gets it."
    )
    allow_short_retention: bool = Field(default=False, description="The explicit word for less than 168 hours.")


def build_lake_upkeep(components: "Sequence[SyncComponent]", *, timezone: str) -> dg.Definitions:
    """A job and a weekly schedule for every sync that writes Delta tables."""
    syncs: dict[str, list[PostgresToDelta]] = {}
    for component in components:
        if component.enabled and component.writes_delta:
            syncs.setdefault(component.sync, []).append(cast("PostgresToDelta", component))
    made = [_definitions(sync, tables, timezone) for sync, tables in sorted(syncs.items())]
    return dg.Definitions.merge(*made) if made else dg.Definitions()


def _definitions(sync: str, tables: "list[PostgresToDelta]", timezone: str) -> dg.Definitions:
    @dg.op(
        name=f"{sync}_upkeep_tables", required_resource_keys={"ledger", "delta", "databricks"}, out=dg.Out(dg.Nothing)
    )
    def tidy(context: dg.OpExecutionContext, config: UpkeepConfig):
        parts = [table for table in tables if not table.not_configured(context.resources)]
        failed: list[dg.Failure | TransientError] = []
        for table in parts:
            try:
                with working_on(sync, table.table_name, run_id=context.run_id):
                    done = upkeep(table, context.resources, config, run_id=context.run_id)
            except (dg.Failure, TransientError) as error:  # the next table's files are no worse for it
                failed.append(error)
                continue
            if done is not None:
                context.log_event(dg.AssetObservation(table.asset_key, metadata=done))
        if len(parts) == 1 and failed:
            raise failed[0]
        if failed:
            raise together(failed, of=len(parts), done="tidied")

    description = f"OPTIMIZE and VACUUM of the Delta tables of {sync}."

    @dg.job(name=f"{sync}_upkeep", description=description, tags={"sync": sync})
    def job():
        tidy()

    @dg.schedule(
        name=f"{sync}_upkeep_schedule",
        job=job,
        cron_schedule=WEEKLY,
        execution_timezone=timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        required_resource_keys={"delta", "databricks"},
    )
    def weekly(context: dg.ScheduleEvaluationContext):
        reasons = [table.not_configured(context.resources) for table in tables]
        return dg.SkipReason(str(reasons[0])) if all(reasons) else dg.RunRequest()

    return dg.Definitions(jobs=[job], schedules=[weekly])


def upkeep(table: "PostgresToDelta", resources: Any, config: UpkeepConfig, *, run_id: str) -> dict[str, Any] | None:
    """Tidy one table under its writers' lock; what was done, or None where it is not made yet.

    Raises:
        LockBusyError: a sync of it did not end in 15 minutes.
        ConfigurationError: a retention of fewer than 168 hours without the explicit word.
    """
    from sync_pipelines.engine.locks import TargetLock
    from sync_pipelines.targets.lake.retention import check_retention, hours_kept

    if config.vacuum:
        check_retention(config.retention_hours, allow_short=config.allow_short_retention)
    target = table.build_target(resources)
    held = target.held()
    if held is None:
        return None
    hours = config.retention_hours
    if not config.allow_short_retention:
        hours = max(hours, hours_kept(held.properties))
    done: dict[str, Any] = {}
    lock = TargetLock(resources.ledger.database_url(), table.lock_name(resources), run_id=run_id)
    lock.acquire(timeout_s=_LOCK_SECONDS)
    try:
        if config.optimize:
            done |= target.optimize(z_order=table.layout.z_order)
        if config.vacuum:
            gone = target.vacuum(hours=hours, allow_short=config.allow_short_retention)
            done |= {"vacuumed_below_hours": hours} | ({} if gone is None else {"files_vacuumed": gone})
    finally:
        lock.release()
    return done
