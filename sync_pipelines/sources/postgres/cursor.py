"""Cursor capture: what a read-only source can promise without triggers (DESIGN.md §4, Capture).

A transaction may commit rows long after the time that stands in them. So the watermark keeps a *bound*, the
start of the oldest transaction that was open when the read began, and the next read goes back to it, less the
lookback, and re-reads what lies there; targets skip what they have. The position's `changed_at` and `key` are
the newest row that was read: beyond it everything is news.

Rows above the bound are read too (they would only arrive later otherwise); a row dated in the future is read
by every run, but asks for none before its time. Rows without a change time are read by every run. Deletes are
not seen at all: reconciliation finds them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sync_pipelines.engine.model import Watermark
from sync_pipelines.engine.sql import literal
from sync_pipelines.sources.postgres.connection import APPLICATION_NAME, Session
from sync_pipelines.sources.postgres.sql import TableSql
from sync_pipelines.sources.postgres.types import Column, time_literal, time_sql

CLOCK_SET_BACK = "the server's clock was set back by more than the lookback"


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Up to which change time a read is sure to be complete.

    Args:
        at: the bound. now: the server's clock before the look.
        caveats: why the bound is only now minus the lookback; empty where it is exact.
        stats: whether this role sees the transactions of others (pg_read_all_stats).
    """

    at: datetime
    now: datetime
    caveats: tuple[str, ...] = ()
    stats: bool = True


_LOOK = f"""
SELECT pg_catalog.statement_timestamp() AS now, pg_catalog.pg_is_in_recovery() AS standby,
    CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_xact_replay_timestamp() END AS replayed,
    pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS stats,
    (SELECT count(*) FROM pg_catalog.pg_prepared_xacts AS p
        WHERE p.database = pg_catalog.current_database()) AS prepared,
    (SELECT min(a.xact_start) FROM pg_catalog.pg_stat_activity AS a
        WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
        AND (a.backend_xid IS NOT NULL OR a.backend_type = 'client backend'
            AND a.application_name <> {literal(APPLICATION_NAME)})) AS oldest,
    (SELECT count(*) FROM pg_catalog.pg_stat_activity AS a
        WHERE a.datname = pg_catalog.current_database() AND a.backend_xid IS NOT NULL
        AND a.xact_start IS NULL) AS hidden"""


def look(session: Session, lookback_seconds: float) -> Bound:
    """Find the bound; must run in a transaction that ended before the reading snapshot is taken.

    A transaction that has not written yet may do so later under its old now(), so all open ones count.
    """
    row = session.all(_LOOK)[0]
    caveats = tuple(_caveats(row))
    at = min(filter(None, (row["now"], row["oldest"], row["replayed"])))
    if caveats:
        at -= timedelta(seconds=lookback_seconds)
    return Bound(at=at, now=row["now"], caveats=caveats, stats=row["stats"])


def _caveats(row: Mapping[str, Any]) -> list[str]:
    found = []
    if row["standby"]:
        found.append("the source is a standby, where the writers' transactions cannot be seen")
    if row["prepared"]:
        found.append(f"{row['prepared']} prepared transactions are open")
    if row["hidden"]:
        found.append(
            "other roles' transactions are hidden from this role (GRANT pg_read_all_stats TO it makes the bound exact)"
        )
    return found


@dataclass(frozen=True)
class Position:
    """A cursor watermark's position, as it stands in `Watermark.position`."""

    bound: datetime
    seen: datetime | None = None
    key: str = ""

    def as_mapping(self) -> dict[str, Any]:
        seen = self.seen.isoformat() if self.seen else None
        return {"changed_at": seen, "key": self.key, "bound": self.bound.isoformat()}


def position_of(since: Watermark) -> Position | None:
    """The position of a cursor watermark, or None where it cannot be read."""
    try:
        seen = since.position.get("changed_at")
        return Position(
            bound=datetime.fromisoformat(since.position["bound"]),
            seen=datetime.fromisoformat(seen) if seen else None,
            key=since.position.get("key") or "",
        )
    except (KeyError, TypeError, ValueError):
        return None


def cursor_reason(since: Watermark, bound: Bound, lookback_seconds: float) -> str | None:
    """Why a cursor watermark cannot be continued, or None."""
    position = position_of(since)
    if position is None or position.bound.tzinfo is None:
        return "the watermark cannot be read"
    if bound.now < position.bound - timedelta(seconds=lookback_seconds):
        return CLOCK_SET_BACK
    return None


def _rounded(column: Column) -> timedelta:
    """How far the column may round a time down: timestamp(3) by half a millisecond."""
    digits = re.search(r"\((\d)\)", column.pg_type)
    return timedelta(seconds=0.5 * 10.0 ** -int(digits[1])) if digits else timedelta()


def to_read(sql: TableSql, position: Position, lookback_seconds: float) -> str:
    """Condition: the rows that the next read takes."""
    column = sql.changed_at
    assert column is not None
    start = position.bound - timedelta(seconds=lookback_seconds) - _rounded(column)
    if column.base_name == "date":
        # the session's zone may be ahead of the writers' day
        start = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    condition = f"{column.sql()} >= {time_literal(column, start.isoformat())}"
    return f"({condition} OR {column.sql()} IS NULL)" if column.nullable else condition


def is_news(sql: TableSql, position: Position, bound: Bound) -> str:
    """Condition: rows that ask for a run.

    What is newer than the newest row that was read; and, once a transaction that held the bound back has
    ended, what lies between that bound and the present one: it may have come late. A date says too little: a
    change on the day of the last read waits for the next run, whoever asks for it.
    """
    column = sql.changed_at
    assert column is not None
    name, now = column.sql(), time_literal(column, bound.now.isoformat())
    start = time_literal(column, (position.bound - _rounded(column)).isoformat())
    late = f"{name} >= {start} AND {name} <= {now}"
    if position.seen is None:
        return late
    seen = time_literal(column, position.seen.isoformat())
    newer = (
        f'({name} > {seen} AND {name} <= {now} OR {name} = {seen} AND {sql.key} COLLATE "C" > {literal(position.key)})'
    )
    if bound.at <= position.bound:
        return newer
    until = time_literal(column, bound.at.isoformat())
    return f"({newer} OR {name} >= {start} AND {name} < {until} AND {name} <= {seen})"


def pending_sql(sql: TableSql, condition: str, limit: int) -> str:
    """Number of news, up to a limit, and the oldest one's time."""
    assert sql.changed_at is not None
    return (
        f"SELECT count(*) AS changes, min(n.at) AS oldest FROM (SELECT {time_sql(sql.changed_at)} AS at "
        f"FROM {sql.info.sql} AS t WHERE {condition} LIMIT {limit}) AS n"
    )


def newest(session: Session, sql: TableSql, bound: Bound) -> Position:
    """The position after a read: the newest row that is not dated in the future."""
    column = sql.changed_at
    assert column is not None
    now = time_literal(column, bound.now.isoformat())
    rows = session.all(
        f"SELECT {time_sql(column)} AS at, {sql.key} AS key FROM {sql.info.sql} AS t WHERE {column.sql()} = ("
        f"SELECT max({column.sql()}) FROM {sql.info.sql} AS t WHERE {column.sql()} <= {now}) "
        f'ORDER BY {sql.key} COLLATE "C" DESC LIMIT 1'
    )
    if not rows or rows[0]["at"] is None:
        return Position(bound=bound.at)
    return Position(bound=bound.at, seen=rows[0]["at"], key=rows[0]["key"])
