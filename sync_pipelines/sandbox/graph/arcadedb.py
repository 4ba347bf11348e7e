"""ArcadeDB as a child process: the graph of the sandbox, from PyPI alone, in Neo4j's place."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import ClassVar

from sync_pipelines.sandbox.folders import PRIVATE, make_folder
from sync_pipelines.sandbox.graph.server import GraphServer

_FOREIGN = ("ARCADEDB_", "NEO4J_", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "PYTHONPATH")
"""Variables that belong to another graph, or change the Java that comes with this one."""

_JVM = "-Xms64m -Xmx768m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"


class ArcadeServer(GraphServer):
    """One ArcadeDB with its Bolt plugin; it brings its own Java."""

    name: ClassVar[str] = "ArcadeDB"
    busy_signs: ClassVar[tuple[str, ...]] = ("Address already in use", "LockException")

    @property
    def _mark(self) -> Path:
        """Made by the program when everything is there.

        Bolt listens two seconds before the user exists, and who asks in between with the right password is locked out
        for half a minute, as after wrong ones.
        """
        return self.folder / "ready"

    def _prepare(self) -> None:
        self._mark.unlink(missing_ok=True)
        make_folder(self.folder / "data", PRIVATE)
        self._make_password()

    def _is_ready(self) -> bool:
        return self._mark.exists() and super()._is_ready()

    def _command(self, port: int) -> list[str]:
        # -P: a module of the working folder must not stand in for one of the environment.
        return [
            *(sys.executable, "-P", "-m", "sync_pipelines.sandbox.graph.arcadedb_program"),
            *("--folder", str(self.folder), "--port", str(port), "--user", self.user, "--database", self.database),
        ]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        return {**kept, "ARCADEDB_JVM_ARGS": _JVM}
