"""The program of a stand-in: a folder with its key, a port, and service until SIGTERM."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

Open = Callable[[str, int, Path], AbstractContextManager[Any]]
"""Makes the stand-in of key, port and folder."""


def main(open_: Open, description: str | None) -> None:
    """Serve until somebody says that it is enough."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with open_((given.folder / "key").read_text().strip(), given.port, given.folder):
        ended.wait()
