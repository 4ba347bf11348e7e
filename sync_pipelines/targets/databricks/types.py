"""The types of a warehouse's columns in Arrow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.targets.databricks.settings import quoted
from sync_pipelines.targets.lake.types import parse

UNKNOWN = pa.null()
"""Stands for a type that no sync writes (struct, map, variant): a column of it is somebody else's."""

_NESTED = re.compile(r"\s*(array|map|struct)\s*<(.*)>\s*", re.IGNORECASE | re.DOTALL)
_FIELD = re.compile(
    r"\s*(?:`((?:[^`]|``)+)`|([^:`\s]+))\s*:\s*(.*?)(?:\s+NOT\s+NULL)?(?:\s+COMMENT\s+'.*')?\s*", re.I | re.S
)


def plain_schema(columns: Iterable[tuple[str, str]]) -> pa.Schema:
    """Names and types as SQL spells them, in Arrow's plain types."""
    return pa.schema([(name, _type(text)) for name, text in columns])


def nested_schema(columns: Iterable[tuple[str, str]]) -> pa.Schema:
    """The same, with structs and maps as what they are: those of a table that somebody else writes."""
    return pa.schema([(name, _nested(text)) for name, text in columns])


def read_schema(columns: Mapping[str, str]) -> pa.Schema:
    """What the values of `values_of` come as.

    Args:
        columns: name → type as SQL spells it.
    """
    return nested_schema((name, "STRING" if _is_variant(text) else text) for name, text in columns.items())


def values_of(chosen: Iterable[str], columns: Mapping[str, str], *, table: object, place: Mapping[str, Any]) -> str:
    """The chosen columns in a SELECT; a variant, which Arrow and EXCEPT do not know, is its JSON.

    Args:
        columns: see `read_schema`. table, place: for errors.

    Raises:
        ConfigurationError: no row of one of them could be read.
    """
    names = list(chosen)
    if unread := [f"{name!r} ({columns[name]})" for name in names if _is_unread(columns[name])]:
        raise ConfigurationError(
            f"table {table} has a column of a type that is not read: {', '.join(unread)}.",
            remedy="Leave it out by naming the others in `columns`.",
            **place,
        )
    return ", ".join(
        f"to_json({quoted(name)}) AS {quoted(name)}" if _is_variant(columns[name]) else quoted(name) for name in names
    )


def _is_variant(text: str) -> bool:
    return text.strip().upper() == "VARIANT"


def _is_unread(text: str) -> bool:
    """Whether a type is, or holds, one without a counterpart in Arrow; nothing but NULL (VOID) is read."""
    return text.strip().upper() not in ("VARIANT", "VOID") and _holds_unknown(_nested(text))


def _holds_unknown(kind: pa.DataType) -> bool:
    parts = (kind.field(number).type for number in range(kind.num_fields))
    return kind == UNKNOWN or any(map(_holds_unknown, parts))


def _type(text: str) -> pa.DataType:
    try:
        return parse(text)
    except ConfigurationError:
        return UNKNOWN


def _nested(text: str) -> pa.DataType:
    found = _NESTED.fullmatch(text)
    if found is None:
        return _type(text)
    kind, parts = found[1].lower(), list(_parts(found[2]))
    if kind == "struct":
        fields = [_FIELD.fullmatch(part) for part in parts]
        return pa.struct([((one[1] or one[2]).replace("``", "`"), _nested(one[3])) for one in fields if one])
    inner = [_nested(part) for part in parts]
    return pa.list_(inner[0]) if kind == "array" else pa.map_(*inner)


def _parts(text: str) -> Iterator[str]:
    """What stands between the commas that no bracket or quote holds."""
    depth, start, quote = 0, 0, ""
    for place, letter in enumerate(text):
        if quote or letter in "`'":
            quote = "" if letter == quote else quote or letter
        elif letter in "<(":
            depth += 1
        elif letter in ">)":
            depth -= 1
        elif letter == "," and not depth:
            yield text[start:place]
            start = place + 1
    if text[start:].strip():
        yield text[start:]
