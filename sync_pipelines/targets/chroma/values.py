"""What Chroma can hold as metadata, checked before it is sent.

Chroma 1.5.9 changes values without a word: 2**63 becomes a float, NaN disappears, `update` merges so that a
field which went stays. So every value is checked here, and a merge names what goes with None.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.targets.chroma.names import RESERVED_PREFIXES, check_field_name

Scalar = bool | int | float | str
Metadata = dict[str, Scalar | list[Any]]

_INT64 = range(-(2**63), 2**63)


class ValueRefused(ValueError):
    """A value that Chroma cannot hold as it is; the text says which and why."""


def check_text(text: str, *, what: str) -> None:
    """Refuse text that would not come back as it was.

    Raises:
        ValueRefused: for NUL characters and lone surrogates (half a character, which UTF-8 cannot write).
    """
    if "\0" in text:
        raise ValueRefused(f"{what} holds a NUL character")
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueRefused(f"{what} holds a lone surrogate, half of a character") from None


def stored_metadata(text: str | None) -> Metadata:
    """The metadata that is stored for a JSON object of name → bool, int, float, str, list or null.

    Null and an empty list are absent: Chroma has neither.

    Raises:
        ValueRefused: for a value that Chroma would change, or a reserved name.
    """
    fields = json.loads(text) if text else {}
    if not isinstance(fields, dict):
        raise ValueRefused("metadata is no JSON object")
    return {name: _checked(name, value) for name, value in fields.items() if value is not None and value != []}


@lru_cache(maxsize=1024)
def _check_name(name: str) -> None:
    """The same few names come with every record."""
    check_text(name, what="a metadata name")
    try:
        check_field_name(name)
    except ConfigurationError as error:
        raise ValueRefused(error.message) from None


def _checked(name: str, value: Any) -> Any:
    _check_name(name)
    if isinstance(value, list):
        return _checked_list(name, value)
    return _checked_scalar(name, value)


def _checked_list(name: str, values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values}
    if len(kinds) != 1:
        raise ValueRefused(f"metadata {name!r}: a list of values of different types")
    return [_checked_scalar(name, value) for value in values]


def _checked_scalar(name: str, value: Any) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value not in _INT64:
            raise ValueRefused(f"metadata {name!r}: {value} does not fit into 64 bits")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueRefused(f"metadata {name!r}: {value} is no number that Chroma stores")
        return value + 0.0  # Chroma answers 0.0 for -0.0: say so before it does
    if isinstance(value, str):
        check_text(value, what=f"metadata {name!r}")
        return value
    raise ValueRefused(f"metadata {name!r}: a {type(value).__name__} cannot be stored")


def user_fields(metadata: Mapping[str, Any] | None) -> Metadata:
    """The fields that are not the sync's own, in name order."""
    items = sorted((metadata or {}).items())
    return {name: value for name, value in items if not name.startswith(RESERVED_PREFIXES)}


def canonical(fields: Mapping[str, Any]) -> str:
    """Fields as JSON text that is the same for the same values: names sorted, no spaces, text as it is."""
    return json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal and of one type (1, 1.0 and True are three different values here)."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


def merge(stored: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """What to send so that the stored fields become the wanted ones; None where they are already.

    Fields that are to go are named with None, since Chroma merges.
    """
    stored = stored or {}
    gone = dict.fromkeys(name for name in stored if name not in wanted)
    changed = any(name not in stored or not same(stored[name], value) for name, value in wanted.items())
    return {**wanted, **gone} if changed or gone else None
