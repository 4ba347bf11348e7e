"""The ledger's books on targets that others may edit: bases, conflicts, and stamps of targets that hold none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, Insert, insert

from sync_pipelines.engine.conflicts import Base
from sync_pipelines.engine.deciding import Dispute
from sync_pipelines.engine.ledger.conflict_rows import DETAILS, Conflict, conflict_of, details, listed
from sync_pipelines.engine.ledger.history import RunRecord, at_place
from sync_pipelines.engine.ledger.store import REASON_CHARACTERS, Store, storable
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
        self.note_conflict(run.sync, run.table, kept, prints, disputes, run_id=run.run_id)

    def note_conflict(
        self,
        sync: str,
        table: str,
        kept: Mapping[str, str],
        prints: Mapping[str, str],
        disputes: Sequence[Dispute] = (),
        *,
        run_id: str,
    ) -> None:
        """`note_conflicts` of no run's books; `run_id` says who saw it."""
        told = {item.key: item for item in disputes}
        rows = [
            {
                "sync_type": sync,
                "table_name": table,
                "record_key": key,
                "reason": storable(why, REASON_CHARACTERS),
                "run_id": run_id,
                "source_fingerprint": prints.get(key),
                **details(told.get(key)),
            }
            for key, why in kept.items()
        ]

        def work(connection: sa.Connection) -> None:
            connection.execute(self._closing(sync, table), [_accepted(row) for row in rows])
            connection.execute(self._noting(), rows)
            if in_review := [key for key in kept if key in told and told[key].in_review]:
                self._hold_entities(connection, sync, table, in_review)

        if rows:
            self._transaction(work)

    def _closing(self, sync: str, table: str) -> sa.Update:
        """End what was accepted of a source's row that is another one now: the decision stays on record."""
        book = self._tables.conflicts
        other = book.c.source_fingerprint.is_distinct_from(sa.bindparam("mark", type_=sa.Text))
        accepted = (*at_place(book, sync, table), book.c.resolved_at.is_(None), book.c.accepted_at.is_not(None))
        ending = sa.update(book).where(*accepted, book.c.record_key == sa.bindparam("key"), other)
        return ending.values(resolved_at=sa.func.now())

    def _noting(self) -> Any:
        book = self._tables.conflicts
        noting = insert(book)
        same = book.c.source_fingerprint.is_not_distinct_from(noting.excluded.source_fingerprint)
        # of what was accepted it stays on record what was decided, and over which values
        decided = {
            name: sa.case((same & book.c.accepted_at.is_not(None), book.c[name]), else_=noting.excluded[name])
            for name in (*DETAILS, "resolution_notes")
        }
        return noting.on_conflict_do_update(
            index_elements=["sync_type", "table_name", "record_key"],
            index_where=book.c.resolved_at.is_(None),
            set_={
                **{name: noting.excluded[name] for name in ("reason", "run_id", "source_fingerprint")},
                **decided,
                "accepted_at": sa.case((same, book.c.accepted_at)),
            },
        )

    def _hold_entities(self, connection: sa.Connection, sync: str, table: str, keys: Sequence[str]) -> None:
        """Say in `sync_status` that these entities wait for a review."""
        book = self._tables.entities
        named = sa.update(book).where(*at_place(book, sync, table), book.c.record_key.in_(keys))
        named = named.values(has_conflict=True, updated_at=sa.func.now()).returning(book.c.record_key)
        found = set(connection.execute(named).scalars())
        rows = [
            {"sync_type": sync, "table_name": table, "entity_type": table, "entity_id": key, "has_conflict": True}
            for key in keys
            if key not in found
        ]
        noting = insert(book).on_conflict_do_update(
            index_elements=["sync_type", "table_name", "entity_id"],
            set_={"has_conflict": True, "updated_at": sa.func.now()},
        )
        if rows:
            connection.execute(noting, rows)

    def _entities_of(self, sync: str, table: str, keys: Sequence[str]) -> tuple[Any, ...]:
        """The entities of these records: by their keys, or by ids that are these."""
        book = self._tables.entities
        own = sa.and_(book.c.record_key.is_(None), book.c.entity_id.in_(keys))
        return *at_place(book, sync, table), sa.or_(own, book.c.record_key.in_(keys))

    def _free_entities(self, sync: str, table: str, keys: Sequence[str]) -> sa.Update:
        book = self._tables.entities
        held = sa.update(book).where(*self._entities_of(sync, table, keys), book.c.has_conflict)
        return held.values(has_conflict=False, updated_at=sa.func.now())

    def _bring_forward(self, sync: str, table: str, keys: Sequence[str], *, gone: bool) -> sa.Update:
        """The target has what the newest event told of these entities: what was held back from it has arrived."""
        book, now = self._tables.entities, sa.func.now()
        forward = sa.update(book).where(*self._entities_of(sync, table, keys), book.c.source_version.is_not(None))
        return forward.values(target_version=book.c.source_version, tombstone=gone, last_synced_at=now, updated_at=now)

    def bring_forward(self, sync: str, table: str, keys: Sequence[str], *, gone: bool) -> None:
        """What was held back of these records' entities has been written, or deleted (`gone`), without their events."""
        book = self._tables.entities
        behind = book.c.target_version.is_distinct_from(book.c.source_version)
        forward = self._bring_forward(sync, table, keys, gone=gone).where(behind, ~book.c.has_pending_changes)
        self._transaction(lambda connection: connection.execute(forward))

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

    def decide_conflict(
        self, sync: str, table: str, key: str, *, by: str | None, notes: str | None, method: str = "source_wins"
    ) -> None:
        """Somebody has decided for the source's version, which a run is about to write."""
        self._decide(sync, table, key, by=by, notes=notes, method=method, accepted_at=None)

    def _decide(self, sync: str, table: str, key: str, *, by: str | None, notes: str | None, **more: Any) -> None:
        book = self._tables.conflicts
        open_one = (*at_place(book, sync, table), book.c.resolved_at.is_(None), book.c.record_key == key)
        deciding = sa.update(book).where(*open_one)
        deciding = deciding.values(
            resolved_by=by and storable(by, REASON_CHARACTERS),
            resolution_notes=notes and storable(notes, REASON_CHARACTERS),
            decided_at=sa.func.now(),
            **more,
        )

        def work(connection: sa.Connection) -> None:
            connection.execute(self._put_by(sa.select(book).where(*open_one, book.c.method.is_not(None)).subquery()))
            connection.execute(deciding)
            connection.execute(self._free_entities(sync, table, [key]))

        self._transaction(work)

    def _put_by(self, decided: sa.Subquery) -> Insert:
        """A row of its own for what was decided before, and is decided otherwise now."""
        book = self._tables.conflicts
        names = [column.name for column in book.c if column.name not in ("id", "resolved_at")]
        old = sa.select(*(decided.c[name] for name in names), sa.func.now())
        return insert(book).from_select([*names, "resolved_at"], old)

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
                **details(item),
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

    def settle_conflicts(
        self,
        sync: str,
        table: str,
        keys: Sequence[str],
        *,
        as_: Literal["arrived", "gone", "refused"] = "arrived",
        seen: Mapping[str, str] | None = None,
    ) -> None:
        """These records are the same on both sides again, or gone from both, or out for another reason.

        Args:
            seen: key → the run that had noted it when that was seen; what was noted anew meanwhile stays open.
        """
        book = self._tables.conflicts
        open_ones = (*at_place(book, sync, table), book.c.resolved_at.is_(None))
        if seen is not None:
            open_ones = (*open_ones, sa.tuple_(book.c.record_key, book.c.run_id).in_(list(seen.items())))

        def work(connection: sa.Connection) -> None:
            # nearly always there is none: then one short question is all that is made and sent
            if connection.execute(sa.select(sa.exists().where(*open_ones))).scalar_one():
                settling = sa.update(book).where(*open_ones, book.c.record_key.in_(keys))
                settling = settling.values(resolved_at=sa.func.now()).returning(book.c.record_key)
                settled = connection.execute(settling).scalars().all()
                connection.execute(self._free_entities(sync, table, keys if seen is None else settled))
                if as_ != "refused":
                    connection.execute(self._bring_forward(sync, table, settled, gone=as_ == "gone"))

        if keys:
            self._transaction(work)

    def versions(self, sync: str, table: str, key: str) -> tuple[int | None, int | None]:
        """Those of a record's entity whose changes events tell: the newest known, and what the target holds."""
        book = self._tables.entities
        chosen = sa.select(book.c.source_version, book.c.target_version).where(*self._entities_of(sync, table, [key]))
        # two entities may name one record: a relationship by an id of its own, and by its ends
        chosen = chosen.order_by(book.c.updated_at.desc()).limit(1)
        row = self._transaction(lambda connection: connection.execute(chosen).one_or_none())
        return (None, None) if row is None else (row[0], row[1])

    def review_count(self, sync: str, table: str) -> int:
        """How many records wait for a person to decide."""
        chosen = sa.select(sa.func.count()).where(*self._in_review(sync, table))
        return self._transaction(lambda connection: connection.execute(chosen).scalar_one())

    def reviews(self, sync: str, table: str, *, limit: int = 20) -> list[Conflict]:
        """Some of them, by key."""
        book = self._tables.conflicts
        page = sa.select(*listed(book)).where(*self._in_review(sync, table)).order_by(book.c.record_key).limit(limit)
        rows = self._transaction(lambda connection: connection.execute(page).mappings().all())
        return [conflict_of(row) for row in rows]

    def _in_review(self, sync: str, table: str) -> tuple[Any, ...]:
        book = self._tables.conflicts
        return *at_place(book, sync, table), book.c.review, book.c.resolved_at.is_(None), book.c.accepted_at.is_(None)

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
        chosen = sa.select(*listed(book)).where(*at_place(book, sync, table), book.c.resolved_at.is_(None))
        if keys is not None:
            chosen = chosen.where(book.c.record_key.in_(keys))
        page = chosen.order_by(book.c.sync_type, book.c.table_name, book.c.record_key).limit(limit)
        rows = self._transaction(lambda connection: connection.execute(page).mappings().all())
        return [conflict_of(row) for row in rows]

    def noted(self, sync: str, table: str, keys: Sequence[str]) -> dict[str, str | None]:
        """Those of these records that stay as they are, with the fingerprint of the source's row as it was noted."""
        if not keys:
            return {}
        book = self._tables.conflicts
        given = sa.cast(sa.bindparam(None, list(keys), type_=ARRAY(sa.Text), unique=True), ARRAY(sa.Text))
        chosen = sa.select(book.c.record_key, book.c.source_fingerprint).where(
            *at_place(book, sync, table), book.c.resolved_at.is_(None), book.c.record_key == sa.any_(given)
        )
        rows = self._transaction(lambda connection: connection.execute(chosen).all())
        return {row.record_key: row.source_fingerprint for row in rows}

    def open_conflicts(self, sync: str, table: str, *, size: int = 1000) -> Iterator[dict[str, str]]:
        """The keys of records that stay as they are, with the run that has noted each; in batches, in key order."""
        book, last = self._tables.conflicts, ""
        open_ones = (*at_place(book, sync, table), book.c.resolved_at.is_(None))
        columns = (book.c.record_key, book.c.run_id)
        while True:
            more = sa.select(*columns).where(*open_ones, book.c.record_key > last)
            page = more.order_by(book.c.record_key).limit(size)
            rows = self._transaction(lambda connection, page=page: connection.execute(page).all())
            if not rows:
                return
            yield {row.record_key: row.run_id for row in rows}
            last = rows[-1].record_key

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
        return [conflict_of(row) for row in rows]

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


def _accepted(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"key": row["record_key"], "mark": row["source_fingerprint"]}
