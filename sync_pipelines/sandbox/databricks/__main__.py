"""The program of the stand-in: ``python -m sync_pipelines.sandbox.databricks --folder F --port P``.

One process that holds the Spark session and the HTTP server; it ends with SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from sync_pipelines.sandbox import guard
from sync_pipelines.sandbox.databricks.assembly import build


def main() -> None:
    """Start Spark, then listen: who gets an answer finds everything ready."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--class-path", required=True)
    parser.add_argument("--lives-with", nargs=2, metavar=("PID", "IDENTITY"))
    given = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    stand_in = build(given.folder, given.port, [Path(part) for part in given.class_path.split(os.pathsep)])
    threading.Thread(target=stand_in.front.serve_forever, daemon=True).start()
    # Without its Java, statements would hang: whoever waits for one must see the server gone.
    while not ended.wait(0.2) and stand_in.engine.alive:
        if given.lives_with and guard.started(int(given.lives_with[0])) != given.lives_with[1]:
            break
    stand_in.close()
    sys.stdout.flush()
    # Spark's own threads of this process have nothing left to say, and wait for each other for seconds.
    os._exit(0)


if __name__ == "__main__":
    main()
