"""The ledger's books on targets that others may edit: bases, conflicts, and stamps of targets that hold none."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from sync_pipelines.engine.conflicts import Base
from sync_pipelines.engine.deciding import Dispute
from sync_pipelines.engine.ledger.history import RunRecord, at_place
from sync_pipelines.engine.ledger.store import REASON_CHARACTERS, Store, storable, utc, utc_or_none
from sync_pipelines.engine.sql import qualified

# A base that is as it was is not written again; one that changes keeps what it was, see `engine.conflicts.Base`.
_NOTE_BASES = """
INSERT INTO {bases} AS old (sync_type, table_name, record_key, fingerprint)
SELECT :sync, :table, given.record_key, given.fingerprint
FROM unnest(:keys, :prints) AS given (record_key, fingerprint)
LEFT JOIN {bases} AS known ON known.sync_type = :sync AND known.table_name = :table
    AND known.record_key = given.record_key
WHERE known.fingerprint IS DISTINCT FROM given.fingerprint
ON CONFLICT (sync_type, table_name, record_key) DO UPDATE SET
    previous = old.fingerprint, fingerprint = excluded.fingerprint, noted_at = now()
"""


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """A record that stays in its target as it is, although the source says otherwise; times are UTC.

    `accepted_at`: when somebody took the target's version of it, against the source's row of `source_fingerprint`.
    `resolved_at`: when both sides were the same again, or a strategy had decided. What was decided, `method` (a
    strategy) tells, and by whom `resolved_by`; the three `…_data` are there where the table's conflicts are judged by
    values.
    """

    sync: str
    table: str
    key: str
    reason: str
    detected_at: datetime
    run_id: str
    source_fingerprint: str | None = None
    accepted_at: datetime | None = None
    resolved_at: datetime | None = None
    review: bool = False
    strategy: str | None = None
    method: str | None = None
    resolved_by: str | None = None
    resolution_notes: str | None = None
    decided_at: datetime | None = None
    source_version: str | None = None
    target_version: str | None = None
    source_data: Mapping[str, Any] | None = None
    target_data: Mapping[str, Any] | None = None
    base_data: Mapping[str, Any] | None = None

    @property
    def state(self) -> str:
        """`review` where it waits for a person, `accepted` where one has taken the target's, `open`, or `resolved`."""
        if self.resolved_at is not None:
            return "resolved"
        if self.accepted_at is not None:
            return "accepted"
        return "review" if self.review else "open"


class OpenConflict(NamedTuple):
    """A conflict that is open: of which row of the source, and whether somebody has accepted the target's version."""

    source_fingerprint: str | None
    accepted: bool


_VALUES = ("source_data", "target_data", "base_data")
_TOLD = ("strategy", "source_version", "target_version", *_VALUES)
_DETAILS = (*_TOLD, "review", "method", "resolved_by", "decided_at")
BY_STRATEGY = "strategy"
"""Who has decided where no person had to."""


class ConflictBook(Store):
    """What the sync last wrote, and where the target won."""

    def bases(self, sync: str, table: str, keys: Sequence[str]) -> dict[str, Base]:
        """What the sync has last written of these records."""
        if not keys:
            return {}
        book = self._tables.bases
        given = sa.cast(sa.bindparam(None, list(keys), type_=ARRAY(sa.Text), unique=True), ARRAY(sa.Text))
        chosen = sa.select(book.c.record_key, book.c.fingerprint, book.c.previous).where(
            *at_place(book, sync, table), book.c.record_key == sa.any_(given)
        )
        rows = self._transaction(lambda connection: connection.execute(chosen).all())
        return {key: Base(fingerprint, previous) for key, fingerprint, previous in rows}

    def note_bases(self, sync: str, table: str, prints: Mapping[str, str]) -> None:
        """Note what is about to be written, before the target commits."""
        if not prints:
            return
        names = {"bases": qualified(self.schema, "sync_bases").replace(":", "\\:")}
        statement = sa.text(_NOTE_BASES.format(**names)).bindparams(
            *(sa.bindparam(name, type_=ARRAY(sa.Text)) for name in ("keys", "prints"))
        )
        values = {"sync": sync, "table": table, "keys": list(prints), "prints": list(prints.values())}
        self._transaction(lambda connection: connection.execute(statement, values))

    def forget_bases(self, sync: str, table: str, keys: Sequence[str]) -> None:
        """These records are deleted."""
        book = self._tables.bases
        gone = sa.delete(book).where(*at_place(book, sync, table), book.c.record_key.in_(keys))
        if keys:
            self._transaction(lambda connection: connection.execute(gone))

    def note_conflicts(
        self,
        run: RunRecord,
        kept: Mapping[str, str],
        prints: Mapping[str, str],
        disputes: Sequence[Dispute] = (),
    ) -> None:
        """Note records that stay in the target as they are; one that is noted already keeps its time.

        Args:
            kept: key → why. prints: key → fingerprint of the source's row; where that is another one than was noted,
                nobody has accepted it: that decision was of the row before, and is closed.
            disputes: what is known of them beside that.
        """
        told = {item.key: item for item in disputes}
        rows = [
            {
                "sync_type": run.sync,
                "table_name": run.table,
                "record_key": key,
                "reason": storable(why, REASON_CHARACTERS),
                "run_id": run.run_id,
                "source_fingerprint": prints.get(key),
                **_details(told.get(key)),
            }
            for key, why in kept.items()
        ]
        if rows:
            statements = self._closing(run, rows), self._noting()
            self._transaction(lambda connection: [connection.execute(*statement(rows)) for statement in statements])
            self._mark_entities(run.sync, run.table, [key for key in kept if key in told and told[key].in_review], True)

    def _closing(self, run: RunRecord, rows: Sequence[Mapping[str, Any]]) -> Any:
        """End what was accepted of a source's row that is another one now: the decision stays on record."""
        book = self._tables.conflicts
        other = book.c.source_fingerprint.is_distinct_from(sa.bindparam("mark"))
        accepted = (*at_place(book, run.sync, run.table), book.c.resolved_at.is_(None), book.c.accepted_at.is_not(None))
        ending = sa.update(book).where(*accepted, book.c.record_key == sa.bindparam("key"), other)
        given = [{"key": row["record_key"], "mark": row["source_fingerprint"]} for row in rows]
        return lambda _: (ending.values(resolved_at=sa.func.now()), given)

    def _noting(self) -> Any:
        book = self._tables.conflicts
        noting = insert(book)
        same = book.c.source_fingerprint.is_not_distinct_from(noting.excluded.source_fingerprint)
        decided = {
            name: sa.case((same & book.c.accepted_at.is_not(None), book.c[name]), else_=noting.excluded[name])
            for name in ("method", "resolved_by", "resolution_notes", "decided_at", "review")
        }
        noting = noting.on_conflict_do_update(
            index_elements=["sync_type", "table_name", "record_key"],
            index_where=book.c.resolved_at.is_(None),
            set_={
                **{name: noting.excluded[name] for name in ("reason", "run_id", "source_fingerprint", *_TOLD)},
                **decided,
                "accepted_at": sa.case((same, book.c.accepted_at)),
            },
        )
        return lambda rows: (noting, rows)

    def _mark_entities(self, sync: str, table: str, keys: Sequence[str], held: bool) -> None:
        """Say in `sync_status` whether these entities wait for a review."""
        book = self._tables.entities
        if held and keys:
            rows = [
                {"sync_type": sync, "table_name": table, "entity_type": table, "entity_id": key, "has_conflict": True}
                for key in keys
            ]
            place = ["sync_type", "table_name", "entity_id"]
            noting = insert(book).on_conflict_do_update(
                index_elements=place, set_={"has_conflict": True, "updated_at": sa.func.now()}
            )
            self._transaction(lambda connection: connection.execute(noting, rows))
        elif keys:
            self._transaction(lambda connection: connection.execute(self._over(sync, table, keys)))

    def _over(self, sync: str, table: str, keys: Sequence[str]) -> sa.Update:
        book = self._tables.entities
        over = sa.update(book).where(*at_place(book, sync, table), book.c.has_conflict, book.c.entity_id.in_(keys))
        return over.values(has_conflict=False, updated_at=sa.func.now())

    def accept_conflict(
        self,
        sync: str,
        table: str,
        key: str,
        *,
        by: str | None = None,
        notes: str | None = None,
        method: str = "target_wins",
    ) -> None:
        """Somebody has decided that the target's version stays, as long as the source's row is the one of now.

        Args:
            by, notes: who, and what they say of it. method: how; `merge` where they have put the two together.
        """
        self._decide(sync, table, key, by=by, notes=notes, method=method, accepted_at=sa.func.now())
        self._mark_entities(sync, table, [key], False)

    def decide_conflict(self, sync: str, table: str, key: str, *, by: str | None, notes: str | None) -> None:
        """Somebody has decided for the source's version, which a run is about to write."""
        self._decide(sync, table, key, by=by, notes=notes, method="source_wins")

    def _decide(self, sync: str, table: str, key: str, **decision: Any) -> None:
        book = self._tables.conflicts
        open_one = (*at_place(book, sync, table), book.c.resolved_at.is_(None), book.c.record_key == key)
        by, notes = decision.pop("by"), decision.pop("notes")
        decision |= {
            "resolved_by": by and storable(by, REASON_CHARACTERS),
            "resolution_notes": notes and storable(notes, REASON_CHARACTERS),
            "decided_at": sa.func.now(),
        }
        deciding = sa.update(book).where(*open_one).values(**decision)
        self._transaction(lambda connection: connection.execute(deciding))

    def note_decisions(self, run: RunRecord, disputes: Sequence[Dispute]) -> None:
        """Note what a strategy has decided of conflicts, before it is written: it may be told twice of one."""
        book = self._tables.conflicts
        rows = [
            {
                "sync_type": run.sync,
                "table_name": run.table,
                "record_key": item.key,
                "reason": storable(item.why, REASON_CHARACTERS),
                "run_id": run.run_id,
                "source_fingerprint": item.fingerprint,
                "resolved_at": datetime.now(UTC),
                **_details(item),
            }
            for item in disputes
        ]

        def work(connection: sa.Connection) -> None:
            for row in rows:
                told = ("record_key", "method", "source_fingerprint", "target_data")
                again = [book.c[name].is_not_distinct_from(sa.cast(row[name], book.c[name].type)) for name in told]
                noted = sa.select(sa.exists().where(*at_place(book, run.sync, run.table), *again))
                if not connection.execute(noted).scalar_one():
                    connection.execute(insert(book).values(row))

        if rows:
            self._transaction(work)

    def settle_conflicts(self, sync: str, table: str, keys: Sequence[str]) -> None:
        """These records are the same on both sides again, or gone."""
        book = self._tables.conflicts
        open_ones = (*at_place(book, sync, table), book.c.resolved_at.is_(None))
        settled = sa.update(book).where(*open_ones, book.c.record_key.in_(keys)).values(resolved_at=sa.func.now())

        def work(connection: sa.Connection) -> None:
            # nearly always there is none: then one short question is all that is sent
            if connection.execute(sa.select(sa.exists().where(*open_ones))).scalar_one():
                connection.execute(settled)
                connection.execute(self._over(sync, table, keys))

        if keys:
            self._transaction(work)

    def open_conflicts(self, sync: str, table: str, keys: Collection[str]) -> dict[str, OpenConflict]:
        """Those of these records that are in conflict now."""
        book = self._tables.conflicts
        given = sa.cast(sa.bindparam(None, list(keys), type_=ARRAY(sa.Text), unique=True), ARRAY(sa.Text))
        chosen = sa.select(book.c.record_key, book.c.source_fingerprint, book.c.accepted_at.is_not(None)).where(
            *at_place(book, sync, table), book.c.resolved_at.is_(None), book.c.record_key == sa.any_(given)
        )
        rows = self._transaction(lambda connection: connection.execute(chosen).all()) if keys else []
        return {key: OpenConflict(mark, accepted) for key, mark, accepted in rows}

    def review_count(self, sync: str, table: str) -> int:
        """How many records wait for a person to decide."""
        book = self._tables.conflicts
        waiting = (book.c.review, book.c.resolved_at.is_(None), book.c.accepted_at.is_(None))
        chosen = sa.select(sa.func.count()).where(*at_place(book, sync, table), *waiting)
        return self._transaction(lambda connection: connection.execute(chosen).scalar_one())

    def conflict_count(self, sync: str, table: str) -> int:
        """How many records stay in the target as they are."""
        book = self._tables.conflicts
        chosen = sa.select(sa.func.count()).where(*at_place(book, sync, table), book.c.resolved_at.is_(None))
        return self._transaction(lambda connection: connection.execute(chosen).scalar_one())

    def list_conflicts(
        self,
        sync: str | None = None,
        table: str | None = None,
        *,
        keys: Sequence[str] | None = None,
        limit: int | None = 100,
    ) -> list[Conflict]:
        """Records that stay in the target as they are (of these keys, if some are given), by sync, table and key."""
        book = self._tables.conflicts
        chosen = sa.select(*_listed(book)).where(*at_place(book, sync, table), book.c.resolved_at.is_(None))
        if keys is not None:
            chosen = chosen.where(book.c.record_key.in_(keys))
        page = chosen.order_by(book.c.sync_type, book.c.table_name, book.c.record_key).limit(limit)
        rows = self._transaction(lambda connection: connection.execute(page).mappings().all())
        return [_conflict(row) for row in rows]

    def conflict_history(
        self, sync: str | None = None, table: str | None = None, *, key: str | None = None, limit: int | None = 100
    ) -> list[Conflict]:
        """What was decided, or is over, and what is open; the newest first, with both sides' values."""
        book = self._tables.conflicts
        chosen = sa.select(book).where(*at_place(book, sync, table))
        if key is not None:
            chosen = chosen.where(book.c.record_key == key)
        page = chosen.order_by(book.c.id.desc()).limit(limit)
        rows = self._transaction(lambda connection: connection.execute(page).mappings().all())
        return [_conflict(row) for row in rows]

    def target_stamp(self, sync: str, table: str) -> str | None:
        """What the last confirmed run has left for a target that can hold no stamp itself."""
        book = self._tables.stamps
        chosen = sa.select(book.c.stamp).where(*at_place(book, sync, table))
        return self._transaction(lambda connection: connection.execute(chosen).scalar_one_or_none())

    def set_target_stamp(self, sync: str, table: str, stamp: str) -> None:
        """Leave a stamp in the place of the one before."""
        row = {"sync_type": sync, "table_name": table, "stamp": stamp}
        putting = insert(self._tables.stamps).values(row)
        putting = putting.on_conflict_do_update(index_elements=["sync_type", "table_name"], set_={"stamp": stamp})
        self._transaction(lambda connection: connection.execute(putting))


def _details(dispute: Dispute | None) -> dict[str, Any]:
    """The columns that tell of a dispute; nulls where nothing is known."""
    if dispute is None:
        return {**dict.fromkeys(_DETAILS), "review": False}
    sides, method = dispute.sides, dispute.method
    return {
        "strategy": dispute.strategy.value,
        "source_version": _word(sides.source_version),
        "target_version": _word(sides.target_version),
        "source_data": sides.source,
        "target_data": sides.target,
        "base_data": sides.base,
        "review": dispute.in_review,
        "method": method.value if method else None,
        "resolved_by": BY_STRATEGY if method else None,
        "decided_at": datetime.now(UTC) if method else None,
    }


def _word(version: Any) -> str | None:
    return None if version is None else storable(str(version), REASON_CHARACTERS)


def _listed(book: sa.Table) -> list[sa.Column[Any]]:
    """All but the values, which may be large."""
    return [column for column in book.c if column.name not in _VALUES]


def _conflict(row: Mapping[Any, Any]) -> Conflict:
    told: dict[str, Any] = {
        name: row.get(name) for name in (*_TOLD, "method", "resolved_by", "resolution_notes", "review")
    }
    return Conflict(
        sync=row["sync_type"],
        table=row["table_name"],
        key=row["record_key"],
        reason=row["reason"],
        detected_at=utc(row["detected_at"]),
        run_id=row["run_id"],
        source_fingerprint=row["source_fingerprint"],
        accepted_at=utc_or_none(row["accepted_at"]),
        resolved_at=utc_or_none(row["resolved_at"]),
        decided_at=utc_or_none(row["decided_at"]),
        **told,
    )
