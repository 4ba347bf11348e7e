"""The named jobs of a sync: `<sync>_incremental`, `_full`, `_check`, `_records`, `_plan` (DESIGN.md §4)."""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from sync_pipelines.checks import AFTER_A_RUN
from sync_pipelines.components.assets import SyncMode
from sync_pipelines.dead_runs import close_dead_runs
from sync_pipelines.engine import run as engine
from sync_pipelines.engine.errors import TransientError
from sync_pipelines.engine.model import Counts, Scope
from sync_pipelines.engine.naming import real_keys
from sync_pipelines.engine.plan import plan
from sync_pipelines.engine.sensitive import mask_of
from sync_pipelines.failures import together, working_on
from sync_pipelines.repairs import repair_table

if TYPE_CHECKING:
    from sync_pipelines.components.base import SyncComponent


class RecordsConfig(dg.Config):
    """Which records to sync now."""

    table: str = Field(description="The table's name in asset keys, such as knowledge_reference.")
    keys: list[str] = Field(description="Keys as text; a composite key as a JSON array of texts.")
    allow_mass_delete: bool = False


class RepairConfig(dg.Config):
    """What to repair; only what differs is written or deleted."""

    table: str | None = Field(default=None, description="The table's name in asset keys; all of the sync if left out.")
    deep: bool = Field(
        default=False,
        description="Compare every value. Else keys and fingerprints, and the values of the keys that the last deep "
        "check named.",
    )
    keys: list[str] | None = Field(
        default=None, description="Just these records of the table that is named, by their values."
    )
    batch_size: int | None = Field(
        default=None, ge=1, le=100_000, description="Records a batch; above the setting, the variable and YAML."
    )
    allow_mass_delete: bool = False


class PlanConfig(dg.Config):
    """What to plan: one table or all of the sync; nothing is written."""

    table: str | None = None
    mode: SyncMode = Field(default=SyncMode.incremental, description="What the run would be asked to do.")


def table_job(sync: str, tables: "list[SyncComponent]", mode: str) -> Any:
    """The job that syncs the tables of a sync; one run a table where a schedule or sensor asks."""
    ops = {table.op_name: {"config": {"mode": mode}} for table in tables}
    return dg.define_asset_job(
        f"{sync}_{mode}",
        selection=dg.AssetSelection.assets(*[table.asset_key for table in tables]).without_checks()
        | checks_of(tables, *AFTER_A_RUN),
        config={"ops": ops},
        description=f"{mode} sync of {sync}",
        tags={"sync": sync},
    )


def checks_of(tables: "list[SyncComponent]", *names: str) -> dg.AssetSelection:
    """The checks of these names, of these tables."""
    return dg.AssetSelection.checks(*check_keys(tables, *names))


def check_keys(tables: "list[SyncComponent]", *names: str) -> list[dg.AssetCheckKey]:
    """The keys of the checks of these names, of these tables; those of a kind's own go with what follows a run."""
    own = set(AFTER_A_RUN) <= set(names)
    found = [
        dg.AssetCheckKey(table.asset_key, name)
        for table in tables
        for name in (*names, *(table.more_checks() if own else ()))
    ]
    return list(dict.fromkeys(found))  # the parts of users share theirs


def check_job(sync: str, tables: "list[SyncComponent]") -> Any:
    """The job that proves the tables of a sync and writes nothing but the ledger."""
    return dg.define_asset_job(
        f"{sync}_check",
        selection=checks_of(tables, *AFTER_A_RUN),
        description=f"Proof of {sync}: counts, keys and fingerprints, shape, backlog.",
        tags={"sync": sync},
    )


def deep_check_job(sync: str, tables: "list[SyncComponent]") -> Any:
    """The job that compares every value of the tables of a sync."""
    return dg.define_asset_job(
        f"{sync}_check_deep",
        selection=checks_of(tables, "deep"),
        description=f"Deep proof of {sync}: every value is read back and compared.",
        tags={"sync": sync},
    )


def records_job(sync: str, tables: "list[SyncComponent]") -> dg.JobDefinition:
    """Single records, at once: it reports an observation, turns no partition green and moves no watermark."""
    by_name = {table.table_name: table for table in tables}

    @dg.op(name=f"{sync}_sync_records", required_resource_keys=_keys(tables), out=dg.Out(dg.Nothing))
    def sync_records(context: dg.OpExecutionContext, config: RecordsConfig):
        component = _one(_named(by_name, sync, config.table))
        with working_on(sync, config.table, run_id=context.run_id, attempt=context.retry_number):
            counts = _sync_records(component, context, config)
        shown = mask_of(component.spec).keys(config.keys)
        context.log_event(_observation(component, _numbers(counts, shown)))

    @dg.job(name=f"{sync}_records", description=f"Sync single records of {sync} now.", tags={"sync": sync})
    def records():
        sync_records()

    return records


def _sync_records(component: "SyncComponent", context: dg.OpExecutionContext, config: RecordsConfig) -> Counts:
    binding = component.bind(context.resources)  # the run closes it
    close_dead_runs(context.instance, binding, besides=context.run_id)
    request = engine.Request(
        mode="records",
        scope=Scope(keys=real_keys(binding, config.keys)),
        trigger=context.run.tags.get("sync/trigger", "manual"),
        run_id=context.run_id,
        allow_mass_delete=config.allow_mass_delete,
    )
    return engine.write(engine.open_run(binding, request, keep=context.resources.ledger.keep))


def repair_job(sync: str, tables: "list[SyncComponent]") -> dg.JobDefinition:
    """Mend what differs, and nothing else; it reports observations, and the checks anew."""
    by_name = {table.table_name: table for table in tables}

    @dg.op(name=f"{sync}_repair_tables", required_resource_keys=_keys(tables), out=dg.Out(dg.Nothing))
    def repair_tables(context: dg.OpExecutionContext, config: RepairConfig):
        _require_keys_of_one_table(config)
        chosen = [_named(by_name, sync, config.table)] if config.table else tables
        parts = _parts(chosen, context)
        _require_one_user(parts, config)
        ordered = sorted(parts, key=lambda table: table.spec.ends is not None)  # nodes, before relationships
        _observe_each(ordered, context, lambda part: repair_table(part, context, config), "repaired")

    @dg.job(name=f"{sync}_repair", description=f"Mend what differs in {sync}.", tags={"sync": sync})
    def repairs():
        repair_tables()

    return repairs


def _observe_each(
    parts: "Sequence[SyncComponent]",
    context: dg.OpExecutionContext,
    work: "Callable[[SyncComponent], dict[str, Any]]",
    done: str,
) -> None:
    """Work on these in their order, and report what that gives; one user's failure keeps nobody else from their turn.

    Args:
        done: what the work does to a part, as a sentence about failures says it.
    """
    failed: list[dg.Failure | TransientError] = []
    for component in parts:
        alone = component.user is None or len(parts) == 1
        attempt = context.retry_number if alone else None
        try:
            with working_on(component.sync, component.table_name, run_id=context.run_id, attempt=attempt):
                metadata = work(component)
        except (dg.Failure, TransientError) as error:
            if alone:
                raise
            failed.append(error)
        else:
            context.log_event(_observation(component, metadata))
    if failed:
        raise together(failed, of=len(parts), done=done)


def _parts(chosen: "Sequence[SyncComponent]", context: dg.OpExecutionContext) -> "list[SyncComponent]":
    """The tables that are in use here, those with users by user; why another is not stands in the log."""
    found: list[SyncComponent] = []
    for component in chosen:
        if reason := component.not_configured(context.resources):
            context.log.info(f"{component.path}: {reason}")
        else:
            found += component.parts(context.resources)
    return found


def _observation(component: "SyncComponent", metadata: dict[str, Any]) -> dg.AssetObservation:
    return dg.AssetObservation(component.asset_key, metadata=metadata, partition=component.user)


def _one(component: "SyncComponent") -> "SyncComponent":
    """Insist on one user's part where every user has one."""
    if component.by_user and component.user is None:
        raise dg.Failure(
            f"Keys are those of one user of {component.path}. Name the table {component.document_name}:USER.",
            allow_retries=False,
        )
    return component


def _require_one_user(parts: "Sequence[SyncComponent]", config: RepairConfig) -> None:
    if config.keys and len(parts) > 1:
        names = " or ".join(part.table_name for part in parts)
        raise dg.Failure(f"keys are those of one user. Name the table {names}.", allow_retries=False)


def _require_keys_of_one_table(config: RepairConfig) -> None:
    """Refuse an empty list of keys, which would read like "all of them", and keys that could be any table's."""
    if config.keys is not None and not config.keys:
        raise dg.Failure("keys names no record. Name at least one key, or leave keys out.", allow_retries=False)
    if config.keys and not config.table:
        raise dg.Failure("keys are those of one table. Name it as table.", allow_retries=False)


def plan_job(sync: str, tables: "list[SyncComponent]") -> dg.JobDefinition:
    """What a run would do, and how long it takes: an observation, nothing is written."""
    by_name = {table.table_name: table for table in tables}

    @dg.op(name=f"{sync}_plan_tables", required_resource_keys=_keys(tables), out=dg.Out(dg.Nothing))
    def plan_tables(context: dg.OpExecutionContext, config: PlanConfig):
        chosen = [_named(by_name, sync, config.table)] if config.table else tables
        parts = [part for table in chosen for part in table.parts(context.resources)]
        _observe_each(parts, context, lambda part: _planned(part, context, config), "planned")

    @dg.job(name=f"{sync}_plan", description=f"What a sync of {sync} would do (a dry run).", tags={"sync": sync})
    def planned():
        plan_tables()

    return planned


def _planned(component: "SyncComponent", context: dg.OpExecutionContext, config: PlanConfig) -> dict[str, Any]:
    with closing(component.bind(context.resources)) as binding:
        return plan(binding, mode=config.mode.value).as_dict()


def _keys(tables: "list[SyncComponent]") -> set[str]:
    return set().union(*(table.resource_keys for table in tables))


def _named(by_name: "dict[str, SyncComponent]", sync: str, table: str) -> "SyncComponent":
    whole = by_name.get(table.partition(":")[0])
    if whole is None or (table != whole.table_name and not whole.by_user):
        raise dg.Failure(f"{sync} has no table {table!r}; it has {', '.join(sorted(by_name))}.", allow_retries=False)
    return whole.part(table)


def _numbers(counts: Counts, keys: list[str]) -> dict[str, Any]:
    return {
        "keys": ", ".join(keys[:20]),
        "upserted": counts.upserted,
        "metadata_only": counts.metadata_only,
        "unchanged": counts.unchanged,
        "deleted": counts.deleted,
        "quarantined": counts.quarantined,
    }
