"""The types of a warehouse's columns in Arrow."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.targets.lake.types import parse

UNKNOWN = pa.null()
"""Stands for a type that no sync writes (struct, map, variant): a column of it is somebody else's."""


def plain_schema(columns: Iterable[tuple[str, str]]) -> pa.Schema:
    """Names and types as SQL spells them, in Arrow's plain types."""
    return pa.schema([(name, _type(text)) for name, text in columns])


def _type(text: str) -> pa.DataType:
    try:
        return parse(text)
    except ConfigurationError:
        return UNKNOWN
