"""The program of the stand-in: ``python -m sync_pipelines.sandbox.cupid --folder F --port P``; it ends with SIGTERM."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from sync_pipelines.sandbox.cupid.api import Cupid


def main() -> None:
    """Serve until somebody says that it is enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    key = (given.folder / "key").read_text().strip()
    with Cupid(key=key, port=given.port, kept=given.folder / "edits.json"):
        ended.wait()


if __name__ == "__main__":
    main()
