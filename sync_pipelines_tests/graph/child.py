"""Run as a process of its own: syncs the concepts and dies by SIGKILL at a boundary, named by its number of calls."""

from __future__ import annotations

import os
import sys
import uuid

from sync_pipelines.engine import run as engine
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.run import Run
from sync_pipelines.targets.neo4j.client import Graph
from sync_pipelines_tests.graph.dying import die_at
from sync_pipelines_tests.graph.house import Academy, concept

BOUNDARIES = {
    "before a write": (Graph, "write", "before"),
    "after a write": (Graph, "write", "after"),
    "before confirming": (Run, "_confirm", "before"),
    "after confirming": (Run, "_confirm", "after"),
}


if __name__ == "__main__":
    die_at(BOUNDARIES[sys.argv[1]], int(sys.argv[2]))
    request = engine.Request(mode="incremental", scope=Scope(), trigger="manual", run_id=str(uuid.uuid4()))
    academy = Academy(os.environ["DATABASE_URL"], None)  # ty: ignore
    engine.write(engine.open_run(academy.bind(concept()), request))
