"""The stand-in of Databricks as a child process, on a free port of 127.0.0.1."""

from __future__ import annotations

import json
import os
import secrets
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

from sync_pipelines.sandbox.databricks import jars
from sync_pipelines.sandbox.databricks.warehouses import WAREHOUSE
from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.folders import PRIVATE, make_folder, remove
from sync_pipelines.sandbox.processes import LOOPBACK, ProcessId
from sync_pipelines.sandbox.server import Log, Server

_FOREIGN = ("SPARK_", "PYSPARK_", "DATABRICKS_", "PYTHONPATH")
"""Variables that belong to another Spark or another Databricks than this one."""


class DatabricksServer(Server):
    """One process with a real Spark behind Databricks' HTTP front; all its data lies under one folder.

    Attributes:
        warehouse: the id of the SQL warehouse that always runs.
        http_path: the same as DATABRICKS_HTTP_PATH has it.
        volume: a Volume that exists from the start.
    """

    name: ClassVar[str] = "the stand-in of Databricks"
    # Spark takes ten seconds on an idle machine, and a minute where four others want its two cores.
    start_seconds: ClassVar[float] = 180.0
    busy_signs: ClassVar[tuple[str, ...]] = ("Address already in use",)

    warehouse = WAREHOUSE
    http_path = f"/sql/1.0/warehouses/{WAREHOUSE}"
    volume = "/Volumes/main/voyce/staging"

    def __init__(
        self, folder: Path, *, detached: bool = False, log: Log | None = None, lives_with: ProcessId | None = None
    ) -> None:
        """Name a server; nothing is started.

        Args:
            folder: its own folder, made when missing.
            detached: whether it is to live on when this process ends.
            log: takes lines of progress.
            lives_with: a process at whose end the server ends too, whoever started it.
        """
        super().__init__(folder, detached=detached, log=log)
        self._lives_with = lives_with

    @property
    def url(self) -> str:
        """The server's address, which databricks-sdk takes as a host; without a slash at its end."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def token(self) -> str:
        """The access token, made with the folder and kept."""
        file = self.folder / "token"
        if not file.exists():
            raise SandboxError(f"{self.name} in {self.folder} has never been started.")
        return file.read_text().strip()

    def fault(self, kind: str, *, match: str = "", text: str = "", times: int = 1, **options: Any) -> None:
        """Make the next requests meet a fault.

        Args:
            kind: "429", "503" (with ``retry_after`` seconds), "drop" (the request is done and its answer lost),
                "drop_before", "hang" (``seconds``), "fail" (the statement fails with ``message``), "expired_link".
            match: the kind of request (statements, execute, poll, chunk, cancel, link, files, directories,
                warehouses, jobs, catalog), or a word of the statement; by default any request.
            text: what the statement or the path must hold, so that another test's requests go free.
            times: how many requests meet it.
            options: what the kind asks for.
        """
        self._control("POST", "/faults", {"kind": kind, "match": match, "text": text, "times": times, **options})

    def clear_faults(self, text: str = "") -> None:
        """Forget the faults that still wait; with a text, only those that hold it in theirs."""
        self._control("DELETE", f"/faults?{urllib.parse.urlencode({'text': text})}")

    def seen(self, text: str = "") -> dict[str, dict[str, int]]:
        """Return how many requests of each kind came, and how many met which fault.

        Args:
            text: what the statement or the path must hold.
        """
        return self._control("GET", f"/faults/log?{urllib.parse.urlencode({'text': text})}")

    def working(self, run: int) -> int:
        """Return how many jobs Spark runs for a run of a job, also after its end."""
        return self._control("GET", f"/runs/{run}/working")["jobs"]

    def add_warehouse(self, *, start_seconds: float, state: str = "STOPPED") -> str:
        """Make a further warehouse over the same Spark and return its id.

        Args:
            start_seconds: what it takes to start.
            state: STOPPED or RUNNING.
        """
        number = secrets.token_hex(8)
        self._control("POST", "/warehouses", {"id": number, "state": state, "start_seconds": start_seconds})
        return number

    def destroy(self) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        remove(self.folder)

    def _prepare(self) -> None:
        for name in ("volumes", "warehouse"):
            make_folder(self.folder / name, PRIVATE)
        file = self.folder / "token"
        if not file.exists():
            file.touch(0o600)
            file.write_text(f"dapi{secrets.token_hex(16)}\n")
        self._class_path = os.pathsep.join(map(str, jars.class_path()))

    def _command(self, port: int) -> list[str]:
        options = ["--folder", str(self.folder), "--port", str(port), "--class-path", self._class_path]
        if self._lives_with is not None:
            options += ["--lives-with", str(self._lives_with.pid), self._lives_with.started]
        # -P: a module of the working folder must not stand in for one of the environment.
        return [sys.executable, "-P", "-m", "sync_pipelines.sandbox.databricks", *options]

    def _environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}

    def _answers(self) -> bool:
        try:
            self._control("GET", "/ready")
        except OSError:
            return False
        return True

    def _control(self, method: str, path: str, document: Any = None) -> Any:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if document is None else json.dumps(document).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        # No proxy, whatever the environment says: 127.0.0.1 is never behind one.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as response:
            return json.loads(response.read() or b"{}")
