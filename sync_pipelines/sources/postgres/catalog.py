"""What PostgreSQL's catalog says of a table: where it is, its columns, its key, its partitions."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.model import SYSTEM_FIELDS, SourceIdentity
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.engine.sql import identifier, literal, qualified
from sync_pipelines.sources.postgres.connection import Session
from sync_pipelines.sources.postgres.types import TIME_TYPES, Column

OLDEST_VERSION = 130000
"""xid8 and pg_current_snapshot came with PostgreSQL 13."""

_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a table was found, and what this role may do there.

    Args:
        schema, table, oid: the table. kind: pg_class.relkind.
        lockable: whether LOCK TABLE is allowed (SELECT on the whole table).
        control: whether the system identifier may be read.
    """

    schema: str
    table: str
    oid: int
    kind: str
    lockable: bool
    control: bool

    @property
    def sql(self) -> str:
        return qualified(self.schema, self.table)


@dataclass(frozen=True, kw_only=True)
class Relation:
    """The table itself, a partition or a child table; `sql` is its quoted name, `file` its relfilenode."""

    oid: int
    sql: str
    kind: str
    file: int = 0


@dataclass(frozen=True, kw_only=True)
class TableInfo:
    """A table as the catalog has it.

    Args:
        schema, table, oid, comment: the table.
        columns: all of its columns, in the table's order.
        key: the key's columns, in the spec's order, with the operators of their unique index.
        relations: the table, then its partitions and inheritance children of any depth.
        partitioned: whether it is a partitioned table.
    """

    schema: str
    table: str
    oid: int
    comment: str | None
    columns: tuple[Column, ...]
    key: tuple[Column, ...]
    relations: tuple[Relation, ...]
    partitioned: bool = False

    @property
    def sql(self) -> str:
        """The quoted name."""
        return qualified(self.schema, self.table)

    @property
    def leaves(self) -> tuple[Relation, ...]:
        """Partitions and children, without the table itself."""
        return self.relations[1:]

    def column(self, name: str) -> Column:
        """A column that the spec names; `inspect` made sure that it is there."""
        return next(column for column in self.columns if column.name == name)

    def projection(self, spec: TableSpec) -> tuple[Column, ...]:
        """The columns that the sync reads, in the spec's order; then, where it reads all, the others in the table's."""
        named = tuple(self.column(name) for name in spec.projection)
        if not spec.every_column:
            return named
        return (*named, *(column for column in self.columns if column.name not in spec.projection))

    def shape(self, spec: TableSpec) -> str:
        """Twelve hex digits that change when a column that is read gets another type, or is made anew."""
        text = json.dumps([(c.name, c.number, c.pg_type) for c in self.projection(spec)])
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:12]

    @property
    def keys_can_repeat(self) -> bool:
        """Whether rows may share a key: a unique index does not reach into inheriting tables, as into partitions."""
        return bool(self.leaves) and not self.partitioned

    @property
    def key_can_be_null(self) -> bool:
        return any(column.nullable for column in self.key)


def find_table(session: Session, spec: TableSpec, *, schema: str | None) -> Place:
    """Where the spec's table is, by the connection's own search_path where no schema is given.

    Raises:
        RunError: it is not there (the nearest name is offered), or is no table.
    """
    schemas = f"ARRAY[{literal(schema)}]::pg_catalog.text[]" if schema else "pg_catalog.current_schemas(false)::text[]"
    rows = session.all(
        "SELECT n.nspname::text AS schema, c.relname::text AS table, c.oid::int8 AS oid, c.relkind::text AS kind, "
        "pg_catalog.has_table_privilege(c.oid, 'SELECT') AS lockable, "
        "pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') AND "
        "pg_catalog.has_function_privilege('pg_catalog.pg_control_checkpoint()', 'EXECUTE') AS control, "
        "pg_catalog.current_setting('server_version_num')::int4 AS version "
        "FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
        f"WHERE c.relname = {literal(spec.table)} AND c.relkind IN ('r', 'p', 'v', 'm', 'f') "
        f"AND n.nspname = ANY ({schemas}) ORDER BY pg_catalog.array_position({schemas}, n.nspname::text) LIMIT 1"
    )
    if not rows:
        raise _missing_table(session, spec, schema)
    found = rows[0]
    if found.pop("version") < OLDEST_VERSION:
        raise _error(spec, "the source is older than PostgreSQL 13, which change capture needs.")
    place = Place(**found)
    if place.kind in _KINDS:
        raise _error(
            spec, f"{place.sql} is {_KINDS[place.kind]}, which has no unique key.", "Name a table in source.table."
        )
    return place


def _missing_table(session: Session, spec: TableSpec, schema: str | None) -> RunError:
    rows = session.all(
        "SELECT n.nspname::text AS schema, c.relname::text AS table "
        "FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
    )
    where = f"schema {schema!r}" if schema else "the connection's search_path"
    elsewhere = sorted(row["schema"] for row in rows if row["table"] == spec.table)
    before, _, after = spec.table.partition(".")
    if {"schema": before, "table": after} in [dict(row) for row in rows]:
        hint = f"A schema has its own place: set source.schema_name to {before!r} and source.table to {after!r}."
    elif elsewhere:
        hint = f"There is one in schema {elsewhere[0]!r}: set source.schema_name."
    else:
        hint = _nearest(spec.table, [row["table"] for row in rows]) or "Check source.table and the connection."
    return _error(spec, f"there is no table {spec.table!r} in {where}.", hint)


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """A sentence that offers the known name nearest to `name`, whatever the case."""
    folded = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"Did you mean {folded[near[0]]!r}?" if near else None


def _error(spec: TableSpec, message: str, remedy: str | None = None) -> RunError:
    return RunError(message, sync=spec.sync, table=spec.name, remedy=remedy)


def inspect(session: Session, spec: TableSpec, place: Place, *, written: bool = False) -> TableInfo:
    """Columns, key and partitions of a table.

    Args:
        written: whether it is to be written by ON CONFLICT, which takes no index that is looked at later (DEFERRABLE).

    Raises:
        RunError: a column is missing, no unique index covers exactly the key, or `changed_at` is no time.
    """
    columns = tuple(Column(**row) for row in session.all(_columns_sql(place.oid)))
    _require_columns(spec, columns)
    by_name = {column.name: column for column in columns}
    condition = "i.indimmediate" if written else "true"
    operators = _key_operators(session, place.oid, {by_name[name].number for name in spec.key}, condition)
    if operators is None:
        raise _error(
            spec,
            f"no unique index {'that is not DEFERRABLE ' * written}covers exactly the key ({', '.join(spec.key)}) of "
            f"{place.sql}.",
            "Name the table's primary key in source.key, or CREATE UNIQUE INDEX on these columns.",
        )
    return TableInfo(
        schema=place.schema,
        table=place.table,
        oid=place.oid,
        comment=_comment(session, place.oid),
        columns=columns,
        key=tuple(replace(by_name[name], equality=operators[by_name[name].number]) for name in spec.key),
        relations=relations(session, place.oid),
        partitioned=place.kind == "p",
    )


def _require_columns(spec: TableSpec, columns: Sequence[Column]) -> None:
    known = {column.name: column for column in columns}
    # a document that names its columns has been looked at without the catalog; of others a slip would mask nothing
    sensitive = spec.sensitive if spec.every_column else ()
    for setting, name in [*(("", name) for name in spec.projection), *(("sensitive: ", name) for name in sensitive)]:
        if name not in known:
            hint = _nearest(name, known) or f"There are: {', '.join(sorted(known))}."
            raise _error(spec, f"{setting}table {spec.table!r} has no column {name!r}.", hint)
    for name in {field.name for field in SYSTEM_FIELDS} & set(known) if spec.every_column else ():
        raise _error(spec, f"column {name!r} has a name that the sync itself needs.", "Name the `columns` to be read.")
    changed_at = known[spec.changed_at] if spec.changed_at else None
    if changed_at and (changed_at.is_array or changed_at.base_name not in TIME_TYPES):
        raise _error(
            spec,
            f"source.changed_at is column {changed_at.name!r} of type {changed_at.pg_type}, which is no time.",
            "Name a column of type timestamptz, timestamp or date.",
        )


def _columns_sql(oid: int) -> str:
    """The columns, with the type that stands below any number of domains."""
    return f"""
WITH RECURSIVE chain(number, type, modifier) AS (
    SELECT a.attnum, a.atttypid, a.atttypmod FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT c.number, t.typbasetype, t.typtypmod FROM chain AS c JOIN pg_catalog.pg_type AS t ON t.oid = c.type
    WHERE t.typtype = 'd'
)
SELECT a.attname::text AS name,
    pg_catalog.format_type(a.atttypid, a.atttypmod) AS pg_type,
    pg_catalog.format_type(t.oid, -1) AS base_type,
    t.typname::text AS base_name,
    coalesce(e.is_array, false) AS is_array,
    pg_catalog.format_type(t.oid, c.modifier) AS exact_type,
    coalesce(e.name, t.typname)::text AS leaf_name,
    coalesce(e.kind, t.typtype)::text AS leaf_kind,
    NOT a.attnotnull AS nullable,
    pg_catalog.col_description(a.attrelid, a.attnum) AS comment,
    a.attnum::int4 AS number
FROM chain AS c
JOIN pg_catalog.pg_type AS t ON t.oid = c.type AND t.typtype <> 'd'
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = {oid} AND a.attnum = c.number
LEFT JOIN LATERAL (
    SELECT true AS is_array, coalesce(b.typname, l.typname) AS name, coalesce(b.typtype, l.typtype) AS kind
    FROM pg_catalog.pg_type AS l LEFT JOIN pg_catalog.pg_type AS b ON b.oid = l.typbasetype
    WHERE l.typarray = t.oid
) AS e ON true
ORDER BY a.attnum"""


def _key_operators(session: Session, oid: int, numbers: set[int], condition: str) -> dict[int, str] | None:
    """The equality operator of each key column in a unique index over exactly these columns, or None.

    Written out as OPERATOR(schema.=), a type of an extension (citext) keeps its index whatever the search_path.
    """
    rows = session.all(f"""
SELECT i.indexrelid::int8 AS index, i.indkey[k.n]::int4 AS number, n.nspname::text AS schema, o.oprname::text AS name
FROM pg_catalog.pg_index AS i
CROSS JOIN LATERAL pg_catalog.generate_series(0, i.indnkeyatts - 1) AS k(n)
JOIN pg_catalog.pg_opclass AS oc ON oc.oid = i.indclass[k.n]
JOIN pg_catalog.pg_am AS am ON am.oid = oc.opcmethod AND am.amname = 'btree'
JOIN pg_catalog.pg_amop AS ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
    AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
JOIN pg_catalog.pg_operator AS o ON o.oid = ao.amopopr
JOIN pg_catalog.pg_namespace AS n ON n.oid = o.oprnamespace
WHERE i.indrelid = {oid} AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    AND {condition}
ORDER BY i.indisprimary DESC, 1""")
    indexes: dict[int, dict[int, str]] = {}
    for row in rows:
        operator = f"OPERATOR({identifier(row['schema'])}.{row['name']})"
        indexes.setdefault(row["index"], {})[row["number"]] = operator
    return next((found for found in indexes.values() if set(found) == numbers), None)


def _comment(session: Session, oid: int) -> str | None:
    return session.all(f"SELECT pg_catalog.obj_description({oid}, 'pg_class') AS comment")[0]["comment"]


def relations(session: Session, oid: int) -> tuple[Relation, ...]:
    """The table, then its partitions and children of any depth, by oid."""
    rows = session.all(f"""
WITH RECURSIVE tree(oid) AS (
    SELECT {oid}::pg_catalog.oid
    UNION
    SELECT i.inhrelid FROM tree AS p JOIN pg_catalog.pg_inherits AS i ON i.inhparent = p.oid
)
SELECT c.oid::int8 AS oid, n.nspname::text AS schema, c.relname::text AS table, c.relkind::text AS kind,
    c.relfilenode::int8 AS file
FROM tree JOIN pg_catalog.pg_class AS c ON c.oid = tree.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
ORDER BY c.oid <> {oid}, c.oid""")
    return tuple(
        Relation(oid=row["oid"], sql=qualified(row["schema"], row["table"]), kind=row["kind"], file=row["file"])
        for row in rows
    )


def relation_names(session: Session, oids: Iterable[int]) -> dict[int, str]:
    """The quoted names of relations that are there."""
    rows = session.all(
        "SELECT c.oid::int8 AS oid, n.nspname::text AS schema, c.relname::text AS table "
        "FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
        f"WHERE c.oid = ANY (ARRAY[{', '.join(map(str, sorted(oids)))}]::pg_catalog.oid[])"
    )
    return {row["oid"]: qualified(row["schema"], row["table"]) for row in rows}


def identity(session: Session, place: Place) -> SourceIdentity:
    """Which server, timeline, database and table this is.

    The timeline comes from the WAL on a primary: the control file still has the old one for minutes after a
    promotion. Where the role may not read the system identifier it is "unknown", and a restored copy is
    recognised by the table's oid and the transaction ids alone.
    """
    row = session.all(
        "SELECT d.datname::text AS database, d.oid::int8 AS database_oid, "
        f"{_CONTROL[place.control]} FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()"
    )[0]
    return SourceIdentity(table_oid=place.oid, **row)


_CONTROL = {
    False: "'unknown' AS system_identifier, 0 AS timeline",
    True: "(SELECT s.system_identifier::text FROM pg_catalog.pg_control_system() AS s) AS system_identifier, "
    "CASE WHEN pg_catalog.pg_is_in_recovery() "
    "THEN (SELECT c.timeline_id FROM pg_catalog.pg_control_checkpoint() AS c) "
    "ELSE ('x' || substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))"
    "::pg_catalog.bit(32)::int4 END AS timeline",
}
