"""`make dev`: the Dagster UI on 127.0.0.1 over the sandbox, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

import yaml
from rich.console import Console

from sync_pipelines import env_file
from sync_pipelines.sandbox.environment import FOLDER_VARIABLE, Sandbox
from sync_pipelines.sandbox.errors import SandboxError

PORT_VARIABLE = "SYNC_DEV_PORT"


LOCATION = {
    "module_name": "sync_pipelines.definitions",
    "working_directory": str(env_file.CHECKOUT),
    # the name under which `dagster dev` in the checkout knows it, so that schedules and sensors keep their state
    "location_name": "sync_pipelines",
}

_OTHER_SYSTEMS = ("CHROMA_", "DAGSTER_POSTGRES_URL", "DAGSTER_PROJECT_ENV_FILE_PATHS")
_PATHS = ("SYNC_LOG_FILE", "SYNC_SPOOL_DIR")


def _command(port: str) -> list[str]:
    dagster = Path(sys.executable).with_name("dagster")
    return [str(dagster), "dev", "--host", "127.0.0.1", "--port", port, "--workspace", "workspace.yaml"]


def read_own_settings(environment: MutableMapping[str, str] = os.environ) -> None:
    """Take the sandbox's folder and port from `.env`, as `sync-pipelines sandbox` does, and nothing else.

    What the file says of databases and servers is about the user's own systems.
    """
    found: dict[str, str] = {}
    env_file.load(environment=found)
    for name in (FOLDER_VARIABLE, PORT_VARIABLE):
        if name in found:
            environment.setdefault(name, found[name])


def variables(sandbox: Sandbox, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of `dagster dev`: the user's settings, and the sandbox's systems instead of his own.

    A database of the user's own, which he names in the environment, stays, with the ledger's and others beside it.
    """
    own_database = sandbox.database_url is not None
    kept = {name: text for name, text in environment.items() if not _is_foreign(name, own_database=own_database)}
    # the child's working folder is another one
    paths = {name: os.path.abspath(kept[name]) for name in _PATHS if kept.get(name)}
    return kept | paths | sandbox.env()


def _is_foreign(name: str, *, own_database: bool) -> bool:
    names_a_database = name.startswith("POSTGRES_") or name.endswith("DATABASE_URL")
    return name.startswith(_OTHER_SYSTEMS) or (names_a_database and not own_database)


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


def serve(console: Console, sandbox: Sandbox, port: str) -> int:
    """Run `dagster dev` over the sandbox until it is stopped; its exit code."""
    child = subprocess.Popen(_command(port), cwd=working_folder(sandbox), env=variables(sandbox))
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    console.print(f"The Dagster UI: http://127.0.0.1:{port}  (Ctrl-C ends it and the sandbox; the data stay)")
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.terminate()


def main() -> int:
    """Bring the sandbox up, serve, bring it down if it was down before."""
    console = Console()
    _default_interrupt()
    read_own_settings()
    try:
        sandbox = Sandbox.of_environment(log=console.log)
        was_up = sandbox.status().up
        sandbox.up()
        try:
            code = serve(console, sandbox, os.environ.get(PORT_VARIABLE) or "3000")
        finally:
            if not was_up:
                sandbox.down()
    except SandboxError as error:
        console.print(f"[red]{error}[/]")
        return 1
    return 0 if code in (0, -signal.SIGTERM, -signal.SIGINT) else code


if __name__ == "__main__":
    sys.exit(main())
