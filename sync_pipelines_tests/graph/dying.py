"""A process that dies by SIGKILL where a test wants it to."""

from __future__ import annotations

import os
import signal
from typing import Any


def die_at(place: tuple[Any, str, str], number: int) -> None:
    """Let this process die the so-many-th time that it comes there.

    Args:
        place: a class, the name of its method, and `before` or `after` it; what raises is not after it.
    """
    kind, name, when = place
    method = getattr(kind, name)
    calls = iter(range(number - 1, -1, -1))

    def dying(*given: Any, **named: Any) -> Any:
        if when == "before":
            die_if_last()
        found = method(*given, **named)
        if when == "after":
            die_if_last()
        return found

    def die_if_last() -> None:
        if next(calls, 1) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(kind, name, dying)
