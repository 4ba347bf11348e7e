"""The texts by which people name records, and the one spelling that each key has.

A key of several columns is a JSON array of texts as PostgreSQL's json_build_array writes it (`engine.capture`):
`["1", "4"]`, non-ASCII as it is. People, and other JSON writers, spell it `["1","4"]` or `["Z\\u00fcrich","4"]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class NamedKey:
    """A key that somebody has named: as the source spells it, and whether the source has such a record."""

    key: str
    found: bool


def split(joined: str, columns: int) -> list[str]:
    """The keys that `--keys` names: parted by commas, or JSON where the text begins with a bracket.

    Args:
        joined: `a,b`; `["a", "b,c"]`; for a key of several columns `["1", "4"]`, several of them, or a list of them.
        columns: how many columns the table's key has.
    """
    if joined.lstrip().startswith("["):
        found = _json_keys(joined, columns)
        if found is not None:
            return found
    return [part for text in joined.split(",") if (part := text.strip())]


def _json_keys(text: str, columns: int) -> list[str] | None:
    """None where it is no JSON: a key of one column may begin with a bracket."""
    try:
        found = json.loads(f"[{text}]")
    except ValueError:
        return None if columns == 1 else [text]
    if len(found) == 1 and (columns == 1 or _is_list_of_keys(found[0])):
        found = found[0]
    return [item if isinstance(item, str) else as_postgres(item) for item in found]


def _is_list_of_keys(item: Any) -> bool:
    """`[["1", "4"], ["2", "5"]]`, also with each key as a text."""
    return all(isinstance(key, list) or (isinstance(key, str) and key.lstrip().startswith("[")) for key in item)


def as_postgres(value: Any) -> str:
    """A JSON value as PostgreSQL's json_build_array writes it."""
    return json.dumps(value, ensure_ascii=False)


def normal(text: str, columns: Sequence[str]) -> str:
    """The key in its one spelling, as far as its form goes; what its columns hold is not known here.

    A whole number in a composite key is taken for its digits; a NULL is one.

    Raises:
        ValueError: it is no key of these columns; one clause says why.
    """
    _require_text(text)
    if len(columns) == 1:
        return text
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise ValueError(f"a key of it is a JSON array of {len(columns)} texts")
    if len(found) != len(columns):
        raise ValueError(f"its key has {len(columns)} columns ({', '.join(columns)}), and this names {len(found)}")
    return as_postgres([_part(item, column) for item, column in zip(found, columns, strict=True)])


def _part(item: Any, column: str) -> str | None:
    if isinstance(item, int) and not isinstance(item, bool):
        return str(item)
    if item is None or isinstance(item, str):
        if item is not None:
            _require_text(item)
        return item
    # 1.50 and 1.5 are two keys and one JSON number; true and an object have several texts, too
    raise ValueError(f"{column} is to be a text, in quotes")


def _require_text(text: str) -> None:
    if not is_text(text):
        raise ValueError("it holds characters that no text in PostgreSQL has")


def is_text(text: str) -> bool:
    """PostgreSQL holds no NUL, and a terminal's broken UTF-8 comes here as lone surrogates."""
    return "\0" not in text and (text.isascii() or _SURROGATE.search(text) is None)


def texts(keys: Iterable[str]) -> list[str]:
    """Those of these keys that PostgreSQL can hold; of another (an id that a stranger made) it has no record."""
    given = list(keys)
    return given if is_text("".join(given)) else [key for key in given if is_text(key)]


def example(columns: Sequence[str]) -> str:
    """How a key of these columns is given, for a remedy."""
    if len(columns) == 1:
        return f"Give a value of {columns[0]}."
    values = json.dumps([f"<{column}>" for column in columns], ensure_ascii=False)
    return f"Write it like '{values}'."
