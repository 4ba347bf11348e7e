"""Runs that ended, read from Dagster's storage: failures that nothing retries, and what a success mends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sync_pipelines.alerts.incidents import Cause, Seen
from sync_pipelines.alerts.texts import sentence
from sync_pipelines.checks import AFTER_A_RUN
from sync_pipelines.own_runs import AD_HOC, Ours
from sync_pipelines.user_partitions import users_of

if TYPE_CHECKING:
    import dagster as dg

PAGE = 100
SETTLED_SECONDS = 5.0
"""Dagster stores a failure first and `dagster/will_retry` just after it; and a transaction of its
PostgreSQL storage may commit an id after a higher one was read."""

MENDS: Mapping[str, Sequence[str]] = {
    "incremental": ("incremental", "assets", "records", "plan"),
    "assets": ("assets", "incremental", "records", "plan"),
    "full": ("full", "incremental", "assets", "records", "plan", "repair"),
}
"""A success of the first proves the others well again; any other kind of run mends its own kind alone.

A run of checks mends those that it has made: the backlog, looked at each quarter of an hour, says nothing of the
content that the daily proof could not read.
"""

OF_EACH_TABLE = ("incremental", "full", "check", "check_deep")
"""Jobs that have a step of its own for each table of their sync; the other jobs work through all of them in one."""

DEEP = "deep"
_CHECKS_OF_JOBS: Mapping[str, frozenset[str]] = {"check": frozenset(AFTER_A_RUN), "check_deep": frozenset({DEEP})}
"""What a run of a whole job of checks makes."""
_OF_ONE_CHECK = "check of "


@dataclass(frozen=True, kw_only=True)
class Place:
    """A table as runs speak of it.

    Args:
        path: `sync/table`; steps: what the names of its steps begin with.
        by_user: whether its partitions are users, each a subject of their own (`sync/table:user`).
    """

    path: str
    steps: str
    by_user: bool = False

    @property
    def sync(self) -> str:
        return self.path.partition("/")[0]


def new_ends(
    instance: dg.DagsterInstance, position: int | None, places: Sequence[Place], ours: Ours, *, now: datetime
) -> tuple[list[Seen], int]:
    """What ended since `position`, and the position after it.

    Args:
        position: the id of the last event that was taken; None: take the newest runs as they are.
        ours: tells this project's runs; those of others are nobody's here.
    """
    from dagster import DagsterEventType

    kinds = (DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_SUCCESS)
    if position is None:
        events = _newest(instance, kinds)
        return list(_observed(instance, events, places, ours)), max((event.storage_id for event in events), default=0)
    pages = [_after(instance, kind, position) for kind in kinds]
    # a full page hides what comes after it, so nothing beyond its end may be taken yet
    limit = min((page[-1].storage_id for page in pages if len(page) == PAGE), default=None)
    events = sorted((event for page in pages for event in page), key=lambda event: event.storage_id)
    taken = list(_settled(events, limit, now=now))
    return list(_observed(instance, taken, places, ours)), taken[-1].storage_id if taken else position


def _newest(instance: dg.DagsterInstance, kinds: Sequence[Any]) -> list[Any]:
    """The newest of both kinds, as far back as both are known: what mended an older failure may be left out."""
    pages = [instance.fetch_run_status_changes(kind, limit=PAGE).records for kind in kinds]
    floor = max((page[-1].storage_id for page in pages if len(page) == PAGE), default=0)
    return [event for page in pages for event in page if event.storage_id >= floor]


def _after(instance: dg.DagsterInstance, kind: Any, position: int) -> Sequence[Any]:
    from dagster import RunStatusChangeRecordsFilter

    chosen = RunStatusChangeRecordsFilter(event_type=kind, after_storage_id=position)
    return instance.fetch_run_status_changes(chosen, limit=PAGE, ascending=True).records


def _settled(events: Sequence[Any], limit: int | None, *, now: datetime) -> Iterator[Any]:
    for event in events:
        if now.timestamp() - event.timestamp < SETTLED_SECONDS or (limit is not None and event.storage_id > limit):
            return
        yield event


def _observed(
    instance: dg.DagsterInstance, events: Sequence[Any], places: Sequence[Place], ours: Ours
) -> Iterator[Seen]:
    from dagster import DagsterEventType, RunsFilter

    ids = [event.run_id for event in events]
    found = {run.run_id: run for run in instance.get_runs(RunsFilter(run_ids=ids))} if ids else {}
    for event in events:
        run = found.get(event.run_id)
        if run is None or not ours.has(run):
            continue
        at = datetime.fromtimestamp(event.timestamp, UTC)
        if event.event_log_entry.dagster_event_type == DagsterEventType.RUN_SUCCESS:
            yield from _good(run, places, at)
        elif run.tags.get("dagster/will_retry") != "true":
            yield from _bad(instance, run, places, at)


def _good(run: dg.DagsterRun, places: Sequence[Place], at: datetime) -> Iterator[Seen]:
    for table in subjects(run, places):
        for mended in _mended_by(run, table):
            yield Seen(table=table, name=f"run:{mended}", at=at)


def _mended_by(run: dg.DagsterRun, table: str) -> Iterable[str]:
    """The kinds of runs of this table that a success of this one proves well again."""
    kind = kind_of(run)
    names = _checks_of(run, table) or _CHECKS_OF_JOBS.get(kind, frozenset())
    if not names:
        return MENDS.get(kind, (kind,))
    whole = ("check",) if names >= _CHECKS_OF_JOBS["check"] else ()
    return (*whole, *map(_kind_of_check, sorted(names)))


def _failed_kinds(run: dg.DagsterRun, table: str) -> Iterable[str]:
    """What a failure of this run leaves open: of some checks that somebody chose, each until a run has made it."""
    names, usual = _checks_of(run, table), _CHECKS_OF_JOBS["check"]
    if not names:
        return (kind_of(run),)
    whole = ("check",) if names >= usual else ()
    return (*whole, *map(_kind_of_check, sorted(names - usual if whole else names)))


def _bad(instance: dg.DagsterInstance, run: dg.DagsterRun, places: Sequence[Place], at: datetime) -> Iterator[Seen]:
    tables = subjects(run, places)
    steps = _failed_steps(instance, run.run_id)
    whose = {table_of(step, places): text for step, text in reversed(steps.items())}
    # of a run over several tables only those whose step failed are not good
    for table in [table for table in tables if whole_of(table) in whose] or tables:
        why = whose.get(whole_of(table)) or next(iter(steps.values()), None) or _end_of(instance, run.run_id)
        summary = sentence(why or "The run failed.")
        for kind in _failed_kinds(run, table):
            cause = Cause(name=f"run:{kind}", severity="error", since=at, summary=summary, run_id=run.run_id)
            yield Seen(table=table, name=cause.name, at=at, cause=cause)


def spares(instance: dg.DagsterInstance, run_id: str, table: str, places: Sequence[Place]) -> bool:
    """Whether a run has ended and is no failure of this table: what it found there stands."""
    from dagster import DagsterRunStatus

    run = instance.get_run_by_id(run_id)
    if run is None or run.status != DagsterRunStatus.FAILURE:
        return run is not None and run.is_success
    whose = {table_of(step, places) for step in _failed_steps(instance, run_id)}
    return bool(whose) and not whose & {whole_of(table), None}


def table_of(step: str, places: Sequence[Place]) -> str | None:
    """The table whose asset or check a step is: `shop__article_count` is of `shop/article`, not of `shop/art`."""
    own = [place for place in places if step == place.steps or step.startswith(f"{place.steps}_")]
    return max(own, key=lambda place: len(place.steps)).path if own else None


def _failed_steps(instance: dg.DagsterInstance, run_id: str) -> dict[str, str]:
    """Step → why it failed: our own sentence where there is one, else the innermost error."""
    from dagster import DagsterEventType

    found = instance.get_records_for_run(run_id, of_type=DagsterEventType.STEP_FAILURE, limit=20).records
    events = [record.event_log_entry.get_dagster_event() for record in found]
    return {event.step_key or "": _why(event.step_failure_data) for event in events}


def _why(failure: Any) -> str:
    told = failure.user_failure_data.description if failure.user_failure_data else None
    error = failure.error
    while error is not None and error.cause is not None:
        error = error.cause
    return told or (error.message if error is not None else "") or "A step failed."


def _end_of(instance: dg.DagsterInstance, run_id: str) -> str | None:
    from dagster import DagsterEventType

    found = instance.get_records_for_run(run_id, of_type=DagsterEventType.RUN_FAILURE, limit=1).records
    return (found[0].event_log_entry.get_dagster_event().message or None) if found else None


def kind_of(run: dg.DagsterRun) -> str:
    """`incremental`, `full`, `check` (whichever checks they are), …, or `assets` for chosen assets from the UI."""
    if _checks_of(run, None):
        return "check"
    if run.job_name.startswith(AD_HOC):
        return "assets"
    sync = run.tags.get("sync")
    return run.job_name.removeprefix(f"{sync}_") if sync else run.job_name


def _checks_of(run: dg.DagsterRun, table: str | None) -> frozenset[str]:
    """The checks of a table (None: of any) that a run was asked for; none where it is not one of chosen checks alone.

    A run of a whole job has no selection; one of checks alone has none of assets (from the UI), or an empty one.
    """
    chosen = (not run.asset_selection and run.asset_check_selection) or ()
    wanted = None if table is None else whole_of(table)
    return frozenset(it.name for it in chosen if wanted in (None, it.asset_key.to_user_string()))


def _kind_of_check(name: str) -> str:
    return "check_deep" if name == DEEP else f"{_OF_ONE_CHECK}{name}"


def checks_of_kind(kind: str) -> frozenset[str]:
    """The checks that a failed run of this kind did not make; none where it is not one of checks."""
    if kind.startswith(_OF_ONE_CHECK):
        return frozenset({kind.removeprefix(_OF_ONE_CHECK)})
    return _CHECKS_OF_JOBS.get(kind, frozenset())


def subjects(run: dg.DagsterRun, places: Sequence[Place]) -> list[str]:
    """The tables that a run works on; its sync where it has several and one step for all; its job if it has no sync."""
    if path := run.tags.get("sync/table"):
        return [path]
    keys = [*(run.asset_selection or ()), *(check.asset_key for check in run.asset_check_selection or ())]
    known = {place.path for place in places}
    if chosen := sorted({key.to_user_string() for key in keys} & known):
        return [path for name in chosen for path in _of_partition(name, run, places)]
    sync = run.tags.get("sync")
    if sync is None:
        return [run.job_name]
    own = [place.path for place in places if place.sync == sync]
    paths = {f"{sync}/{name}" for name in _tables_named(run.run_config)}
    if named := sorted(path for path in paths if whole_of(path) in known):
        return named
    if len(own) == 1 or (own and kind_of(run) in OF_EACH_TABLE):
        return [path for name in own for path in _of_partition(name, run, places)]
    return [sync]


def _of_partition(path: str, run: dg.DagsterRun, places: Sequence[Place]) -> list[str]:
    """A table, or those of its users whom the run was asked for."""
    by_user = any(place.by_user for place in places if place.path == path)
    users = users_of(run.tags) if by_user else None
    return [path] if users is None else [f"{path}:{user}" for user in users]


def whole_of(subject: str) -> str:
    """The table that a user's part belongs to; any other subject is its own."""
    return subject.partition(":")[0]


def _tables_named(config: Mapping[str, Any]) -> Iterable[str]:
    """Tables that the ops of `<sync>_records` and its like were given."""
    for op in (config.get("ops") or {}).values():
        name = (op.get("config") or {}).get("table") if isinstance(op, Mapping) else None
        if isinstance(name, str):
            yield name
