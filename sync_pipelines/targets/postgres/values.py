"""Values in the form that both sides have in common: as texts that PostgreSQL reads, and as a row's fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.capture import NULL_KEY
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.model import KEY

VERSION = 1
"""Stands in front of each fingerprint; raised when the algorithm changes, so that old bases are none."""


def call(name: str, *arguments: Any, options: Any = None) -> Any:
    """One of Arrow's functions, by name."""
    given = [pa.scalar(item) if isinstance(item, str) else item for item in arguments]
    return pc.call_function(name, given, options)


def texts(column: pa.Array) -> pa.Array:
    """Each value as a text that PostgreSQL takes for it; NULL stays."""
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_list(kind):
        return pa.array(list(map(_list_literal, _lists(column))), pa.string())
    if pa.types.is_binary(kind):
        return pa.array([None if value is None else f"\\x{value.hex()}" for value in column.to_pylist()], pa.string())
    return column.cast(pa.string())


def _lists(column: pa.Array) -> list[list[str | None] | None]:
    """The lists of a column with their elements as texts."""
    flat = iter(texts(column.flatten()).to_pylist())
    lengths = call("list_value_length", column).to_pylist()
    return [None if length is None else [next(flat) for _ in range(length)] for length in lengths]


def _list_literal(values: list[str | None] | None) -> str | None:
    return None if values is None else "{" + ",".join(map(_element, values)) + "}"


def _element(text: str | None) -> str:
    if text is None:
        return "NULL"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def fingerprints(columns: Sequence[pa.Array]) -> pa.Array:
    """A fingerprint for each row of these columns: the same for the same values, whichever side they came from.

    The length before each text keeps ("a,b", "c") apart from ("a", "b,c"); a NULL is no empty text.
    """
    parts = []
    for column in columns:
        found = texts(column)
        sized = call("binary_join_element_wise", call("binary_length", found).cast(pa.string()), found, ":")
        parts.append(call("coalesce", sized, "-"))
    rows = call("binary_join_element_wise", *parts, ",") if len(parts) > 1 else parts[0]
    return pa.array([_print(row) for row in rows.cast(pa.binary()).to_pylist()], pa.string())


def _print(row: bytes) -> str:
    return f"{VERSION}:{hashlib.md5(row, usedforsecurity=False).hexdigest()}"


def key_texts(columns: Sequence[pa.Array]) -> pa.Array:
    """The records' keys as PostgreSQL's `engine.capture.key_text` spells them; a NULL has its name there."""
    spelled = [_key_part(column) for column in columns]
    if len(spelled) == 1:
        return call("coalesce", spelled[0], NULL_KEY)
    rows = zip(*(column.to_pylist() for column in spelled), strict=True)
    return pa.array([json.dumps(list(row), ensure_ascii=False) for row in rows], pa.string())


def _key_part(column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(column.type):
        return pa.array([_moment(value) for value in texts(column).to_pylist()], pa.string())
    if pa.types.is_decimal(column.type):
        return pa.array([None if value is None else f"{value:f}" for value in column.to_pylist()], pa.string())
    if pa.types.is_floating(column.type) or pa.types.is_list(column.type):
        raise ConfigurationError(f"a key column of type {column.type} has no one spelling.", remedy="Name another key.")
    return texts(column)


def _moment(text: str | None) -> str | None:
    """`2024-01-01 10:00:00.500000Z` as PostgreSQL writes it in UTC: `2024-01-01 10:00:00.5+00`."""
    if text is None:
        return None
    zone = "+00" if text.endswith("Z") else ""
    return text.removesuffix("Z").rstrip("0").removesuffix(".") + zone if "." in text else text + zone


def with_prints(rows: pa.RecordBatch, names: Sequence[str]) -> pa.Array:
    """The fingerprints of a batch's rows over these columns."""
    return fingerprints([rows.column(name) for name in names]) if rows.num_rows else pa.array([], pa.string())


Fit = Callable[[pa.Array], pa.Array]
"""A column → the column in another type; raises where one of its values does not fit."""

__all__ = ["KEY", "Fit", "call", "fingerprints", "key_texts", "texts", "with_prints"]
