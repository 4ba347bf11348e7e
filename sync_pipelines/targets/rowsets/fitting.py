"""Whether a text can be the key of a row, by the types of the columns that hold it.

Asked before PostgreSQL is: a cast of one text that it refuses fails the statement for all keys, and one to a type with
a length cuts the text, so that it would be another record's key.
"""

from __future__ import annotations

import re

from sync_pipelines.engine.rowsets import Kind, canonical

_BITS = {"smallint": 15, "integer": 31, "bigint": 63}
_SIZES = re.compile(r"\((\d+)(?:,(-?\d+))?\)$")


def misfit(text: str, kind: Kind, pg_type: str) -> str | None:
    """Why a column cannot hold this text as a key, as a clause; None where it can.

    Args:
        kind: what the column holds. pg_type: its type as PostgreSQL spells it, with its sizes.
    """
    try:
        value = canonical(text, kind)
    except (ValueError, TypeError, ArithmeticError) as error:
        return str(error)
    if str(value) != text:
        return f"as a key {text!r} would be {str(value)!r} there"
    return None if _has_room(value, kind, pg_type) else f"{pg_type} cannot hold {text!r}"


def _has_room(value: object, kind: Kind, pg_type: str) -> bool:
    sizes = _SIZES.search(pg_type)
    if isinstance(value, int) and pg_type in _BITS:
        return -(1 << _BITS[pg_type]) <= value < 1 << _BITS[pg_type]
    if kind == "text" and sizes:
        return len(str(value)) <= int(sizes[1])
    if kind == "numeric" and sizes:
        whole, _, behind = str(value).lstrip("-").partition(".")
        digits, scale = int(sizes[1]), int(sizes[2] or 0)
        return len(behind) <= scale and len(whole.lstrip("0")) <= digits - scale
    return True
