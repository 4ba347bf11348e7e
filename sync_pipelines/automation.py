"""Cadence → jobs, schedules and sensors, made for each sync from the documents of its tables."""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import dagster as dg
from dagster import ResourceParam

from sync_pipelines.checks import AFTER_A_RUN
from sync_pipelines.dead_runs import close_dead_runs, close_orphans
from sync_pipelines.decide import Facts, Request, decide
from sync_pipelines.engine.errors import ConfigurationError, SyncError
from sync_pipelines.engine.ledger.history import PARTIAL_MODES
from sync_pipelines.engine.model import Pending
from sync_pipelines.engine.waiting import can_arrive
from sync_pipelines.failures import no_secrets
from sync_pipelines.jobs import check_job, check_keys, deep_check_job, plan_job, records_job, repair_job, table_job
from sync_pipelines.table_runs import unended
from sync_pipelines.user_partitions import none_left, present

if TYPE_CHECKING:
    from sync_pipelines.components.base import SyncComponent
    from sync_pipelines.engine.run import Binding

RUNNING = dg.DefaultScheduleStatus.RUNNING
PROVES = "sync/proves"
"""Tag of a scheduled proof: the tables whose content it proves, `sync/table` each."""


def build_automation(components: "Iterable[SyncComponent]") -> dg.Definitions:
    """Jobs, schedules and sensors of every enabled sync."""
    by_sync: dict[str, list[SyncComponent]] = defaultdict(list)
    for component in components:
        if component.enabled:
            by_sync[component.sync].append(component)
    jobs, schedules, sensors = [], [], []
    for sync, tables in sorted(by_sync.items()):
        named = {mode: table_job(sync, tables, mode) for mode in ("incremental", "full")}
        checks, deep, repairs = check_job(sync, tables), deep_check_job(sync, tables), repair_job(sync, tables)
        jobs += [*named.values(), checks, deep, repairs, records_job(sync, tables), plan_job(sync, tables)]
        for mode, job in named.items():
            schedules += _schedules(
                sync, mode, job, _grouped(tables, lambda table, mode=mode: getattr(table.schedules, mode))
            )
        schedules += _check_schedules(sync, checks, deep, tables)
        if any(table.auto_repair for table in tables):
            sensors += _repair_sensors(sync, [checks, deep], repairs, tables)
        sensors += [_sensor(table, named["incremental"]) for table in tables if table.sensor.enabled]
    return dg.Definitions(jobs=jobs, schedules=schedules, sensors=sensors)


def timezone() -> str:
    """The zone in which times of day are meant: SYNC_TIMEZONE, else UTC.

    Raises:
        ConfigurationError: there is no such zone; Dagster would blame a schedule, whose document is right.
    """
    name = os.environ.get("SYNC_TIMEZONE", "").strip() or "UTC"
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, a path, a folder of zones ("Europe")
        raise ConfigurationError(
            f"SYNC_TIMEZONE is {name!r}, which is no time zone.",
            remedy="Write a name like Europe/Berlin or Asia/Riyadh, or leave it out for UTC.",
        ) from None
    return name


def newest_partition(component: "SyncComponent") -> str:
    """The key of the window that holds this moment; of one user's part the user."""
    return component.newest_partition()


def run_request(component: "SyncComponent", *, mode: str = "incremental", tags: Mapping[str, str] | None = None):
    """A request for a run of this table alone, over its newest window, or of one user's part of it.

    No run_key: it would swallow retries.
    """
    return dg.RunRequest(
        partition_key=newest_partition(component),
        asset_selection=[component.asset_key],
        asset_check_keys=check_keys([component], *AFTER_A_RUN),
        run_config={"ops": {component.op_name: {"config": {"mode": mode}}}},
        tags={"sync/table": component.path, **component.run_tags(), **_runtime(component), **(tags or {})},
    )


def _runtime(component: "SyncComponent") -> dict[str, str]:
    from sync_pipelines.engine.durations import seconds

    return {"dagster/max_runtime": str(int(seconds(component.runs.max_runtime)))}


def _grouped(
    tables: "list[SyncComponent]", cron_of: "Callable[[SyncComponent], str | None]"
) -> "dict[str, list[SyncComponent]]":
    """The tables by their cron; those without one are left out."""
    found: dict[str, list[SyncComponent]] = defaultdict(list)
    for table in tables:
        if cron := cron_of(table):
            found[cron].append(table)
    return found


def _schedules(
    sync: str, mode: str, job: Any, groups: "Mapping[str, list[SyncComponent]]"
) -> list[dg.ScheduleDefinition]:
    return [
        _schedule(_schedule_name(sync, mode, number, tables), mode, job, cron, tables)
        for number, (cron, tables) in enumerate(groups.items())
    ]


def _schedule_name(sync: str, mode: str, number: int, tables: "list[SyncComponent]") -> str:
    """The first cadence bears the sync's name; a table with its own cadence bears its own."""
    return f"{sync}_{mode}_schedule" if number == 0 else f"{sync}_{mode}_{tables[0].table_name}_schedule"


def _schedule(name: str, mode: str, job: Any, cron: str, tables: "list[SyncComponent]") -> dg.ScheduleDefinition:
    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone=timezone(),
        default_status=RUNNING,
        required_resource_keys=set().union(*(table.resource_keys for table in tables)),
        description=f"{mode} sync of {', '.join(table.path for table in tables)}",
    )
    @no_secrets()
    def ticked(context: dg.ScheduleEvaluationContext):
        ready, left_out = _ready(context, tables, mode)
        # Dagster refuses several requests of one tick without keys (1.13), which it compares within the tick alone
        asked = [run_request(table, mode=mode).with_replaced_attrs(run_key=table.path) for table in ready]
        return asked or dg.SkipReason(left_out)

    return ticked


def _ready(context: Any, tables: "list[SyncComponent]", mode: str | None = None) -> "tuple[list[SyncComponent], str]":
    """The tables that a schedule asks for now, of a kind with users each user's part, and why not for the others.

    Args:
        mode: of the runs that it asks for; one that does the same and has not ended keeps it from asking again.
    """
    reasons = {table.path: table.not_ready(context.resources) for table in tables}
    chosen = [table for table in tables if not reasons[table.path]]
    ready = [part for table in chosen for part in present(table, context)]
    for table in tables:
        if reasons[table.path]:
            none_left(table, context)
    for part in ready:
        if mode and (run := _standing(part, context, mode)):
            reasons[part.path] = f"run {run} is queued or running"
    ready = [part for part in ready if not reasons.get(part.path)]
    left_out = "; ".join(f"{path}: {why}" for path, why in reasons.items() if why)
    if ready and left_out:
        context.log.warning(f"left out: {left_out}")  # a tick that asks for runs has no skip reason
    return ready, left_out


def _check_schedules(sync: str, checks: Any, deep: Any, tables: "list[SyncComponent]") -> list[dg.ScheduleDefinition]:
    """The daily proof, the deep one, and the backlog, which a lag that no run ends would else never show."""
    kinds: list[tuple[str, Any, tuple[str, ...], Callable[[SyncComponent], str | None]]] = [
        ("check", checks, AFTER_A_RUN, lambda table: table.schedules.checks),
        ("check_deep", deep, ("deep",), lambda table: table.checks.deep_cron),
        ("check_backlog", checks, ("backlog",), lambda table: table.checks.backlog),
    ]
    return [
        _check_schedule(_schedule_name(sync, kind, number, chosen), job, names, cron, chosen)
        for kind, job, names, cron_of in kinds
        for number, (cron, chosen) in enumerate(_grouped(tables, cron_of).items())
    ]


def _check_schedule(
    name: str, job: Any, names: tuple[str, ...], cron: str, chosen: "list[SyncComponent]"
) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone=timezone(),
        default_status=RUNNING,
        required_resource_keys=set().union(*(table.resource_keys for table in chosen)),
        description=f"{', '.join(names)} of {', '.join(table.path for table in chosen)}",
    )
    @no_secrets()
    def ticked(context: dg.ScheduleEvaluationContext):
        ready, left_out = _ready(context, chosen)
        if not ready:
            return dg.SkipReason(left_out)
        paths = dict.fromkeys(table.whole_path for table in ready)
        tags = {PROVES: " ".join(paths)} if {"content", "deep"} & set(names) else {}
        return dg.RunRequest(asset_check_keys=check_keys(ready, *names), asset_selection=[], tags=tags)

    return ticked


def _repair_sensors(
    sync: str, checks: list[Any], repairs: Any, tables: "list[SyncComponent]"
) -> list[dg.SensorDefinition]:
    """After a scheduled proof, also one that failed for some of its tables: repair what it found in the others."""
    ends = {"": dg.DagsterRunStatus.SUCCESS, "_of_the_others": dg.DagsterRunStatus.FAILURE}
    return [
        _repair_sensor(f"{sync}_auto_repair{suffix}", status, checks, repairs, tables)
        for suffix, status in ends.items()
    ]


def _repair_sensor(
    name: str, status: dg.DagsterRunStatus, checks: list[Any], repairs: Any, tables: "list[SyncComponent]"
) -> dg.SensorDefinition:
    """A repair of each table with `auto_repair` in which a scheduled proof that ended so has found something."""

    @dg.run_status_sensor(
        name=name,
        run_status=status,
        monitored_jobs=checks,
        request_job=repairs,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Repairs what the scheduled check found.",
    )
    @no_secrets()
    def proven(context: dg.RunStatusSensorContext, ledger: ResourceParam[Any]):
        run = context.dagster_run
        asked = run.tags.get(PROVES, "").split()
        given = SimpleNamespace(ledger=ledger)
        chosen = [p for t in tables if t.auto_repair and t.path in asked for p in t.parts(given)]
        with ledger.ledger() as books:
            found = [table for table in chosen if _differed(books, table, run.run_id)]
        found.sort(key=lambda table: table.spec.ends is not None)  # nodes, then what leads to them
        if not found:
            return dg.SkipReason(f"run {run.run_id}: nothing to repair")
        return [_repair_request(table, run.run_id) for table in found]

    return proven


def _differed(books: Any, table: "SyncComponent", run_id: str) -> bool:
    proof = books.proof_of_run(table.sync, table.table_name, run_id)
    return proof is not None and not proof.equal


def _repair_request(table: "SyncComponent", run_id: str) -> dg.RunRequest:
    config = {"table": table.table_name}
    return dg.RunRequest(
        run_key=f"{run_id}:{table.path}",
        run_config={"ops": {f"{table.sync}_repair_tables": {"config": config}}},
        tags={"sync/table": table.path, **table.run_tags(), "sync/trigger": "schedule"},
    )


def _sensor(component: "SyncComponent", job: Any) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{component.op_name}_changes",
        job=job,
        minimum_interval_seconds=component.sensor.every_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys=set(component.resource_keys),
        description=f"Asks for a sync of {component.path} when its source has changes that are not synced.",
    )
    @no_secrets()
    def changed(context: dg.SensorEvaluationContext):
        if component.by_user:
            return each_changed(component, context)
        facts = read_facts(component, context.resources, context.instance, seen=_seen(context.cursor))
        decision = decide(facts)
        # a ledger that went back is not forgotten before a run has brought it forward again: one may fail
        cursor = context.cursor if facts.went_back else _cursor(facts)
        if isinstance(decision, Request):
            context.log.info(f"{component.path}: {decision.reason}")
            return dg.SensorResult(run_requests=[run_request(component)], cursor=cursor)
        return dg.SensorResult(skip_reason=dg.SkipReason(decision.reason), cursor=cursor)

    return changed


def each_changed(component: "SyncComponent", context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """The sensor's answer for a table with users: a run for each whose source has changes; one who cannot be asked is
    left out, and told in the tick's log."""
    if reason := component.not_configured(context.resources) or component.not_watched(context.resources):
        none_left(component, context)
        return dg.SensorResult(skip_reason=dg.SkipReason(reason))
    cursors = json.loads(context.cursor or "{}")
    requests, reasons = [], []
    for part in present(component, context):
        try:
            facts = read_facts(part, context.resources, context.instance, seen=_seen(cursors.get(part.user)))
        except SyncError as error:
            context.log.warning(str(error))
            reasons.append(str(error))
            continue
        decision = decide(facts)
        if not facts.went_back:
            cursors[part.user] = _cursor(facts)
        if isinstance(decision, Request):
            context.log.info(f"{part.path}: {decision.reason}")
            requests.append(run_request(part))
        else:
            reasons.append(f"{part.path}: {decision.reason}")
    skipped = None if requests else dg.SkipReason("; ".join(reasons))
    return dg.SensorResult(run_requests=requests, skip_reason=skipped, cursor=json.dumps(cursors))


def _seen(cursor: str | None) -> datetime | None:
    """The newest watermark's time that an earlier tick found in the ledger; Dagster keeps it, not the ledger."""
    return datetime.fromisoformat(cursor) if cursor else None


def _cursor(facts: Facts) -> str | None:
    newest = facts.position or facts.seen
    return newest.isoformat() if newest else None


def read_facts(
    component: "SyncComponent", resources: Any, instance: dg.DagsterInstance, *, seen: datetime | None = None
) -> Facts:
    """What the decision needs, from the source, the ledger and Dagster's runs.

    A run whose process died is closed first, so that it does not count as under way.

    Args:
        seen: when the newest watermark was taken that an earlier tick found.
    """
    now = datetime.now(UTC)
    if reason := component.not_configured(resources) or component.not_watched(resources):
        return Facts(pending=Pending(), now=now, not_configured=reason, seen=seen)
    with closing(component.bind(resources)) as binding:
        binding.ledger.check()
        close_dead_runs(instance, binding)
        close_orphans(instance, binding.lock_url)
        failures, last_failure = binding.ledger.failure_streak(*binding.place)
        watermark = binding.ledger.watermark(*binding.place)
        pending = binding.source.pending(watermark)
        active = tuple(active_runs(component, instance))
        return Facts(
            pending=pending,
            can_arrive=not pending and not active and can_arrive(binding),
            position=watermark.taken_at if watermark else None,
            seen=seen,
            last_full=_last_full(binding, pending) if pending.lasting else None,
            now=now,
            active_runs=active,
            failures=failures,
            last_failure=last_failure,
        )


def _last_full(binding: "Binding", pending: Pending) -> datetime | None:
    """When the last completed sync ended, if it read everything; None where another one came after."""
    completed = binding.ledger.logs(*binding.place, status="completed")
    last = next((run for run in completed if run.mode not in PARTIAL_MODES), None)
    if last is None or not (last.mode in ("full", "rebuild") or last.reason == pending.full_reason):
        return None
    return last.completed_at


def active_runs(component: "SyncComponent", instance: dg.DagsterInstance) -> list[str]:
    """Ids of the runs, queued or running, that work on this table."""
    return unended(component, instance, "incremental")


def _standing(component: "SyncComponent", context: Any, mode: str) -> str | None:
    """A run of this table that has not ended, and does what one of this mode would; None where there is none.

    One whose process died is closed first, as a sensor does.
    """
    # a tick without an instance has nobody to ask, nor runs that could pile up
    if context.instance_ref is None or not unended(component, context.instance, mode):
        return None
    try:
        with closing(component.bind(context.resources)) as binding:
            close_dead_runs(context.instance, binding)
    except ConfigurationError as error:  # one user, whose tokens no key opens, keeps the others from no run
        context.log.warning(str(error))
    return next(iter(unended(component, context.instance, mode)), None)
