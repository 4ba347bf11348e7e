"""Ctrl-C, SIGTERM and a closed terminal while something comes up: what was begun is undone before we go."""

import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

_ENDINGS = (signal.SIGTERM, signal.SIGHUP)

_AT_ONCE = 2.0
"""Seconds within which further signals are one with the first: undoing has begun by then."""


@contextmanager
def undone(undo: Callable[[], None]) -> Generator[None]:
    """Undo what the block began where a signal cuts it off.

    Signals meanwhile are not heard: a second Ctrl-C would leave the rest, also one just before undoing begins.
    Elsewhere than in the main thread no signal arrives, and the block just runs.

    Args:
        undo: called once, by the thread that entered, before the interrupt goes on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Dagster lets SIGTERM do what Ctrl-C does; a handler of anybody else's stays.
    plain = (signal.SIG_DFL, signal.default_int_handler)
    handled = [number for number in _ENDINGS if signal.getsignal(number) in plain]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        handled.append(signal.SIGINT)
    with _handled(dict.fromkeys(handled, _Once())):
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            with _handled(dict.fromkeys((signal.SIGINT, *_ENDINGS), signal.SIG_IGN)):
                undo()
            raise


class _Once:
    """Raises where a signal comes, and not where others follow it at once."""

    def __init__(self) -> None:
        self._heard = -_AT_ONCE

    def __call__(self, number: int, _: object) -> None:
        now, before = time.monotonic(), self._heard
        self._heard = now
        if now - before < _AT_ONCE:
            return
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


@contextmanager
def _handled(handlers: dict[signal.Signals, Any]) -> Generator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
