"""Who reads the change log, and how far: confirming, cleaning, describing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sync_pipelines.engine.capture import NEXT_TX, issued, unread
from sync_pipelines.engine.model import Watermark
from sync_pipelines.engine.snapshots import Snapshot, parse_snapshot
from sync_pipelines.engine.sql import literal, qualified
from sync_pipelines.sources.postgres.connection import (
    NormalisedUrl,
    Session,
    Writing,
    normalise_url,
    writing_transaction,
)
from sync_pipelines.sources.postgres.errors import reading
from sync_pipelines.sources.postgres.marks import forget
from sync_pipelines.sources.postgres.state import settle

BATCH = 10_000

LAGGING_SECONDS = 7 * 86_400
"""A reader whose oldest unread line is older holds the log back, and `status` warns."""

_FIRST_TX = "'3'::pg_catalog.xid8"
"""The first transaction id that any server issues."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A sync that reads a captured table; `snapshot` is None until it has confirmed a run on this server.

    Args:
        oldest: when the first line that it has not read was logged; None where it has read all.
        age_seconds: how old that line is.
        lines: how many there are; None where they were not counted.
    """

    reader: str
    snapshot: str | None
    confirmed_at: datetime | None
    oldest: datetime | None = None
    age_seconds: float | None = None
    lines: int | None = None

    @property
    def lags(self) -> bool:
        """Whether it has read nothing for so long that it rather will not."""
        return self.age_seconds is not None and self.age_seconds > LAGGING_SECONDS


@dataclass(frozen=True, kw_only=True)
class Purged:
    """What cleaning did for one captured table.

    Args:
        waiting_for: readers without a confirmed run. held_by: readers for whose sake lines stay, with their lag.
    """

    table: str
    deleted: int
    waiting_for: tuple[str, ...] = ()
    held_by: tuple[Reader, ...] = ()


def readers(session: Session, schema: str, number: int) -> list[Reader]:
    """The readers of a captured table."""
    # a standby may lag behind what was noted on its primary
    ours = f"pg_catalog.pg_snapshot_xmax(r.snapshot) <= {NEXT_TX} OR pg_catalog.pg_is_in_recovery()"
    rows = session.all(
        f"SELECT r.reader, CASE WHEN {ours} THEN r.snapshot::text END AS snapshot, r.confirmed_at "
        f"FROM {qualified(schema, 'capture_readers')} AS r WHERE r.table_id = {number} ORDER BY 1"
    )
    return [Reader(**row) for row in rows]


def with_lag(session: Session, schema: str, number: int, reader: Reader, *, count: bool = False) -> Reader:
    """The reader with its oldest unread line, which the index finds; `count` reads all of them."""
    lines = (
        f"FROM {qualified(schema, 'change_log')} AS l WHERE l.table_id = {number} "
        f"AND {unread(reader.snapshot) if reader.snapshot else issued()}"
    )
    number_of_lines = f"(SELECT count(*) {lines})" if count else "NULL::int8"
    rows = session.all(
        f"SELECT o.changed_at AS oldest, (extract(epoch FROM pg_catalog.clock_timestamp() - o.changed_at))::float8 "
        f"AS seconds, {number_of_lines} AS lines FROM (SELECT l.changed_at {lines} ORDER BY l.tx LIMIT 1) AS o"
    )
    if not rows:
        return replace(reader, lines=0)
    (row,) = rows
    oldest = row["oldest"].astimezone(UTC)
    return replace(reader, oldest=oldest, age_seconds=row["seconds"], lines=row["lines"])


def lagging(session: Session, schema: str, number: int) -> list[Reader]:
    """Readers that hold the log back; none where this role may not see who reads."""
    if not may_list(session, schema):
        return []
    found = [with_lag(session, schema, number, reader) for reader in readers(session, schema, number)]
    return [reader for reader in found if reader.lags]


def may_list(session: Session, schema: str) -> bool:
    """Whether this role may read who reads the log."""
    table = literal(qualified(schema, "capture_readers"))
    return session.all(f"SELECT pg_catalog.has_table_privilege({table}, 'SELECT') AS may")[0]["may"]


def confirm_reader(url: NormalisedUrl, watermark: Watermark, *, schema: str, reader: str, pool_max: int) -> bool:
    """Note how far a reader has come; False where it cannot be noted.

    Nothing is written where the log holds no line that the noted snapshot does not cover: a run without
    changes leaves no trace in the source's WAL. The run that is confirmed has read the table on this server, so what
    a dump brought of another one's transaction ids may go.
    """
    number, snapshot = watermark.position.get("number"), watermark.position.get("snapshot")
    if watermark.capture != "trigger" or number is None or snapshot is None:
        return False
    with writing_transaction(url, pool_max=pool_max) as session:
        if not _may_write(session, schema):
            return False
        found = _captured(session, schema, int(number), reader)
        if found is None:
            return False
        if found["unissued"] and found["may_settle"]:
            for statement in settle(schema, int(number), installed=_FIRST_TX):
                session.execute(statement)
        _note(session, schema, int(number), reader, snapshot, known=found["known"])
    return True


def _captured(session: Session, schema: str, number: int, reader: str) -> dict[str, Any] | None:
    """What a confirmation must know of the captured table; None where its capture is gone."""
    captured, table = qualified(schema, "captured_tables"), qualified(schema, "capture_readers")
    rows = session.all(
        f"SELECT greatest(c.installed_tx, c.purged_tx, c.truncated_tx) >= {NEXT_TX} AS unissued, "
        f"pg_catalog.has_table_privilege({literal(captured)}, 'UPDATE') AS may_settle, EXISTS (SELECT FROM {table} "
        f"AS r WHERE r.table_id = c.id AND r.reader = {literal(reader)}) AS known FROM {captured} AS c "
        f"WHERE c.id = {number}"
    )
    return rows[0] if rows else None


def _note(session: Writing, schema: str, number: int, reader: str, snapshot: str, *, known: bool) -> None:
    log, table = qualified(schema, "change_log"), qualified(schema, "capture_readers")
    if known:
        session.execute(
            f"UPDATE {table} AS r SET snapshot = {literal(snapshot)}, confirmed_at = pg_catalog.clock_timestamp() "
            f"WHERE r.table_id = {number} AND r.reader = {literal(reader)} AND (r.snapshot IS NULL "
            f"OR pg_catalog.pg_snapshot_xmax(r.snapshot) > {NEXT_TX} OR EXISTS "
            f"(SELECT FROM {log} AS l WHERE l.table_id = r.table_id "
            "AND l.tx >= pg_catalog.pg_snapshot_xmin(r.snapshot)))"
        )
        return
    session.execute(
        f"INSERT INTO {table} (table_id, reader, snapshot, confirmed_at) "
        f"VALUES ({number}, {literal(reader)}, {literal(snapshot)}, pg_catalog.clock_timestamp()) "
        "ON CONFLICT DO NOTHING"
    )


def _may_write(session: Session, schema: str) -> bool:
    rows = session.all(
        "SELECT NOT pg_catalog.current_setting('transaction_read_only')::bool "  # a standby's is, too
        "AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') "
        "AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_table_privilege(c.oid, 'INSERT') "
        "AND pg_catalog.has_table_privilege(c.oid, 'UPDATE') AS may "
        "FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
        f"WHERE n.nspname = {literal(schema)} AND c.relname = 'capture_readers' AND c.relkind = 'r'"
    )
    return bool(rows) and rows[0]["may"]


def purge(
    url: str | NormalisedUrl, *, schema: str = "sync", confirmed: Mapping[str, str] | None = None, batch: int = BATCH
) -> list[Purged]:
    """Delete the log's lines that every reader of their table has confirmed, a batch a transaction.

    No reader meets a gap: only lines below every reader's xmin go, and a reader whose watermark is older than
    what it had confirmed (a restored ledger) recognises it by `purged_tx`. Lines that a dump brought from another
    server go, too: whoever read there must read everything here.

    Args:
        url: the source database. schema: of the capture branch.
        confirmed: snapshots by reader (`sync/name`) out of the ledger; they stand in for those noted here.
        batch: lines a transaction.
    """
    address = normalise_url(url)
    with reading(address, sync_schema=schema):
        delete_orphans(url, schema=schema, batch=batch)
        with writing_transaction(address) as session:
            forget(session, schema)
            tables = session.all(
                "SELECT c.id, c.schema_name || '.' || c.table_name AS name "
                f"FROM {qualified(schema, 'captured_tables')} AS c ORDER BY 1"
            )
        return [_purge_table(address, schema, row["id"], row["name"], confirmed or {}, batch) for row in tables]


def _purge_table(
    url: NormalisedUrl, schema: str, number: int, name: str, confirmed: Mapping[str, str], batch: int
) -> Purged:
    with writing_transaction(url) as session:
        noted = readers(session, schema, number)
        newest = session.all(f"SELECT {NEXT_TX}::text AS tx")[0]["tx"]
    found = [replace(item, snapshot=_here(confirmed.get(item.reader), int(newest)) or item.snapshot) for item in noted]
    deleted = _delete(url, schema, f"l.table_id = {number} AND NOT {issued()}", batch)
    snapshots = [parse_snapshot(item.snapshot) for item in found if item.snapshot]
    if found and len(snapshots) == len(found):
        deleted += _delete(url, schema, f"l.table_id = {number} AND {_below(snapshots)}", batch)
    with writing_transaction(url) as session:
        lags = [with_lag(session, schema, number, item, count=True) for item in found]
    return Purged(
        table=name,
        deleted=deleted,
        waiting_for=tuple(item.reader for item in found if item.snapshot is None),
        held_by=tuple(item for item in lags if item.lines),
    )


def _here(snapshot: str | None, newest: int) -> str | None:
    """A snapshot out of the ledger, unless it is one of another server."""
    return snapshot if snapshot and parse_snapshot(snapshot).xmax <= newest else None


def _below(snapshots: Iterable[Snapshot]) -> str:
    """Condition on the change log: what all of these snapshots have seen."""
    horizon = min(snapshot.xmin for snapshot in snapshots)
    return f"l.tx < {literal(str(horizon))}::pg_catalog.xid8"


def delete_orphans(url: str | NormalisedUrl, *, schema: str = "sync", batch: int = BATCH) -> int:
    """Delete log lines of captures that were removed; how many there were."""
    captured = qualified(schema, "captured_tables")
    where = f"NOT EXISTS (SELECT FROM {captured} AS c WHERE c.id = l.table_id)"
    return _delete(normalise_url(url), schema, where, batch)


def _delete(url: NormalisedUrl, schema: str, where: str, batch: int) -> int:
    log = qualified(schema, "change_log")
    total = 0
    while True:
        with writing_transaction(url) as session:
            found = session.all(
                f"WITH gone AS (DELETE FROM {log} WHERE ctid = ANY (ARRAY("
                f"SELECT l.ctid FROM {log} AS l WHERE {where} LIMIT {batch})) RETURNING 1) "
                "SELECT count(*) AS lines FROM gone"
            )[0]["lines"]
        total += found
        if found < batch:
            return total
