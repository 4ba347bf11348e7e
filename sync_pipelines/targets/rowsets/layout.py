"""The tables that documents go into: as YAML declares them, and as PostgreSQL's catalog has them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.rowsets import Kind, RowTable
from sync_pipelines.engine.sql import identifier, literal, qualified
from sync_pipelines.sources.postgres.connection import Session
from sync_pipelines.targets.rowsets.batch import parts_of
from sync_pipelines.targets.rowsets.fitting import misfit
from sync_pipelines.targets.rowsets.hiding import NOTHING, Hidden

BOOKKEEPING = ("sync_status", "data_version", "last_updated")
"""Columns of the document's own table that the sync keeps by itself, where the table has them."""

_KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("int2", "int4", "int8"), "integer"),
    **dict.fromkeys(("text", "varchar", "bpchar", "citext", "name"), "text"),
    **dict.fromkeys(("json", "jsonb"), "json"),
    "numeric": "numeric",
    "float4": "real",
    "float8": "float",
    "bool": "boolean",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    "date": "date",
}

TYPES: Mapping[str, str] = {
    "text": "text",
    "integer": "bigint",
    "number": "double precision",
    "numeric": "numeric",
    "boolean": "boolean",
    "timestamp": "timestamptz",
    "date": "date",
    "json": "jsonb",
}
"""How a document of YAML names a type, and the column that is made of it."""

_HOLDS: Mapping[str, tuple[Kind, ...]] = {
    "text": ("text",),
    "integer": ("integer", "numeric"),
    "number": ("float", "real", "numeric"),
    "numeric": ("numeric",),
    "boolean": ("boolean",),
    "timestamp": ("timestamptz", "timestamp"),
    "date": ("date",),
    "json": ("json",),
}
"""What a column that is there may be, so that it holds every value of a type."""

NUMBERS = ("integer", "number", "numeric")
"""Those of which one can say that a value lies between two others."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A table as a document declares it.

    Args:
        name: as the mapping function names its rows. table, schema: in PostgreSQL; the connection's schema for None.
        key: further columns that tell the rows of one document apart.
        columns: field of a row → column; None for all columns of the table, each by its own name, but for those that
            a sequence numbers: they are the application's.
        sets: fields whose elements have no order.
        types: field → name of a type (`TYPES`), of a table that the sync makes by itself; None for one that is there.
        stated: fields whose type the document states, so that a table which was there before must have it.
    """

    name: str
    table: str
    schema: str | None = None
    key: tuple[str, ...] = ()
    columns: Mapping[str, str] | None = None
    sets: frozenset[str] = frozenset()
    types: Mapping[str, str] | None = None
    stated: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: its name and type in PostgreSQL, what it holds, and the digits behind its point where fixed."""

    name: str
    pg_type: str
    kind: Kind
    scale: int | None = None


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A foreign key from the columns of the documents' key: its name, these, and as SQL the other table and its own."""

    name: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SqlTable:
    """A table of documents with its SQL.

    Args:
        columns: by field. kept: the columns of `BOOKKEEPING` that it has. references: what its documents wait for.
    """

    rows: RowTable
    sql: str
    oid: int
    columns: Mapping[str, Column]
    kept: frozenset[str] = frozenset()
    references: tuple[Reference, ...] = ()

    def column(self, name: str) -> str:
        """The quoted column of a field."""
        return identifier(self.columns[name].name)

    @cached_property
    def listed(self) -> str:
        """All fields, as a SELECT of `t` names them."""
        return ", ".join(f"t.{self.column(name)} AS {identifier(name)}" for name in self.rows.kinds)

    @cached_property
    def keys(self) -> str:
        """A FROM item `k` of records: one array parameter for each of the columns that hold their keys."""
        names = ", ".join(identifier(name) for name in self.rows.record)
        arrays = ", ".join(f"pg_catalog.unnest(%s::{self.columns[name].pg_type}[])" for name in self.rows.record)
        return f"ROWS FROM ({arrays}) AS k({names})"

    @cached_property
    def matches(self) -> str:
        """Condition: `t` is a row of the record `k`."""
        return " AND ".join(f"t.{self.column(name)} = k.{identifier(name)}" for name in self.rows.record)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The tables of a document kind, the document's own first."""

    tables: tuple[SqlTable, ...]

    @property
    def rows(self) -> tuple[RowTable, ...]:
        return tuple(table.rows for table in self.tables)

    @property
    def references(self) -> dict[str, tuple[SqlTable, Reference]]:
        """What documents may wait for, by the name of the foreign key."""
        own = {table.sql for table in self.tables}
        return {
            item.name: (table, item) for table in self.tables for item in table.references if item.parent not in own
        }

    def misfit(self, key: str) -> str | None:
        """Why a table cannot hold rows of this key, as a clause; None where all can."""
        for table in self.tables:
            record = table.rows.record
            for name, part in zip(record, parts_of(key, len(record)), strict=True):
                column = table.columns[name]
                if (why := misfit(part, column.kind, column.pg_type)) is not None:
                    return f"{table.rows.name}.{name}: {why}"
        return None

    @property
    def own(self) -> SqlTable | None:
        """The table with one row a document, which says whether the document is there; None where there is none."""
        first = self.tables[0]
        return None if first.rows.key else first

    @property
    def kept(self) -> frozenset[str]:
        return self.own.kept if self.own else frozenset()


@dataclass(frozen=True, kw_only=True)
class Documents:
    """What a document kind is, before any database is asked.

    Args:
        sync, name: of the sync's table, for sentences; `name` names its part of the books, too.
        record: the columns that hold a document's key. tables: the document's own first.
        books: how the names of the tables of the books begin. schema: where they stand.
        hidden: fields whose values nobody is shown.
    """

    sync: str
    name: str
    record: tuple[str, ...]
    tables: tuple[Declared, ...]
    books: str
    schema: str | None = None
    record_types: Mapping[str, str] = field(default_factory=dict)
    hidden: Hidden = NOTHING

    def ddl(self) -> list[str]:
        """The statements that make those tables that the sync makes by itself."""
        return [_create(self, table, table.types) for table in self.tables if table.types is not None]

    def made(self) -> list[str]:
        """The names of those tables, quoted."""
        return [qualified(table.schema or self.schema, table.table) for table in self.tables if table.types is not None]

    def names(self) -> list[str]:
        """The names of all of them, quoted."""
        return [qualified(table.schema or self.schema, table.table) for table in self.tables]

    def layout(self, session: Session) -> Layout:
        """The tables as the catalog has them now.

        Raises:
            RunError: a table or column is not there, or of a type that no rule speaks of.
        """
        return Layout(tables=tuple(self._found(session, table) for table in self.tables))

    def _found(self, session: Session, declared: Declared) -> SqlTable:
        sql = qualified(declared.schema or self.schema, declared.table)
        rows = session.all(_COLUMNS.format(table=literal(sql)))
        if not rows:
            raise self.error(f"there is no table {sql}.", "Make it, or correct target.")
        held = {row["name"]: row for row in rows}
        given = [name for name, row in held.items() if not row["is_generated"]]
        chosen = declared.columns or {
            name: name for name in given if name not in BOOKKEEPING and not held[name]["is_numbered"]
        }
        named = {**{name: name for name in self.record}, **chosen}
        columns = {name: self._column(declared, name, column, held) for name, column in named.items()}
        if lacking := [name for name in declared.key if name not in columns]:
            raise self.error(f"{sql}: `columns` does not name {lacking[0]!r}, which belongs to its key.", "Name it.")
        kinds: dict[str, Kind] = {name: column.kind for name, column in columns.items()}
        return SqlTable(
            rows=RowTable(
                name=declared.name,
                record=self.record,
                key=declared.key,
                kinds=kinds,
                sets=declared.sets,
                scales={name: item.scale for name, item in columns.items() if item.scale is not None},
            ),
            sql=sql,
            oid=rows[0]["oid"],
            columns=columns,
            kept=frozenset(BOOKKEEPING).intersection(given).difference(item.name for item in columns.values()),
            references=tuple(self._references(session, rows[0]["oid"], columns)),
        )

    def _references(self, session: Session, oid: int, columns: Mapping[str, Column]) -> Iterator[Reference]:
        fields = {columns[name].name: name for name in self.record}
        for row in session.all(_REFERENCES.format(oid=oid)):
            if set(row["columns"]) <= set(fields):
                yield Reference(
                    name=row["name"],
                    columns=tuple(fields[name] for name in row["columns"]),
                    parent=qualified(row["schema"], row["parent"]),
                    parent_columns=tuple(row["parent_columns"]),
                )

    def _column(self, declared: Declared, name: str, column: str, held: Mapping[str, Mapping]) -> Column:
        sql = qualified(declared.schema or self.schema, declared.table)
        if column not in held:
            near = difflib.get_close_matches(column, held, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(held)}."
            if kind := (declared.types or {}).get(name):
                hint += f" If it is new: ALTER TABLE {sql} ADD COLUMN {identifier(column)} {TYPES[kind]}."
            raise self.error(f"{sql} has no column {column!r}.", hint)
        row = held[column]
        if "%" in column:
            why = f"{sql}: the driver takes the % in the name of the column {column!r} for the place of a value."
            raise self.error(why, "Leave it out of `columns`, which names the others.")
        if row["is_generated"]:
            raise self.error(f"{sql}: PostgreSQL computes the column {column!r}.", "Leave it out of `columns`.")
        kind = _KINDS.get(row["base"])
        if kind is None:
            raise self.error(
                f"{sql}: the column {column!r} is {row['type']}, of which no rule says what is equal.",
                f"Leave it out of `columns`; there are rules for {', '.join(sorted(_KINDS))}.",
            )
        if name in declared.stated and kind not in _HOLDS[wanted := (declared.types or {})[name]]:
            raise self.error(
                f"{sql}: the column {column!r} is {row['type']}, and the document says that its type is {wanted}.",
                f"Correct the type there, or the column's: ALTER TABLE {sql} ALTER COLUMN {identifier(column)} "
                f"TYPE {TYPES[wanted]} USING {identifier(column)}::{TYPES[wanted]}.",
            )
        return Column(name=column, pg_type=row["type"], kind=kind, scale=row["scale"])

    def error(self, message: str, remedy: str) -> RunError:
        return RunError(message, sync=self.sync, table=self.name, remedy=remedy)


_COLUMNS = """
SELECT a.attrelid::pg_catalog.int8 AS oid, a.attname::text AS name, y.typname::text AS base,
    pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
    CASE WHEN y.typname = 'numeric' AND a.atttypmod > 3 THEN (a.atttypmod - 4) & 2047 END AS scale,
    a.attgenerated <> '' AS is_generated,
    a.attidentity <> '' OR pg_catalog.strpos(pg_catalog.pg_get_expr(d.adbin, d.adrelid), 'nextval(') > 0
        AS is_numbered
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = pg_catalog.to_regclass({table}) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum"""

_REFERENCES = """
SELECT c.conname::text AS name, n.nspname::text AS schema, p.relname::text AS parent,
    pg_catalog.array_agg(a.attname::text ORDER BY k.n) AS columns,
    pg_catalog.array_agg(b.attname::text ORDER BY k.n) AS parent_columns
FROM pg_catalog.pg_constraint AS c
CROSS JOIN LATERAL pg_catalog.generate_subscripts(c.conkey, 1) AS k(n)
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[k.n]
JOIN pg_catalog.pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = c.confkey[k.n]
JOIN pg_catalog.pg_class AS p ON p.oid = c.confrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = p.relnamespace
WHERE c.conrelid = {oid} AND c.contype = 'f'
GROUP BY c.oid, c.conname, n.nspname, p.relname
ORDER BY c.conname"""


def _create(documents: Documents, table: Declared, types: Mapping[str, str]) -> str:
    columns = {**dict.fromkeys(documents.record, "text"), **documents.record_types, **types}
    names = table.columns or {}
    listed = [f"{identifier(names.get(name, name))} {TYPES[kind]}" for name, kind in columns.items()]
    listed += ["sync_status text NOT NULL DEFAULT 'synced'", "data_version bigint NOT NULL DEFAULT 1"]
    listed += ["last_updated timestamptz NOT NULL DEFAULT pg_catalog.now()"]
    key: Sequence[str] = [identifier(names.get(name, name)) for name in (*documents.record, *table.key)]
    place = qualified(table.schema or documents.schema, table.table)
    return f"CREATE TABLE IF NOT EXISTS {place} ({', '.join(listed)}, PRIMARY KEY ({', '.join(key)}))"
