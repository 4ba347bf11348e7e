"""The ledger's books on runs: `sync_logs`, `sync_metadata` and `sync_watermarks`, always in step."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from sync_pipelines.engine.errors import LockLostError
from sync_pipelines.engine.ledger import watermarks
from sync_pipelines.engine.ledger.history import PARTIAL_MODES, HistoryBook, RunRecord, at_place
from sync_pipelines.engine.ledger.store import ERROR_CHARACTERS, REASON_CHARACTERS, storable
from sync_pipelines.engine.ledger.tables import TOTALS, USED
from sync_pipelines.engine.model import Counts, Watermark
from sync_pipelines.engine.usage import Usage

Status = Literal["running", "completed", "failed", "cancelled"]
FINAL: frozenset[str] = frozenset({"completed", "failed", "cancelled"})

_PROGRESS_SECONDS = 1.0
"""Between two writes of a run's progress: a commit a batch would cost more than many a batch."""


class RunBook(HistoryBook):
    """Opening and closing runs."""

    _noted: dict[UUID, float]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._noted = {}

    def begin(self, sync: str, table: str, *, mode: str, trigger: str, run_id: str, direction: str = "") -> RunRecord:
        """Open a run's books; call it with the target's lock and the run's lock held."""
        # The id is ours, so that a transaction whose answer got lost is found again instead of doubled.
        sync_id = uuid4()
        row = {
            "sync_id": sync_id,
            "sync_type": sync,
            "table_name": table,
            "mode": mode,
            "trigger": trigger,
            "run_id": run_id,
            "direction": direction,
            "status": "running",
        }

        def work(connection: sa.Connection) -> RunRecord:
            connection.execute(insert(self._tables.logs).values(row).on_conflict_do_nothing())
            if mode not in PARTIAL_MODES:
                values = {"sync_status": "running", "last_sync_id": sync_id}
                self._set_state(connection, sync, table, values)
            return self._run(connection, sync_id)

        return self._transaction(work)

    def due(self, run: RunRecord, records: int) -> None:
        """Note how many records a run has to write or delete."""
        logs = self._tables.logs
        change = sa.update(logs).where(logs.c.sync_id == run.sync_id, logs.c.status == "running")
        self._transaction(lambda connection: connection.execute(change.values(records_due=records)))

    def progress(self, run: RunRecord, counts: Counts) -> None:
        """Note how far a run has come; written at most once a second."""
        now = self._clock()
        if now - self._noted.get(run.sync_id, float("-inf")) < _PROGRESS_SECONDS:
            return
        self._noted[run.sync_id] = now
        logs = self._tables.logs
        change = sa.update(logs).where(logs.c.sync_id == run.sync_id, logs.c.status == "running")
        self._transaction(lambda connection: connection.execute(change.values(_totals(counts))))

    def finish(
        self,
        run: RunRecord,
        *,
        status: Status,
        counts: Counts,
        error: str | None = None,
        watermark: Watermark | None = None,
        scope: str = "",
        as_of: datetime | None = None,
        reason: str = "",
        failed: int = 0,
        cost: Decimal | None = None,
        usage: Usage | None = None,
    ) -> RunRecord:
        """Close a run's books and confirm its watermark, in one transaction: both or neither.

        Args:
            run: what `begin` gave.
            status: completed, failed or cancelled.
            counts: what it did in all.
            error: why it failed; secrets are taken out.
            watermark: what the target now holds, confirmed for `scope`; only with `completed`. None leaves it.
            as_of: the time of the source's state that the target holds now; by default the watermark's.
            reason: why it read everything although nobody asked.
            failed: records that stay due; cost: money; usage: what it has used.

        Returns:
            The closed run; where another process closed it before (as dead), what that one wrote.

        Raises:
            LockLostError: it was closed by another process and now asks for `completed`: nothing is confirmed.
        """
        if status not in FINAL or (watermark is not None and status != "completed"):
            raise ValueError(f"a run cannot end as {status!r}{' with a watermark' if watermark else ''}")
        final = _totals(counts) | {
            "status": status,
            "error_message": None if error is None else storable(error, ERROR_CHARACTERS),
            "reason": storable(reason, REASON_CHARACTERS),
            "records_failed": failed,
            "cost": cost,
            **({name: getattr(usage, name) for name in USED} if usage else {}),
        }

        def work(connection: sa.Connection) -> RunRecord:
            if not self._close(connection, run, final):
                return self._closed_before(connection, run, status)
            if watermark is not None:
                self._confirm(connection, run, watermark, scope)
            closed = self._run(connection, run.sync_id)
            self._set_state_after(connection, closed, as_of or (watermark.taken_at if watermark else None))
            return closed

        self._noted.pop(run.sync_id, None)
        return self._transaction(work)

    def close_dead(
        self, run: RunRecord, error: str = "killed: its process ended without a word", *, status: str = "failed"
    ) -> bool:
        """Close the books of a run whose process is gone; whether they were still open.

        Its duration stays unknown: when it died nobody saw.
        """
        values = {
            "status": status,
            "completed_at": sa.func.now(),
            "error_message": storable(error, ERROR_CHARACTERS),
        }
        logs, state = self._tables.logs, self._tables.state
        closing = sa.update(logs).where(logs.c.sync_id == run.sync_id, logs.c.status == "running").values(values)
        marking = (
            sa.update(state)
            .where(state.c.last_sync_id == run.sync_id, state.c.sync_status == "running")
            .values(sync_status=status, error_message=values["error_message"], updated_at=sa.func.now())
        )

        def work(connection: sa.Connection) -> bool:
            connection.execute(marking)
            return connection.execute(closing).rowcount == 1

        return self._transaction(work)

    def _close(self, connection: sa.Connection, run: RunRecord, final: Mapping[str, Any]) -> bool:
        """Write the end of a run that is open, or that this very call has closed before its answer got lost."""
        logs = self._tables.logs
        lasted = sa.func.extract("epoch", sa.func.clock_timestamp() - logs.c.started_at)
        change = (
            sa.update(logs)
            .where(logs.c.sync_id == run.sync_id, logs.c.status.in_(("running", final["status"])))
            .values(**final, completed_at=sa.func.clock_timestamp(), duration_seconds=lasted)
        )
        return connection.execute(change).rowcount == 1

    def _closed_before(self, connection: sa.Connection, run: RunRecord, status: Status) -> RunRecord:
        closed = self._run(connection, run.sync_id)
        if status == "completed":
            raise LockLostError(
                f"This run was closed as {closed.status} by another process ({closed.error}), so nothing is confirmed.",
                sync=run.sync,
                table=run.table,
                remedy="The next run takes it up where the last confirmed one ended.",
            )
        return closed

    def _confirm(self, connection: sa.Connection, run: RunRecord, watermark: Watermark, scope: str) -> None:
        marks = self._tables.watermarks
        new = {
            "watermark": watermarks.dump(watermark),
            "confirmed_at": sa.func.clock_timestamp(),
            "run_id": run.run_id,
        }
        place = {"sync_type": run.sync, "table_name": run.table, "scope": scope}
        # a transaction whose answer got lost is sent again: its own mark is not the one before it
        previous = sa.case((marks.c.run_id == run.run_id, marks.c.previous), else_=marks.c.watermark)
        confirming = insert(marks).values(**place, **new)
        connection.execute(
            confirming.on_conflict_do_update(index_elements=list(place), set_=new | {"previous": previous})
        )

    def _set_state_after(self, connection: sa.Connection, run: RunRecord, as_of: datetime | None) -> None:
        if run.mode in PARTIAL_MODES:
            return
        counts = run.counts
        values: dict[str, Any] = {"sync_status": run.status, "sync_duration_seconds": run.duration_seconds}
        if run.status == "completed":
            touched = counts.upserted + counts.metadata_only + counts.unchanged + counts.deleted
            values |= {"error_message": None, "records_synced": touched}
            values |= {"last_sync_timestamp": as_of} if as_of else {}
        elif run.status == "failed":
            values["error_message"] = run.error
        self._set_state(connection, run.sync, run.table, values | {"last_sync_id": run.sync_id})

    def _set_state(self, connection: sa.Connection, sync: str, table: str, values: dict[str, Any]) -> None:
        state = self._tables.state
        values = values | {"updated_at": sa.func.clock_timestamp()}
        # Update first: INSERT … ON CONFLICT takes a number from the id's sequence each time.
        if connection.execute(sa.update(state).where(*at_place(state, sync, table)).values(values)).rowcount == 0:
            place = {"sync_type": sync, "table_name": table}
            connection.execute(
                insert(state).values(**place, **values).on_conflict_do_update(index_elements=list(place), set_=values)
            )


def _totals(counts: Counts) -> dict[str, int]:
    return {column: getattr(counts, field) for field, column in TOTALS.items()}
