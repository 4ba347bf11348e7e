"""What holds a record that is to be deleted: rows that refer to it, asked for by the index of their foreign key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sync_pipelines.engine.model import Child
from sync_pipelines.engine.sql import identifier, qualified
from sync_pipelines.sources.postgres.connection import Session
from sync_pipelines.sources.postgres.sql import keys_query
from sync_pipelines.targets.postgres.layout import KEY_OPERATORS, KEY_PAIRS, TargetSql

_SMALL = 1024 * 1024
"""Bytes of a table that may be read whole at each tick of a sensor, where no index leads to the rows that refer."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A foreign key that leads to the table: whose it is, and as SQL `holds`, a condition on `t`, the table's row.

    `askable`: this role sees all of the rows, and they are found without reading a large table.
    """

    child: Child
    holds: str
    askable: bool


def references(session: Session, oid: int) -> list[Reference]:
    """The foreign keys that lead to a table; those first that refuse its rows' deletion, then those that pass it on."""
    return [
        Reference(
            child=Child(table=qualified(row["schema"], row["child"]), constraint=row["name"]),
            holds=_holds(row),
            askable=row["askable"],
        )
        for row in session.all(_references(oid))
    ]


def holders(session: Session, sql: TargetSql, keys: Sequence[str]) -> dict[str, Child]:
    """By what these records are held, as far as it can be asked; each by the first that is found."""
    found: dict[str, Child] = {}
    for reference in references(session, sql.info.oid):
        left = [key for key in keys if key not in found]
        if left and reference.askable:
            found.update(dict.fromkeys(_held(session, sql, reference, left), reference.child))
    return found


def any_free(session: Session, sql: TargetSql, held: Mapping[str, Child]) -> bool:
    """Whether one of these records is gone, or no longer held by what it was."""
    known = {reference.child: reference for reference in references(session, sql.info.oid)}
    for child in dict.fromkeys(held.values()):
        keys = [key for key, by in held.items() if by == child]
        reference = known.get(child)
        if reference is None or (reference.askable and len(_held(session, sql, reference, keys)) < len(keys)):
            return True
    return False


def _held(session: Session, sql: TargetSql, reference: Reference, keys: Sequence[str]) -> set[str]:
    rows = session.all(
        f"SELECT k.key FROM ({keys_query(keys)}) AS k JOIN {sql.info.sql} AS t ON {sql.is_key()} "
        f"WHERE {reference.holds}"
    )
    return {row["key"] for row in rows}


def _holds(row: Mapping) -> str:
    same = " AND ".join(
        f"t.{identifier(there)} {operator} c.{identifier(here)}"
        for here, there, operator in zip(row["columns"], row["referred"], row["operators"], strict=True)
    )
    # as PostgreSQL looks: no key reaches into inheriting tables, and a row that refers to itself may go
    only = "" if row["partitioned"] else "ONLY "
    other = " AND (c.tableoid, c.ctid) <> (t.tableoid, t.ctid)" if row["own"] else ""
    return f"EXISTS (SELECT FROM {only}{qualified(row['schema'], row['child'])} AS c WHERE {same}{other})"


def _references(oid: int) -> str:
    """A partition's own entry is left out where its table's says the same."""
    return f"""
SELECT c.conname::text AS name, n.nspname::text AS schema, p.relname::text AS child, p.relkind = 'p' AS partitioned,
    c.confrelid = c.conrelid AS own,
    pg_catalog.array_agg(a.attname::text ORDER BY k.n) AS columns,
    pg_catalog.array_agg(b.attname::text ORDER BY k.n) AS referred,
    {KEY_OPERATORS},
    pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(p.oid, 'SELECT')
        AND NOT pg_catalog.row_security_active(p.oid) AND (
            EXISTS (
                SELECT FROM pg_catalog.pg_index AS i
                WHERE i.indrelid = p.oid AND i.indisvalid AND i.indpred IS NULL AND i.indkey[0] = ANY (c.conkey)
            )
            OR p.relkind = 'r' AND pg_catalog.pg_relation_size(p.oid) <= {_SMALL}
        ) AS askable
FROM pg_catalog.pg_constraint AS c
{KEY_PAIRS}
JOIN pg_catalog.pg_class AS p ON p.oid = c.conrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = p.relnamespace
WHERE c.confrelid = {oid} AND c.contype = 'f' AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_constraint AS q WHERE q.oid = c.conparentid AND q.confrelid = c.confrelid
)
GROUP BY c.oid, c.conname, c.conkey, c.confdeltype, n.oid, n.nspname, p.oid, p.relname, p.relkind, c.confrelid,
    c.conrelid
ORDER BY c.confdeltype NOT IN ('a', 'r'), n.nspname, p.relname, c.conname"""
