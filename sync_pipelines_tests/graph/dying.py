"""A process that dies by SIGKILL where a test wants it to."""

from __future__ import annotations

import os
import signal
from typing import Any


def die_at(place: tuple[Any, str, str], number: int) -> None:
    """Let this process die the so-many-th time that it comes there.

    Args:
        place: a class, the name of its method, and `before` or `after` it.
    """
    kind, name, when = place
    method = getattr(kind, name)
    calls = iter(range(number - 1, -1, -1))

    def dying(*given: Any, **named: Any) -> Any:
        last = next(calls, 1) == 0
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = method(*given, **named)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(kind, name, dying)
