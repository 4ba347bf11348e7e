"""A Dagster daemon as a process of its own, over a code location of one table."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import dagster as dg

REPOSITORY = Path(__file__).resolve().parent.parent
T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None], *, seconds: float = 180.0, every: float = 0.1) -> T:
    """Look until there is something.

    Raises:
        TimeoutError: there was nothing within so many seconds.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(every)
    raise TimeoutError(f"{what}: nothing within {seconds:.0f} s")


@contextmanager
def daemon(folder: Path, code: str) -> Generator[dg.DagsterInstance]:
    """The daemon over a code location; sensors and runs are at work until the block ends.

    Args:
        folder: an empty folder.
        code: Python that defines `defs`.
    """
    import dagster as dg

    home = folder / "home"
    home.mkdir()
    shutil.copy(REPOSITORY / "dagster.yaml", home / "dagster.yaml")
    (folder / "code_location.py").write_text(code)
    (folder / "workspace.yaml").write_text("load_from:\n  - python_file: {relative_path: code_location.py}\n")
    os.environ["DAGSTER_HOME"] = str(home)
    child = _start(folder)
    try:
        with dg.DagsterInstance.get() as instance:
            yield instance
    except TimeoutError as error:
        log = (folder / "daemon.log").read_text(errors="replace")[-3000:]
        raise TimeoutError(f"{error}\n{log}") from None
    finally:
        _stop(child)


def _start(folder: Path) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    program = Path(sys.executable).with_name("dagster-daemon")
    with (folder / "daemon.log").open("wb") as log:
        return subprocess.Popen(
            [str(program), "run", "-w", "workspace.yaml"],
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
        child.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
