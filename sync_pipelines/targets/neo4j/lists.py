"""Arrays on their way into a graph, which holds lists of one type without nulls, and nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from sync_pipelines.targets.neo4j.types import LISTS, Kind


class Unfit(ValueError):
    """A value that the property cannot hold; the text says why and shows no value."""


_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def canonical(text: str, kind: Kind) -> str:
    """An array as PostgreSQL's to_json writes it, in one spelling; numbers that become texts keep theirs.

    Raises:
        Unfit: it cannot be read.
    """
    try:
        return _dumps(json.loads(text, parse_float=_number(kind), parse_int=_number(kind)))
    except (ValueError, RecursionError):
        raise Unfit("it holds JSON that cannot be read") from None


def _number(kind: Kind) -> Callable[[str], Any]:
    """How a number's digits are read: `1.50` of a numeric must not become 1.5."""
    return {Kind.integers: int, Kind.floats: float}.get(kind, str)


def as_stored(text: str, kind: Kind) -> list[Any] | str:
    """What the graph is given for an array in its one spelling: a list where it can be one, else the text."""
    found = _list(json.loads(text), kind)
    return text if found is None else found


def _list(values: Any, kind: Kind) -> list[Any] | None:
    if not isinstance(values, list):
        return None
    if kind is Kind.floats:
        values = [_NUMBERS.get(item, item) if isinstance(item, str) else item for item in values]
    return values if all(type(item) is LISTS[kind] for item in values) else None


def as_read(value: Any, kind: Kind) -> str | None:
    """The one spelling of what the graph holds; None where the sync would not have stored it so."""
    if isinstance(value, str):
        try:
            return value if isinstance(as_stored(value, kind), str) else None
        except (ValueError, RecursionError):
            return None
    if not isinstance(value, list) or any(type(item) is not LISTS[kind] for item in value):
        return None
    return _dumps([_word(item) for item in value] if kind is Kind.floats else value)


def _word(number: float) -> float | str:
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
