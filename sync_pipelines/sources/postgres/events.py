"""The events of one entity type in `sync_event_log`: taken in order, and told what became of them.

Gated reading (facts: 0 lost under concurrent writers): an event is let through when its transaction is below the
oldest open one (`pg_snapshot_xmin`), or when its id is one that this server has never issued (a dump brought it).
Within an entity the version decides, and nothing else: transaction ids and row numbers do not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pyarrow as pa

from sync_pipelines.engine.capture import NEXT_TX
from sync_pipelines.engine.events import Backlog, Event, RowsNow, Strays
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.engine.sql import literal, qualified
from sync_pipelines.sources.postgres.connection import NormalisedUrl, Session, Writing, writing_transaction
from sync_pipelines.sources.postgres.errors import reading
from sync_pipelines.sources.postgres.outbox import TABLE, waiting_types

CHANNEL = "sync_event_log"
"""What `publish_event` notifies."""

_TRIES, _COUNTED = 20, 10_000
_GATE = "pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())"
_WAITING = "status IN ('PENDING', 'PROCESSING')"
_DUE = "(e.retry_at IS NULL OR e.retry_at <= pg_catalog.clock_timestamp())"
_DELETIONS = "'CONTENT_DELETED', 'RELATIONSHIP_DELETED', 'USER_DELETED'"
_READ = (
    "e.id, e.event_id::text AS event_id, e.correlation_id, e.event_type, e.entity_id, e.source_version, e.attempts, "
    "e.payload #>> '{start,id}' AS start_id, e.payload #>> '{end,id}' AS end_id, "
    "e.ends_before #>> '{start,id}' AS start_before, e.ends_before #>> '{end,id}' AS end_before, "
    # who takes it for the first time sets the time after the statement has begun
    "coalesce(e.published_at < pg_catalog.statement_timestamp(), false) AS again"
)


class PostgresOutbox:
    """Implements `engine.events.Outbox`. Making one connects to nothing.

    Args:
        url: the source database. spec: whose `entity_type` it reads. schema: of the capture branch.
        rows: gives the rows that records have now.
    """

    def __init__(
        self,
        url: NormalisedUrl,
        spec: TableSpec,
        *,
        schema: str,
        pool_max: int,
        rows: Callable[[Sequence[str]], RowsNow],
    ) -> None:
        self.rows = rows
        self.url, self._schema, self._pool_max = url, schema, pool_max
        self.entity_type, self._place = spec.entity_type, (spec.sync, spec.name)
        self._log = qualified(schema, TABLE)
        self._type = f"e.entity_type = {literal(spec.entity_type)}"

    def take(self, most: int, *, beside: Sequence[str] = ()) -> list[Event]:
        for _ in range(_TRIES):
            with self._writing() as session:
                rows = session.all(self._take(most, beside))
            if taken := [_event(row) for row in rows if row["taken"]]:
                return taken
            if len(rows) < most:
                break
        return []

    def _take(self, most: int, beside: Sequence[str]) -> str:
        """Look at the first ones in the order of the index; what a lower event stands before is set aside for good,
        so that no reading comes by it again. Those under way stand before them in the index, and are passed by.

        One that waits for its node is taken with what follows it: a relationship that was deleted waits for none."""
        looked = most + len(beside)
        free = f"WHERE f.entity_id NOT IN ({_texts(list(dict.fromkeys(beside)))})" if beside else ""
        same = "o.entity_type = e.entity_type AND o.entity_id = e.entity_id AND o.source_version < e.source_version"
        let = f"o.{_WAITING} AND (o.tx < {_GATE} OR o.tx >= {NEXT_TX}) AND {_DUE.replace('e.', 'o.')}"
        let = f"{let} OR o.status = 'BLOCKED' AND o.waits_for IS NOT NULL"
        held = "e.id = ANY (ARRAY(SELECT j.id FROM judged AS j WHERE j.held))"
        # arrays and one look for each event: joined, the log was read as a whole for 1,000 of 20,000
        return f"""
WITH seen AS MATERIALIZED (SELECT f.* FROM ({self._first(looked)}) AS f LIMIT {looked}),
first AS MATERIALIZED (SELECT f.* FROM seen AS f {free} LIMIT {most}),
judged AS MATERIALIZED (SELECT e.id, coalesce(l.held, false) AS held, l.lower FROM first AS e CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(o.id) AS lower, pg_catalog.bool_or(NOT ({let})) AS held
    FROM {self._log} AS o WHERE {same} AND o.status <> 'COMPLETED') AS l),
chosen AS (SELECT j.id FROM judged AS j UNION SELECT pg_catalog.unnest(j.lower) FROM judged AS j WHERE NOT j.held)
UPDATE {self._log} AS e SET updated_at = pg_catalog.clock_timestamp(), waits_for = NULL,
    status = CASE WHEN {held} THEN 'BLOCKED' ELSE 'PROCESSING' END,
    published_at = CASE WHEN {held} THEN e.published_at
        ELSE coalesce(e.published_at, pg_catalog.clock_timestamp()) END
WHERE e.id = ANY (ARRAY(SELECT c.id FROM chosen AS c))
RETURNING e.status = 'PROCESSING' AS taken, {_READ}"""

    def _first(self, most: int) -> str:
        """Two walks of the index: what stands behind the gate is passed by, not read."""
        chosen = f"SELECT e.id, e.entity_type, e.entity_id, e.source_version FROM {self._log} AS e WHERE {self._type} "
        chosen += f"AND e.{_WAITING} AND {_DUE}"
        order = f"ORDER BY e.tx, e.id LIMIT {most}"
        return f"({chosen} AND e.tx < {_GATE} {order}) UNION ALL ({chosen} AND e.tx >= {NEXT_TX} {order})"

    def complete(self, numbers: Sequence[int], *, note: str | None = None, tokens: Sequence[str] = ()) -> None:
        if not numbers:
            return
        told = "NULL" if note is None else literal(note)
        completing = (
            f"UPDATE {self._log} AS e SET status = 'COMPLETED', completed_at = pg_catalog.now(), "
            f"updated_at = pg_catalog.clock_timestamp(), last_error = {told}, retry_at = NULL, waits_for = NULL "
            f"WHERE e.id IN ({_list(numbers)}) RETURNING e.entity_id"
        )
        # what was behind one of them is looked at again; these are other rows, so one statement may change both
        with self._writing() as session:
            session.execute(
                f"WITH done AS ({completing}) UPDATE {self._log} AS e SET status = 'PENDING', "
                f"updated_at = pg_catalog.clock_timestamp() WHERE {self._type} "
                "AND e.entity_id IN (SELECT d.entity_id FROM done AS d) AND e.status = 'BLOCKED' "
                f"AND e.waits_for IS NULL AND e.id NOT IN ({_list(numbers)})"
            )
            self._release(session, tokens)

    def refuse(self, number: int, *, error: str, retry_in: float | None) -> None:
        status = "'FAILED'" if retry_in is None else "'PENDING'"
        later = f"pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => {retry_in or 0})"
        with self._writing() as session:
            session.execute(
                f"UPDATE {self._log} AS e SET status = {status}, attempts = e.attempts + 1, "
                f"last_error = {literal(error)}, retry_at = {'NULL' if retry_in is None else later}, "
                f"updated_at = pg_catalog.clock_timestamp() WHERE e.id = {int(number)}"
            )

    def block(self, waiting: Mapping[int, tuple[str, str]]) -> None:
        given = json.dumps([{"id": n, "w": noted, "e": why} for n, (noted, why) in waiting.items()], ensure_ascii=False)
        with self._writing() as session:
            session.execute(
                f"UPDATE {self._log} AS e SET status = 'BLOCKED', waits_for = g.w, last_error = g.e, "
                "updated_at = pg_catalog.clock_timestamp() FROM pg_catalog.json_to_recordset("
                f"{literal(given)}::json) AS g(id int8, w text, e text) WHERE e.id = g.id"
            )

    def put_back(self, numbers: Sequence[int], *, afresh: bool = False) -> None:
        if not numbers:
            return
        more = ", attempts = 0, retry_at = NULL" if afresh else ""
        with self._writing() as session:
            session.execute(
                f"UPDATE {self._log} AS e SET status = 'PENDING', updated_at = pg_catalog.clock_timestamp(){more} "
                f"WHERE e.id IN ({_list(numbers)}) AND e.status = '{'FAILED' if afresh else 'PROCESSING'}'"
            )

    def seen(self, snapshot: str, *, after: Event | None, most: int) -> list[Event]:
        behind = ""
        if after is not None:
            behind = f"AND (e.entity_id, e.source_version) > ({literal(after.entity_id)}, {after.version}) "
        there = f"pg_catalog.pg_visible_in_snapshot(e.tx, {literal(snapshot)}::pg_catalog.pg_snapshot)"
        with self._writing() as session:
            rows = session.all(
                f"SELECT {_READ} FROM {self._log} AS e WHERE {self._type} AND e.status <> 'COMPLETED' {behind}"
                f"AND ({there} OR e.tx >= {NEXT_TX}) ORDER BY e.entity_id, e.source_version LIMIT {most}"
            )
        return [_event(row) for row in rows]

    def failed(self) -> list[Event]:
        with self._writing() as session:
            chosen = f"FROM {self._log} AS e WHERE {self._type} AND e.status = 'FAILED' ORDER BY e.id"
            return [_event(row) for row in session.all(f"SELECT {_READ} {chosen}")]

    def awaited(self) -> list[str]:
        with self._writing() as session:
            rows = session.all(
                f"SELECT DISTINCT e.waits_for FROM {self._log} AS e WHERE {self._type} AND e.status = 'BLOCKED' "
                "AND e.waits_for IS NOT NULL ORDER BY 1"
            )
        return [row["waits_for"] for row in rows]

    def release(self, tokens: Sequence[str]) -> int:
        with self._writing() as session:
            return self._release(session, tokens)

    def _release(self, session: Writing, tokens: Sequence[str]) -> int:
        """Of every type: a node is waited for by the events of other types than its own."""
        if not tokens:
            return 0
        # as constants, each md5 of which is looked up: joined with a list, all of 100,000 that wait were read for 50
        given = [literal(item) for item in dict.fromkeys(tokens)]
        hashes = ", ".join(f"pg_catalog.md5({item})" for item in given)
        rows = session.all(
            f"UPDATE {self._log} AS e SET status = 'PENDING', waits_for = NULL, "
            "updated_at = pg_catalog.clock_timestamp() WHERE e.status = 'BLOCKED' "
            f"AND pg_catalog.md5(e.waits_for) IN ({hashes}) AND e.waits_for IN ({', '.join(given)}) "
            "RETURNING 1 AS found"
        )
        return len(rows)

    def backlog(self, *, most: int | None = _COUNTED) -> Backlog:
        with self._writing() as session:
            return backlog(session, self._schema, self.entity_type, most=most)

    def deletions(self, *, after: str | None, most: int) -> list[Event]:
        behind = "" if after is None else f"AND e.entity_id > {literal(after)} "
        chosen = f"FROM {self._log} AS e WHERE {self._type} AND e.{_WAITING} AND e.event_type IN ({_DELETIONS}) "
        order = f"ORDER BY e.entity_id, e.source_version DESC LIMIT {most}"
        with self._writing() as session:
            rows = session.all(f"SELECT DISTINCT ON (e.entity_id) {_READ} {chosen}{behind}{order}")
        return [_event(row) for row in rows]

    def strays(self, followed: Collection[str]) -> list[Strays]:
        """What waits of types that nobody follows, by type; counted up to 10,000 of each.

        Args:
            followed: the types that somebody does.
        """
        waits = f"e.entity_type = t.entity_type AND e.{_WAITING}"
        counted = f"SELECT count(*) FROM (SELECT FROM {self._log} AS e WHERE {waits} LIMIT {_COUNTED}) AS n"
        oldest = f"SELECT e.created_at FROM {self._log} AS e WHERE {waits} ORDER BY e.tx, e.id LIMIT 1"
        known = ", ".join(literal(name) for name in followed)
        with self._writing() as session:
            rows = session.all(
                f"WITH RECURSIVE types AS ({waiting_types(self._log)}) SELECT t.entity_type, ({counted}) AS events, "
                f"({oldest}) AS oldest FROM types AS t WHERE t.entity_type NOT IN ({known}) ORDER BY t.entity_type"
            )
        return [
            Strays(
                entity_type=row["entity_type"],
                events=row["events"],
                capped=row["events"] >= _COUNTED,
                oldest=row["oldest"].astimezone(UTC),
            )
            for row in rows
            if row["events"]
        ]

    def of_correlation(self, correlation_id: str) -> list[dict[str, Any]]:
        """The events of a correlation id, or the one that has this id itself, of every type; times in UTC."""
        where = f"e.correlation_id = {literal(correlation_id)}"
        with suppress(ValueError):  # compared as UUIDs, by the index
            where += f" OR e.event_id = {literal(str(UUID(correlation_id)))}::uuid"
        with self._writing() as session:
            rows = session.all(
                "SELECT e.event_id::text AS event_id, e.event_type, e.entity_type, e.entity_id, "
                "e.source_version AS version, e.status, e.attempts, e.created_at AS published_at, "
                "e.published_at AS taken_at, e.completed_at, e.last_error AS note, "
                "e.payload #>> '{start,id}' AS start_id, e.payload #>> '{end,id}' AS end_id "
                f"FROM {self._log} AS e WHERE {where} ORDER BY e.id"
            )
        return [{name: _utc(value) for name, value in row.items()} for row in rows]

    @contextmanager
    def _writing(self) -> Generator[Writing]:
        sync, table = self._place
        with (
            reading(self.url, sync=sync, table=table, sync_schema=self._schema),
            writing_transaction(self.url, pool_max=self._pool_max) as session,
        ):
            yield session


def backlog(session: Session, schema: str, entity_type: str, *, most: int | None = _COUNTED) -> Backlog:
    """What waits of a type; a session of any transaction."""
    log, waits = qualified(schema, TABLE), f"e.entity_type = {literal(entity_type)} AND e.{_WAITING}"
    limit = "" if most is None else f" LIMIT {most}"
    due = f"(e.tx < {_GATE} OR e.tx >= {NEXT_TX}) AND {_DUE}"
    row = session.all(
        f"SELECT (SELECT count(*) FROM (SELECT FROM {log} AS e WHERE {waits} AND {due}{limit}) AS n) AS due, "
        f"(SELECT e.created_at FROM {log} AS e WHERE {waits} ORDER BY e.tx, e.id LIMIT 1) AS oldest"
    )[0]
    oldest = row["oldest"]
    return Backlog(due=row["due"], oldest=oldest and oldest.astimezone(UTC))


def gated_since(session: Session, schema: str, entity_type: str) -> datetime | None:
    """When the oldest event was published that stands behind an open transaction (UTC)."""
    rows = session.all(
        f"SELECT e.created_at FROM {qualified(schema, TABLE)} AS e WHERE e.entity_type = {literal(entity_type)} "
        f"AND e.{_WAITING} AND e.tx >= {_GATE} AND e.tx < {NEXT_TX} ORDER BY e.tx, e.id LIMIT 1"
    )
    return rows[0]["created_at"].astimezone(UTC) if rows else None


ENTITIES = pa.schema([pa.field(name, pa.string()) for name in ("entity_id", "start_id", "end_id")])


def open_entities(schema: str, entity_type: str) -> str:
    """Query of the entities with an event that is not completed, in batches of `ENTITIES`: also by the ends before."""
    return (
        "SELECT DISTINCT e.entity_id, t.told #>> '{start,id}' AS start_id, t.told #>> '{end,id}' AS end_id "
        f"FROM {qualified(schema, TABLE)} AS e CROSS JOIN LATERAL (VALUES (e.payload), (e.ends_before)) AS t(told) "
        f"WHERE e.entity_type = {literal(entity_type)} AND e.status <> 'COMPLETED' AND t.told IS NOT NULL"
    )


def _event(row: Mapping[str, Any]) -> Event:
    ends, before = (row["start_id"], row["end_id"]), (row["start_before"], row["end_before"])
    return Event(
        number=row["id"],
        event_id=row["event_id"],
        correlation_id=row["correlation_id"],
        event_type=row["event_type"],
        entity_id=row["entity_id"],
        version=row["source_version"],
        attempts=row["attempts"],
        again=row["again"],
        ends=None if None in ends else ends,
        ends_before=None if None in before else before,
    )


def _utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(str(int(number)) for number in numbers)


def _texts(texts: Sequence[str]) -> str:
    """A query of these texts, one a row."""
    given = json.dumps(list(texts), ensure_ascii=False)
    return f"SELECT v.value FROM pg_catalog.json_array_elements_text({literal(given)}::json) AS v(value)"
