"""Whether columns can hold values that no row has yet: PostgreSQL itself is asked, for the types are its own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sync_pipelines.engine.pg_errors import is_database_error, sqlstate
from sync_pipelines.engine.sql import identifier, literal
from sync_pipelines.sources.postgres.connection import NormalisedUrl, small_transaction
from sync_pipelines.sources.postgres.types import Column

_UNFIT = ("22", "23")
"""The classes of errors that values make."""


def refused(url: NormalisedUrl, columns: Sequence[Column], values: Mapping[str, Any], *, pool_max: int) -> list[str]:
    """Those of these columns that cannot hold the value given for them.

    A record is made of each, and thrown away: so lengths, ranges, enums and domains are the column's own.
    """
    asked = [column for column in columns if column.name in values]
    return [item.name for item in asked if not _holds(url, item, values[item.name], pool_max=pool_max)]


def _holds(url: NormalisedUrl, column: Column, value: Any, *, pool_max: int) -> bool:
    if value is None and not column.nullable:
        return False
    try:
        given = literal(json.dumps({column.name: _spelled(value, column)}))
    except (TypeError, ValueError, RecursionError):  # it is none of JSON
        return False
    record = f"pg_catalog.jsonb_to_record({given}::pg_catalog.jsonb) AS r({identifier(column.name)} {column.pg_type})"
    try:
        with small_transaction(url, pool_max=pool_max) as session:
            session.all(f"SELECT 1 AS one FROM {record}")
    except Exception as error:
        if not is_database_error(error) or not (sqlstate(error) or "").startswith(_UNFIT):
            raise
        return False
    return True


def _spelled(value: Any, column: Column) -> Any:
    """NaN and infinity, for which JSON has no number, as PostgreSQL reads them; of a text of JSON what it spells.

    Raises:
        ValueError: the column is of JSON, and the text is none.
    """
    if isinstance(value, str) and column.base_type in ("json", "jsonb"):
        return json.loads(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
