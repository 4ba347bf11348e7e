"""How long the code that runs now waits for a system that is away, before it says so.

A run waits as long as its target's module holds useful. Whoever tries again by himself, and is asked to end meanwhile,
waits shorter: so the consumer. A context variable, so that neither other threads nor what runs beside are hurried.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf

_most: ContextVar[float] = ContextVar("patience", default=inf)


@contextmanager
def patience_of(seconds: float) -> Generator[None]:
    """Within the block no system is waited for longer than this."""
    before = _most.set(min(seconds, _most.get()))
    try:
        yield
    finally:
        _most.reset(before)


def patience(usual: float) -> float:
    """Seconds for which a system is waited for: the usual ones, or fewer within `patience_of`."""
    return min(usual, _most.get())
