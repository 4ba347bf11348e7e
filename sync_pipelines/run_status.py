"""How runs are, in this project's words: from Dagster's records to a `RunStatus`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from sync_pipelines.engine import errors
from sync_pipelines.engine.errors import ConfigurationError, SyncError, redact

if TYPE_CHECKING:
    import dagster as dg

    from sync_pipelines.components.base import SyncComponent
    from sync_pipelines.engine.dead import Ending
    from sync_pipelines.engine.ledger.ledger import RunRecord
    from sync_pipelines.registry import BoundTable

State = Literal["queued", "running", "completed", "failed", "cancelled"]

STATES: dict[str, State] = {
    "QUEUED": "queued",
    "NOT_STARTED": "queued",
    "MANAGED": "queued",
    "STARTING": "running",
    "STARTED": "running",
    "CANCELING": "running",
    "SUCCESS": "completed",
    "FAILURE": "failed",
    "CANCELED": "cancelled",
}
"""Dagster's word for a run's state → ours."""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """How a run is.

    Args:
        run_id: Dagster's id; job: its job; sync, table: what it works on, None where it is several tables.
        state: queued, running, completed, failed or cancelled (`status` in JSON).
        mode: incremental, full, rebuild, records, …, None where unknown; trigger: cli, schedule, sensor, manual.
        created_at, started_at, ended_at: UTC; None for what has not happened yet.
        cancelling: its end was asked for.
        error: why it failed, one sentence without a secret.
        user: whose part of the table it works on, of a table with users.
        total: records that it has to write or delete; processed: of these it has read and mapped or deleted so many
            (of a run that was cut off, and of a user's, only those of which the target has said what became of them);
            failed: so many went to quarantine, or stay due. None where its books are not open yet, or not to be had.
    """

    run_id: str
    state: State
    job: str
    sync: str | None
    table: str | None
    mode: str | None
    trigger: str
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cancelling: bool = False
    error: str | None = None
    user: str | None = None
    total: int | None = None
    processed: int | None = None
    failed: int | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.state in ("completed", "failed", "cancelled")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; times as ISO 8601 in UTC."""
        values = {"status" if name == "state" else name: value for name, value in asdict(self).items()}
        values |= {"completed_at": self.ended_at, "error_message": self.error}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def record_of(instance: dg.DagsterInstance, run_id: str) -> Any:
    """Dagster's record of a run.

    Raises:
        ConfigurationError: there is none.
    """
    record = instance.get_run_record_by_id(run_id)
    if record is None:
        raise ConfigurationError(
            f"There is no run {run_id!r} in DAGSTER_HOME.", remedy="`sync-pipelines jobs list` names the newest."
        )
    return record


def newest(instance: dg.DagsterInstance, chosen: Sequence[BoundTable], filters: Any, *, limit: int | None) -> list[Any]:
    """The newest run records that work on one of these tables, read page by page."""
    found: list[Any] = []
    cursor = None
    while page := instance.get_run_records(filters, limit=100, cursor=cursor):
        found += [record for record in page if any(concerns(record.dagster_run, bound) for bound in chosen)]
        if limit is not None and len(found) >= limit:
            return found[:limit]
        cursor = page[-1].dagster_run.run_id
    return found


OTHER_JOBS = ("records", "plan", "check", "check_deep", "repair")
"""Jobs of a sync that materialize nothing."""


def concerns(run: dg.DagsterRun, bound: BoundTable) -> bool:
    """Whether a run, of whatever job, has to do with this table."""
    from sync_pipelines.table_runs import works_on

    if works_on(run, bound.component):
        return True
    of_sync = run.job_name in {f"{bound.component.sync}_{job}" for job in OTHER_JOBS}
    return of_sync and not run.tags.get("sync/table")


def listed(selector: str | None = None) -> list[BoundTable]:
    """The tables whose runs are told of: as `registry.tables`, and those with users whole, for users who were removed.

    Raises:
        ConfigurationError: nothing has that name.
    """
    from sync_pipelines.registry import tables, whole_tables

    wholes = [bound for bound in whole_tables(selector) if bound.component.by_user and ":" not in (selector or "")]
    return list({bound.path: bound for bound in (*tables(selector), *wholes)}.values())


def _worked_on(run: dg.DagsterRun, chosen: Sequence[BoundTable]) -> list[SyncComponent]:
    """The tables that a run has to do with; of one with users their parts, or that of the user who was removed."""
    found = [bound.component for bound in chosen if concerns(run, bound)]
    wholes = [component for component in found if component.by_user and not component.user]
    known = [component for component in found if component.user or not component.by_user]
    return known or [whole.for_user(user) for whole in wholes for user in _users_of(run)] or found


def _users_of(run: dg.DagsterRun) -> tuple[str, ...]:
    from sync_pipelines.user_partitions import users_of

    _, _, named = run.tags.get("sync/table", "").partition(":")
    return (named,) if named else users_of(run.tags) or ()


def status_of(instance: dg.DagsterInstance, record: Any, chosen: Sequence[BoundTable] | None = None) -> RunStatus:
    """How a run is, from Dagster's record of it."""
    from sync_pipelines.components.assets import trigger_of

    run = record.dagster_run
    worked_on = _worked_on(run, listed() if chosen is None else chosen)
    only = worked_on[0] if len(worked_on) == 1 else None
    return RunStatus(
        run_id=run.run_id,
        state=STATES[run.status.value],
        job=run.job_name,
        sync=worked_on[0].sync if worked_on else run.tags.get("sync"),
        table=only.table_name if only else None,
        user=only.user if only else None,
        mode=_mode_of(run),
        trigger=trigger_of(run.tags),
        created_at=record.create_timestamp.astimezone(UTC),
        started_at=_moment(record.start_time),
        ended_at=_moment(record.end_time),
        cancelling=run.status.value == "CANCELING",
        error=_error_of(instance, run),
    )


def with_numbers(found: Sequence[RunStatus]) -> list[RunStatus]:
    """These with what the ledger knows of their progress; a list of runs must not fail because it does not answer."""
    from sync_pipelines import registry

    try:
        with registry.ledger() as ledger:
            rows = ledger.of_runs([one.run_id for one in found]) if found else {}
    except SyncError:
        return list(found)
    return [replace(one, **_numbers(rows.get(one.run_id, []))) for one in found]


def _numbers(rows: Sequence[RunRecord]) -> dict[str, int]:
    """Of a step that was tried again the last try counts: it did what the ones before have left."""
    last = {(row.sync, row.table): row for row in rows}.values()
    if not last:
        return {}
    read = sum(row.counts.read + row.counts.deleted for row in last)
    processed = sum(map(_processed, last))
    return {
        "total": max(sum(row.due or 0 for row in last), read),
        "processed": processed,
        "failed": sum(row.counts.quarantined + row.failed for row in last),
    }


def _processed(row: RunRecord) -> int:
    """Of a run that was cut off, what was read last was perhaps not written: what became of records counts there.

    So it does while a user's run is at work: a hundred notes are read at once, and their pages written one by one.
    """
    from sync_pipelines.components.per_user import SEPARATOR

    counts = row.counts
    read = counts.read + counts.deleted
    by_one = row.status == "running" and SEPARATOR in row.table
    if row.status not in ("cancelled", "failed") and not by_one:
        return read
    ended = counts.upserted + counts.metadata_only + counts.unchanged + counts.deleted + counts.quarantined
    return min(read, ended)


def _mode_of(run: dg.DagsterRun) -> str | None:
    ops = cast("Mapping[str, Any]", run.run_config.get("ops") or {})
    configs = [op.get("config", {}) for op in ops.values() if isinstance(op, dict)]
    modes = {config["mode"] for config in configs if config.get("mode")}
    other = next((kind for kind in OTHER_JOBS if run.job_name.endswith(f"_{kind}")), None)
    if other is not None:
        return other
    kind = run.job_name.rpartition("_")[2]
    return modes.pop() if len(modes) == 1 else (kind if kind in ("incremental", "full") else None)


def _moment(timestamp: float | None) -> datetime | None:
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC)


def ending_of(instance: dg.DagsterInstance, run_id: str) -> Ending | None:
    """How a run ended that Dagster knows to be over without success; None for any other."""
    import dagster as dg

    from sync_pipelines.engine.dead import INTERRUPTED, Ending

    run = instance.get_run_by_id(run_id)
    if run is None or run.status not in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED):
        return None
    if run.status is dg.DagsterRunStatus.CANCELED:
        return INTERRUPTED
    error = _error_of(instance, run)
    return Ending("failed", error) if error else None


def _error_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | None:
    """The first failed step's sentence, else what Dagster says of the run's failure."""
    import dagster as dg

    if run.status != dg.DagsterRunStatus.FAILURE:
        return None
    wanted = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    entries = instance.all_logs(run.run_id, of_type=wanted)
    events = [entry.dagster_event for entry in entries if entry.dagster_event is not None]
    steps = [event.step_failure_data for event in events if event.is_step_failure]
    sentences = [_sentence(data) for data in steps] or [event.message for event in events]
    return redact(sentences[0] or "") or None if sentences else None


def _sentence(data: Any) -> str | None:
    """What the operator is to read: the text of a Failure, else of our own error in the chain, else of its root."""
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    chain = list(_chain(data.error))
    ours = [error for error in chain if error.cls_name in _our_errors()]
    found = (ours or chain[-1:] or [None])[0]
    return None if found is None else _without_class(found)


def _chain(error: Any) -> Iterator[Any]:
    while error is not None:
        yield error
        error = error.cause


def _our_errors() -> set[str]:
    return {
        name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.SyncError)
    }


def _without_class(error: Any) -> str:
    """Dagster keeps an error as Python prints it, with the class and its module in front."""
    return re.sub(rf"^(?:[\w.]+\.)?{re.escape(error.cls_name or '')}: ", "", error.message.strip(), count=1)
