"""The SELECTs by which a table's rows, keys and fingerprints are read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import pyarrow as pa

from sync_pipelines.engine.capture import NULL_KEY, key_text, key_text_never_null, one_text
from sync_pipelines.engine.model import CHANGED_AT, DOUBLED, FINGERPRINT, KEY, PROBLEM, SYSTEM_FIELDS
from sync_pipelines.engine.spec import FINGERPRINT_VERSION, TableSpec
from sync_pipelines.engine.sql import identifier, literal
from sync_pipelines.sources.postgres.catalog import TableInfo
from sync_pipelines.sources.postgres.types import (
    Column,
    arrow_field,
    portable_sql,
    problem_sql,
    time_literal,
    time_sql,
    value_sql,
)

FOUND = pa.field("_found", pa.bool_(), nullable=False)


@dataclass(frozen=True)
class TableSql:
    """SQL over one table, whose alias is `t` everywhere."""

    info: TableInfo
    spec: TableSpec

    @cached_property
    def schema(self) -> pa.Schema:
        """The batches: the system columns, then the columns that are read, each named as in the table."""
        return pa.schema(
            [*SYSTEM_FIELDS, *(arrow_field(column, text=self._as_text(column)) for column in self._projection)]
        )

    @cached_property
    def found_schema(self) -> pa.Schema:
        """The batches of `by_keys`."""
        return pa.schema([FOUND, *self.schema])

    @property
    def _projection(self) -> tuple[Column, ...]:
        return self.info.projection(self.spec)

    def _as_text(self, column: Column) -> bool:
        """Whether a column is carried as PostgreSQL's own text: to_json would change what these elements are."""
        if column.name in self.spec.as_text:
            return True
        elements = column.leaf_name in ("json", "jsonb") or column.leaf_kind == "c"
        return self.spec.carry == "lake" and column.is_array and elements

    @property
    def _source(self) -> str:
        return f"FROM {self.info.sql} AS t"

    @property
    def changed_at(self) -> Column | None:
        """The column that says when a row changed."""
        return self.info.column(self.spec.changed_at) if self.spec.changed_at else None

    @property
    def key(self) -> str:
        """The record's key as text, never NULL."""
        names = [column.name for column in self.info.key]
        return key_text_never_null(names, "t") if self.info.key_can_be_null else key_text(names, "t")

    @property
    def fingerprint(self) -> str:
        """`1:` and the md5 of mapping and projection; it depends on no session setting but the fixed ones."""
        row = ", ".join(column.sql() for column in self._projection)
        return f"'{FINGERPRINT_VERSION}:' || md5({literal(self.spec.mapping_hash)} || ROW({row})::text)"

    @property
    def has_key(self) -> str:
        """Condition: the row can be named. Rows that cannot are no records: no proof counts them."""
        nullable = [column.sql() for column in self.info.key if column.nullable]
        return " AND ".join(f"{name} IS NOT NULL" for name in nullable) or "true"

    @property
    def _repeated(self) -> str:
        """A join that gives each row whose key another row has a `d.key`.

        Asked of the whole table, so that it is the same whichever of its rows are read; joined, so that it may be
        larger than memory.
        """
        if not self.info.keys_can_repeat:
            return ""
        keys = f"SELECT {self.key} AS key {self._source} WHERE {self.has_key} GROUP BY 1 HAVING count(*) > 1"
        return f" LEFT JOIN ({keys}) AS d ON d.key = {self.key}"

    def _problem(self, repeated: str) -> str:
        """SQL for why the row cannot be carried, NULL where it can; `repeated` is whether another row has its key."""
        problems = [
            f"CASE WHEN {column.sql()} IS NULL THEN {literal(f'key column {column.name!r} is NULL')} END"
            for column in self.info.key
            if column.nullable
        ]
        if self.info.keys_can_repeat:
            problems.append(f"CASE WHEN {repeated} THEN {literal(DOUBLED)} END")
        problems += [text for column in self._projection if (text := problem_sql(column, text=self._as_text(column)))]
        return f"nullif(concat_ws('; ', {', '.join(problems)}), '')" if problems else "NULL::text"

    def _columns(self, key: str, *, repeated: str) -> str:
        changed_at = time_sql(self.changed_at) if self.changed_at else "NULL::timestamptz"
        system = f"{key} AS {KEY}, {self.fingerprint} AS {FINGERPRINT}, {changed_at} AS {CHANGED_AT}"
        values = ", ".join(
            f"{value_sql(column, text=self._as_text(column))} AS {identifier(f'c{number}')}"
            for number, column in enumerate(self._projection)
        )
        return f"{system}, {self._problem(repeated)} AS {PROBLEM}, {values}"

    def rows(self, where: str = "true") -> str:
        """Rows that a condition on `t` chooses."""
        columns = self._columns(self.key, repeated="d.key IS NOT NULL")
        return f"SELECT {columns} {self._source}{self._repeated} WHERE {where}"

    def portable(self, where: str) -> str:
        """`rows` as other clients read them (`portable_sql`): `_key`, `_fingerprint`, `_problem`, then c0, c1, …"""
        values = "".join(
            f", {portable_sql(column, text=self._as_text(column))} AS {identifier(f'c{number}')}"
            for number, column in enumerate(self._projection)
        )
        return (
            f"SELECT {self.key} AS {KEY}, {self.fingerprint} AS {FINGERPRINT}, "
            f"{self._problem('d.key IS NOT NULL')} AS {PROBLEM}{values} {self._source}{self._repeated} WHERE {where}"
        )

    def by_keys(self, touched: str, *, ordered: bool = True) -> str:
        """One line for each key of a query `touched` (one column, `key`, no NULLs), found or not.

        Joined on the key's own columns, so that their index serves; the text is compared too, since values
        may be equal without being the same key (1.0 and 1.00, citext).
        """
        matches = " AND ".join(
            f"t.{identifier(column.name)} {column.equality} {cast}"
            for column, cast in zip(self.info.key, self._casts(), strict=True)
        )
        order = ' ORDER BY k.key COLLATE "C"' if ordered else ""
        return (
            f"WITH touched(key) AS MATERIALIZED ({touched}) "
            f"SELECT t.tableoid IS NOT NULL AS {FOUND.name}, {self._columns_by_key} "
            f"FROM touched AS k LEFT JOIN {self.info.sql} AS t ON {matches} AND {self.key} = k.key{order}"
        )

    @property
    def _columns_by_key(self) -> str:
        """Every row of a key is read, so they can be counted."""
        return self._columns("k.key", repeated=f"{self.has_key} AND count(*) OVER (PARTITION BY k.key) > 1")

    def _casts(self) -> list[str]:
        """The values of the key's columns, out of the text `k.key`."""
        if len(self.info.key) > 1:
            return [f"(k.key::json ->> {number})::{column.base_type}" for number, column in enumerate(self.info.key)]
        column = self.info.key[0]
        if not column.nullable:
            return [f"k.key::{column.base_type}"]
        return [f"(CASE WHEN k.key <> {literal(NULL_KEY)} THEN k.key::{column.base_type} END)"]

    def named(self, touched: str) -> str:
        """For each key of a query: `given`; `spelled`, as its values are written; `held`, the key of the row with
        the same values, which may be written otherwise (1.0 and 1.00, citext), or NULL."""
        casts = self._casts()
        matches = " AND ".join(
            f"t.{identifier(column.name)} {column.equality} {cast}"
            for column, cast in zip(self.info.key, casts, strict=True)
        )
        spelled = one_text([f"({cast})::pg_catalog.text" for cast in casts])
        return (
            f"WITH touched(key) AS MATERIALIZED ({touched}) "
            f"SELECT k.key AS given, coalesce({spelled}, k.key) AS spelled, {self.key} AS held, t.tableoid IS NOT NULL "
            f"AS found FROM touched AS k LEFT JOIN {self.info.sql} AS t ON {matches}"
        )

    def by_key_text(self, touched: str) -> str:
        """`by_keys` without casts, for keys that may be no values of the column's type: reads the whole table."""
        return (
            f"WITH touched(key) AS MATERIALIZED ({touched}) "
            f"SELECT t.tableoid IS NOT NULL AS {FOUND.name}, {self._columns_by_key} "
            f"FROM touched AS k LEFT JOIN {self.info.sql} AS t ON {self.key} = k.key"
        )

    def without_key(self) -> str:
        """Rows whose key holds a NULL."""
        return self.rows(f"NOT ({self.has_key})")

    def in_window(self, window: tuple[datetime | None, datetime | None], *, nulls: bool, but: str | None) -> str:
        """Rows whose change time lies in a half-open window, without those that the query `but` names."""
        column = self.changed_at
        assert column is not None
        start, end = window
        limits = [f"{column.sql()} >= {time_literal(column, start.isoformat())}"] if start else []
        limits += [f"{column.sql()} < {time_literal(column, end.isoformat())}"] if end else []
        condition = " AND ".join(limits) or f"{column.sql()} IS NOT NULL"
        if nulls:
            condition = f"({condition} OR {column.sql()} IS NULL)"
        return self.rows(condition) if but is None else self._without(condition, but)

    def _without(self, condition: str, but: str) -> str:
        return f"WITH touched(key) AS MATERIALIZED ({but}) " + self.rows(
            f"{condition} AND NOT EXISTS (SELECT FROM touched AS k WHERE k.key = {self.key})"
        )

    def everything_but(self, but: str | None) -> str:
        """All rows, without those that the query `but` names."""
        return self.rows() if but is None else self._without("true", but)

    def is_empty(self) -> str:
        return f"SELECT NOT EXISTS (SELECT {self._source}) AS empty"

    def lines(self) -> str:
        """How many rows `rows` gives, those that cannot be named included."""
        return f"SELECT count(*) AS lines {self._source}"

    def count(self) -> str:
        counted = f"DISTINCT {self.key}" if self.info.keys_can_repeat else "*"
        return f"SELECT count({counted}) AS records {self._source} WHERE {self.has_key}"

    def fingerprints(self, buckets: Collection[int] | None, *, utf8: bool) -> str:
        """Keys and fingerprints, of some buckets or of all."""
        chosen = ""
        if buckets is not None:
            prefixes = ", ".join(f"'{bucket:03x}'" for bucket in sorted(buckets)) or "NULL"
            chosen = f" AND substr({_md5(self.key, utf8)}, 1, 3) IN ({prefixes})"
        return (
            f"SELECT {self.key} AS {KEY}, {self.fingerprint} AS {FINGERPRINT} {self._source} "
            f"WHERE {self.has_key}{chosen}"
        )

    def digests(self, *, utf8: bool) -> str:
        """Bucket, count and sum as `engine.model.Digest` adds them up; the sum as text, it may pass 2**63."""
        share = _md5(f"{self.fingerprint} || ':' || {self.key}", utf8)
        return (
            f"SELECT ('x' || substr({_md5(self.key, utf8)}, 1, 3))::bit(12)::int4 AS bucket, "
            f"count(*) AS records, sum(('x' || substr({share}, 1, 15))::bit(60)::int8)::text AS total "
            f"{self._source} WHERE {self.has_key} GROUP BY 1"
        )


def _md5(text: str, utf8: bool) -> str:
    """md5 of the text's UTF-8 bytes; a database with another encoding has to convert first."""
    return f"md5({text})" if utf8 else f"md5(convert_to({text}, 'UTF8'))"


def keys_query(keys: Sequence[str]) -> str:
    """A query of one column, `key`, that lists these keys."""
    values = ", ".join(f"({literal(key)})" for key in dict.fromkeys(keys))
    return f"SELECT v.key FROM (VALUES {values}) AS v(key)"
