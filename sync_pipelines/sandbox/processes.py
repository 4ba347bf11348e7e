"""Child processes on loopback ports: start them, wait until they answer, end them and nobody else."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sync_pipelines.sandbox import guard
from sync_pipelines.sandbox.errors import SandboxError

LOOPBACK = "127.0.0.1"

# Linux gives outgoing connections a local port from 32768 on, macOS from 49152 on. A server whose port lies
# there may find it taken by some client's connection when it comes back after a kill; below, that cannot be.
PORTS = range(20_000, 32_000)

POLITE: guard.Escalation = [(signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)]
"""End a process: ask, and after ten seconds insist."""

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Our own children, kept so that Python does not complain of one that is meant to outlive us."""


@dataclass(frozen=True)
class ProcessId:
    """A process that cannot be mistaken for a later one with the same number.

    Attributes:
        pid: its number.
        started: what :func:`guard.started` said when it was new.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """Return the process that has this number now, or None."""
        identity = guard.started(pid)
        return None if identity is None else cls(pid, identity)

    def alive(self) -> bool:
        """Return whether this very process still runs; a zombie does not."""
        child = _children.get(self.pid)
        if child is not None and child.poll() is not None:
            del _children[self.pid]
        return guard.started(self.pid) == self.started


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a server is started.

    Attributes:
        command: the program by its absolute path, and its arguments.
        log: the file that gets what it prints.
        environment: its environment, whole.
        folder: its working directory.
        user: the user and group id to run it as, or None for our own.
        detached: whether it is to live on when this process ends.
        escalation: how to end it.
    """

    command: Sequence[str]
    log: Path
    environment: Mapping[str, str]
    folder: Path
    user: tuple[int, int] | None = None
    detached: bool = False
    escalation: guard.Escalation


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that nothing listens on now.

    Raises:
        SandboxError: when none of a hundred tried ports was free.
    """
    for port in random.SystemRandom().sample(PORTS, 100):
        if port_is_free(port):
            return port
    raise SandboxError(f"No free port was found on {LOOPBACK} between {PORTS.start} and {PORTS.stop}.")


def port_is_free(port: int) -> bool:
    """Return whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: without it, connections of the last minute (TIME_WAIT) make the port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def spawn(launch: Launch, *, record: Callable[[ProcessId], None]) -> ProcessId:
    """Start a server in a session of its own, so that Ctrl-C in the terminal does not reach it.

    The server waits until it is on record and, unless detached, watched: whenever this process dies, there is
    no moment that leaves a server behind which nobody knows.

    Args:
        launch: what to start.
        record: is called with the new process before it begins its work.

    Returns:
        The process.

    Raises:
        SandboxError: when it ended at once.
    """
    user, group = launch.user or (None, None)
    with launch.log.open("ab") as log:
        child = _guard(
            "launch",
            {"command": list(launch.command), "user": user, "group": group},
            stdin=subprocess.PIPE,
            output=log.fileno(),
            environment=launch.environment,
            folder=launch.folder,
        )
    process = ProcessId.of(child.pid)
    if process is None:
        raise SandboxError(f"{launch.command[0]} ended before it began; see {launch.log}.")
    record(process)
    if not launch.detached:
        _watch_over(process, launch.escalation)
    _go(child)
    return process


def _go(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    # It may have ended already; whoever waits for it to answer reports its log.
    with suppress(BrokenPipeError), child.stdin as word:
        word.write(b"!")


def _watch_over(process: ProcessId, escalation: guard.Escalation) -> None:
    _guard(
        "watch",
        {"parent": os.getpid(), "pid": process.pid, "identity": process.started, "escalation": escalation},
        stdin=subprocess.DEVNULL,
        output=subprocess.DEVNULL,
        environment={},
        folder=Path("/"),
    )


def _guard(
    action: str,
    arguments: Mapping[str, object],
    *,
    stdin: int,
    output: int,
    environment: Mapping[str, str],
    folder: Path,
) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, action, json.dumps(arguments)],
        stdin=stdin,
        stdout=output,
        stderr=output,
        env=dict(environment),
        cwd=folder,
        start_new_session=True,
    )
    _forget_the_dead()
    _children[child.pid] = child
    return child


def _forget_the_dead() -> None:
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            _children.pop(pid, None)


def stop(process: ProcessId, escalation: guard.Escalation = POLITE) -> None:
    """End a process, after making sure that it is the one that was started.

    Args:
        process: the process; nothing happens when it is gone.
        escalation: the signals to send, each with the seconds to wait for it to work.

    Raises:
        SandboxError: when it survived every signal, or belongs to another user.
    """
    try:
        gone = guard.end(process.pid, process.started, escalation)
    except PermissionError as error:
        raise SandboxError(f"Process {process.pid} belongs to another user and was left running.") from error
    if not gone:
        raise SandboxError(f"Process {process.pid} did not end; end it by hand (kill -9 {process.pid}).")
    process.alive()  # collects it where it was our child


def children_of(pid: int) -> list[ProcessId]:
    """Return the direct children of a process."""
    found = [ProcessId.of(child) for child, parent in _parents() if parent == pid]
    return [process for process in found if process is not None]


def _parents() -> list[tuple[int, int]]:
    """Every process with its parent."""
    if sys.platform == "linux":
        return _parents_by_proc()
    shown = subprocess.run(["ps", "-A", "-o", "pid=", "-o", "ppid="], capture_output=True, text=True, check=True)
    return [(int(pid), int(parent)) for pid, parent in map(str.split, shown.stdout.splitlines())]


def _parents_by_proc() -> list[tuple[int, int]]:
    found = [(entry, _stat(entry)) for entry in Path("/proc").glob("[0-9]*")]
    return [(int(entry.name), int(fields[1])) for entry, fields in found if fields]


def end_group(group: int, escalation: guard.Escalation, *, spare: str) -> bool:
    """Send each signal to the processes of a group and wait for their end; whether all of it has ended.

    Args:
        group: the process group.
        escalation: the signals, each with the seconds to wait for it to work.
        spare: processes with this word in their command line end by themselves, and get SIGKILL alone.
    """
    for number, seconds in escalation:
        for pid in _members(group):
            if number == signal.SIGKILL or spare not in command_line(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while _members(group) and time.monotonic() < deadline:
            time.sleep(0.1)
    return not _members(group)


def _members(group: int) -> list[int]:
    """The processes of a group that run; zombies do not."""
    if sys.platform == "linux":
        found = [(int(entry.name), _stat(entry)) for entry in Path("/proc").glob("[0-9]*")]
        return [pid for pid, fields in found if fields and int(fields[2]) == group and fields[0] != b"Z"]
    columns = ["-o", "pid=", "-o", "pgid=", "-o", "stat="]
    shown = subprocess.run(["ps", "-A", *columns], capture_output=True, text=True, check=True)
    rows = [line.split() for line in shown.stdout.splitlines()]
    return [int(pid) for pid, owner, state in rows if int(owner) == group and not state.startswith("Z")]


def _stat(entry: Path) -> list[bytes]:
    """What /proc says of a process behind its name: state, parent, group, …; nothing where it ended meanwhile."""
    try:
        return (entry / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


def command_line(pid: int) -> str:
    """Return the command line of a process, its arguments joined by spaces; empty when it is gone."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    shown = ["ps", "-o", "command=", "-p", str(pid)]
    return subprocess.run(shown, capture_output=True, text=True, check=False).stdout


def wait_until(answers: Callable[[], bool], *, process: ProcessId, seconds: float, every: float = 0.05) -> bool:
    """Wait until a server answers.

    Args:
        answers: asks the server once; must not raise, and must not block for long.
        process: the server; the wait ends when it does.
        seconds: the longest wait.
        every: seconds between two questions.

    Returns:
        True when it answered; False when it ended or the time was up.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.alive():
        if answers():
            return True
        time.sleep(every)
    return False


def tail(log: Path, *, lines: int = 20, since: int = 0) -> str:
    """Return the last lines of a log.

    Args:
        log: the file; a missing one is empty.
        lines: how many lines at most.
        since: leave out what stands before this byte.
    """
    try:
        with log.open("rb") as file:
            file.seek(since)
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
