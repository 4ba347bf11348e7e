"""The types of a warehouse's columns in Arrow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError
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
