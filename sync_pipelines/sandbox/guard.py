"""A tiny program that starts a server, or watches over one: run by its path, never as a module.

It imports the standard library alone and runs under ``python -I -S``, so that it costs about 15 ms, whatever
the project weighs. Two things are done here rather than in the parent:

* ``launch`` gives back what a shell or a threaded parent may have taken (ignored SIGINT, blocked signals),
  drops root, and only then becomes the server. Python warns against ``preexec_fn`` in a threaded parent; a
  program of its own has no threads.
* ``watch`` ends a server whose parent is gone. PR_SET_PDEATHSIG is not used: Linux sends it when the *thread*
  that forked ends, so a server started from a worker thread would die in the middle of its work. A watcher
  that looks at its own parent's process id has no such trap and works on macOS as well.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache

LOOK_EVERY_SECONDS = 0.2
"""How often a watcher looks whether its parent lives: no server outlives a killed parent for longer."""

Escalation = list[tuple[int, float]]
"""Signals to send one after the other, each with the seconds to wait for it to work."""


def started(pid: int) -> str | None:
    """Return what tells this process from a later one with the same number, or None when it is gone.

    Args:
        pid: a process id.

    Returns:
        The boot and the start time in clock ticks (Linux) or the start time in seconds (elsewhere). A zombie
        counts as gone: in a container without an init process nobody ever collects it.
    """
    return _started_by_proc(pid) if sys.platform == "linux" else _started_by_ps(pid)


def _started_by_proc(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field is the program's name in parentheses; spaces and parentheses may stand in it.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, threads, ticks = fields[0].decode(), int(fields[17]), fields[19].decode()
    # The first thread of a killed process is a zombie while the others still hold its ports and files.
    return None if state in "ZX" and threads <= 1 else f"{_boot()}/{ticks}"


@cache
def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def _started_by_ps(pid: int) -> str | None:
    shown = subprocess.run(
        ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    ).stdout.split(None, 1)
    return None if len(shown) < 2 or shown[0].startswith("Z") else shown[1].strip()


def end(pid: int, identity: str, escalation: Escalation) -> bool:
    """Send signals to a process until it is gone, never to another one that has taken its number.

    Args:
        pid: the process.
        identity: what :func:`started` said of it.
        escalation: the signals in their order, with the seconds to wait after each.

    Returns:
        Whether the process is gone.
    """
    for number, seconds in escalation:
        if started(pid) != identity:
            return True
        _signal(pid, number)
        if _gone(pid, identity, seconds):
            return True
    return started(pid) != identity


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # it may go between the look and the signal, which is what is wanted
        os.kill(pid, number)


def _gone(pid: int, identity: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        _collect(pid)
        if started(pid) != identity:
            return True
        time.sleep(0.02)
    return False


def _collect(pid: int) -> None:
    with suppress(ChildProcessError):  # not a child of this process
        os.waitpid(pid, os.WNOHANG)


def launch(command: list[str], user: int | None, group: int | None) -> None:
    """Become the server: wait for the word to go, give signals back their defaults, drop root, exec.

    Args:
        command: the program by its absolute path, and its arguments.
        user: the user id to run as, or None to stay who we are.
        group: the group id to run as.
    """
    # The parent writes one byte when the server is on record and watched. If it dies before, nothing starts.
    if not os.read(0, 1):
        sys.exit("the process that was to start this server ended before it did")
    _restore_signals()
    if user is not None and group is not None:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.execv(command[0], command)


def _restore_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    # A shell starts what it sends to the background with SIGINT ignored, and exec hands that on.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)


def watch(parent: int, pid: int, identity: str, escalation: Escalation) -> None:
    """Wait until the parent is gone, then end the server; return at once when the server is gone.

    Args:
        parent: the process id that this process has as its parent while all is well.
        pid: the server.
        identity: what :func:`started` said of the server.
        escalation: how to end the server.
    """
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: asked.append(received))
    while os.getppid() == parent and not asked:
        if started(pid) != identity:
            return
        time.sleep(LOOK_EVERY_SECONDS)
    end(pid, identity, escalation)


if __name__ == "__main__":
    {"launch": launch, "watch": watch}[sys.argv[1]](**json.loads(sys.argv[2]))
