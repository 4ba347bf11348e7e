"""Marks of confirmed runs in the source, by which a copy of its files from before is recognised.

A copy keeps system identifier, timeline and oids, and once it has issued more transaction ids than the watermark knows
nothing else tells it from the original. So each run that moves the watermark leaves a mark here before the ledger
knows it, together with the one that the ledger knows: a run that dies between the two is no restore. And each run
leaves its id here before it writes: one that died, or moves no watermark, has left its rows in the target all the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sync_pipelines.engine.errors import TransientError
from sync_pipelines.engine.model import Watermark
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.engine.sql import literal, qualified
from sync_pipelines.sources.postgres.connection import NormalisedUrl, Session, small_transaction, writing_transaction

TABLE = "capture_marks"

_WRITABLE = "NOT pg_catalog.current_setting('transaction_read_only')::bool"
"""SQL that is false on a standby, too."""

LINE, MARK = "line", "mark"
"""Where a watermark's position holds its line of runs (one a ledger) and the last one's mark."""

KEPT_DAYS = 365
"""A line of runs that has left no mark for so long is forgotten; if it goes on, its next run reads everything."""


def marks(session: Session, schema: str, number: int) -> frozenset[tuple[str, str]]:
    """Line and mark of every run that a captured table knows; the role must be able to read them."""
    rows = session.all(
        f"SELECT m.line, m.mark, m.previous FROM {qualified(schema, TABLE)} AS m WHERE m.table_id = {number}"
    )
    return frozenset((row["line"], mark) for row in rows for mark in (row["mark"], row["previous"]) if mark)


def is_known(position: Mapping[str, Any], known: frozenset[tuple[str, str]]) -> bool:
    """Whether the source knows the run of a watermark; one without a mark (none could be left) is taken for known."""
    return MARK not in position or (position[LINE], position[MARK]) in known


def carried(position: Mapping[str, Any], known: frozenset[tuple[str, str]]) -> dict[str, str]:
    """What the next watermark takes over: the line of runs and the mark, if the source knows them.

    Else nothing: the line may be that of another ledger, of which this one is a copy, and in a line of their own each
    leaves the other's marks alone.
    """
    names = (LINE, MARK) if is_known(position, known) else ()
    return {name: position[name] for name in names if name in position}


@dataclass(frozen=True, kw_only=True)
class Marker:
    """Leaves marks of one reader's runs.

    Args:
        url: the source. schema: of the capture branch. spec: the reader. pool_max: see `PostgresSource`.
    """

    url: NormalisedUrl
    schema: str
    spec: TableSpec
    pool_max: int

    def leave(self, watermark: Watermark) -> Watermark:
        """The watermark with the mark of its run, which stands in the source then; as it was where none can stand.

        Raises:
            RestoredMeanwhileError: the mark that was there when the run read is not there any more.
        """
        if watermark.capture != "trigger":
            return watermark
        mark = secrets.token_hex(8)
        line = watermark.position.get(LINE) or secrets.token_hex(8)
        if MARK in watermark.position:
            self._go_on(watermark, mark)
        elif not self._begin(watermark, line, mark):
            return watermark
        return replace(watermark, position={**watermark.position, LINE: line, MARK: mark})

    def note(self, since: Watermark, run: str, *, before: str | None) -> bool:
        """Leave the id of a run that is about to write, beside that of the run before; whether it stands."""
        if MARK not in since.position:
            return False
        with writing_transaction(self.url, pool_max=self.pool_max) as session:
            if not _is(session, f"{_WRITABLE} AND {may_write(self.schema)}"):
                return False
            earlier = "NULL" if before is None else literal(before)
            return bool(
                session.all(
                    f"UPDATE {qualified(self.schema, TABLE)} AS m SET begun = {literal(run)}, "
                    f"begun_before = {earlier}, marked_at = pg_catalog.clock_timestamp() "
                    f"WHERE {self._of(since)} RETURNING 1 AS found"
                )
            )

    def knows(self, since: Watermark, run: str) -> bool:
        """Whether that stands here; True where the watermark bears no mark, so that nothing was noted.

        False where the role may not look (any more): what cannot be told is compared.
        """
        if MARK not in since.position:
            return True
        with small_transaction(self.url, pool_max=self.pool_max) as session:
            if not _is(session, f"{_held(self.schema, 'SELECT')} AND {_noting(self.schema)}"):
                return False
            return bool(
                session.all(
                    f"SELECT 1 AS found FROM {qualified(self.schema, TABLE)} AS m "
                    f"WHERE {self._of(since)} AND {literal(run)} IN (m.begun, m.begun_before)"
                )
            )

    def _of(self, watermark: Watermark) -> str:
        """SQL that chooses the line of runs of a watermark, if the source knows its last one."""
        position = watermark.position
        return (
            f"m.table_id = {int(position['number'])} AND m.reader = {literal(self.spec.path)} "
            f"AND m.line = {literal(position[LINE])} AND {literal(position[MARK])} IN (m.mark, m.previous)"
        )

    def _go_on(self, watermark: Watermark, mark: str) -> None:
        old = literal(watermark.position[MARK])
        with writing_transaction(self.url, pool_max=self.pool_max) as session:
            there = session.all(
                f"UPDATE {qualified(self.schema, TABLE)} AS m SET mark = {literal(mark)}, previous = {old}, "
                "marked_at = pg_catalog.clock_timestamp() "
                f"WHERE {self._of(watermark)} RETURNING 1 AS found"
            )
        if not there:
            raise RestoredMeanwhileError(
                "the source was restored, or its capture removed, while this run read it.",
                sync=self.spec.sync,
                table=self.spec.name,
                remedy="Nothing was confirmed; the next run reads everything.",
            )

    def _begin(self, watermark: Watermark, line: str, mark: str) -> bool:
        """Leave a first mark, or the first after a restore: the ledger's is not to be trusted until the run is
        confirmed, so it does not stand beside."""
        with writing_transaction(self.url, pool_max=self.pool_max) as session:
            if not _may_write(session, self.schema):
                return False
            return bool(
                session.all(
                    f"INSERT INTO {qualified(self.schema, TABLE)} AS m (table_id, reader, line, mark) "
                    f"SELECT r.table_id, r.reader, {literal(line)}, {literal(mark)} "
                    f"FROM {qualified(self.schema, 'capture_readers')} AS r "
                    f"WHERE r.table_id = {int(watermark.position['number'])} AND r.reader = {literal(self.spec.path)} "
                    "ON CONFLICT (table_id, reader, line) DO UPDATE SET mark = excluded.mark, previous = NULL, "
                    "marked_at = excluded.marked_at RETURNING 1 AS found"
                )
            )


class RestoredMeanwhileError(TransientError):
    """The source is not the one any more that the run has read."""


def forget(session: Session, schema: str, *, days: int = KEPT_DAYS) -> int:
    """Delete the marks of readers' ledgers that are gone; how many there were. Nothing where the role may not."""
    if not _may(session, schema, "SELECT", "DELETE"):
        return 0
    gone = session.all(
        f"DELETE FROM {qualified(schema, TABLE)} AS m "
        f"WHERE m.marked_at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(days => {int(days)}) "
        "RETURNING 1 AS found"
    )
    return len(gone)


def may_write(schema: str) -> str:
    """SQL that says whether this role may leave marks; false where there is no table for them, or an older one."""
    return f"({_held(schema, 'SELECT', 'INSERT', 'UPDATE')} AND {_noting(schema)})"


def _may_write(session: Session, schema: str) -> bool:
    return _may(session, schema, "SELECT", "INSERT", "UPDATE")


def _may(session: Session, schema: str, *privileges: str) -> bool:
    return _is(session, f"{_WRITABLE} AND {_held(schema, *privileges)}")


def _is(session: Session, condition: str) -> bool:
    return bool(session.all(f"SELECT {condition} AS found")[0]["found"])


def _noting(schema: str) -> str:
    """SQL that says whether the table has room for the ids of runs: an older one has none until `db upgrade`."""
    table = literal(qualified(schema, TABLE))
    return (
        f"EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass({table}) "
        "AND attname = 'begun' AND NOT attisdropped)"
    )


def _held(schema: str, *privileges: str) -> str:
    table = literal(qualified(schema, TABLE))
    held = " AND ".join(
        f"pg_catalog.has_table_privilege(pg_catalog.to_regclass({table}), '{name}')" for name in privileges
    )
    return f"coalesce({held}, false)"
