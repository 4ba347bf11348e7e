"""The weekly clean-up: change log and outbox below what was confirmed, and old rows of the ledger."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from sync_pipelines.dagster_retention import build_retention
from sync_pipelines.failures import no_secrets, working_on
from sync_pipelines.lake_upkeep import build_lake_upkeep
from sync_pipelines.resources.environment import NoDatabaseError

if TYPE_CHECKING:
    from sync_pipelines.components.base import SyncComponent
    from sync_pipelines.sources.postgres.readers import Purged

WEEKLY = "0 4 * * 0"


class CleanUpConfig(dg.Config):
    """How much is kept."""

    keep_days: int = Field(default=90, ge=1, description="Days for which runs, events and proofs are kept.")


def build_upkeep(components: "Sequence[SyncComponent]", *, timezone: str) -> dg.Definitions:
    """The job `sync_clean_up` and its schedule, weekly on Sunday at 4:00."""

    @dg.op(name="sync_clean_up_ledgers", required_resource_keys={"postgres", "ledger"}, out=dg.Out(dg.Nothing))
    def clean(context: dg.OpExecutionContext, config: CleanUpConfig):
        with working_on("sync", "clean_up", run_id=context.run_id):
            for line in clean_up(components, context.resources, keep_days=config.keep_days):
                context.log.info(line)

    @dg.job(
        name="sync_clean_up",
        description="Remove what was confirmed from change log and outbox, and old rows of the ledger.",
    )
    def sync_clean_up():
        clean()

    @dg.schedule(
        name="sync_clean_up_schedule",
        job=sync_clean_up,
        cron_schedule=WEEKLY,
        execution_timezone=timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        required_resource_keys={"ledger"},
    )
    @no_secrets()
    def weekly(context: dg.ScheduleEvaluationContext):
        try:
            context.resources.ledger.database_url()
        except NoDatabaseError as error:  # a wrong URL is an error of the tick
            return dg.SkipReason(str(error))
        return dg.RunRequest()

    own = dg.Definitions(jobs=[sync_clean_up], schedules=[weekly])
    lake = build_lake_upkeep(components, timezone=timezone)
    return dg.Definitions.merge(own, build_retention(timezone=timezone), lake)


def clean_up(components: "Sequence[SyncComponent]", resources: Any, *, keep_days: int) -> list[str]:
    """Clean the ledger, and every source's change log and outbox; a sentence for each.

    Lines of the change log that some reader has not confirmed stay, however old they are; so do events that have not
    arrived.
    """
    from sync_pipelines.sources.postgres.outbox import purge_events
    from sync_pipelines.sources.postgres.readers import purge

    with resources.ledger.ledger() as ledger:
        ledger.check()
        told = [f"ledger: {name}: {rows} rows removed" for name, rows in ledger.clean(keep_days).items()]
    for url in _captured_databases(components, resources):
        for table in purge(url, schema=resources.ledger.sync_schema()):
            told.append(f"change log: {table.table}: {table.deleted} lines removed{_held(table)}")
        events = purge_events(url, schema=resources.ledger.sync_schema(), keep_days=keep_days)
        told.append(f"outbox: {events} completed events removed")
    return told


def _held(table: "Purged") -> str:
    """For whom lines stay in the log."""
    waits = [f"waits for {reader}, which has not run yet" for reader in table.waiting_for]
    held = [
        f"{reader.lines} lines are unread by {reader.reader}, the oldest of {reader.oldest:%Y-%m-%d %H:%M} UTC"
        for reader in table.held_by
        if reader.reader not in table.waiting_for
    ]
    return "".join(f"; {text}" for text in (*waits, *held))


def _captured_databases(components: "Sequence[SyncComponent]", resources: Any) -> list[str]:
    captured = [c for c in components if c.enabled and c.captures_in_postgres and c.source.capture != "cursor"]
    connections = {component.source.connection for component in captured}
    return sorted({resources.postgres.connection_url(name) for name in connections})
