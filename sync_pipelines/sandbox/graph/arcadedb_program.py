"""The program of `ArcadeServer`: ``python -m sync_pipelines.sandbox.graph.arcadedb_program --folder F --port P …``.

One process that holds the Java virtual machine; it ends with SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from sync_pipelines.sandbox.processes import LOOPBACK, free_port

_MESSAGE = 64 * 1024 * 1024
"""Bytes of a message that is taken; a client that sends a larger one hangs (facts/embedded-engines.md)."""


def main() -> None:
    """Start the server: who can connect finds the database ready."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--database", required=True)
    given = parser.parse_args()
    server = _server(given)
    server.start()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # now: starting Java sets handlers of its own
        signal.signal(number, lambda *_: ended.set())
    (given.folder / "ready").touch()
    while not ended.wait(60):
        pass
    server.stop()
    sys.stdout.flush()
    os._exit(0)  # Java's threads have nothing left to say


def _server(given: argparse.Namespace):  # type: ignore[no-untyped-def]
    import arcadedb_embedded

    password = (given.folder / "password").read_text().strip()
    return arcadedb_embedded.create_server(
        root_path=str(given.folder / "data"),
        root_password=password,
        config={
            "host": LOOPBACK,
            "http_port": free_port(),  # it cannot be left out; nobody is told of it
            "server_plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
            "bolt_host": LOOPBACK,
            "bolt_port": given.port,
            "bolt_defaultDatabase": given.database,
            "bolt_maxMessageSize": _MESSAGE,
            "bolt_packstream_maxValueLength": _MESSAGE,
            "server_defaultDatabases": f"{given.database}[{given.user}:{password}:admin]",
        },
    )


if __name__ == "__main__":
    main()
