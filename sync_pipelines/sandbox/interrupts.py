"""Ctrl-C, SIGTERM and a closed terminal while something comes up: what was begun is undone before we go."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NoReturn

_ENDINGS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def undone(undo: Callable[[], None]) -> Generator[None]:
    """Undo what the block began where a signal cuts it off.

    Signals meanwhile wait for the end of undoing: a second Ctrl-C would leave the rest. Elsewhere than in the main
    thread no signal arrives, and the block just runs.

    Args:
        undo: called once, by the thread that entered, before the interrupt goes on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _handled({number: _leave for number in _ENDINGS if signal.getsignal(number) is signal.SIG_DFL}):
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            with _handled(dict.fromkeys((signal.SIGINT, *_ENDINGS), signal.SIG_IGN)):
                undo()
            raise


def _leave(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)


@contextmanager
def _handled(handlers: dict[signal.Signals, Any]) -> Generator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
