"""The table as PostgreSQL's catalog has it, and the columns that both sides have in common."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.model import FINGERPRINT, FINGERPRINTS_SCHEMA, KEY, SourceIdentity
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.engine.sql import identifier, qualified
from sync_pipelines.engine.urls import NormalisedUrl
from sync_pipelines.sources.postgres.catalog import Place, TableInfo, find_table, identity, inspect
from sync_pipelines.sources.postgres.connection import Session, plain_session, small_transaction
from sync_pipelines.sources.postgres.errors import reading
from sync_pipelines.sources.postgres.sql import TableSql
from sync_pipelines.sources.postgres.types import Column
from sync_pipelines.targets.lake.mapping import LakeMapper
from sync_pipelines.targets.postgres.values import fingerprints

Prints = Callable[[Sequence[pa.Array]], pa.Array]
"""Columns → what tells their rows apart."""

OWN = frozenset({KEY, FINGERPRINT})
"""Columns of a Delta table that belong to the sync that writes it."""


@dataclass(frozen=True, kw_only=True)
class ForeignKey:
    """A foreign key of the table: its columns, and as SQL the parent's name, columns and operators."""

    name: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    operators: tuple[str, ...]
    own: bool = False


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """What the catalog says beside the columns.

    Args:
        generated: columns that PostgreSQL computes. counted: those that it numbers, and takes no other value for in an
            UPDATE. required: those that an INSERT must give.
        foreign_keys: those whose parent this role can read. triggers: those that may change a row before it is stored,
            or keep it from that. ruled: whether a rule for INSERT may do so, too.
    """

    info: TableInfo
    identity: SourceIdentity
    generated: frozenset[str]
    counted: frozenset[str]
    required: frozenset[str]
    foreign_keys: tuple[ForeignKey, ...]
    triggers: tuple[str, ...] = ()
    ruled: bool = False

    @property
    def may_keep_rows(self) -> bool:
        """Whether a row may not be stored although no statement fails."""
        return self.ruled or bool(self.triggers)


class TargetSql(TableSql):
    """The same SELECTs as for a source; the fingerprint is taken from the values, where they arrive."""

    @property
    def fingerprint(self) -> str:
        return "''::text"

    def carried(self) -> str:
        """The columns of `schema`, of the table `t`."""
        return self._columns(self.key, repeated="false")

    def is_key(self) -> str:
        """Condition on `t`: it is the record of `k.key`, which is compared as a text too (citext, 1.0)."""
        matches = " AND ".join(
            f"t.{identifier(column.name)} {column.equality} {cast}"
            for column, cast in zip(self.info.key, self._casts(), strict=True)
        )
        return f"{matches} AND {self.key} = k.key"

    def as_text(self, column: Column) -> bool:
        """Whether a column is carried as PostgreSQL's own text although it has a way of its own."""
        return self._as_text(column)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A table and those of its columns that are synced, the key's first."""

    catalog: Catalog
    spec: TableSpec

    @property
    def info(self) -> TableInfo:
        return self.catalog.info

    @cached_property
    def sql(self) -> TargetSql:
        return TargetSql(self.info, self.spec)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        return self.info.projection(self.spec)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def stored(self) -> pa.Schema:
        """The columns in the Arrow types that both sides are brought to."""
        return LakeMapper().schema(self.sql.schema)

    @property
    def shape(self) -> str:
        """Changes when the columns that are synced, or their types, do."""
        return self.info.shape(self.spec)

    @property
    def is_tree(self) -> bool:
        """Whether its rows refer to each other."""
        return any(foreign.own for foreign in self.catalog.foreign_keys)

    def canonical(self, batch: pa.RecordBatch, prints: Prints = fingerprints) -> tuple[pa.RecordBatch, list[str]]:
        """Rows as they were read in `sql.schema` → rows with their fingerprints; and keys that cannot be compared.

        Those hold what the source can never hold: an infinite date, an array of two dimensions.

        Args:
            prints: what is made in the place of fingerprints.
        """
        rows, rejected = LakeMapper().map(batch)
        made = prints([rows.column(name) for name in self.names]) if rows.num_rows else pa.array([], pa.string())
        columns = [rows.column(KEY), made, *(rows.column(name) for name in self.names)]
        schema = pa.schema([*FINGERPRINTS_SCHEMA, *self.stored])
        return pa.RecordBatch.from_arrays(columns, schema=schema), [item.key for item in rejected]

    def matches(self, left: str, right: str) -> str:
        """Condition: two aliases are of one record, by the operators of the key's index."""
        return " AND ".join(
            f"{left}.{identifier(column.name)} {column.equality} {right}.{identifier(column.name)}"
            for column in self.info.key
        )


class PostgresTable:
    """Where a table is; asked anew for each run.

    Args:
        url: its database. spec: schema, table and key; `columns` are those that the document names, if any.
    """

    def __init__(self, url: NormalisedUrl, spec: TableSpec, *, named: Sequence[str] | None, pool_max: int = 10) -> None:
        self.url, self.spec, self.named, self.pool_max = url, spec, named, pool_max

    @contextmanager
    def session(self) -> Generator[Session]:
        """A short reading transaction with fixed settings."""
        place = {"sync": self.spec.sync, "table": self.spec.name}
        with reading(self.url, **place), small_transaction(self.url, pool_max=self.pool_max) as session:
            yield session

    def place(self) -> Place:
        """Where the table is.

        Raises:
            RunError: it is not there, or is no table.
        """
        with (
            reading(self.url, sync=self.spec.sync, table=self.spec.name),
            plain_session(self.url, pool_max=self.pool_max) as session,
        ):
            try:
                return find_table(session, self.spec, schema=self.spec.schema or self.url.schema)
            except RunError as error:
                raise RunError(
                    f"the target: {error.message}",
                    sync=self.spec.sync,
                    table=self.spec.name,
                    remedy=(error.remedy or "").replace("source.", "target.") or None,
                ) from None

    def catalog(self) -> Catalog:
        """What the catalog says of the table now."""
        place = self.place()
        with self.session() as session:
            info = inspect(session, replace(self.spec, columns=()), place, written=True)
            return Catalog(
                info=info,
                identity=identity(session, place),
                generated=_names(session, place.oid, "a.attgenerated <> ''"),
                counted=_names(session, place.oid, "a.attidentity = 'a'"),
                required=_names(
                    session,
                    place.oid,
                    "a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND NOT EXISTS (SELECT FROM "
                    "pg_catalog.pg_type AS y WHERE y.oid = a.atttypid AND y.typdefault IS NOT NULL)",
                ),
                foreign_keys=tuple(ForeignKey(**row) for row in _foreign_keys(session, place.oid)),
                triggers=_triggers(session, place.oid),
                ruled=_is_ruled(session, place.oid),
            )

    def layout(self, source: Collection[str]) -> Layout:
        """The table with the columns that are synced.

        Args:
            source: the columns that the source has.

        Raises:
            RunError: a column that is named, belongs to the key or must be given is missing on one side.
        """
        catalog = self.catalog()
        held = [column.name for column in catalog.info.columns if column.name not in catalog.generated]
        self._require("source", [*self.spec.key, *(self.named or ())], source)
        self._require("target", self.named or (), held)
        self._require_sensitive({*source, *(column.name for column in catalog.info.columns)})
        chosen = self.named or [name for name in held if name in source and name not in OWN]
        if lacking := sorted(catalog.required - {*chosen, *self.spec.key}):
            raise self._error(
                f"PostgreSQL's column {', '.join(map(repr, lacking))} must be given (NOT NULL, no default), and "
                + ("`columns` does not name it." if set(lacking) <= set(source) else "the source has none such."),
                _nearest(lacking[0], source) or "Give it a default, or add it to the source.",
            )
        if counted := sorted(catalog.counted & set(chosen) - set(self.spec.key)):
            raise self._error(
                f"PostgreSQL's column {', '.join(map(repr, counted))} is GENERATED ALWAYS AS IDENTITY: no update can "
                "give it a value.",
                "Name the `columns` that are synced without it, or let ALTER TABLE … ALTER COLUMN … SET GENERATED BY "
                "DEFAULT.",
            )
        return Layout(catalog=catalog, spec=replace(self.spec, columns=tuple(chosen)))

    def _require_sensitive(self, held: Collection[str]) -> None:
        """A document that names its columns has been looked at without the tables; here a slip would mask nothing.

        Args:
            held: the columns of either side: one that is the target's alone can stand in what a trigger says.
        """
        for name in self.spec.sensitive if self.named is None else ():
            if name not in held:
                remedy = _nearest(name, held) or f"They have: {', '.join(sorted(held))}."
                raise self._error(f"sensitive: neither the source nor the target has a column {name!r}.", remedy)

    def _require(self, side: str, wanted: Sequence[str], held: Collection[str]) -> None:
        for name in wanted:
            if name not in held:
                remedy = _nearest(name, held) or f"It has: {', '.join(sorted(held))}."
                raise self._error(f"the {side} has no column {name!r}.", remedy)

    def _error(self, message: str, remedy: str) -> RunError:
        return RunError(message, sync=self.spec.sync, table=self.spec.name, remedy=remedy)


def _nearest(name: str, held: Collection[str]) -> str | None:
    folded = {other.casefold(): other for other in held}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"Did you mean {folded[near[0]]!r}?" if near else None


def _names(session: Session, oid: int, condition: str) -> frozenset[str]:
    rows = session.all(
        "SELECT a.attname::text AS name FROM pg_catalog.pg_attribute AS a "
        f"WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped AND {condition}"
    )
    return frozenset(row["name"] for row in rows)


_BEFORE_EACH_ROW, _INSERT_OR_UPDATE = 1 | 2, 4 | 16
"""Bits of pg_trigger.tgtype."""


def _triggers(session: Session, oid: int) -> tuple[str, ...]:
    rows = session.all(
        "SELECT g.tgname::text AS name FROM pg_catalog.pg_trigger AS g "
        f"WHERE g.tgrelid = {oid} AND NOT g.tgisinternal AND g.tgenabled <> 'D' "
        f"AND g.tgtype & {_BEFORE_EACH_ROW} = {_BEFORE_EACH_ROW} AND g.tgtype & {_INSERT_OR_UPDATE} > 0 ORDER BY 1"
    )
    return tuple(row["name"] for row in rows)


def _is_ruled(session: Session, oid: int) -> bool:
    rules = (
        f"SELECT FROM pg_catalog.pg_rewrite AS r WHERE r.ev_class = {oid} AND r.ev_type = '3' "
        "AND r.is_instead AND r.ev_enabled <> 'D'"
    )
    return session.all(f"SELECT EXISTS ({rules}) AS ruled")[0]["ruled"]


KEY_PAIRS = """CROSS JOIN LATERAL pg_catalog.generate_subscripts(c.conkey, 1) AS k(n)
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[k.n]
JOIN pg_catalog.pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = c.confkey[k.n]
JOIN pg_catalog.pg_operator AS o ON o.oid = c.conpfeqop[k.n]
JOIN pg_catalog.pg_namespace AS m ON m.oid = o.oprnamespace"""
"""Of `pg_constraint AS c`, a foreign key: its columns `a`, those that it refers to `b`, and what compares them."""

KEY_OPERATORS = """pg_catalog.array_agg(
        'OPERATOR(' || pg_catalog.quote_ident(m.nspname) || '.' || o.oprname || ')' ORDER BY k.n
    ) AS operators"""


def _foreign_keys(session: Session, oid: int) -> list[dict]:
    """Of parents all of whose rows this role may read; of the others PostgreSQL alone can tell."""
    rows = session.all(f"""
SELECT c.conname::text AS name, n.nspname::text AS schema, p.relname::text AS parent, c.confrelid = c.conrelid AS own,
    pg_catalog.array_agg(a.attname::text ORDER BY k.n) AS columns,
    pg_catalog.array_agg(b.attname::text ORDER BY k.n) AS parent_columns,
    {KEY_OPERATORS}
FROM pg_catalog.pg_constraint AS c
{KEY_PAIRS}
JOIN pg_catalog.pg_class AS p ON p.oid = c.confrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = p.relnamespace
WHERE c.conrelid = {oid} AND c.contype = 'f' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    AND pg_catalog.has_table_privilege(p.oid, 'SELECT') AND NOT pg_catalog.row_security_active(p.oid)
GROUP BY c.oid, c.conname, n.nspname, p.relname, c.confrelid, c.conrelid
ORDER BY c.conname""")
    return [
        {
            "name": row["name"],
            "parent": qualified(row["schema"], row["parent"]),
            "own": row["own"],
            **{name: tuple(row[name]) for name in ("columns", "parent_columns", "operators")},
        }
        for row in rows
    ]
