"""Peers that the project is measured against, each in an environment of its own: none is in the project's lock file.

`dlt.in` names what is wanted, `dlt.lock` pins it:
`uv pip compile --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url dlt.in -o dlt.lock`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.children import REPOSITORY, Took, child

_HERE = Path(__file__).resolve().parent
FOLDER = REPOSITORY / ".peers"
"""Where environments are made; Git ignores it, and `make clean` removes it."""

# No telemetry, no look for newer versions, no progress: nothing but the work.
_DLT = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR", "DLT_DATA_DIR": ""}


def dlt(
    say: Callable[[str], None], arguments: Mapping[str, Any], *, data: Path, program: str = "dlt_pipeline.py"
) -> Took:
    """Run dlt as one of the programs of this folder does.

    Args:
        say: takes a line of progress. arguments: of the program. data: where dlt keeps its state.
    """
    python = environment("dlt", say)
    return child([str(python), str(_HERE / program)], arguments, environment={**_DLT, "DLT_DATA_DIR": str(data)})


def environment(name: str, say: Callable[[str], None]) -> Path:
    """The Python of a peer's environment, made or brought to its lock file if need be (1 minute, 600 MB)."""
    lock, folder = _HERE / f"{name}.lock", FOLDER / name
    python, stamp = folder / "bin" / "python", folder / "installed.lock"
    if not stamp.exists() or stamp.read_text() != lock.read_text():
        say(f"installing {name} into {FOLDER.name}/{name} …")
        uv = str(Path(sys.executable).with_name("uv"))
        if not python.exists():
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
        subprocess.run([uv, "pip", "sync", "--quiet", "--python", str(python), str(lock)], check=True)
        stamp.write_text(lock.read_text())
    return python
