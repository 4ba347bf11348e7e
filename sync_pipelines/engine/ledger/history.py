"""What the ledger's books say: runs, states of tables and confirmed watermarks, for reading."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.ledger import watermarks
from sync_pipelines.engine.ledger.store import Store, utc, utc_or_none
from sync_pipelines.engine.ledger.tables import TOTALS, USED
from sync_pipelines.engine.model import Counts, Watermark
from sync_pipelines.engine.usage import Usage

PARTIAL_MODES = frozenset({"records", "plan", "check", "repair"})
"""Runs that are no sync of their table: they stand in `sync_logs`, say nothing of the table's state and
neither begin nor end a streak of failures."""

_PAGE = 500
_SUMMED = ("duration_seconds", "cost", *(name for name in USED if name != "peak_memory"))


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A row of `sync_logs`: one run of one table. Times are UTC; `duration_seconds` is None where unknown.

    `due` is how many records it has to write or delete, None before it knows.
    """

    sync_id: UUID
    sync: str
    table: str
    mode: str
    trigger: str
    run_id: str
    status: str
    started_at: datetime
    counts: Counts
    direction: str = ""
    completed_at: datetime | None = None
    duration_seconds: float | None = None
    failed: int = 0
    due: int | None = None
    cost: Decimal | None = None
    usage: Usage = field(default_factory=Usage)
    reason: str = ""
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Day:
    """All runs of a table that began on one day (UTC), summed; of the memory the most."""

    day: date
    runs: int
    counts: Counts
    usage: Usage
    cost: Decimal | None = None


@dataclass(frozen=True, kw_only=True)
class TableState:
    """A row of `sync_metadata`: where a table of a sync stands. Times are UTC."""

    sync: str
    table: str
    status: str
    last_sync_timestamp: datetime | None
    last_sync_id: UUID | None
    records_synced: int
    error: str | None
    duration_seconds: float | None
    updated_at: datetime


class FailureStreak(NamedTuple):
    """Runs that failed since the last completed one, and when the books of the newest were closed (UTC)."""

    failures: int = 0
    last_at: datetime | None = None


class HistoryBook(Store):
    """Reading what was written."""

    def watermark(self, sync: str, table: str, scope: str = "") -> Watermark | None:
        """What was last confirmed, or None where nothing was.

        Args:
            scope: a part of the table with a watermark of its own, such as a user of notes.
        """
        marks = self._tables.watermarks
        chosen = sa.select(marks.c.watermark).where(*at_place(marks, sync, table), marks.c.scope == scope)
        document = self._transaction(lambda connection: connection.execute(chosen).scalar_one_or_none())
        return None if document is None else watermarks.load(document)

    def touched_since(self, sync: str, table: str, run_id: str) -> Watermark | None:
        """The watermark that this run began with, if it is the one that moved it last; else None."""
        marks = self._tables.watermarks
        chosen = sa.select(marks.c.previous).where(
            *at_place(marks, sync, table), marks.c.run_id == run_id, marks.c.previous.is_not(None)
        )
        document = self._transaction(lambda connection: connection.execute(chosen).scalar_one_or_none())
        return None if document is None else watermarks.load(document)

    def open_runs(self, sync: str | None = None, table: str | None = None) -> list[RunRecord]:
        """Runs whose books are open, the oldest first: they are at work, or dead (`locks.alive_runs`)."""
        logs = self._tables.logs
        chosen = sa.select(logs).where(*at_place(logs, sync, table), logs.c.status == "running").order_by(logs.c.id)
        return self._transaction(lambda connection: [_run_of(row) for row in connection.execute(chosen).mappings()])

    def logs(
        self,
        sync: str | None = None,
        table: str | None = None,
        *,
        status: str | None = None,
        run_id: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> list[RunRecord]:
        """Runs, the newest first; see `record_events` for the history of a single record."""
        logs = self._tables.logs
        chosen = sa.select(logs).where(*at_place(logs, sync, table)).order_by(logs.c.id.desc())
        if status is not None:
            chosen = chosen.where(logs.c.status == status)
        if run_id is not None:
            chosen = chosen.where(logs.c.run_id == run_id)
        page = chosen.limit(limit).offset(offset)
        return self._transaction(lambda connection: [_run_of(row) for row in connection.execute(page).mappings()])

    def of_runs(self, run_ids: Sequence[str]) -> dict[str, list[RunRecord]]:
        """The rows of these runs of Dagster's, by their ids; a run of several tables has several."""
        logs, found = self._tables.logs, defaultdict[str, list[RunRecord]](list)
        chosen = sa.select(logs).where(logs.c.run_id.in_(list(run_ids))).order_by(logs.c.id)
        rows = self._transaction(lambda connection: [_run_of(row) for row in connection.execute(chosen).mappings()])
        for row in rows:
            found[row.run_id].append(row)
        return dict(found)

    def days(self, sync: str, table: str, *, limit: int = 30) -> list[Day]:
        """What a table's runs did and used, summed by day, the newest first; the memory is the most of the day."""
        logs = self._tables.logs
        day = sa.cast(sa.func.timezone("UTC", logs.c.started_at), sa.Date).label("day")
        sums = [sa.func.sum(logs.c[name]).label(name) for name in (*TOTALS.values(), *_SUMMED)]
        most = sa.func.max(logs.c.peak_memory).label("peak_memory")
        chosen = (
            sa.select(day, sa.func.count().label("runs"), most, *sums)
            .where(*at_place(logs, sync, table))
            .group_by(day)
            .order_by(day.desc())
            .limit(limit)
        )
        return self._transaction(lambda connection: [_day_of(row) for row in connection.execute(chosen).mappings()])

    def sync_ids(self, sync: str, table: str) -> Iterator[str]:
        """The ids of a table's runs, the newest first; asked a page at a time."""
        logs = self._tables.logs
        chosen = sa.select(logs.c.sync_id).where(*at_place(logs, sync, table)).order_by(logs.c.id.desc())
        offset = 0
        while True:
            page = chosen.limit(_PAGE).offset(offset)
            found = self._transaction(lambda connection, page=page: connection.execute(page).scalars().all())
            yield from map(str, found)
            if len(found) < _PAGE:
                return
            offset += _PAGE

    def is_completed(self, sync_id: str) -> bool:
        """Whether the run of this id has ended, and well."""
        logs = self._tables.logs
        chosen = sa.select(logs.c.status).where(logs.c.sync_id == UUID(sync_id))
        return self._transaction(lambda connection: connection.execute(chosen).scalar()) == "completed"

    def last_runs(self, sync: str, table: str, limit: int = 10) -> list[RunRecord]:
        """The newest runs of a table, the newest first."""
        return self.logs(sync, table, limit=limit)

    def failure_streak(self, sync: str, table: str, *, after: datetime | None = None) -> FailureStreak:
        """How many runs have failed since the last completed one; a cancelled one neither counts nor ends it.

        A run of Dagster's tries a step four times in an outage, each with a row of its own: it failed once.

        Args:
            after: only runs whose last sign of life came later than this. Of a run that was closed by another
                process that is its start: the books were closed when somebody looked, perhaps long after it died.
        """
        logs = self._tables.logs
        syncs = (*at_place(logs, sync, table), logs.c.mode.not_in(sorted(PARTIAL_MODES)))
        done = sa.select(sa.func.coalesce(sa.func.max(logs.c.id), 0)).where(*syncs, logs.c.status == "completed")
        failed = sa.select(sa.func.count(logs.c.run_id.distinct()), sa.func.max(logs.c.completed_at)).where(
            *syncs, logs.c.status == "failed", logs.c.id > done.scalar_subquery()
        )
        if after is not None:
            closed_by_another = logs.c.duration_seconds.is_(None)
            failed = failed.where(sa.case((closed_by_another, logs.c.started_at), else_=logs.c.completed_at) > after)
        count, last_at = self._transaction(lambda connection: connection.execute(failed).one())
        return FailureStreak(failures=count, last_at=utc_or_none(last_at))

    def states(self, sync: str | None = None, table: str | None = None) -> list[TableState]:
        """Where each table stands, in the order of their names; tables that never ran are not among them."""
        state = self._tables.state
        chosen = sa.select(state).where(*at_place(state, sync, table)).order_by(state.c.sync_type, state.c.table_name)
        return self._transaction(lambda connection: [_state_of(row) for row in connection.execute(chosen).mappings()])

    def state(self, sync: str, table: str) -> TableState | None:
        """Where one table stands, or None where it never ran."""
        return next(iter(self.states(sync, table)), None)

    def records_synced(self, sync: str, table: str) -> int:
        """Records that completed runs found or wrote, in all that the books still hold.

        Above 0 says that the target held something once; `clean` keeps the newest run that did, for this.
        """
        logs = self._tables.logs
        held = logs.c.records_upserted + logs.c.records_metadata_only + logs.c.records_unchanged
        total = sa.select(sa.func.coalesce(sa.func.sum(held), 0)).where(
            *at_place(logs, sync, table), logs.c.status == "completed"
        )
        return int(self._transaction(lambda connection: connection.execute(total).scalar_one()))

    def _run(self, connection: sa.Connection, sync_id: UUID) -> RunRecord:
        logs = self._tables.logs
        row = connection.execute(sa.select(logs).where(logs.c.sync_id == sync_id)).mappings().one_or_none()
        if row is None:
            raise RunError(f"The ledger has lost the row of run {sync_id} in sync_logs.", remedy="Run it again.")
        return _run_of(row)


def at_place(table: sa.Table, sync: str | None, name: str | None) -> list[sa.ColumnElement[bool]]:
    """Conditions that choose the rows of a sync, of one of its tables, or with `table:` of all parts of one."""
    found = [] if sync is None else [table.c.sync_type == sync]
    if name is None:
        return found
    parts = name.endswith(":")
    return [*found, table.c.table_name.startswith(name, autoescape=True) if parts else table.c.table_name == name]


def _run_of(row: Mapping[Any, Any]) -> RunRecord:
    return RunRecord(
        sync_id=row["sync_id"],
        sync=row["sync_type"],
        table=row["table_name"],
        mode=row["mode"],
        trigger=row["trigger"],
        run_id=row["run_id"],
        status=row["status"],
        started_at=utc(row["started_at"]),
        counts=Counts(**{field: row[column] for field, column in TOTALS.items()}),
        direction=row["direction"],
        completed_at=utc_or_none(row["completed_at"]),
        duration_seconds=row["duration_seconds"],
        failed=row["records_failed"],
        due=row["records_due"],
        cost=row["cost"],
        usage=_usage_of(row),
        reason=row["reason"],
        error=row["error_message"],
    )


def _day_of(row: Mapping[Any, Any]) -> Day:
    return Day(
        day=row["day"],
        runs=row["runs"],
        counts=Counts(**{field: int(row[column]) for field, column in TOTALS.items()}),
        usage=_usage_of(row),
        cost=row["cost"],
    )


def _usage_of(row: Mapping[Any, Any]) -> Usage:
    files = row["files_rewritten"]  # a sum of whole numbers comes as a decimal
    found = {name: row[name] for name in USED} | {"files_rewritten": None if files is None else int(files)}
    return Usage(seconds=row["duration_seconds"] or 0.0, **found)


def _state_of(row: Mapping[Any, Any]) -> TableState:
    return TableState(
        sync=row["sync_type"],
        table=row["table_name"],
        status=row["sync_status"],
        last_sync_timestamp=utc_or_none(row["last_sync_timestamp"]),
        last_sync_id=row["last_sync_id"],
        records_synced=row["records_synced"],
        error=row["error_message"],
        duration_seconds=row["sync_duration_seconds"],
        updated_at=utc(row["updated_at"]),
    )
