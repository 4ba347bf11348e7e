"""A batch in a temporary table beside the target, and the statements over both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.model import KEY
from sync_pipelines.engine.sql import identifier, literal
from sync_pipelines.sources.postgres.types import Column
from sync_pipelines.targets.postgres.layout import ForeignKey, Layout
from sync_pipelines.targets.postgres.values import array_literal, texts

_NAME = "sync_stage"
STAGE = f"pg_temp.{_NAME}"
_SEEN = "pg_temp.sync_seen"

_PLAIN = frozenset({"bool", "int2", "int4", "int8", "oid", "date", "timestamp", "timestamptz", "bytea", "uuid"})
"""Types whose equal values have one text. Of the others the texts are compared: 1.0 and 1.00 are equal numbers."""

_COLLATED = frozenset({"text", "varchar"})

_BINARY = {
    pa.bool_(): "bool",
    pa.int64(): "int8",
    pa.float64(): "float8",
    pa.date32(): "date",
    pa.timestamp("us"): "timestamp",
    pa.timestamp("us", tz="UTC"): "timestamptz",
    pa.binary(): "bytea",
}
"""What COPY carries in PostgreSQL's own form; the rest goes as text."""

_ROW = pa.field("_n", pa.int32())


class Statements:
    """The SQL of one layout. In the stage, row `_n` of a batch has its columns as COPY carries them."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def create(self) -> str:
        columns = "".join(f", {identifier(c.name)} {self._staged(c)}" for c in self._layout.columns)
        return f'CREATE TEMPORARY TABLE {_NAME} ("{_ROW.name}" int4, "{KEY}" text{columns}) ON COMMIT DELETE ROWS'

    def _staged(self, column: Column) -> str:
        return f"pg_catalog.{_BINARY.get(self._layout.stored.field(column.name).type, 'text')}"

    def staged(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """A batch as COPY carries it into the stage."""
        columns = [rows.column(name) for name in self._layout.names]
        carried = [column if column.type in _BINARY else texts(column) for column in columns]
        numbers = pa.array(range(rows.num_rows), _ROW.type)
        names = [_ROW.name, KEY, *self._layout.names]
        return pa.RecordBatch.from_arrays([numbers, rows.column(KEY), *carried], names=names)

    def _is_text(self, column: Column) -> bool:
        """Whether the stage holds PostgreSQL's own text: compared as one, and read again just where it differs."""
        own = pa.types.is_string(self._layout.stored.field(column.name).type) and not column.is_array
        return own and column.base_name not in _PLAIN | _COLLATED and column.name not in self._joined

    @cached_property
    def _joined(self) -> set[str]:
        """Columns that are compared by their own types' operators."""
        foreign = (name for key in self._layout.catalog.foreign_keys for name in key.columns)
        return {*self._layout.spec.key, *foreign}

    @cached_property
    def _differs(self) -> str:
        """Condition on `s` and `t`: the target holds the row otherwise."""
        unlike = (f"{self._given(c)} IS DISTINCT FROM {_compared(c, _of('t', c))}" for c in self._layout.columns)
        return f"({' OR '.join(unlike)})"

    def _given(self, column: Column) -> str:
        """A column of the stage as it is compared."""
        return f'{_of("s", column)} COLLATE "C"' if self._is_text(column) else _compared(column, self._value(column))

    def _value(self, column: Column) -> str:
        """A column of the stage as it is written."""
        name = _of("s", column)
        # a cast to varchar(9) cuts off in silence, an assignment does not
        plain = column.base_name in _COLLATED and not column.is_array
        return name if plain else f"{name}::{exact_type(column)}"

    @cached_property
    def _values(self) -> dict[str, str]:
        return {column.name: self._value(column) for column in self._layout.columns}

    @cached_property
    def _matches(self) -> str:
        """Condition: `t` and `s` are of one record, by the operators of the key's index."""
        return " AND ".join(
            f"{_of('t', column)} {column.equality} {self._values[column.name]}" for column in self._layout.info.key
        )

    @cached_property
    def _rest(self) -> list[str]:
        """The columns that an update writes; of the key those whose equal values are spelled in several ways."""
        return [c.name for c in self._layout.columns if c.name not in self._layout.spec.key or not _is_plain(c)]

    def update(self, start: int, end: int) -> str | None:
        """Rows of a range of `_n` that the target holds otherwise; what is there as it should be is not touched.

        None where a row is nothing but its key. INSERT … ON CONFLICT would look each row up once more, and lock it.
        """
        sets = ", ".join(f"{identifier(name)} = {self._values[name]}" for name in self._rest)
        if not sets:
            return None
        return (
            f"UPDATE {self._layout.info.sql} AS t SET {sets} FROM {STAGE} AS s "
            f"WHERE {_within(start, end)} AND {self._matches} AND {self._differs}"
        )

    def insert(self, start: int, end: int) -> str:
        """Rows of a range that the target lacks; one that somebody else makes meanwhile is overwritten."""
        layout = self._layout
        names = [identifier(name) for name in layout.names]
        rest = ", ".join(f"{name} = excluded.{name}" for name in map(identifier, self._rest))
        action = f"UPDATE SET {rest}" if rest else "NOTHING"
        return (
            f"INSERT INTO {layout.info.sql} ({', '.join(names)}) OVERRIDING SYSTEM VALUE "
            f"SELECT {', '.join(self._values[name] for name in layout.names)} FROM {STAGE} AS s "
            f"WHERE {self._is_lacking(start, end)} "
            f"ON CONFLICT ({', '.join(identifier(name) for name in layout.spec.key)}) DO {action}"
        )

    def _is_lacking(self, start: int, end: int) -> str:
        return f"{_within(start, end)} AND NOT EXISTS (SELECT FROM {self._layout.info.sql} AS t WHERE {self._matches})"

    def lacking(self, start: int, end: int) -> str:
        """How many rows of a range the target lacks."""
        return f"SELECT pg_catalog.count(*) FROM {STAGE} AS s WHERE {self._is_lacking(start, end)}"

    def differing(self, start: int, end: int) -> str:
        """How many rows of a range the target holds otherwise; they are locked, so that `update` finds the same."""
        return (
            f"SELECT pg_catalog.count(*) FROM (SELECT FROM {STAGE} AS s JOIN {self._layout.info.sql} AS t "
            f"ON {self._matches} WHERE {_within(start, end)} AND {self._differs} FOR NO KEY UPDATE OF t) AS d"
        )

    # Keys that are several to the source and one to the index: 1.0 and 1, or what citext takes for the same

    @cached_property
    def respells(self) -> bool:
        """Whether equal values of the key are spelled in several ways."""
        return any(not _is_plain(c) and (c.is_array or c.base_name not in _COLLATED) for c in self._layout.info.key)

    def remember(self) -> list[str]:
        """Make the table of the keys that one connection has written."""
        return [f'CREATE TEMPORARY TABLE sync_seen ("{KEY}" text)', f'CREATE INDEX ON {_SEEN} ("{KEY}")']

    def seen(self) -> str:
        """Remember the keys of the stage."""
        return f'INSERT INTO {_SEEN} SELECT "{KEY}" FROM {STAGE}'

    def twins(self) -> str:
        """Keys of staged rows that are one with another staged row, or with one that was written before."""
        values = ", ".join(self._values[column.name] for column in self._layout.info.key)
        held = self._layout.sql.key
        return (
            f'SELECT pg_catalog.unnest(pg_catalog.array_agg(s."{KEY}")) FROM {STAGE} AS s GROUP BY {values} '
            f'HAVING pg_catalog.count(*) > 1 UNION SELECT s."{KEY}" FROM {STAGE} AS s '
            f"JOIN {self._layout.info.sql} AS t ON {self._matches} "
            f'WHERE {held} <> s."{KEY}" AND EXISTS (SELECT FROM {_SEEN} AS e WHERE e."{KEY}" = {held})'
        )

    def rivals(self, *, lock: bool) -> str:
        """The target's rows that differ from staged ones, in the columns of `TargetSql.schema`."""
        layout = self._layout
        return (
            f"SELECT {layout.sql.carried()} FROM {STAGE} AS s JOIN {layout.info.sql} AS t "
            f"ON {self._matches} WHERE {self._differs}{' FOR NO KEY UPDATE OF t' if lock else ''}"
        )

    def unjudged(self, keys: Sequence[str]) -> str:
        """Forget staged rows that the target holds, but for these keys."""
        return (
            f"DELETE FROM {STAGE} AS s USING {self._layout.info.sql} AS t "
            f"WHERE {self._matches} AND NOT {_is_one_of(keys)}"
        )

    def unstage(self, keys: Sequence[str]) -> str:
        """Forget the staged rows of these keys."""
        return f"DELETE FROM {STAGE} AS s WHERE {_is_one_of(keys)}"

    def orphans(self, key: ForeignKey) -> str:
        """Staged rows whose parent is not there: `key`, whether the target holds the row (with another parent), and
        what the foreign key's columns hold, as texts.
        """
        given = " AND ".join(f"s.{identifier(name)} IS NOT NULL" for name in key.columns)
        pairs = list(zip(key.columns, key.parent_columns, key.operators, strict=True))
        same = " AND ".join(f"p.{identifier(there)} {operator} {self._values[here]}" for here, there, operator in pairs)
        values = "".join(f", {self._values[name]}::pg_catalog.text" for name in key.columns)
        own = key.own and set(key.parent_columns) <= set(self._layout.names)
        mates = f" AND NOT EXISTS (SELECT FROM {STAGE} AS m WHERE {self._is_mate(key)})" if own else ""
        return (
            f'SELECT s."{KEY}" AS key, EXISTS (SELECT FROM {self._layout.info.sql} AS t '
            f"WHERE {self._matches}) AS held{values} FROM {STAGE} AS s "
            f"WHERE {given} AND NOT EXISTS (SELECT FROM {key.parent} AS p WHERE {same}){mates}"
        )

    def _is_mate(self, key: ForeignKey) -> str:
        """Condition: `m`, another row of the stage, is the parent of `s`."""
        types = {column.name: exact_type(column) for column in self._layout.columns}
        return " AND ".join(
            f"m.{identifier(there)}::{types[there]} {operator} {self._values[here]}"
            for here, there, operator in zip(key.columns, key.parent_columns, key.operators, strict=True)
        )


def copy_into(cursor: Any, rows: pa.RecordBatch) -> None:
    """COPY in PostgreSQL's own form: half the time of CSV, on both sides.

    Args:
        cursor: ADBC's. rows: as `Statements.staged` makes them.
    """
    cursor.adbc_ingest(_NAME, rows, mode="append", temporary=True)


def exact_type(column: Column) -> str:
    return column.exact_type or column.base_type


def _of(alias: str, column: Column) -> str:
    return f"{alias}.{identifier(column.name)}"


def _is_plain(column: Column) -> bool:
    return column.base_name in _PLAIN and not column.is_array


def _compared(column: Column, value: str) -> str:
    if _is_plain(column):
        return value
    if not column.is_array and column.base_name in _COLLATED:
        return f'{value} COLLATE "C"'
    return f'({value})::text COLLATE "C"'


def _within(start: int, end: int) -> str:
    return f's."{_ROW.name}" >= {start} AND s."{_ROW.name}" < {end}'


def _is_one_of(keys: Sequence[str]) -> str:
    return f's."{KEY}" = ANY ({literal(array_literal(keys))}::pg_catalog.text[])'
