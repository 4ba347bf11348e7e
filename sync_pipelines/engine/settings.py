"""Which of the places that may hold a value decides (DESIGN.md §4, Configuration)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sync_pipelines.engine.errors import ConfigurationError

T = TypeVar("T")


def resolve(
    name: str,
    *,
    sync: str,
    parse: Callable[[str], T],
    default: T,
    run_config: T | None = None,
    stored: str | None = None,
    environment: Mapping[str, str],
    yaml: T | None = None,
) -> T:
    """Run config, then `sync_settings`, then `<SYNC>_NAME`, then `SYNC_NAME`, then YAML, then the default.

    Args:
        name: the value's name in lower case (`batch_size`).
        parse: text → value; a ValueError becomes a sentence that names the place.
        stored: what `sync_settings` holds under `<sync>.<name>`.
    """
    if run_config is not None:
        return run_config
    places = [(f"sync_settings {sync}.{name}", stored)]
    places += [(variable, environment.get(variable)) for variable in variables(sync, name)]
    for place, text in places:
        if text is not None and text.strip():
            return _parsed(place, text, parse)
    return default if yaml is None else yaml


def variables(sync: str, name: str) -> tuple[str, str]:
    """The environment variables of a value, the sync's own first."""
    return f"{sync.upper()}_{name.upper()}", f"SYNC_{name.upper()}"


def _parsed(place: str, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text.strip())
    except ValueError as error:
        raise ConfigurationError(f"{place} is {text!r}: {error}.", remedy=f"Correct {place}.") from None


def positive(text: str) -> int:
    """A whole number above 0."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ValueError("expected a whole number above 0")
    return number


def up_to(most: int) -> Callable[[str], int]:
    """How a whole number from 1 to `most` is read."""

    def parse(text: str) -> int:
        found = positive(text)
        if found > most:
            raise ValueError(f"expected a whole number from 1 to {most}")
        return found

    return parse


def batch_of(size: Any) -> int:
    """The size of a batch as somebody has given it from Python, where no type was looked at.

    Raises:
        ConfigurationError: it is no whole number above 0.
    """
    if isinstance(size, int) and not isinstance(size, bool) and size >= 1:
        return size
    raise ConfigurationError(f"A batch of {size!r} is none.", remedy="Give a whole number above 0.")


def above_zero(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError("expected a number above 0")
    return number
