"""A deployment as in production: webserver and daemon as processes of their own over one instance."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import psutil

from sync_pipelines.sandbox.processes import free_port
from sync_pipelines_tests.dagster.homes import fresh_home

REPOSITORY = Path(__file__).resolve().parents[2]
T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None], *, seconds: float = 90.0) -> T:
    """Look every half second until there is something; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what}: nothing within {seconds:.0f} s")


@dataclass
class Deployment:
    """What runs, and how to ask it."""

    home: Path
    port: int
    instance: dg.DagsterInstance
    daemon: subprocess.Popen[bytes]

    def stop_daemon(self) -> None:
        """End the daemon as a service manager does."""
        _stop(self.daemon)

    def kill_daemon(self) -> None:
        """End the daemon and the code server that it started, as a power cut does."""
        server = psutil.Process(self.daemon.pid)
        for process in (*server.children(recursive=True), server):  # its code server has a session of its own
            process.kill()
        self.daemon.wait()

    def start_daemon(self) -> None:
        """Start the daemon again; the context manager ends it."""
        self.daemon = _start_daemon(self.home.parent)

    def runs(self, tag: str | None = None) -> list[dg.DagsterRun]:
        """The runs, the newest first; those with this tag alone, if one is given.

        What a schedule of checks started is left out: its quarter of an hour may strike while a test counts.
        """
        runs = [run for run in self.instance.get_runs() if "_check_" not in run.tags.get("dagster/schedule_name", "")]
        return [run for run in runs if tag is None or tag in run.tags]

    def succeeded(self, tag: str) -> dg.DagsterRun | None:
        return next((run for run in self.runs(tag) if run.status == dg.DagsterRunStatus.SUCCESS), None)

    def pid_of(self, run_id: str) -> int | None:
        """The process of a run, as its events name it."""
        for entry in self.instance.all_logs(run_id):
            if match := re.search(r"in process \(pid: (\d+)\)", entry.message or entry.user_message or ""):
                return int(match[1])
        return None

    def graphql(self, query: str) -> dict[str, Any]:
        """Ask the webserver."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            data=json.dumps({"query": query}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)["data"]


@contextmanager
def deployed(folder: Path, code: str, *, webserver: bool = True) -> Iterator[Deployment]:
    """Webserver and daemon over a code location of this source, stopped at the end; the environment is ours.

    Args:
        folder: an empty folder.
        code: Python that defines `defs`.
        webserver: whether it is asked anything: it takes two processes, and 10 s of a core to start.
    """
    home = fresh_home(folder / "home")
    (folder / "code_location.py").write_text(code)
    (folder / "workspace.yaml").write_text("load_from:\n  - python_file: {relative_path: code_location.py}\n")
    port = free_port()
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str(home)
    dg.DagsterInstance.get().dispose()  # processes that make one SQLite schema at the same time disturb each other
    daemon = _start_daemon(folder)
    options = ("-h", "127.0.0.1", "-p", str(port), "-w", "workspace.yaml")
    others = [_start(folder, "dagster-webserver", *options)] if webserver else []
    deployment: Deployment | None = None
    try:
        with dg.DagsterInstance.get() as instance:
            deployment = Deployment(home=home, port=port, instance=instance, daemon=daemon)
            yield deployment
    except AssertionError as error:
        raise AssertionError(f"{error}\n{_tails(folder)}") from None
    finally:
        for child in (deployment.daemon if deployment else daemon, *others):
            _stop_with_all_below(child)
        os.environ.pop("DAGSTER_HOME")
        if before is not None:
            os.environ["DAGSTER_HOME"] = before


def _start_daemon(folder: Path) -> subprocess.Popen[bytes]:
    return _start(folder, "dagster-daemon", "run", "-w", "workspace.yaml")


def _start(folder: Path, program: str, *arguments: str) -> subprocess.Popen[bytes]:
    log = (folder / f"{program}.log").open("ab")
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # Dagster copies an ignored SIGINT, which a background shell hands on, to SIGTERM
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _stop_with_all_below(child: subprocess.Popen[bytes]) -> None:
    """A code server outlives its daemon by the runs in it, which would take the cores of the tests that follow."""
    below = psutil.Process(child.pid).children(recursive=True) if child.poll() is None else []
    _stop(child)
    for process in psutil.wait_procs(below, timeout=1)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _tails(folder: Path) -> str:
    return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in folder.glob("*.log"))
