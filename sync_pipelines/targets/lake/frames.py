"""Whatever a user holds rows in, as a stream of Arrow."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError


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
    found = pa.RecordBatchReader.from_stream(frame)
    return found.cast(plain_schema(found.schema))


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
