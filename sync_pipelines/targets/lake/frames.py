"""Whatever a user holds rows in, as a stream of Arrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.targets.lake.types import MOST_DIGITS


def stream_of(frame: Any) -> pa.RecordBatchReader:
    """A pandas or polars DataFrame, an Arrow table, batch or stream, a DuckDB relation: as a stream of Arrow batches.

    Raises:
        ConfigurationError: it is none of these.
    """
    if type(frame).__module__.partition(".")[0] == "pandas":
        return pa.Table.from_pandas(frame, preserve_index=False).to_reader()
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


def _fitting(item: pa.Field, held: pa.DataType | None) -> pa.DataType:
    if held is not None and not pa.types.is_nested(held) and not pa.types.is_null(held):
        try:
            pa.nulls(0, item.type).cast(held)
        except pa.ArrowNotImplementedError:
            pass  # no rule leads from the one to the other: the engine says so
        else:
            return held
    if (kind := _storable(item.type)) is None:
        raise ConfigurationError(
            f"column {item.name!r}: a lakehouse has no type for Arrow's {item.type}.",
            remedy="Cast it, a time or a duration to text or a number, or leave it out.",
        )
    return kind


def _as_type(column: pa.Array, item: pa.Field) -> pa.Array:
    try:
        return column.cast(item.type)
    except pa.ArrowInvalid as error:
        raise ConfigurationError(
            f"column {item.name!r} of the rows does not fit into the table's {item.type}: {error}",
            remedy="Round or cast it before, as is meant.",
        ) from error


def _storable(kind: pa.DataType) -> pa.DataType | None:
    """The type in which a lakehouse stores Arrow's, or None."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if pa.types.is_dictionary(kind):
        return _storable(kind.value_type)
    if pa.types.is_decimal(kind):
        return pa.decimal128(kind.precision, kind.scale) if 0 <= kind.scale <= kind.precision <= MOST_DIGITS else None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _storable(kind.value_type)
        return inner and pa.list_(inner)
    if pa.types.is_map(kind):
        key, value = _storable(kind.key_type), _storable(kind.item_type)
        return key and value and pa.map_(key, value)
    if pa.types.is_struct(kind):
        parts = [(item, _storable(item.type)) for item in kind]
        return pa.struct([item.with_type(part) for item, part in parts]) if all(part for _, part in parts) else None
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
