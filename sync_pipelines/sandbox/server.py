"""What the sandbox's servers have in common: one folder, one process, one port."""

import logging
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

from sync_pipelines.sandbox import guard
from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.folders import PASSABLE, make_folder, read_json, write_json
from sync_pipelines.sandbox.processes import (
    POLITE,
    Launch,
    ProcessId,
    free_port,
    port_is_free,
    spawn,
    stop,
    tail,
    wait_until,
)

Log = Callable[[str], None]
"""Takes one line of progress for people."""

START_SECONDS = 60.0
"""The longest a server may take to answer; a loaded machine needs a few seconds, a fresh one under two."""

_ADOPT_SECONDS = 5.0
"""The longest that a running server may take to answer before it is taken for wedged and started anew."""

_WATCHER_SECONDS = 40.0
"""The longest that a watcher needs for the server of a killed parent, every signal waited for in full."""

_PORT_SECONDS = 3.0
"""The longest to wait for the kept port before the server moves to another one."""

_LOG_BYTES = 10_000_000
"""A larger log is moved aside when its server starts, so that a sandbox cannot fill a disk."""


class Server(ABC):
    """A server under a folder of its own.

    The folder holds ``server.json`` (process and port), ``server.log`` and the data. The port is chosen at
    the first start and kept.
    """

    name: ClassVar[str]
    start_seconds: ClassVar[float] = START_SECONDS
    """The longest that this server may take to answer."""
    escalation: ClassVar[guard.Escalation] = POLITE
    busy_signs: ClassVar[tuple[str, ...]] = ()
    """Words in the log of a failed start that mean: what was killed a moment ago still holds something."""

    def __init__(self, folder: Path, *, detached: bool = False, log: Log | None = None) -> None:
        """Name a server; nothing is started.

        Args:
            folder: its own folder, made when missing.
            detached: whether it is to live on when this process ends. Otherwise it ends with this process,
                however that ends.
            log: takes lines of progress; by default they go to this module's logger.
        """
        self.folder = Path(folder).absolute()
        self.detached = detached
        self.log = log or logging.getLogger(__name__).debug

    @property
    def log_file(self) -> Path:
        """The file that holds what the server prints."""
        return self.folder / "server.log"

    @property
    def port(self) -> int:
        """The server's port on 127.0.0.1; it stays the same after a stop or a crash.

        Raises:
            SandboxError: when the server has never been started.
        """
        port = self._record().get("port")
        if port is None:
            raise SandboxError(f"{self.name} in {self.folder} has never been started (sync-pipelines sandbox up).")
        return int(port)

    @property
    def process(self) -> ProcessId | None:
        """The running process, or None; another process that took its number does not count."""
        record = self._record()
        if "pid" not in record:
            return None
        process = ProcessId(record["pid"], record["started"])
        return process if process.alive() else None

    def answers(self) -> bool:
        """Return whether the server runs and answers a question now."""
        return self.process is not None and self._answers()

    def start(self) -> None:
        """Start the server and wait until it answers; one that answers already is left as it is.

        Raises:
            SandboxError: when it does not start; the text ends with the end of its log.
        """
        if self._adopt():
            return
        make_folder(self.folder, PASSABLE)
        self._move_log_aside()
        self._prepare()
        began = time.monotonic()
        while not self._try_to_start(began):
            time.sleep(0.2)
        self.log(f"{self.name} answers on port {self.port} after {time.monotonic() - began:.1f} s.")

    def stop(self) -> None:
        """Stop the server in an orderly way; one that does not run is fine.

        Raises:
            SandboxError: when it belongs to another user or will not end.
        """
        process = self.process
        if process is not None:
            stop(process, self.escalation)
            self.log(f"{self.name} stopped.")

    def kill(self) -> None:
        """End the server as a crash does, with SIGKILL, and return when nothing of it is left."""
        process = self.process
        if process is not None:
            stop(process, [(signal.SIGKILL, 10.0)])

    def restart(self) -> None:
        """Stop the server and start it again on the same port."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    @abstractmethod
    def _prepare(self) -> None:
        """Make what the server needs before its first start, and clear what a crash left."""

    @abstractmethod
    def _command(self, port: int) -> list[str]:
        """The program by its absolute path, and its arguments."""

    @abstractmethod
    def _environment(self) -> dict[str, str]:
        """The server's environment, whole."""

    @abstractmethod
    def _answers(self) -> bool:
        """Ask the server once, within a second or two."""

    def _user(self) -> tuple[int, int] | None:
        """The user and group id to run as; None for our own."""
        return None

    def _record(self) -> dict[str, Any]:
        return read_json(self.folder / "server.json")

    def _adopt(self) -> bool:
        """Whether the server runs already, for us; one that is wedged or on its way out is ended first."""
        process = self.process
        if process is None:
            return False
        if not self._is_ours():
            self._wait_for_the_watcher_of(process)
            return False
        if wait_until(self._answers, process=process, seconds=_ADOPT_SECONDS):
            return True
        self.log(f"{self.name} runs and does not answer; it is started anew.")
        stop(process, self.escalation)
        return False

    def _is_ours(self) -> bool:
        """Whether the running server will live as long as this object promises."""
        detached = self._record()["detached"]
        return detached == self.detached and (detached or self._parent() == ProcessId.of(os.getpid()))

    def _parent(self) -> ProcessId:
        return ProcessId(*self._record()["parent"])

    def _wait_for_the_watcher_of(self, process: ProcessId) -> None:
        """Wait while a watcher ends the server of a killed parent; refuse a server that is in use."""
        deadline = time.monotonic() + _WATCHER_SECONDS
        while process.alive():
            if self._record()["detached"] or self._parent().alive() or time.monotonic() > deadline:
                raise SandboxError(
                    f"{self.name} in {self.folder} is in use (process {process.pid}); "
                    "stop it first, or use another folder."
                )
            time.sleep(0.05)

    def _try_to_start(self, began: float) -> bool:
        """Start it once. False: what was killed a moment ago is still in the way, try again."""
        written = self.log_file.stat().st_size if self.log_file.exists() else 0
        process = spawn(self._launch(), record=self._keep)
        left = self.start_seconds - (time.monotonic() - began)
        if wait_until(self._answers, process=process, seconds=left):
            return True
        alive = process.alive()
        stop(process, self.escalation)
        said = tail(self.log_file, since=written)
        if left > 0 and not alive and any(sign in said for sign in self.busy_signs):
            return False
        what = "did not answer in time" if alive else "ended while it started"
        raise SandboxError(f"{self.name} {what}; the end of {self.log_file}:\n{said}")

    def _launch(self) -> Launch:
        return Launch(
            command=self._command(self._choose_port()),
            log=self.log_file,
            environment=self._environment(),
            folder=self.folder,
            user=self._user(),
            detached=self.detached,
            escalation=self.escalation,
        )

    def _choose_port(self) -> int:
        kept = self._record().get("port")
        if isinstance(kept, int) and _comes_free(kept):
            return kept
        port = free_port()
        if kept is not None:
            self.log(f"Port {kept} is taken by another program; {self.name} moves to port {port}.")
        write_json(self.folder / "server.json", {"port": port})
        return port

    def _keep(self, process: ProcessId) -> None:
        parent = ProcessId.of(os.getpid())
        assert parent is not None
        record = {
            "port": self.port,
            "pid": process.pid,
            "started": process.started,
            "detached": self.detached,
            "parent": [parent.pid, parent.started],
        }
        write_json(self.folder / "server.json", record)

    def _move_log_aside(self) -> None:
        if self.log_file.exists() and self.log_file.stat().st_size > _LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))


def _comes_free(port: int) -> bool:
    """Whether the port is free, or becomes so: clients have its number, so a little patience is worth it."""
    deadline = time.monotonic() + _PORT_SECONDS
    while not port_is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
