"""Programs that the tests run as processes of their own, and how to look at what they leave."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from sync_pipelines.sandbox.folders import passable
from sync_pipelines.sandbox.processes import ProcessId, children_of

CHECKOUT = Path(__file__).parents[2]

EPHEMERAL = """
import json, signal, time
# A test run in the background may have handed on an ignored SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
from sync_pipelines.sandbox import application
from sync_pipelines.sandbox.environment import Sandbox
with Sandbox.ephemeral(graph=False, hotels=False, notes=False, prepare=application.create) as sandbox:
    print(json.dumps({"folder": str(sandbox.folder), **sandbox.status().as_dict()}), flush=True)
    time.sleep(600)
"""
"""Brings up an ephemeral sandbox, prints one line about it, and waits."""


def run_python(program: str, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
    """Start a Python program that can import the project, in a process group of its own."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
        **options,
    )


def run_as_plain_user(
    program: str, *arguments: object, env: Mapping[str, str] | None = None
) -> "subprocess.Popen[str]":
    """Run a program as somebody who is not root."""
    environment = {"HOME": "/", "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
    if os.geteuid() != 0:
        return run_python(program, *arguments, env=environment)
    needed = (Path(sys.executable).resolve().parent, Path(sys.prefix).resolve(), CHECKOUT)
    if all(passable(place, 65534) for place in needed):
        return run_python(program, *arguments, env=environment, user=65534, group=65534, extra_groups=[])
    return _as_plain_user_who_may_read_everything(program, *arguments, env=environment)


def _as_plain_user_who_may_read_everything(
    program: str, *arguments: object, env: Mapping[str, str]
) -> "subprocess.Popen[str]":
    # The interpreter lies below a folder that root alone may enter: all that this user gets beyond a plain
    # one is to read and pass through everything; PostgreSQL itself sees an ordinary user id.
    may_read = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    become = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *may_read]
    return subprocess.Popen(
        [*become, sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **env},
    )


def first_line(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Return the JSON of the first line that a program prints."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the program ended without a word"
    return json.loads(line)


def descendants(pid: int) -> list[ProcessId]:
    """Return all processes below one."""
    children = children_of(pid)
    return children + [process for child in children for process in descendants(child.pid)]


def none_is_left(processes: Iterable[ProcessId], *, seconds: float = 20.0) -> bool:
    """Return whether all these processes end within some seconds."""
    return comes_true(lambda: not any(process.alive() for process in processes), seconds=seconds)


def comes_true(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Return whether a condition comes true within some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
