"""The named jobs of a sync: `<sync>_incremental`, `_full`, `_check`, `_records`, `_plan` (DESIGN.md §4)."""

from contextlib import closing
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from sync_pipelines.dead_runs import close_dead_runs
from sync_pipelines.engine import run as engine
from sync_pipelines.engine.model import Counts, Scope
from sync_pipelines.engine.plan import plan
from sync_pipelines.failures import working_on

if TYPE_CHECKING:
    from sync_pipelines.components.base import SyncComponent


class RecordsConfig(dg.Config):
    """Which records to sync now."""

    table: str = Field(description="The table's name in asset keys, such as knowledge_reference.")
    keys: list[str] = Field(description="Keys as text; a composite key as a JSON array of texts.")
    allow_mass_delete: bool = False


class PlanConfig(dg.Config):
    """What to plan: one table or all of the sync; nothing is written."""

    table: str | None = None
    mode: str = Field(default="incremental", description="incremental, full or rebuild")


def table_job(sync: str, tables: "list[SyncComponent]", mode: str) -> Any:
    """The job that syncs the tables of a sync; one run a table where a schedule or sensor asks."""
    ops = {table.op_name: {"config": {"mode": mode}} for table in tables}
    return dg.define_asset_job(
        f"{sync}_{mode}",
        selection=dg.AssetSelection.assets(*[table.asset_key for table in tables]),
        config={"ops": ops},
        description=f"{mode} sync of {sync}",
        tags={"sync": sync},
    )


def check_job(sync: str, tables: "list[SyncComponent]") -> Any:
    """The job that proves the tables of a sync and writes nothing but the ledger."""
    selection = dg.AssetSelection.checks_for_assets(*[table.asset_key for table in tables])
    return dg.define_asset_job(
        f"{sync}_check", selection=selection, description=f"Proof of {sync}", tags={"sync": sync, "sync/proof": "full"}
    )


def records_job(sync: str, tables: "list[SyncComponent]") -> dg.JobDefinition:
    """Single records, at once: it reports an observation, turns no partition green and moves no watermark."""
    by_name = {table.table_name: table for table in tables}

    @dg.op(name=f"{sync}_sync_records", required_resource_keys=_keys(tables), out=dg.Out(dg.Nothing))
    def sync_records(context: dg.OpExecutionContext, config: RecordsConfig):
        component = _named(by_name, sync, config.table)
        with working_on(sync, config.table, run_id=context.run_id):
            counts = _sync_records(component, context, config)
        context.log_event(dg.AssetObservation(component.asset_key, metadata=_numbers(counts, config.keys)))

    @dg.job(name=f"{sync}_records", description=f"Sync single records of {sync} now.", tags={"sync": sync})
    def records():
        sync_records()

    return records


def _sync_records(component: "SyncComponent", context: dg.OpExecutionContext, config: RecordsConfig) -> Counts:
    binding = component.bind(context.resources)  # the run closes it
    close_dead_runs(context.instance, binding, besides=context.run_id)
    request = engine.Request(
        mode="records",
        scope=Scope(keys=tuple(dict.fromkeys(config.keys))),
        trigger=context.run.tags.get("sync/trigger", "manual"),
        run_id=context.run_id,
        allow_mass_delete=config.allow_mass_delete,
    )
    return engine.write(engine.open_run(binding, request, keep=context.resources.ledger.keep))


def plan_job(sync: str, tables: "list[SyncComponent]") -> dg.JobDefinition:
    """What a run would do, and how long it takes: an observation, nothing is written."""
    by_name = {table.table_name: table for table in tables}

    @dg.op(name=f"{sync}_plan_tables", required_resource_keys=_keys(tables), out=dg.Out(dg.Nothing))
    def plan_tables(context: dg.OpExecutionContext, config: PlanConfig):
        chosen = [_named(by_name, sync, config.table)] if config.table else tables
        for component in chosen:
            with (
                working_on(sync, component.table_name, run_id=context.run_id),
                closing(component.bind(context.resources)) as binding,
            ):
                found = plan(binding, mode=config.mode)
            context.log_event(dg.AssetObservation(component.asset_key, metadata=found.as_dict()))

    @dg.job(name=f"{sync}_plan", description=f"What a sync of {sync} would do (a dry run).", tags={"sync": sync})
    def planned():
        plan_tables()

    return planned


def _keys(tables: "list[SyncComponent]") -> set[str]:
    return set().union(*(table.resource_keys for table in tables))


def _named(by_name: "dict[str, SyncComponent]", sync: str, table: str) -> "SyncComponent":
    if table not in by_name:
        raise dg.Failure(f"{sync} has no table {table!r}; it has {', '.join(sorted(by_name))}.", allow_retries=False)
    return by_name[table]


def _numbers(counts: Counts, keys: list[str]) -> dict[str, Any]:
    return {
        "keys": ", ".join(keys[:20]),
        "upserted": counts.upserted,
        "metadata_only": counts.metadata_only,
        "unchanged": counts.unchanged,
        "deleted": counts.deleted,
        "quarantined": counts.quarantined,
    }
