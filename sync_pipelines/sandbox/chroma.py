"""Chroma's own server as a child process, on a free port of 127.0.0.1."""

import os
import sys
import urllib.request
from pathlib import Path
from typing import ClassVar

from sync_pipelines.sandbox.folders import PRIVATE, make_folder, remove
from sync_pipelines.sandbox.processes import LOOPBACK
from sync_pipelines.sandbox.server import Server

# What the console script `chroma` does, in this very interpreter, so that no PATH and no scripts folder is
# searched. The script imports all of chromadb before it calls the same function: 1.4 s instead of 0.1 s.
_PROGRAM = """
import sys
sys.argv[0] = "chroma"
try:
    from chromadb_rust_bindings import cli
except ImportError:
    from chromadb.cli.cli import app
    app()
else:
    cli(sys.argv)
"""

_NO_TELEMETRY = {"ANONYMIZED_TELEMETRY": "False", "CHROMA_OTEL_COLLECTION_ENDPOINT": "", "DO_NOT_TRACK": "1"}


class ChromaServer(Server):
    """One Chroma server; all its data lies under one folder."""

    name: ClassVar[str] = "Chroma"
    busy_signs: ClassVar[tuple[str, ...]] = ("Address already in use", "database is locked")

    @property
    def data(self) -> Path:
        """The folder that ``chroma run --path`` gets."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """The server's address, without a slash at its end."""
        return f"http://{LOOPBACK}:{self.port}"

    def destroy(self) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        remove(self.folder)

    def _prepare(self) -> None:
        make_folder(self.data, PRIVATE)

    def _command(self, port: int) -> list[str]:
        # -P: a module of the working folder must not stand in for one of the environment.
        options = ["--path", str(self.data), "--host", LOOPBACK, "--port", str(port)]
        return [sys.executable, "-P", "-c", _PROGRAM, "run", *options]

    def _environment(self) -> dict[str, str]:
        # CHROMA_… and CONFIG_PATH are read by the server too, and the user set them for another one.
        kept = {k: v for k, v in os.environ.items() if not k.startswith("CHROMA_") and k != "CONFIG_PATH"}
        return {**kept, **_NO_TELEMETRY}

    def _answers(self) -> bool:
        # No proxy, whatever the environment says: 127.0.0.1 is never behind one.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}/api/v2/heartbeat", timeout=2) as response:
                return response.status == 200
        except OSError:
            return False
