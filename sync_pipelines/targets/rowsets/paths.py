"""The fields of payloads by their paths: `rooms[].max_adults`, and `prices.*.amount` in a map whose names are data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

ANY = "*"
"""Stands in a path for the names of a map that are data."""

_MOMENT = r"-?\d([-\d.,:/ +_]|(?<=\d)T(?=\d)|Z$|(?<=-)[WQ](?=\d))*"
_UUID = r"[\da-fA-F]{8}(-[\da-fA-F]{4}){3}-[\da-fA-F]{12}"
_DATA = re.compile(f"{_MOMENT}|{_UUID}")
"""Dates and times, numbers and ranges of them, UUIDs: no field of a contract is named so."""


def is_data(name: str) -> bool:
    """Whether a name in an object is not that of a field, but of a day, a number or an id: each day has another."""
    return _DATA.fullmatch(name) is not None


def general(path: str) -> str:
    """The path with `*` in the place of names that are data."""
    return ".".join(ANY if is_data(part) else part for part in path.split("."))


def paths(payload: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Each field of a payload with the kind of its value: `rooms[].max_adults`, number."""
    if isinstance(payload, Mapping):
        for name, value in payload.items():
            shown = ANY if is_data(name) else name
            path = f"{at}.{shown}" if at else shown
            yield path, _kind(value)
            yield from paths(value, path)
    elif isinstance(payload, list):
        for item in payload:
            yield from paths(item, f"{at}[]")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return {str: "text", dict: "object", list: "list"}[type(value)]
