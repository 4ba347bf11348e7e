"""One way of doing a thing, as a process of its own: its seconds, and the most memory that it held.

`python -m benchmarks.children WAY JSON` is that process; the environment says where PostgreSQL and the Delta tables
are. What the way imports is imported before its clock starts, ours and the peers' alike. Memory is that of the whole
process, imports included.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parent.parent
_MB = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Took:
    """What a way took.

    Args:
        seconds: of the work, from its first line to its last. process: of the whole process, imports included.
        peak, baseline: MB that the process held at most, and when its imports were done.
        told: what it says beside.
    """

    seconds: float
    process: float
    peak: float
    baseline: float
    told: Mapping[str, Any]

    @property
    def above(self) -> float:
        """MB that the work took beside the imports."""
        return self.peak - self.baseline


def child(command: list[str], arguments: Mapping[str, Any], *, environment: Mapping[str, str] | None = None) -> Took:
    """Run a process that prints what it took.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    began = time.perf_counter()
    done = subprocess.run(
        [*command, json.dumps(arguments)],
        cwd=REPOSITORY,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
    )
    process = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[-2:])} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Took(process=process, **{name: found.pop(name) for name in ("seconds", "peak", "baseline")}, told=found)


def ours(way: str, **arguments: Any) -> Took:
    """A way of `benchmarks.ways`, in this project's own environment."""
    return child([sys.executable, "-m", "benchmarks.children", way], arguments)


def measured(work: Any) -> dict[str, Any]:
    """Do the work; what it took, and what it gave back.

    Args:
        work: takes nothing and gives a dict for JSON, or None.
    """
    from sync_pipelines.engine.usage import peak_memory

    baseline, began = psutil.Process().memory_info().rss, time.perf_counter()
    told = work() or {}
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "baseline": baseline / _MB, "peak": peak_memory() / _MB, **told}


def main(way: str, arguments: Mapping[str, Any]) -> None:
    """Make one way ready, then measure it."""
    from benchmarks import ways

    print(json.dumps(measured(ways.WAYS[way](**arguments))))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
