"""`make dev`: the Dagster UI on 127.0.0.1 over the sandbox, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import yaml
from filelock import FileLock, Timeout
from rich.console import Console
from rich.markup import escape

from sync_pipelines import env_file
from sync_pipelines.sandbox import guard
from sync_pipelines.sandbox.environment import FOLDER_VARIABLE, GRAPH_VARIABLE, Sandbox
from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.folders import read_json, write_json
from sync_pipelines.sandbox.processes import end_group, port_is_free

PORT_VARIABLE = "SYNC_DEV_PORT"


LOCATION = {
    "module_name": "sync_pipelines.definitions",
    "working_directory": str(env_file.CHECKOUT),
    # the name under which `dagster dev` in the checkout knows it, so that schedules and sensors keep their state
    "location_name": "sync_pipelines",
}

_LEFT_OVER: guard.Escalation = [(signal.SIGINT, 30.0), (signal.SIGKILL, 5.0)]
"""For the runs that outlive Dagster: they end at their next batch."""

_WATCHERS = "watch_orphans"
"""Dagster's helpers beside each run: they end with it, and print a traceback at a signal."""

_PATHS = ("SYNC_LOG_FILE", "SYNC_SPOOL_DIR")


def _command(port: str) -> list[str]:
    dagster = Path(sys.executable).with_name("dagster")
    return [str(dagster), "dev", "--host", "127.0.0.1", "--port", port, "--workspace", "workspace.yaml"]


def read_own_settings(environment: MutableMapping[str, str] = os.environ) -> None:
    """Take what is the sandbox's own from `.env`, as `sync-pipelines sandbox` does, and nothing else.

    What the file says of databases and servers is about the user's own systems.
    """
    found: dict[str, str] = {}
    env_file.load(environment=found)
    for name in (FOLDER_VARIABLE, GRAPH_VARIABLE, PORT_VARIABLE):
        if name in found:
            environment.setdefault(name, found[name])


def variables(sandbox: Sandbox, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of `dagster dev`: the user's settings, and the sandbox's systems instead of his own.

    A database of the user's own, which he names in the environment, stays, with the ledger's and others beside it.
    """
    foreign = {*sandbox.foreign(environment), "DAGSTER_PROJECT_ENV_FILE_PATHS"}
    kept = {name: text for name, text in environment.items() if name not in foreign}
    # the child's working folder is another one
    paths = {name: os.path.abspath(kept[name]) for name in _PATHS if kept.get(name)}
    return kept | paths | sandbox.env()


def working_folder(sandbox: Sandbox) -> Path:
    """A folder from which `dagster dev` finds this project, and no `.env`.

    Dagster 1.13 sets what the `.env` of its working folder says over the environment, in each of its processes:
    from the checkout, a `.env` for production would lead `make dev` to production.
    """
    workspace = sandbox.dagster_home / "workspace.yaml"
    workspace.write_text(yaml.safe_dump({"load_from": [{"python_module": LOCATION}]}))
    return sandbox.dagster_home


def _default_interrupt() -> None:
    # A background child inherits an ignored SIGINT, which Dagster copies to SIGTERM (facts/dagster.md).
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def alone(sandbox: Sandbox, address: str) -> Generator[None]:
    """Be the only `make dev` over this sandbox: two daemons on one DAGSTER_HOME would start each run twice.

    Raises:
        SandboxError: there is one; it names the address.
    """
    note, lock = sandbox.folder / "dev.json", FileLock(sandbox.folder / "dev.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        there = read_json(note).get("address", "an address that it has yet to choose")
        raise SandboxError(f"make dev runs already over {sandbox.folder}, at {there}.") from None
    try:
        write_json(note, {"address": address})
        yield
    finally:
        lock.release()


def serve(console: Console, sandbox: Sandbox, port: str) -> int:
    """Run `dagster dev` over the sandbox until it is stopped; its exit code, 0 where we have stopped it.

    It gets a session of its own, and a signal from us alone: a terminal's would reach it beside ours, and the second
    of two cuts off its shutting down ("Aborted!", exit code 1). Runs outlive it; they are interrupted next, and waited
    for, before the servers that they write to go down.
    """
    stopping, children = Event(), list[subprocess.Popen[bytes]]()

    def stop(*_: object) -> None:
        if not stopping.is_set():
            stopping.set()
            for child in children:
                child.terminate()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    folder, environment = working_folder(sandbox), variables(sandbox)
    if told := sandbox.left_out():
        console.print(told, markup=False)
    console.print(f"The Dagster UI: {_address(port)}  (Ctrl-C ends it and the sandbox; the data stay)")
    children.append(subprocess.Popen(_command(port), cwd=folder, env=environment, start_new_session=True))
    if stopping.is_set():  # meanwhile
        children[0].terminate()
    code = children[0].wait()
    end_group(children[0].pid, _LEFT_OVER, spare=_WATCHERS)
    return 0 if stopping.is_set() else code


def _address(port: str) -> str:
    return f"http://127.0.0.1:{port}"


def _insist_on_a_free_port(port: str) -> None:
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise SandboxError(f"{PORT_VARIABLE} is {port!r}, which is no port.")
    if not port_is_free(int(port)):
        raise SandboxError(f"Port {port} is taken by another program; set {PORT_VARIABLE} to another one.")


def main() -> int:
    """Bring the sandbox up, serve, bring it down if it was down before."""
    console = Console()
    _default_interrupt()
    read_own_settings()
    port = os.environ.get(PORT_VARIABLE) or "3000"
    try:
        return _serve_alone(
            console, Sandbox.of_environment(log=lambda line: console.print(line, style="dim", markup=False)), port
        )
    except SandboxError as error:
        console.print(f"[red]{escape(str(error))}[/]")
        return 1
    except KeyboardInterrupt:  # before or after Dagster; the sandbox has stopped what it began
        return 0


def _serve_alone(console: Console, sandbox: Sandbox, port: str) -> int:
    was_up = sandbox.status().up
    sandbox.up()
    with alone(sandbox, _address(port)):
        try:
            _insist_on_a_free_port(port)
            return serve(console, sandbox, port)
        finally:
            if not was_up:
                sandbox.down()


if __name__ == "__main__":
    sys.exit(main())
