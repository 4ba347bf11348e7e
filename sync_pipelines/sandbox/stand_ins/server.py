"""A stand-in as a child process, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from typing import Any, ClassVar

from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.folders import remove
from sync_pipelines.sandbox.processes import LOOPBACK
from sync_pipelines.sandbox.server import Server
from sync_pipelines.sandbox.stand_ins.control import Refused, ask


class StandInServer(Server):
    """One process that serves a stand-in; its key lies in its folder.

    What `controls` names can be asked for by these names.
    """

    busy_signs: ClassVar[tuple[str, ...]] = ("Address already in use",)
    module: ClassVar[str]
    """The program: `python -m`."""
    controls: ClassVar[tuple[str, ...]]
    prefix: ClassVar[str]
    """What keys begin with."""

    @property
    def address(self) -> str:
        """Where it listens, without a path."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def key(self) -> str:
        """Made with the folder, and kept."""
        file = self.folder / "key"
        if not file.exists():
            raise SandboxError(f"{self.name} in {self.folder} has never been started.")
        return file.read_text().strip()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in type(self).controls:
            raise AttributeError(name)
        return lambda *args, **options: ask(self.address, self.key, name, args, options)

    def destroy(self) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        remove(self.folder)

    def _prepare(self) -> None:
        file = self.folder / "key"
        if not file.exists():
            file.touch(0o600)
            file.write_text(f"{self.prefix}{secrets.token_hex(16)}\n")

    def _command(self, port: int) -> list[str]:
        # -P: a module of the working folder must not stand in for one of the environment.
        options = ["--folder", str(self.folder), "--port", str(port)]
        return [sys.executable, "-P", "-m", self.module, *options]

    def _environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def _answers(self) -> bool:
        try:
            ask(self.address, self.key, "seen")
        except (OSError, Refused):
            return False
        return True
