"""The ledger's books on targets that others may edit: bases, conflicts, and stamps of targets that hold none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from sync_pipelines.engine.conflicts import Base
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
    """

    sync: str
    table: str
    key: str
    reason: str
    detected_at: datetime
    run_id: str
    source_fingerprint: str | None = None
    accepted_at: datetime | None = None


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

    def note_conflicts(self, run: RunRecord, kept: Mapping[str, str], prints: Mapping[str, str]) -> None:
        """Note records that stay in the target as they are; one that is noted already keeps its time.

        Args:
            kept: key → why. prints: key → fingerprint of the source's row; where that is another one than was noted,
                nobody has accepted it.
        """
        book = self._tables.conflicts
        rows = [
            {
                "sync_type": run.sync,
                "table_name": run.table,
                "record_key": key,
                "reason": storable(why, REASON_CHARACTERS),
                "run_id": run.run_id,
                "source_fingerprint": prints.get(key),
            }
            for key, why in kept.items()
        ]
        noting = insert(book)
        same = book.c.source_fingerprint.is_not_distinct_from(noting.excluded.source_fingerprint)
        noting = noting.on_conflict_do_update(
            index_elements=["sync_type", "table_name", "record_key"],
            index_where=book.c.resolved_at.is_(None),
            set_={
                **{name: noting.excluded[name] for name in ("reason", "run_id", "source_fingerprint")},
                "accepted_at": sa.case((same, book.c.accepted_at)),
            },
        )
        if rows:
            self._transaction(lambda connection: connection.execute(noting, rows))

    def accept_conflict(self, sync: str, table: str, key: str) -> None:
        """Somebody has decided that the target's version stays, as long as the source's row is the one of now."""
        book = self._tables.conflicts
        open_one = (*at_place(book, sync, table), book.c.resolved_at.is_(None), book.c.record_key == key)
        accepting = sa.update(book).where(*open_one).values(accepted_at=sa.func.now())
        self._transaction(lambda connection: connection.execute(accepting))

    def settle_conflicts(self, sync: str, table: str, keys: Sequence[str]) -> None:
        """These records are the same on both sides again, or gone."""
        book = self._tables.conflicts
        open_ones = (*at_place(book, sync, table), book.c.resolved_at.is_(None))
        settled = sa.update(book).where(*open_ones, book.c.record_key.in_(keys)).values(resolved_at=sa.func.now())

        def work(connection: sa.Connection) -> None:
            # nearly always there is none: then one short question is all that is sent
            if connection.execute(sa.select(sa.exists().where(*open_ones))).scalar_one():
                connection.execute(settled)

        if keys:
            self._transaction(work)

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
        chosen = sa.select(book).where(*at_place(book, sync, table), book.c.resolved_at.is_(None))
        if keys is not None:
            chosen = chosen.where(book.c.record_key.in_(keys))
        page = chosen.order_by(book.c.sync_type, book.c.table_name, book.c.record_key).limit(limit)
        rows = self._transaction(lambda connection: connection.execute(page).mappings().all())
        return [
            Conflict(
                sync=row["sync_type"],
                table=row["table_name"],
                key=row["record_key"],
                reason=row["reason"],
                detected_at=utc(row["detected_at"]),
                run_id=row["run_id"],
                source_fingerprint=row["source_fingerprint"],
                accepted_at=utc_or_none(row["accepted_at"]),
            )
            for row in rows
        ]

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
