"""A batch in a temporary table beside the target, and the statements over both."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv

from sync_pipelines.engine.model import KEY
from sync_pipelines.engine.sql import identifier
from sync_pipelines.sources.postgres.types import Column
from sync_pipelines.targets.postgres.layout import ForeignKey, Layout
from sync_pipelines.targets.postgres.values import texts

STAGE = "pg_temp.sync_stage"

_PLAIN = frozenset({"bool", "int2", "int4", "int8", "oid", "date", "timestamp", "timestamptz", "bytea", "uuid"})
"""Types whose equal values have one text. Of the others the texts are compared: 1.0 and 1.00 are equal numbers."""

_COLLATED = frozenset({"text", "varchar"})


class Statements:
    """The SQL of one layout. In the stage, row `_n` of a batch has its columns in the types below all domains."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def create(self) -> str:
        columns = "".join(f", {identifier(c.name)} {self._staged(c)}" for c in self._layout.columns)
        return f'CREATE TEMPORARY TABLE sync_stage ("_n" int4, "{KEY}" text{columns}) ON COMMIT DELETE ROWS'

    def _staged(self, column: Column) -> str:
        return "text" if self._is_text(column) else exact_type(column)

    def _is_text(self, column: Column) -> bool:
        """Whether the stage holds PostgreSQL's own text: compared as one, and read again just where it differs."""
        own = pa.types.is_string(self._layout.stored.field(column.name).type) and not column.is_array
        return own and column.base_name not in _PLAIN | _COLLATED and column.name not in self._joined

    @cached_property
    def _joined(self) -> set[str]:
        """Columns that are compared by their own types' operators."""
        foreign = (name for key in self._layout.catalog.foreign_keys for name in key.columns)
        return {*self._layout.spec.key, *foreign}

    def copy(self) -> str:
        columns = "".join(f", {identifier(name)}" for name in self._layout.names)
        return f'COPY {STAGE} ("_n", "{KEY}"{columns}) FROM STDIN (FORMAT csv)'

    @cached_property
    def _differs(self) -> str:
        """Condition on `s` and `t`: the target lacks the row, or holds it otherwise."""
        unlike = (f"{self._given(c)} IS DISTINCT FROM {_compared(c, 't')}" for c in self._layout.columns)
        return f"(t.tableoid IS NULL OR {' OR '.join(unlike)})"

    def _given(self, column: Column) -> str:
        """A column of the stage as it is compared."""
        return f's.{identifier(column.name)} COLLATE "C"' if self._is_text(column) else _compared(column, "s")

    def _value(self, column: Column) -> str:
        """A column of the stage as it is written."""
        name = f"s.{identifier(column.name)}"
        return f"{name}::{exact_type(column)}" if self._is_text(column) else name

    def insert(self) -> str:
        """Rows of a range of `_n` that differ; what is there as it should be is not touched."""
        layout = self._layout
        names = [identifier(name) for name in layout.names]
        # a key that is equal and spelled otherwise (citext, 1.0) is brought to the source's spelling
        rest = [
            identifier(c.name) for c in layout.columns if c.name not in layout.spec.key or c.base_name not in _PLAIN
        ]
        action = f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in rest)}" if rest else "NOTHING"
        return (
            f"INSERT INTO {layout.info.sql} ({', '.join(names)}) OVERRIDING SYSTEM VALUE "
            f"SELECT {', '.join(map(self._value, layout.columns))} FROM {STAGE} AS s "
            f"LEFT JOIN {layout.info.sql} AS t ON {layout.matches('t', 's')} "
            f'WHERE s."_n" >= %s AND s."_n" < %s AND {self._differs} ORDER BY s."_n" '
            f"ON CONFLICT ({', '.join(identifier(name) for name in layout.spec.key)}) DO {action}"
        )

    def rivals(self, *, lock: bool) -> str:
        """The target's rows that differ from staged ones, in the columns of `TargetSql.schema`."""
        layout = self._layout
        return (
            f"SELECT {layout.sql.carried()} FROM {STAGE} AS s JOIN {layout.info.sql} AS t "
            f"ON {layout.matches('t', 's')} WHERE {self._differs}{' FOR NO KEY UPDATE OF t' if lock else ''}"
        )

    def unjudged(self) -> str:
        """Forget staged rows that the target holds, but for these keys."""
        return (
            f"DELETE FROM {STAGE} AS s USING {self._layout.info.sql} AS t "
            f'WHERE {self._layout.matches("t", "s")} AND NOT (s."{KEY}" = ANY (%s))'
        )

    def orphans(self, key: ForeignKey) -> str:
        """Staged rows whose parent is not there: `key`, whether the target holds the row (with another parent), and
        what the foreign key's columns hold, as texts.
        """
        given = " AND ".join(f"s.{identifier(name)} IS NOT NULL" for name in key.columns)
        same = " AND ".join(
            f"p.{identifier(there)} {operator} s.{identifier(here)}"
            for here, there, operator in zip(key.columns, key.parent_columns, key.operators, strict=True)
        )
        values = "".join(f", s.{identifier(name)}::pg_catalog.text" for name in key.columns)
        mates = f" AND NOT EXISTS (SELECT FROM {STAGE} AS p WHERE {same})" if key.own else ""
        return (
            f'SELECT s."{KEY}" AS key, EXISTS (SELECT FROM {self._layout.info.sql} AS t '
            f"WHERE {self._layout.matches('t', 's')}) AS held{values} FROM {STAGE} AS s "
            f"WHERE {given} AND NOT EXISTS (SELECT FROM {key.parent} AS p WHERE {same}){mates}"
        )


def exact_type(column: Column) -> str:
    return column.exact_type or column.base_type


def _compared(column: Column, alias: str) -> str:
    name = f"{alias}.{identifier(column.name)}"
    if not column.is_array and column.base_name in _PLAIN:
        return name
    if not column.is_array and column.base_name in _COLLATED:
        return f'{name} COLLATE "C"'
    return f'{name}::text COLLATE "C"'


def as_csv(rows: pa.RecordBatch, names: Sequence[str]) -> io.BytesIO:
    """Rows for `Statements.copy`: texts are quoted, a NULL is not."""
    columns: list[Any] = [pa.array(range(rows.num_rows), pa.int32()), rows.column(KEY)]
    columns += [texts(rows.column(name)) for name in names]
    buffer = io.BytesIO()
    table = pa.Table.from_arrays(columns, names=[f"c{number}" for number in range(len(columns))])
    csv.write_csv(table, buffer, csv.WriteOptions(include_header=False, quoting_style="needed"))
    buffer.seek(0)
    return buffer
