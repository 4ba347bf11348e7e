"""Rows of a source, brought to the types of a PostgreSQL table's columns: a value that does not fit is its row's
problem, and never changed in silence.

| source | column in PostgreSQL | how |
|---|---|---|
| integers, floats, decimals, dates, timestamps, booleans, bytes | the like | by Arrow, exactly |
| timestamp with zone ↔ without | timestamp ↔ timestamptz | without zone means UTC |
| text | text, varchar, char, name, citext | as it is; too long is a problem |
| text | everything else | PostgreSQL reads it and spells it |
| numbers, dates, booleans | text, unbounded numeric, money, … | their text |
| arrays | arrays | element by element, or by PostgreSQL; arrays of arrays have no place |
| structs, maps, arrays | json, jsonb | as JSON |
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.model import CHANGED_AT, FINGERPRINT, FINGERPRINTS_SCHEMA, KEY, PROBLEM, SYSTEM_FIELDS
from sync_pipelines.sources.postgres.types import MICROSECONDS, Column
from sync_pipelines.targets.lake.mapping import Unfit
from sync_pipelines.targets.lake.types import spell as spell_type
from sync_pipelines.targets.postgres.layout import Layout, PostgresTable
from sync_pipelines.targets.postgres.spelling import spell
from sync_pipelines.targets.postgres.values import Fit, call, fingerprints, hashes, holds_nul, key_texts, texts

_TEXTS = frozenset({"text", "varchar", "bpchar", "name", "citext"})
_ENDLESS = _TEXTS - {"name"}
"""Those that cut nothing off unless they have a length."""
_YEARS = (-62_135_596_800_000_000, 253_402_300_800_000_000)
"""The years 1 to 9999 in microseconds: what both sides can hold."""


class Conformer:
    """Rows of a source → rows as the table would hold them, with their keys and fingerprints.

    Args:
        table, layout: the target. source: the columns that the source has. changed_at: of them, for `_changed_at`.
    """

    def __init__(self, table: PostgresTable, layout: Layout, source: pa.Schema, *, changed_at: str | None) -> None:
        self.layout, self._table, self._changed_at = layout, table, changed_at
        self._fits = {column.name: self._fit(source.field(column.name).type, column) for column in layout.columns}
        self._as_given = {**self._fits, **self._unasked(source)}
        self.key = layout.spec.key
        self.columns = tuple(dict.fromkeys([*layout.names, *([changed_at] if changed_at else [])]))
        told = {name: _type_name(source.field(name).type) for name in layout.names}
        self.schema = pa.schema(
            [
                *SYSTEM_FIELDS,
                *(pa.field(item.name, item.type, metadata={"pg_type": told[item.name]}) for item in layout.stored),
            ]
        )

    @property
    def shape(self) -> str:
        """Changes when the columns or their types do."""
        return self.layout.shape

    def conform(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch of `columns` in `schema`."""
        problems: dict[int, str] = {}
        columns = [self._column(batch, name, problems) for name in self.layout.names]
        keys = self._keys([columns[self.layout.names.index(name)] for name in self.key], batch, problems)
        prints = fingerprints(columns) if batch.num_rows else pa.array([], pa.string())
        if problems:
            prints = _other_prints(prints, batch, problems)
        why = pa.array([problems.get(row) for row in range(batch.num_rows)], pa.string())
        arrays = [keys, prints, self._times(batch), why, *columns]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def compared(self, batch: pa.RecordBatch, *, lasting: bool) -> pa.RecordBatch:
        """Keys and prints of a batch of `columns`: cheaper than `conform`, but equal where a row surely is.

        What PostgreSQL alone can spell (jsonb) is taken as it stands: if it stands as PostgreSQL has it, it is equal.

        Args:
            lasting: by fingerprints; else by what is good in this process alone.
        """
        problems: dict[int, str] = {}
        columns = [
            self._column(batch, name, problems, self._fits if name in self.key else self._as_given)
            for name in self.layout.names
        ]
        keys = self._keys([columns[self.layout.names.index(name)] for name in self.key], batch, problems)
        found = (fingerprints if lasting else hashes)(columns) if batch.num_rows else pa.array([], pa.string())
        if problems:
            found = _other_prints(found, batch, problems)
        return pa.RecordBatch.from_arrays([keys, found], schema=FINGERPRINTS_SCHEMA)

    def keys(self, batch: pa.RecordBatch) -> pa.Array:
        """The keys of a batch that has the key's columns."""
        problems: dict[int, str] = {}
        return self._keys([self._column(batch, name, problems) for name in self.key], batch, problems)

    def spelled(self, columns: Mapping[str, Sequence[str | None]]) -> tuple[pa.Array, dict[int, str]]:
        """Keys that somebody wrote, as PostgreSQL spells them; and of which rows it cannot, with why."""
        problems: dict[int, str] = {}
        found = []
        for column in (column for column in self.layout.columns if column.name in self.key):
            given = pa.array(columns[column.name], pa.string())
            found.append(_fitted(given, self._fit(pa.string(), column), self._stored(column), column.name, problems))
        return key_texts(found), problems

    def _column(
        self, batch: pa.RecordBatch, name: str, problems: dict[int, str], fits: Mapping[str, Fit] | None = None
    ) -> pa.Array:
        column = next(item for item in self.layout.columns if item.name == name)
        return _fitted(batch.column(name), (fits or self._fits)[name], self._stored(column), name, problems)

    def _unasked(self, source: pa.Schema) -> dict[str, Fit]:
        """Of the columns that are stored as texts, the ways that ask PostgreSQL nothing."""
        kinds = {column.name: _plain(source.field(column.name).type) for column in self.layout.columns}
        found = {
            column.name: _fit(kinds[column.name], self._stored(column), column, lambda values: values)
            for column in self.layout.columns
            if pa.types.is_string(self._stored(column))
        }
        return {name: fit for name, fit in found.items() if fit is not None}

    def _keys(self, columns: Sequence[pa.Array], batch: pa.RecordBatch, problems: dict[int, str]) -> pa.Array:
        for name, column in zip(self.key, columns, strict=True):
            for row in _nulls(column) if column.null_count else ():
                problems.setdefault(row, f"key column {name!r} is NULL")
        found = key_texts(columns)
        return _raw_keys(found, batch, self.key, problems) if problems else found

    def _times(self, batch: pa.RecordBatch) -> pa.Array:
        if self._changed_at is None:
            return pa.nulls(batch.num_rows, MICROSECONDS)
        return _to_time(batch.column(self._changed_at).cast(pa.timestamp("us"), safe=False), MICROSECONDS)

    def _stored(self, column: Column) -> pa.DataType:
        return self.layout.stored.field(column.name).type

    def _fit(self, source: pa.DataType, column: Column) -> Fit:
        """How a column of the source becomes one of the table.

        Raises:
            RunError: no stated rule leads from the one type to the other.
        """
        stored, as_text = self._stored(column), self.layout.sql.as_text(column)
        ask = partial(spell, self._table, column, stored=stored, as_text=as_text)
        found = _fit(_plain(source), stored, column, ask)
        if found is None:
            raise RunError(
                f"column {column.name!r} is {_type_name(source)} in the source and {column.pg_type} in PostgreSQL: no "
                "rule leads from the one to the other.",
                sync=self.layout.spec.sync,
                table=self.layout.spec.name,
                remedy="Change one of them, or name the `columns` that are synced without it.",
            )
        return found


def _fit(source: pa.DataType, stored: pa.DataType, column: Column, ask: Fit) -> Fit | None:
    name = column.leaf_name or column.base_name
    if pa.types.is_string(source):
        plain = name in _TEXTS and not column.is_array
        return partial(_text, column=column) if plain else lambda values: ask(_clean(values))
    if pa.types.is_nested(source) and not column.is_array:
        return (lambda values: ask(_json(values))) if name in ("json", "jsonb") else None
    if pa.types.is_list(source):
        return _list_fit(source, stored, column, ask)
    if column.is_array or pa.types.is_nested(source):
        return None
    if not pa.types.is_string(stored):
        return _cast(source, stored, column)
    if pa.types.is_binary(source) or pa.types.is_timestamp(source):
        return None
    if name in _TEXTS:
        return lambda values: _text(texts(values), column=column)
    return lambda values: ask(texts(values))


def _list_fit(source: pa.DataType, stored: pa.DataType, column: Column, ask: Fit) -> Fit | None:
    inner = source.value_type
    if pa.types.is_nested(inner):  # its text would become one element
        return None
    if pa.types.is_list(stored) and inner == stored.value_type:
        if pa.types.is_string(inner) and (column.leaf_name not in _ENDLESS or "(" in column.exact_type):
            return lambda values: ask(_clean(texts(values)))
        return partial(_same_list, stored=stored)
    return lambda values: ask(_clean(texts(values)))


def _same_list(values: pa.Array, *, stored: pa.DataType) -> pa.Array:
    if pa.types.is_string(stored.value_type):
        _clean(values.flatten())
    return values.cast(stored)


_Check = Callable[[pa.Array], pa.Array]


def _cast(source: pa.DataType, stored: pa.DataType, column: Column) -> Fit | None:
    """From one native type to another, exactly."""
    if pa.types.is_timestamp(stored):
        if not (pa.types.is_timestamp(source) or pa.types.is_date(source)):
            return None
        return partial(_timestamp, stored=stored, digits=_digits(column))
    if pa.types.is_date(stored):
        if not (pa.types.is_timestamp(source) or pa.types.is_date(source)):
            return None
        return partial(_exactly, steps=(stored,))
    numbers = pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal
    if any(of(source) for of in numbers) and any(of(stored) for of in numbers):
        wide = pa.types.is_integer(source) and pa.types.is_decimal(stored)
        return partial(_exactly, steps=(pa.decimal128(38, stored.scale), stored) if wide else (stored,))
    return partial(_exactly, steps=(stored,)) if source == stored else None


def _exactly(values: pa.Array, *, steps: Sequence[pa.DataType]) -> pa.Array:
    """Cast, and back again: Arrow rounds some values in silence (1.25 to 1.2, a time to its day)."""
    found = values
    for step in steps:
        found = found.cast(step)
    if found.type != values.type:
        again = found.cast(values.type, safe=False)
        same = call("equal", again, values)
        if pa.types.is_floating(values.type):
            same = call("or", same, call("is_nan", values))
        if call("all", same).as_py() is False:
            raise Unfit(f"{spell_type(found.type)} would round it")
    if pa.types.is_date(found.type):
        _within_years(found.cast(pa.timestamp("us")))
    return found


def _timestamp(values: pa.Array, *, stored: pa.DataType, digits: int) -> pa.Array:
    found = values.cast(
        pa.timestamp("us", tz=values.type.tz) if pa.types.is_timestamp(values.type) else pa.timestamp("us")
    )
    _within_years(found)
    if digits < 6:
        step = 10 ** (6 - digits)
        number = found.cast(pa.int64())
        rounded = call("multiply", call("divide", number, pa.scalar(step)), pa.scalar(step))
        if call("all", call("equal", rounded, number)).as_py() is False:
            raise Unfit(f"a precision of {digits} would round it")
    return _to_time(found, stored)


def _to_time(values: pa.Array, stored: pa.DataType) -> pa.Array:
    return values.cast(pa.int64()).cast(stored)


def _within_years(values: pa.Array) -> None:
    low, high = _YEARS
    number = values.cast(pa.int64())
    inside = call("and", call("greater_equal", number, pa.scalar(low)), call("less", number, pa.scalar(high)))
    if call("all", inside).as_py() is False:
        raise Unfit("it lies outside the years 1 to 9999")


def _digits(column: Column) -> int:
    found = re.search(r"\((\d)\)", column.exact_type)
    return int(found[1]) if found else 6


def _text(values: pa.Array, *, column: Column) -> pa.Array:
    values = _clean(values)
    if column.base_name == "bpchar":
        values = call("utf8_rtrim", values, options=pc.TrimOptions(" "))
    length = re.search(r"\((\d+)\)", column.exact_type)
    if length:
        longest = call("max", call("utf8_length", values)).as_py() or 0
        if longest > int(length[1]):
            raise Unfit(f"it is longer than {length[1]} characters")
    if column.base_name == "name" and (call("max", call("binary_length", values)).as_py() or 0) > 63:
        raise Unfit("it is longer than 63 bytes")
    return values


def _clean(values: pa.Array) -> pa.Array:
    if holds_nul(values):
        raise Unfit("it holds a NUL character, which PostgreSQL's text cannot hold")
    return values


def _json(values: pa.Array) -> pa.Array:
    rows = (
        None if value is None else json.dumps(_plain_json(value, values.type), ensure_ascii=False)
        for value in values.to_pylist()
    )
    return _clean(pa.array(list(rows), pa.string()))


def _plain_json(value: Any, kind: pa.DataType) -> Any:
    """The type tells a map, which comes as a list of pairs, from a list: empty ones look alike.

    What JSON has no type for is its text.
    """
    if value is None:
        return None
    if pa.types.is_map(kind):
        found = {str(_plain_json(name, kind.key_type)): _plain_json(item, kind.item_type) for name, item in value}
        if len(found) < len(value):
            raise Unfit("a map in it has a key twice")
        return found
    if pa.types.is_struct(kind):
        return {field.name: _plain_json(value[field.name], field.type) for field in kind}
    if pa.types.is_nested(kind):
        return [_plain_json(item, kind.value_type) for item in value]
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"  # as PostgreSQL writes them
    return value if isinstance(value, str | bool | int | float) else str(value)


def _fitted(values: pa.Array, fit: Fit, stored: pa.DataType, name: str, problems: dict[int, str]) -> pa.Array:
    """A column in its stored type; rows whose value does not fit are found by halves, and NULL."""

    def some(start: int, length: int) -> pa.Array:
        try:
            found = fit(values.slice(start, length))
            return found if found.type == stored else found.cast(stored)
        except (pa.ArrowException, ValueError, ArithmeticError) as error:
            if length == 1:
                why = str(error) if isinstance(error, Unfit) else "its value does not fit"
                problems[start] = f"{problems[start]}; " if start in problems else ""
                problems[start] += f"column {name!r}: {why}"
                return pa.nulls(1, stored)
        half = length // 2
        return pa.concat_arrays([some(start, half), some(start + half, length - half)])

    return some(0, len(values)) if len(values) else pa.nulls(0, stored)


def _nulls(column: pa.Array) -> list[int]:
    return [row for row, empty in enumerate(column.is_null().to_pylist()) if empty]


def _raw_keys(keys: pa.Array, batch: pa.RecordBatch, names: Sequence[str], problems: Mapping[int, str]) -> pa.Array:
    """A key that PostgreSQL cannot spell is named as the source has it, so that it can be told from others."""
    found = keys.to_pylist()
    for row in problems:
        values = [batch.column(name)[row].as_py() for name in names]
        if None not in values and any(f"column {name!r}:" in problems[row] for name in names):
            found[row] = str(values[0]) if len(values) == 1 else json.dumps([str(value) for value in values])
    return pa.array(found, pa.string())


def _other_prints(prints: pa.Array, batch: pa.RecordBatch, problems: Mapping[int, str]) -> pa.Array:
    """A row with a problem is fingerprinted as it came: nothing in the target is like it."""
    found = prints.to_pylist()
    for row, why in problems.items():
        raw = repr(batch.slice(row, 1).to_pylist()) + why
        found[row] = fingerprints([pa.array([raw])])[0].as_py()
    return pa.array(found, pa.string())


def _type_name(kind: pa.DataType) -> str:
    return str(kind) if pa.types.is_struct(kind) or pa.types.is_map(kind) else _spelled(kind)


def _spelled(kind: pa.DataType) -> str:
    try:
        return spell_type(kind)
    except RunError:
        return str(kind)


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind


__all__ = ["CHANGED_AT", "FINGERPRINT", "KEY", "PROBLEM", "Conformer"]
