"""Values in the form that both sides have in common: as texts that PostgreSQL reads, and as a row's fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.capture import NULL_KEY
from sync_pipelines.engine.errors import ConfigurationError

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
        return _list_texts(column)
    if pa.types.is_binary(kind):
        return pa.array([None if value is None else f"\\x{value.hex()}" for value in column.to_pylist()], pa.string())
    if pa.types.is_timestamp(kind) and kind.unit == "us" and kind.tz in (None, "UTC"):
        return time_texts(column)
    return column.cast(pa.string())


def _list_texts(column: pa.Array) -> pa.Array:
    """Array literals, element by element quoted: `{"a",NULL}`."""
    found = texts(column.flatten())
    for mark in ("\\", '"') if _holds(found, b'\\"') else ():
        found = call("replace_substring", found, options=pc.ReplaceSubstringOptions(mark, f"\\{mark}"))
    elements = call("coalesce", call("binary_join_element_wise", '"', found, '"', ""), "NULL")
    lengths = call("coalesce", call("list_value_length", column), pa.scalar(0, pa.int32()))
    ends = call("cumulative_sum", lengths)
    lists = pa.ListArray.from_arrays(pa.concat_arrays([pa.array([0], pa.int32()), ends]), elements)
    made = call("binary_join_element_wise", "{", call("binary_join", lists, ","), "}", "")
    return call("if_else", column.is_valid(), made, pa.scalar(None, pa.string())) if column.null_count else made


def array_literal(values: Sequence[str | None]) -> str:
    """Texts as one text that PostgreSQL takes for an array of them."""
    return f"{{{','.join(map(_element, values))}}}"


def _element(text: str | None) -> str:
    if text is None:
        return "NULL"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def bytes_of(column: pa.Array) -> np.ndarray:
    """All bytes of a column of texts, one text after the other."""
    _, offsets, data = column.buffers()
    if data is None or not len(column):
        return np.empty(0, np.uint8)
    ends = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4)
    return np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]


def _holds(column: pa.Array, marks: bytes) -> bool:
    found = bytes_of(column)
    return any(bool((found == mark).any()) for mark in marks)


def holds_nul(column: pa.Array) -> bool:
    """Whether one of these texts holds a NUL; Arrow's own search takes 30 times as long."""
    found = bytes_of(column.cast(pa.string()))
    return bool(len(found)) and not found.min()


_PAIRS = np.frombuffer("".join(f"{number:02d}" for number in range(100)).encode(), np.uint8).reshape(100, 2)
_MOMENT = b"0000-00-00 00:00:00.000000Z"
_DAY = 86_400_000_000
_CENTURIES = (-62_135_596_800_000_000, 253_402_300_800_000_000)


def time_texts(column: pa.Array) -> pa.Array:
    """Microseconds as Arrow writes them, `2024-01-01 10:00:00.500000Z`; its own cast takes ten times as long."""
    numbers = call("coalesce", column.cast(pa.int64()), pa.scalar(0, pa.int64())).to_numpy(zero_copy_only=False)
    if not len(numbers) or numbers.min() < _CENTURIES[0] or numbers.max() >= _CENTURIES[1]:
        return column.cast(pa.string())
    width = len(_MOMENT) - (column.type.tz is None)
    made = np.empty((len(numbers), width), np.uint8)
    made[:] = np.frombuffer(_MOMENT[:width], np.uint8)
    for place, pair in _places(numbers):
        made[:, place : place + 2] = _PAIRS[pair]
    offsets = pa.py_buffer(np.arange(len(numbers) + 1, dtype=np.int32) * width)
    valid = column.is_valid().buffers()[1] if column.null_count else None
    return pa.Array.from_buffers(pa.string(), len(numbers), [valid, offsets, pa.py_buffer(made)])


def _places(numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Where each pair of a moment's digits stands, and which it is."""
    days, rest = np.divmod(numbers, _DAY)
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    years = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    seconds, fraction = np.divmod(rest, 1_000_000)
    yield from ((0, years // 100), (2, years % 100))
    yield from ((5, months.astype(np.int64) % 12 + 1), (8, (dates - months).astype(np.int64) + 1))
    yield from ((11, seconds // 3600), (14, seconds // 60 % 60), (17, seconds % 60))
    yield from ((20, fraction // 10_000), (22, fraction // 100 % 100), (24, fraction % 100))


_HEADS = pa.array([f"{length}:" for length in range(4096)], pa.string())
"""What stands before a text of each of these lengths."""


def fingerprints(columns: Sequence[pa.Array]) -> pa.Array:
    """A fingerprint for each row of these columns: the same for the same values, whichever side they came from.

    The length before each text keeps ("a,b", "c") apart from ("a", "b,c"); a NULL is no empty text. A row is
    `2:ab,-,1:c`.
    """
    parts: list[Any] = []
    for column in columns:
        parts += [*([","] if parts else []), *_headed(texts(column))]
    options = pc.JoinOptions(null_handling="replace", null_replacement="")
    rows = call("binary_join_element_wise", *parts, "", options=options).cast(pa.binary()).to_pylist()
    md5 = partial(hashlib.md5, usedforsecurity=False)
    return pa.array([f"{VERSION}:{md5(row).hexdigest()}" for row in rows], pa.string())


def _headed(found: pa.Array) -> tuple[Any, pa.Array]:
    """What stands before each text, and the texts."""
    lengths = call("binary_length", found)
    bounds = call("min_max", lengths)
    least, most = bounds["min"].as_py(), bounds["max"].as_py()
    if most is None:
        return "-", found
    if least == most and not found.null_count:
        return f"{most}:", found
    if most < len(_HEADS):
        heads = call("take", _HEADS, lengths)
    else:
        heads = call("binary_join_element_wise", lengths.cast(pa.string()), ":", "")
    return (call("coalesce", heads, "-") if found.null_count else heads), found


def hashes(columns: Sequence[pa.Array]) -> pa.Array:
    """As fingerprints, by Python's own hash of texts (SipHash, 64 bits): for this process alone, at a quarter.

    No text holds a NUL, which parts them here, nor the byte FF, which stands for NULL: PostgreSQL has neither.
    """
    given = [_plainly(column).cast(pa.binary()) for column in columns]
    options = pc.JoinOptions(null_handling="replace", null_replacement=b"\xff")
    rows = call("binary_join_element_wise", *given, pa.scalar(b"\0"), options=options).to_pylist()
    return pa.array(np.fromiter(map(hash, rows), np.int64, len(rows))).cast(pa.string())


def _plainly(column: pa.Array) -> pa.Array:
    """Any text that tells a column's values apart."""
    return column.cast(pa.int64()).cast(pa.string()) if pa.types.is_timestamp(column.type) else texts(column)


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


Fit = Callable[[pa.Array], pa.Array]
"""A column → the column in another type; raises where one of its values does not fit."""

__all__ = ["Fit", "call", "fingerprints", "hashes", "key_texts", "texts"]
