"""Parameters that `make test-all` alone runs, since others stand for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest


def spare(*given: Any) -> Iterator[Any]:
    """Parameters of a test that are variations of those without this mark.

    Args:
        given: one for each variation; a tuple is taken whole, as the value of one name or of several.
    """
    for one in given:
        yield (
            pytest.param(*one, marks=pytest.mark.exhaustive)
            if _is_row(one)
            else pytest.param(one, marks=pytest.mark.exhaustive)
        )


def _is_row(one: Any) -> bool:
    """Whether a tuple holds the values of several names, as a boundary in one does."""
    return isinstance(one, tuple) and any(isinstance(value, tuple) for value in one)


def mark_spare(items: Iterable[pytest.Item]) -> None:
    """Make exhaustive what a mark `spare_where` names."""
    for item in items:
        given = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        for mark in item.iter_markers("spare_where"):
            if all(given.get(name) == value for name, value in mark.kwargs.items()):
                item.add_marker(pytest.mark.exhaustive)
