"""`make dev`: the Dagster UI on 127.0.0.1 over the sandbox, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from sync_pipelines.sandbox.environment import Sandbox
from sync_pipelines.sandbox.errors import SandboxError

PORT_VARIABLE = "SYNC_DEV_PORT"


def _command(port: str) -> list[str]:
    dagster = Path(sys.executable).with_name("dagster")
    return [str(dagster), "dev", "--host", "127.0.0.1", "--port", port]


def _default_interrupt() -> None:
    # A background child inherits an ignored SIGINT, which Dagster copies to SIGTERM (facts/dagster.md).
    signal.signal(signal.SIGINT, signal.default_int_handler)


def serve(console: Console, sandbox: Sandbox, port: str) -> int:
    """Run `dagster dev` over the sandbox until it is stopped; its exit code."""
    child = subprocess.Popen(_command(port), env={**os.environ, **sandbox.env()})
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
    try:
        sandbox = Sandbox.of_environment(log=console.log)
        was_up = sandbox.status().up
        sandbox.up()
        try:
            code = serve(console, sandbox, os.environ.get(PORT_VARIABLE, "3000"))
        finally:
            if not was_up:
                sandbox.down()
    except SandboxError as error:
        console.print(f"[red]{error}[/]")
        return 1
    return 0 if code in (0, -signal.SIGTERM, -signal.SIGINT) else code


if __name__ == "__main__":
    sys.exit(main())
