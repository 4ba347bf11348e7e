"""Rows of a source become rows of a lakehouse table: converted a column at a time, refused a record at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.model import FINGERPRINT, KEY, PROBLEM, SYSTEM_FIELDS, Rejection
from sync_pipelines.targets.lake.types import SourceType, check_choice, natural, parse, spell

Converter = Callable[[pa.Array], pa.Array]
"""A column as it was read → as it is stored; raises ValueError or ArrowInvalid where a value does not fit."""

_SYSTEM = {item.name for item in SYSTEM_FIELDS}


@dataclass(frozen=True, kw_only=True)
class LakeMapper:
    """Source batches to rows of the table: `_key`, `_fingerprint`, then each column in its stored type.

    Args:
        types: column → Delta type, where the document chooses another than the natural one.
        place: sync and table, for errors.
    """

    types: Mapping[str, str] = field(default_factory=dict)
    place: str = ""

    @property
    def signature(self) -> str:
        """A text that changes when the mapping does."""
        return json.dumps(["lake", 1, sorted((name, spell(parse(kind))) for name, kind in self.types.items())])

    def stored_type(self, column: pa.Field) -> pa.DataType:
        """The type in which a source's column is stored."""
        source = SourceType.of(column)
        if column.name not in self.types:
            return natural(source)
        wanted = parse(self.types[column.name])
        if wanted == pa.string():
            return wanted
        check_choice(column.name, source, wanted)
        return wanted

    def schema(self, source: pa.Schema) -> pa.Schema:
        """The table's own columns for a source's schema; nothing of the sync's in it."""
        if unknown := sorted(set(self.types) - set(source.names)):
            raise ConfigurationError(f"{self.place}: types: the source has no column {', '.join(unknown)}.")
        return pa.schema(
            [pa.field(c.name, self.stored_type(c), metadata=_comment(c)) for c in source if c.name not in _SYSTEM]
        )

    def map(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Rejection]]:
        """The rows that can be stored, and the others with why."""
        reasons = _read_problems(batch)
        stored = self.schema(batch.schema)
        columns = []
        for item in stored:
            convert = converter(SourceType.of(batch.schema.field(item.name)), item.type)
            columns.append(self._convert(batch, item, convert, reasons))
        schema = pa.schema([pa.field(KEY, pa.string(), False), pa.field(FINGERPRINT, pa.string(), False)])
        schema = pa.schema([*schema, *stored])
        made = pa.RecordBatch.from_arrays([batch.column(KEY), batch.column(FINGERPRINT), *columns], schema=schema)
        if not reasons:
            return made, []
        keys = batch.column(KEY).to_pylist()
        rejected = [Rejection(key=keys[row], reason=why, stage=stage) for row, (stage, why) in sorted(reasons.items())]
        return made.filter(pa.array([row not in reasons for row in range(batch.num_rows)])), rejected

    def _convert(
        self, batch: pa.RecordBatch, item: pa.Field, convert: Converter, reasons: dict[int, tuple[str, str]]
    ) -> pa.Array:
        column = batch.column(item.name)
        try:
            return convert(column)
        except (pa.ArrowException, ValueError, ArithmeticError):
            # one that does not fit fails the whole column: find it
            return pa.concat_arrays(list(self._one_by_one(column, item, convert, reasons)))

    def _one_by_one(
        self, column: pa.Array, item: pa.Field, convert: Converter, reasons: dict[int, tuple[str, str]]
    ) -> Iterator[pa.Array]:
        for row in range(len(column)):
            try:
                yield convert(column.slice(row, 1))
            except (pa.ArrowException, ValueError, ArithmeticError) as error:
                why = str(error) if isinstance(error, Unfit) else "its value does not fit"
                remedy = f"`types: {{{item.name}: string}}` keeps any value"
                reasons.setdefault(row, ("map", f"column {item.name!r} ({spell(item.type)}): {why}; {remedy}"))
                yield pa.nulls(1, item.type)


def _comment(column: pa.Field) -> dict[bytes, bytes] | None:
    found = (column.metadata or {}).get(b"comment")
    return {b"comment": found} if found else None


class Unfit(ValueError):
    """A value that the stored type cannot hold; the text says why and shows no value."""


def _read_problems(batch: pa.RecordBatch) -> dict[int, tuple[str, str]]:
    problems = batch.column(PROBLEM)
    if problems.null_count == len(problems):
        return {}
    return {row: ("read", why) for row, why in enumerate(problems.to_pylist()) if why}


def converter(source: SourceType, stored: pa.DataType) -> Converter:
    """How a column that was read in a source's way becomes one of a stored type."""
    if pa.types.is_string(stored):
        return lambda column: column
    if source.array and pa.types.is_list(stored):
        return partial(_lists, stored=stored, element=_element(source, stored.value_type))
    if source.base == "bytea" and pa.types.is_binary(stored):
        return _bytes
    if source.base == "numeric" and pa.types.is_floating(stored):
        return partial(_exact_float, stored=stored)
    if source.base == "numeric" and pa.types.is_integer(stored):
        return lambda column: column.cast(pa.decimal128(38, 0)).cast(stored)
    if source.base in ("int2", "int4", "int8") and pa.types.is_decimal(stored):
        return lambda column: column.cast(pa.decimal128(38, stored.scale)).cast(stored)
    if source.base == "float4":
        return lambda column: column.cast(stored, safe=False)
    if source.base == "timestamp" and stored == pa.timestamp("us"):
        return lambda column: column.cast(pa.int64()).cast(stored)
    if source.base == "timestamptz" and stored == pa.timestamp("us"):
        return lambda column: column.cast(pa.int64()).cast(stored)
    return lambda column: column.cast(stored)


def _bytes(column: pa.Array) -> pa.Array:
    return pa.array([None if text is None else bytes.fromhex(text) for text in column.to_pylist()], pa.binary())


def _exact_float(column: pa.Array, *, stored: pa.DataType) -> pa.Array:
    values = column.to_pylist()
    found = [None if text is None else float(text) for text in values]
    for text, value in zip(values, found, strict=True):
        if text is not None and Decimal(text).is_finite() and Decimal(repr(value)) != Decimal(text):
            raise Unfit("it has more digits than a double holds exactly")
    return pa.array(found, stored)


_Element = Callable[[Any], Any]


def _lists(column: pa.Array, *, stored: pa.DataType, element: _Element) -> pa.Array:
    """JSON arrays, numbers kept as their text, to lists of one dimension."""
    return pa.array([None if text is None else _list(text, element) for text in column.to_pylist()], stored)


def _list(text: str, element: _Element) -> list[Any]:
    values = json.loads(text, parse_float=str, parse_int=str)
    if any(isinstance(value, list) for value in values):
        raise Unfit("the array has more than one dimension")
    return [None if value is None else element(value) for value in values]


def _element(source: SourceType, stored: pa.DataType) -> _Element:
    if pa.types.is_integer(stored):
        return int
    if pa.types.is_floating(stored):
        return float
    if pa.types.is_decimal(stored):
        return partial(_decimal, scale=stored.scale)
    if pa.types.is_date(stored):
        return _date
    if pa.types.is_timestamp(stored):
        return partial(_timestamp, zone=bool(stored.tz))
    if pa.types.is_binary(stored):
        return lambda text: bytes.fromhex(text.removeprefix("\\x"))
    if pa.types.is_boolean(stored):
        return bool
    return str


def _decimal(text: str, *, scale: int) -> Decimal:
    value = Decimal(text)
    if not value.is_finite():
        raise Unfit("it holds NaN")
    stored = round(value, scale)
    if stored != value:
        raise Unfit(f"it holds a number with more than {scale} digits after the point")
    return stored


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Unfit("a date in it is infinite, BC or after the year 9999") from None


def _timestamp(text: str, *, zone: bool) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Unfit("a time in it is infinite, BC or after the year 9999") from None
    if zone:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.replace(tzinfo=None)
