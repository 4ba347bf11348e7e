"""The stand-in of Cupid as a child process, on a free port of 127.0.0.1."""

from __future__ import annotations

import json
import os
import secrets
import sys
import urllib.request
from typing import Any, ClassVar

from sync_pipelines.sandbox.cupid import hotels
from sync_pipelines.sandbox.cupid.api import CONTROLS, VERSION
from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.folders import remove
from sync_pipelines.sandbox.processes import LOOPBACK
from sync_pipelines.sandbox.server import Server


class CupidServer(Server):
    """One process that serves what `api.Cupid` is; its key and its edits lie in its folder.

    What `api.Cupid` can be asked for, this can, too, by the same names: `change`, `remove`, `fault`, `seen`, …
    """

    name: ClassVar[str] = "the stand-in of Cupid"
    busy_signs: ClassVar[tuple[str, ...]] = ("Address already in use",)

    @property
    def url(self) -> str:
        """As CUPID_BASE_URL takes it."""
        return f"http://{LOOPBACK}:{self.port}/{VERSION}"

    @property
    def key(self) -> str:
        """As CUPID_API_KEY takes it: made with the folder, and kept."""
        file = self.folder / "key"
        if not file.exists():
            raise SandboxError(f"{self.name} in {self.folder} has never been started.")
        return file.read_text().strip()

    @property
    def variables(self) -> dict[str, str]:
        """What points a sync at this server."""
        return {"CUPID_BASE_URL": self.url, "CUPID_API_KEY": self.key}

    def ids(self, count: int) -> list[int]:
        """So many ids of hotels, always the same."""
        return hotels.some_ids(count)

    def __getattr__(self, name: str) -> Any:
        if name not in CONTROLS:
            raise AttributeError(name)
        return lambda *args, **options: self._control(name, args, options)

    def destroy(self) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        remove(self.folder)

    def _prepare(self) -> None:
        file = self.folder / "key"
        if not file.exists():
            file.touch(0o600)
            file.write_text(f"cupid-{secrets.token_hex(16)}\n")

    def _command(self, port: int) -> list[str]:
        # -P: a module of the working folder must not stand in for one of the environment.
        options = ["--folder", str(self.folder), "--port", str(port)]
        return [sys.executable, "-P", "-m", "sync_pipelines.sandbox.cupid", *options]

    def _environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def _answers(self) -> bool:
        try:
            self._control("seen", (), {})
        except OSError:
            return False
        return True

    def _control(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"http://{LOOPBACK}:{self.port}/control/{name}",
            method="POST",
            data=json.dumps({"args": list(args), "options": options}).encode(),
            headers={"x-api-key": self.key, "Content-Type": "application/json"},
        )
        # No proxy, whatever the environment says: 127.0.0.1 is never behind one.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as response:
            return json.loads(response.read())
