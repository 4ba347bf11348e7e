"""Run as a process of its own: syncs the concepts and dies by SIGKILL at a boundary, named by its number of calls."""

from __future__ import annotations

import os
import signal
import sys
import uuid

from sync_pipelines.engine import run as engine
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.run import Run
from sync_pipelines.targets.neo4j.client import Graph
from sync_pipelines_tests.graph.house import Academy, concept

BOUNDARIES = {
    "before a write": (Graph, "write", "before"),
    "after a write": (Graph, "write", "after"),
    "before confirming": (Run, "_confirm", "before"),
    "after confirming": (Run, "_confirm", "after"),
}


def die_at(boundary: str, number: int) -> None:
    """Let this process die the so-many-th time that it comes there."""
    kind, name, when = BOUNDARIES[boundary]
    method = getattr(kind, name)
    calls = iter(range(number - 1, -1, -1))

    def dying(*given, **named):  # type: ignore[no-untyped-def]
        last = next(calls) == 0
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = method(*given, **named)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(kind, name, dying)


if __name__ == "__main__":
    die_at(sys.argv[1], int(sys.argv[2]))
    request = engine.Request(mode="incremental", scope=Scope(), trigger="manual", run_id=str(uuid.uuid4()))
    academy = Academy(os.environ["DATABASE_URL"], None)  # ty: ignore
    engine.write(engine.open_run(academy.bind(concept()), request))
