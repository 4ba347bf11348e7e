"""The ledger's books on single records: `sync_quarantine` and `sync_record_events`.

The rules: a record is in quarantine from its first failure until it arrives or is deleted, by itself, at
whatever sync that is. `attempts` counts the runs in which it failed; an outage fails no record. To drop one
is to accept that it stays out: it is excluded from proofs and reported no more until its source row changes;
then it is tried like any other, and if it fails, it is in quarantine anew, with one attempt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from sync_pipelines.engine.ledger.history import PARTIAL_MODES, RunRecord, at_place
from sync_pipelines.engine.ledger.quarantine_sql import DROP, QUARANTINE, SETTLE
from sync_pipelines.engine.ledger.store import REASON_CHARACTERS, Store, storable, utc, utc_or_none
from sync_pipelines.engine.model import RETRIED, UNDELETED, WAITING, Child, Parent, Rejection
from sync_pipelines.engine.sql import qualified

_PAGE = 1000


class QuarantineCounts(NamedTuple):
    """Records in quarantine, and those that an operator has dropped."""

    quarantined: int = 0
    excluded: int = 0


@dataclass(frozen=True, kw_only=True)
class QuarantinedRecord:
    """A record that did not reach its target. Times are UTC; `dropped_at` is set on one that stays out."""

    sync: str
    table: str
    key: str
    reason: str
    stage: str
    first_seen: datetime
    last_seen: datetime
    attempts: int
    run_id: str
    fingerprint: str | None = None
    dropped_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class RecordEvent:
    """A moment in a record's history: failed, recovered or dropped, at a time (UTC)."""

    sync: str
    table: str
    key: str
    event: str
    stage: str | None
    reason: str | None
    run_id: str
    at: datetime


class QuarantineBook(Store):
    """Records that stay out, and what became of them."""

    def quarantine(
        self,
        run: RunRecord,
        rejections: Sequence[Rejection],
        *,
        fingerprints: Mapping[str, str] | None = None,
    ) -> None:
        """Put records into quarantine, or count another attempt of those that are in it.

        Args:
            run: in which they failed.
            rejections: key, reason and stage; of several for one key the last counts.
            fingerprints: of the source rows, by key; they tell whether a dropped record's row has changed
                (without them, another reason does; not of `UNDELETED`, whose row the source has no more).
        """
        by_key = {rejection.key: rejection for rejection in rejections}
        if not by_key:
            return
        found = fingerprints or {}
        given = {
            "keys": list(by_key),
            "reasons": [storable(item.reason, REASON_CHARACTERS) for item in by_key.values()],
            "stages": [item.stage for item in by_key.values()],
            "fingerprints": [found.get(key) for key in by_key],
            "parents": [_waits_for(item) for item in by_key.values()],
        }
        statement = self._sql(QUARANTINE, *given)
        values = {"sync": run.sync, "table": run.table, "run_id": run.run_id, **given}
        self._transaction(lambda connection: connection.execute(statement, values))

    def new_among(self, run: RunRecord, keys: Sequence[str]) -> set[str]:
        """Those of `keys` that are in quarantine and were not when the last sync completed.

        What a failed or killed run put there counts as new until a run completes: nobody has seen it as the
        outcome of one. For a run that is no sync of the table, what it has put there itself is new.
        """
        book, logs = self._tables.quarantine, self._tables.logs
        completed = sa.select(sa.func.max(logs.c.completed_at)).where(
            *at_place(logs, run.sync, run.table), logs.c.status == "completed", logs.c.mode.not_in(PARTIAL_MODES)
        )
        known = run.started_at if run.mode in PARTIAL_MODES else completed.scalar_subquery()
        chosen = sa.select(book.c.record_key).where(
            *at_place(book, run.sync, run.table),
            book.c.record_key == sa.any_(_texts(keys)),
            book.c.dropped_at.is_(None),
            book.c.first_seen > sa.func.coalesce(known, sa.literal_column("'-infinity'::timestamptz")),
        )
        return set(self._transaction(lambda connection: connection.execute(chosen).scalars().all()))

    def withdraw(self, run: RunRecord) -> int:
        """Take out again what this run was the first to put into quarantine; how many there were.

        The run fails for them as a whole, so whoever reads them next decides anew. Their history stays.
        """
        book, logs = self._tables.quarantine, self._tables.logs
        # a step that is tried again opens a row of its own: what its first try put there is this run's, too
        began = sa.select(sa.func.min(logs.c.started_at)).where(
            *at_place(logs, run.sync, run.table), logs.c.run_id == run.run_id
        )
        chosen = (
            *at_place(book, run.sync, run.table),
            book.c.run_id == run.run_id,
            book.c.first_seen >= began.scalar_subquery(),
        )
        return self._transaction(lambda connection: connection.execute(sa.delete(book).where(*chosen)).rowcount)

    def settle(self, sync: str, table: str, keys: Sequence[str], run: RunRecord) -> int:
        """Take records that arrived or were deleted out of quarantine; how many were in it.

        Where nothing is in quarantine, as nearly always, one short question is all that is sent.
        """
        if not keys or not self._transaction(lambda connection: self._any(connection, sync, table)):
            return 0
        statement = self._sql(SETTLE, "keys")
        values = {"sync": sync, "table": table, "keys": list(keys), "run_id": run.run_id}
        return self._transaction(lambda connection: connection.execute(statement, values).rowcount)

    def quarantine_counts(self, sync: str, table: str) -> QuarantineCounts:
        """How many records are in quarantine, and how many an operator has dropped."""
        book = self._tables.quarantine
        out = book.c.dropped_at.is_not(None)
        counted = sa.select(sa.func.count().filter(~out), sa.func.count().filter(out))
        chosen = counted.where(*at_place(book, sync, table))
        return QuarantineCounts(*self._transaction(lambda connection: connection.execute(chosen).one()))

    def quarantined(self, sync: str, table: str) -> int:
        """How many records are in quarantine; dropped ones are not."""
        return self.quarantine_counts(sync, table).quarantined

    def quarantined_among(self, sync: str, table: str, keys: Sequence[str]) -> set[str]:
        """Those of `keys` that are known to stay out, in quarantine or dropped."""
        return set(self._dropped_at(sync, table, keys))

    def excluded_among(self, sync: str, table: str, keys: Sequence[str]) -> set[str]:
        """Those of `keys` that an operator has dropped."""
        return {key for key, dropped in self._dropped_at(sync, table, keys).items() if dropped}

    def retried(self, sync: str, table: str) -> list[str]:
        """Keys of the records that each run tries again, since they wait for others; nobody has dropped them."""
        return self._of_stages(sync, table, RETRIED, self._tables.quarantine.c.dropped_at.is_(None))

    def undeleted(self, sync: str, table: str) -> list[str]:
        """Keys of the records that the target did not let go, dropped or not."""
        return self._of_stages(sync, table, [UNDELETED])

    def _of_stages(self, sync: str, table: str, stages: Sequence[str], *more: sa.ColumnElement[bool]) -> list[str]:
        book = self._tables.quarantine
        chosen = sa.select(book.c.record_key).where(*at_place(book, sync, table), book.c.stage.in_(stages), *more)
        return self._transaction(lambda connection: list(connection.execute(chosen).scalars()))

    def awaited(self, sync: str, table: str) -> Iterator[list[Parent]]:
        """The rows of other tables that records wait for, as far as that is known, in pages; each once in a page."""
        for page in self._waits(sync, table, WAITING):
            yield list({_parent_of(told): None for _, told in page})

    def held_by(self, sync: str, table: str) -> Iterator[dict[str, Child]]:
        """The rows that hold records which are to be deleted, as far as that is known, by key, in pages."""
        for page in self._waits(sync, table, UNDELETED):
            yield {key: Child(**told) for key, told in page}

    def _waits(self, sync: str, table: str, stage: str) -> Iterator[list[tuple[str, Any]]]:
        """Key and what is noted of it, of the records of a stage that nobody has dropped."""
        book, last = self._tables.quarantine, None
        while True:
            chosen = sa.select(book.c.record_key, book.c.waits_for).where(
                *at_place(book, sync, table),
                book.c.stage == stage,
                book.c.dropped_at.is_(None),
                book.c.waits_for.is_not(None),
                sa.true() if last is None else book.c.record_key > last,
            )
            page = chosen.order_by(book.c.record_key).limit(_PAGE)
            rows = self._transaction(lambda connection, page=page: connection.execute(page).all())
            if not rows:
                return
            yield [(key, told) for key, told in rows]
            last = rows[-1][0]

    def list_quarantine(
        self,
        sync: str | None = None,
        table: str | None = None,
        *,
        keys: Sequence[str] | None = None,
        dropped: bool = True,
        limit: int | None = 100,
        offset: int = 0,
    ) -> list[QuarantinedRecord]:
        """Records that stay out, dropped ones among them, by sync, table and key.

        Args:
            keys: only these; dropped: whether those come too that an operator has dropped; limit: None gives all.
        """
        book = self._tables.quarantine
        chosen = sa.select(book).where(*at_place(book, sync, table))
        if keys is not None:
            chosen = chosen.where(book.c.record_key == sa.any_(_texts(keys)))
        if not dropped:
            chosen = chosen.where(book.c.dropped_at.is_(None))
        page = chosen.order_by(book.c.sync_type, book.c.table_name, book.c.record_key).limit(limit).offset(offset)
        rows = self._transaction(lambda connection: connection.execute(page).mappings().all())
        return [_record_of(row) for row in rows]

    def drop_quarantined(self, sync: str, table: str, keys: Sequence[str] | None = None) -> list[str]:
        """Accept that these records stay out until their source rows change; the keys that this changed.

        Args:
            keys: None is all that are in quarantine.
        """
        values = {"sync": sync, "table": table, "every": keys is None, "keys": list(keys or ())}
        statement = self._sql(DROP, "keys")
        return self._transaction(lambda connection: list(connection.execute(statement, values).scalars()))

    def record_events(
        self,
        sync: str | None = None,
        table: str | None = None,
        *,
        key: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> list[RecordEvent]:
        """What happened to single records, the newest first."""
        events = self._tables.events
        chosen = sa.select(events).where(*at_place(events, sync, table))
        if key is not None:
            chosen = chosen.where(events.c.record_key == key)
        page = chosen.order_by(events.c.id.desc()).limit(limit).offset(offset)
        rows = self._transaction(lambda connection: connection.execute(page).mappings().all())
        return [_event_of(row) for row in rows]

    def keys_with_events(self, sync: str, table: str) -> list[str]:
        """Every key of which something is told, each once."""
        events = self._tables.events
        chosen = sa.select(events.c.record_key).where(*at_place(events, sync, table)).distinct()
        return self._transaction(lambda connection: list(connection.execute(chosen).scalars()))

    def _any(self, connection: sa.Connection, sync: str, table: str) -> bool:
        book = self._tables.quarantine
        return connection.execute(sa.select(sa.exists().where(*at_place(book, sync, table)))).scalar_one()

    def _dropped_at(self, sync: str, table: str, keys: Sequence[str]) -> dict[str, datetime | None]:
        if not keys:
            return {}
        book = self._tables.quarantine
        chosen = sa.select(book.c.record_key, book.c.dropped_at).where(
            *at_place(book, sync, table), book.c.record_key == sa.any_(_texts(keys))
        )
        return self._transaction(lambda connection: dict(connection.execute(chosen).all()))

    def _sql(self, statement: str, *arrays: str) -> sa.TextClause:
        tables = {"quarantine": self._tables.quarantine, "events": self._tables.events}
        # A schema's name may hold a colon, which would begin a parameter.
        quoted = {name: qualified(self.schema, table.name).replace(":", "\\:") for name, table in tables.items()}
        return sa.text(statement.format(**quoted)).bindparams(
            *(sa.bindparam(name, type_=ARRAY(sa.Text)) for name in arrays)
        )


def _waits_for(item: Rejection) -> str | None:
    # only texts that PostgreSQL has given us, so none that its jsonb refuses
    found = item.parent or item.child
    return None if found is None else json.dumps(asdict(found), ensure_ascii=False)


def _parent_of(told: Mapping[str, Any]) -> Parent:
    return Parent(constraint=told["constraint"], columns=tuple(told["columns"]), values=tuple(told["values"]))


def _texts(keys: Sequence[str]) -> sa.ColumnElement[Any]:
    return sa.cast(sa.bindparam(None, list(keys), type_=ARRAY(sa.Text), unique=True), ARRAY(sa.Text))


def _record_of(row: Mapping[Any, Any]) -> QuarantinedRecord:
    return QuarantinedRecord(
        sync=row["sync_type"],
        table=row["table_name"],
        key=row["record_key"],
        reason=row["reason"],
        stage=row["stage"],
        first_seen=utc(row["first_seen"]),
        last_seen=utc(row["last_seen"]),
        attempts=row["attempts"],
        run_id=row["run_id"],
        fingerprint=row["fingerprint"],
        dropped_at=utc_or_none(row["dropped_at"]),
    )


def _event_of(row: Mapping[Any, Any]) -> RecordEvent:
    return RecordEvent(
        sync=row["sync_type"],
        table=row["table_name"],
        key=row["record_key"],
        event=row["event"],
        stage=row["stage"],
        reason=row["reason"],
        run_id=row["run_id"],
        at=utc(row["occurred_at"]),
    )
