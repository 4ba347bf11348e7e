"""Workspaces kept in a file of the sandbox's own folder, so that they are there again after a restart.

A ledger remembers the pages of its users' databases; a stand-in that had forgotten them would look like a Notion that
has lost everything.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PAUSE = 2.0
"""Seconds from a change to the file, at least: what a kill can lose."""
_SHARE = 40
"""So many times as long as writing took is waited before the next one: a large workspace is not slowed down."""


class Keeper:
    """Writes a state whenever it has changed, in a thread of its own, and once more at the end.

    Args:
        file: readable by its owner alone: it holds tokens. state: the bytes of now.
    """

    def __init__(self, file: Path, state: Callable[[], bytes]) -> None:
        self._file, self._state = file, state
        self._changed, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def changed(self) -> None:
        """There is something to write."""
        self._changed.set()

    def stop(self) -> None:
        """Write what has changed, and end."""
        self._ended.set()
        self._changed.set()
        self._thread.join()

    def _run(self) -> None:
        pause = _PAUSE
        while not self._ended.is_set():
            self._changed.wait()
            self._ended.wait(pause)
            self._changed.clear()
            started = time.monotonic()
            self._write()
            pause = max(_PAUSE, _SHARE * (time.monotonic() - started))

    def _write(self) -> None:
        """As a whole or not at all: a file that is half written would be worth nothing."""
        draft = self._file.with_suffix(".new")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(self._state())
        draft.replace(self._file)


def kept(file: Path | None) -> Any | None:
    """What was written to this file; None where there is nothing, or nothing that this version can read."""
    if file is None or not file.exists():
        return None
    try:
        # our own file, in a folder that nobody else may write
        return pickle.loads(file.read_bytes())
    except Exception as error:  # of an older version, or damaged: it is put aside, and a new state begins
        aside = file.with_suffix(".unreadable")
        file.replace(aside)
        sys.stderr.write(f"{file} cannot be read ({type(error).__name__}: {error}); it is {aside} now.\n")
        return None
