"""The asset of a table: it opens a run and hands its changes to the IO manager."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
from pydantic import Field

from sync_pipelines.dead_runs import close_dead_runs
from sync_pipelines.engine import run as engine
from sync_pipelines.engine.durations import seconds
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.model import ChangeSet
from sync_pipelines.engine.windows import Mode, Windows, scope_of, whole_or_pending
from sync_pipelines.failures import working_on
from sync_pipelines.io_managers.each import Each

if TYPE_CHECKING:
    from sync_pipelines.components.base import SyncComponent

_log = logging.getLogger(__name__)


class SyncMode(Enum):
    """What a run does; the launchpad takes the names."""

    incremental = "incremental"
    full = "full"
    rebuild = "rebuild"
    reparse = "reparse"


class SyncConfig(dg.Config):
    """The launchpad's config of a table's run."""

    mode: SyncMode = Field(
        default=SyncMode.incremental,
        description="incremental: what is pending (and, on an older partition, what differs in its window). "
        "full: one snapshot of the whole table, then removal of what the source no longer has. "
        "rebuild: as full, but built anew beside the old target, proven, then swapped "
        "(needed when the embedding or the chunking changed). "
        "reparse: rows are made anew from the stored payloads of an API, which is not asked.",
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Records a batch. Left out: sync_settings, <SYNC>_BATCH_SIZE, SYNC_BATCH_SIZE, YAML.",
    )
    allow_mass_delete: bool = Field(
        default=False, description="Let this one run delete, or refuse, more than the guard's share."
    )


def trigger_of(tags: Mapping[str, str]) -> str:
    """Who asked for a run, by its tags: cli, schedule, sensor or manual.

    Somebody who runs it again in the UI is asking anew, whoever asked before; a retry of Dagster's is not.
    """
    if "dagster/parent_run_id" in tags and "dagster/retry_number" not in tags:
        return "manual"
    if "sync/trigger" in tags:
        return tags["sync/trigger"]
    if "dagster/schedule_name" in tags:
        return "schedule"
    return "sensor" if "dagster/sensor_name" in tags else "manual"


def build_asset(component: "SyncComponent") -> dg.AssetsDefinition:
    """The software-defined asset of one table, partitioned by change time, or by user."""

    @dg.asset(
        key=component.asset_key,
        op_tags={"sync/table": component.path},
        partitions_def=component.partitions_definition(),
        backfill_policy=component.backfill_policy(),
        io_manager_key=component.io_manager_key,
        required_resource_keys={*component.resource_keys},
        pool=component.pool,
        group_name=component.sync,
        kinds=set(component.kinds),
        owners=component.owners or None,
        tags={"sync": component.sync},
        description=component.description or f"{component.source.table}, kept equal in {component.target_name()}.",
        metadata=component.asset_metadata(),
        freshness_policy=dg.FreshnessPolicy.time_window(
            fail_window=timedelta(seconds=seconds(component.checks.fresh_within))
        ),
        # no retry_policy: under one, Dagster 1.13 takes an interrupt for a reason to retry; see `failures`
    )
    def table(context: dg.AssetExecutionContext, config: SyncConfig):
        place = (component.sync, component.table_name)
        with working_on(*place, run_id=context.run.run_id, attempt=context.retry_number):
            return (_open_each if component.by_user else _open)(component, context, config)

    return table


def _open_each(component: "SyncComponent", context: dg.AssetExecutionContext, config: SyncConfig) -> Each:
    """The run of each user whom this run was asked for, all of them where it has no partition; none is opened yet."""
    keys = context.partition_keys if context.has_partition_key or context.has_partition_key_range else None
    parts = component.parts(context.resources) if keys is None else [component.for_user(key) for key in keys]
    runs = {part.table_name: partial(_open, part, context, config) for part in parts}
    return Each(sync=component.sync, runs=runs)


def _open(component: "SyncComponent", context: dg.AssetExecutionContext, config: SyncConfig) -> ChangeSet:
    component.require_mode(config.mode.value)
    binding = component.bind(context.resources)
    close_dead_runs(context.instance, binding, besides=context.run.run_id)
    request = engine.Request(
        mode=config.mode.value,
        scope=_scope(component, context, config.mode.value),
        trigger=trigger_of(context.run.tags),
        run_id=context.run.run_id,
        allow_mass_delete=config.allow_mass_delete,
    )
    try:
        with context.resources.ledger.ledger() as ledger:
            binding = replace(binding, **component.run_settings(ledger, batch_size=config.batch_size))
    except ConfigurationError as error:
        engine.refuse(binding, request, error)
        raise
    changes = engine.open_run(binding, request, keep=context.resources.ledger.keep)
    _tell(binding.spec.capture, changes)
    return changes


def _tell(capture: str, changes: ChangeSet) -> None:
    if capture != "fetch":
        _log.info("%d rows to write, %d keys touched in the log", changes.rows, changes.touched)
    elif changes.touched:  # an API has no log, and what it answers nobody knows yet
        _log.info("%d records to fetch", changes.touched)


def _scope(component: "SyncComponent", context: dg.AssetExecutionContext, mode: str) -> Any:
    if component.by_user:
        return whole_or_pending(cast("Mode", mode))
    asked = context.partition_time_window
    return scope_of(cast("Mode", mode), (asked.start, asked.end), windows_now(component.partitions.definition()))


def windows_now(partitions: dg.TimeWindowPartitionsDefinition) -> Windows:
    """The oldest and the current window at this moment."""
    first, newest = partitions.get_first_partition_window(), partitions.get_last_partition_window()
    if first is None or newest is None:
        start = partitions.start
        return Windows(first=start, newest=start)
    return Windows(first=first.start, newest=newest.start)
