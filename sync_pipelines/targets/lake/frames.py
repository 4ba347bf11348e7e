"""Whatever a user holds rows in, as a stream of Arrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.targets.lake.types import MOST_DIGITS


def stream_of(frame: Any) -> pa.RecordBatchReader:
    """A pandas or polars DataFrame, an Arrow table, batch or stream, a DuckDB relation: as a stream of Arrow batches.

    Raises:
        ConfigurationError: it is none of these, or a column of pandas holds values of several types.
    """
    if type(frame).__module__.partition(".")[0] == "pandas":
        return _of_pandas(frame).to_reader()
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame]).to_reader()
    if hasattr(frame, "collect"):  # polars' lazy frame
        frame = frame.collect()
    if not hasattr(frame, "__arrow_c_stream__"):
        raise ConfigurationError(
            f"{type(frame).__name__} holds no rows that can be written.",
            remedy="Give a DataFrame of pandas or polars, an Arrow table or stream, or a DuckDB relation.",
        )
    return pa.RecordBatchReader.from_stream(frame)


def _of_pandas(frame: Any) -> pa.Table:
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, ValueError) as error:
        told = error.args[0] if len(error.args) == 1 else ": ".join(map(str, reversed(error.args)))
        raise ConfigurationError(
            f"the DataFrame cannot be written: {told}.", remedy="Give each column one name and values of one type."
        ) from error


def fitted(rows: pa.RecordBatchReader, held: pa.Schema | None) -> pa.RecordBatchReader:
    """Rows in the types of a table's columns, or of a new table's where `held` is None.

    Both engines would make 1 of 1.7, and cut nanoseconds off, without a word.

    Raises:
        ConfigurationError: a lakehouse has no type for a column; or, when it is read, the column's cannot hold a value.
    """
    there = {item.name.casefold(): item.type for item in held or ()}
    schema = pa.schema([item.with_type(_fitting(item, there.get(item.name.casefold()))) for item in rows.schema])

    def each() -> Iterator[pa.RecordBatch]:
        for batch in rows:
            columns = [_as_type(column, item) for column, item in zip(batch.columns, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, each())


def storable_schema(schema: pa.Schema) -> pa.Schema:
    """The columns of a new table, in the types in which a lakehouse stores them.

    Raises:
        ConfigurationError: it has no type for one.
    """
    return pa.schema([item.with_type(_fitting(item, None)) for item in schema], metadata=schema.metadata)


def _fitting(item: pa.Field, held: pa.DataType | None) -> pa.DataType:
    if (kind := _meeting(item.type, held)) is None:
        raise ConfigurationError(
            f"column {item.name!r}: a lakehouse has no type for Arrow's {item.type}.",
            remedy="Cast it, a time or a duration to text or a number, or leave it out.",
        )
    return kind


def _meeting(kind: pa.DataType, held: pa.DataType | None) -> pa.DataType | None:
    """The type in which values go to a column: the column's; where no rule leads there, their own, and the engine says
    so. Fields of a struct are met by name. None where a lakehouse has none."""
    if held is None or pa.types.is_null(held):
        return _storable(kind)
    if pa.types.is_null(kind):
        return held
    if _is_listed(kind) and pa.types.is_list(held):
        inner = _meeting(kind.value_type, held.value_type)
        return inner and pa.list_(inner)
    if pa.types.is_map(kind) and pa.types.is_map(held):
        key, value = _meeting(kind.key_type, held.key_type), _meeting(kind.item_type, held.item_type)
        return key and value and pa.map_(key, value)
    if pa.types.is_struct(kind) and pa.types.is_struct(held):
        there = {item.name: item.type for item in held}
        return _struct([(item, _meeting(item.type, there.get(item.name))) for item in kind])
    if pa.types.is_nested(held) or not _is_castable(kind, held):
        return _storable(kind)
    return held


def _is_castable(kind: pa.DataType, held: pa.DataType) -> bool:
    try:
        pa.nulls(0, kind).cast(held)
    except pa.ArrowNotImplementedError:
        return False
    return True


def _is_listed(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _struct(parts: list[tuple[pa.Field, pa.DataType | None]]) -> pa.DataType | None:
    return pa.struct([item.with_type(part) for item, part in parts]) if all(part for _, part in parts) else None


def _as_type(column: pa.Array, item: pa.Field) -> pa.Array:
    if column.type == item.type:
        return column
    try:
        if pa.types.is_nested(column.type):
            column = pa.concat_arrays([column])  # a slice's own rows: Arrow casts the inner values of all others, too
        if pa.types.is_integer(column.type) and pa.types.is_decimal(item.type):
            column = column.cast(_INTEGERS)  # straight, Arrow asks for room for every integer
        found = column.cast(item.type)
        why = _changed(column, found)
    except pa.ArrowInvalid as error:
        raise _misfit(item, str(error)) from error
    if why is not None:
        raise _misfit(item, why)
    return found


def _misfit(item: pa.Field, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"column {item.name!r} of the rows does not fit into the table's {item.type}: {why}",
        remedy="Round or cast it before, as is meant.",
    )


def _changed(given: pa.Array, found: pa.Array) -> str | None:
    """The first value that a cast has changed, in words; Arrow's makes true of 2, infinity of 1e300, a day of a moment,
    and rounds to a float's and a decimal's digits.

    Args:
        given, found: values before and after it.
    """
    kind = given.type
    if kind == found.type or pa.types.is_null(kind):
        return None
    if pa.types.is_map(kind):
        return _changed(_as_list(given).flatten(), _as_list(found).flatten())
    if _is_listed(kind):
        return _changed(given.flatten(), found.flatten())
    if pa.types.is_struct(kind):
        parts = zip(given.flatten(), found.flatten(), strict=True)
        return next((why for pair in parts if (why := _changed(*pair)) is not None), None)
    lost = _lost(given, found)
    if lost is None or not (at := pc.call_function("indices_nonzero", [lost])):
        return None
    number = at[0].as_py()
    return f"{given[number].as_py()!r} would become {found[number].as_py()!r}"


def _as_list(entries: pa.Array) -> pa.Array:
    """A map as a list of pairs: only a list gives the parts of a slice of it."""
    pair = [pa.field("key", entries.type.key_type, nullable=False), pa.field("value", entries.type.item_type)]
    return entries.cast(pa.list_(pa.struct(pair)))


def _lost(given: pa.Array, found: pa.Array) -> pa.Array | None:
    """Which values do not come back by a cast into their own type; None where each surely does."""
    kind, now = given.type, found.type
    if pa.types.is_dictionary(kind):
        return _lost(given.dictionary_decode(), found)
    if pa.types.is_float16(kind):
        return _lost(given.cast(pa.float32()), found)  # of halves Arrow compares none
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        if not pa.types.is_floating(now):
            return None
        written = pc.call_function("match_substring", [given.cast(pa.string())], _INFINITE)
        return pc.call_function("and_not", [pc.call_function("is_inf", [found]), written])
    if not (_is_measured(kind) and _is_measured(now)):
        return None
    # 0.1 is the float 0.1: its digits say so, its value as a double does not
    shown = found.cast(pa.string()) if pa.types.is_float32(now) and pa.types.is_float64(kind) else found
    back = shown.cast(kind)
    lost = pc.call_function("not_equal", [given, back])
    if not pa.types.is_floating(kind):
        return lost
    both = pc.call_function("and", [pc.call_function("is_nan", [given]), pc.call_function("is_nan", [back])])
    return pc.call_function("and_not", [lost, both])


def _is_measured(kind: pa.DataType) -> bool:
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_temporal)
    return any(check(kind) for check in checks)


_INTEGERS = pa.decimal128(20, 0)
_INFINITE = pc.MatchSubstringOptions("inf", ignore_case=True)


def _storable(kind: pa.DataType) -> pa.DataType | None:
    """The type in which a lakehouse stores Arrow's, or None."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if pa.types.is_dictionary(kind):
        return _storable(kind.value_type)
    if pa.types.is_decimal(kind):
        return pa.decimal128(kind.precision, kind.scale) if 0 <= kind.scale <= kind.precision <= MOST_DIGITS else None
    if _is_listed(kind):
        inner = _storable(kind.value_type)
        return inner and pa.list_(inner)
    if pa.types.is_map(kind):
        key, value = _storable(kind.key_type), _storable(kind.item_type)
        return key and value and pa.map_(key, value)
    if pa.types.is_struct(kind):
        return _struct([(item, _storable(item.type)) for item in kind])
    plain = plain_type(kind)
    return _WIDER.get(plain, plain if plain in _PLAIN else None)


_PLAIN = (
    *(pa.string(), pa.binary(), pa.bool_(), pa.date32(), pa.float32(), pa.float64()),
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
)
_WIDER = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.int64(),
    pa.float16(): pa.float32(),
    pa.date64(): pa.date32(),
}
"""Arrow's types that a lakehouse lacks, and those that hold their values."""


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Views and large types as the plain ones, which every engine of a lakehouse takes."""
    return pa.schema([pa.field(item.name, plain_type(item.type), item.nullable, item.metadata) for item in schema])


def plain_type(kind: pa.DataType) -> pa.DataType:
    """A type without its view or large form; two of one meaning must compare equal."""
    if pa.types.is_string_view(kind) or pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_binary_view(kind) or pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(plain_type(kind.value_type))
    return kind
