"""The outbox in a source database: whether it can be read, and what may be removed from it."""

from __future__ import annotations

from sync_pipelines.engine.capture import NEXT_TX
from sync_pipelines.engine.sql import literal, qualified
from sync_pipelines.sources.postgres.connection import NormalisedUrl, Session, normalise_url, writing_transaction
from sync_pipelines.sources.postgres.errors import reading
from sync_pipelines.sources.postgres.readers import BATCH

TABLE = "sync_event_log"


def is_there(session: Session, schema: str) -> bool:
    """Whether the database has an outbox that a consumer of this version can read."""
    return session.all(
        f"SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass({_name(schema)}) "
        "AND attname = 'ends_before' AND NOT attisdropped) AS found"
    )[0]["found"]


def may_consume(session: Session, schema: str) -> bool:
    """Whether this role may read the outbox and note what became of each event."""
    may = " AND ".join(f"pg_catalog.has_table_privilege({_name(schema)}, '{name}')" for name in ("SELECT", "UPDATE"))
    return session.all(f"SELECT {may} AS may")[0]["may"]


def _name(schema: str) -> str:
    return literal(qualified(schema, TABLE))


def purge_events(url: str | NormalisedUrl, *, schema: str = "sync", keep_days: float = 90, batch: int = BATCH) -> int:
    """Delete completed events below the confirmed horizon, a batch a transaction; how many there were.

    The horizon is the oldest transaction of which an event is still to be brought to its target, or may come yet.
    Nothing that was published from there on goes, completed or not. An event that was given up, or is blocked, is no
    part of it, or one of them would hold the outbox for ever: it keeps the events of its own entity alone. Events
    that a dump brought from another server bear transaction ids from there, which are no measure here.

    Args:
        url: the source database. schema: of the capture branch.
        keep_days: days for which a completed event is kept; as long its event_id is known.
        batch: events a transaction.
    """
    address = normalise_url(url)
    total = 0
    with reading(address, sync_schema=schema):
        while True:
            with writing_transaction(address) as session:
                found = session.all(_delete(schema, keep_days, batch))[0]["events"]
            total += found
            if found < batch:
                return total


def _delete(schema: str, keep_days: float, batch: int) -> str:
    log = qualified(schema, TABLE)
    return (
        f"WITH RECURSIVE types AS ({waiting_types(log)}), horizon AS MATERIALIZED (SELECT least("
        f"pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()), ({_oldest(log)})) AS tx), "
        f"gone AS (DELETE FROM {log} WHERE id = ANY (ARRAY(SELECT e.id FROM {log} AS e "
        "WHERE e.status = 'COMPLETED' AND e.completed_at < pg_catalog.clock_timestamp() "
        f"- pg_catalog.make_interval(secs => {keep_days * 86_400}) "
        f"AND (e.tx < (SELECT h.tx FROM horizon AS h) OR e.tx >= {NEXT_TX}) AND NOT EXISTS (SELECT FROM {log} AS o "
        "WHERE o.entity_type = e.entity_type AND o.entity_id = e.entity_id AND o.status <> 'COMPLETED') "
        f"ORDER BY e.completed_at LIMIT {batch})) RETURNING 1) SELECT count(*) AS events FROM gone"
    )


def waiting_types(log: str) -> str:
    """Each type of which an event waits, by a look into the index for each; then a NULL."""
    waits = f"FROM {log} AS w WHERE w.status IN ('PENDING', 'PROCESSING')"
    first = "ORDER BY w.entity_type LIMIT 1"
    return (
        f"(SELECT w.entity_type {waits} {first}) UNION ALL SELECT (SELECT w.entity_type {waits} "
        f"AND w.entity_type > t.entity_type {first}) FROM types AS t WHERE t.entity_type IS NOT NULL"
    )


def _oldest(log: str) -> str:
    """The oldest transaction of which an event waits."""
    of_type = (
        f"SELECT w.tx FROM {log} AS w WHERE w.status IN ('PENDING', 'PROCESSING') AND w.entity_type = t.entity_type "
        "ORDER BY w.tx LIMIT 1"
    )
    return f"SELECT o.tx FROM types AS t CROSS JOIN LATERAL ({of_type}) AS o ORDER BY o.tx LIMIT 1"
