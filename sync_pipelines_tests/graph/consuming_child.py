"""Run as a process of its own: `sync-pipelines …` over the academy's documents; it may die by SIGKILL at a boundary.

python -m sync_pipelines_tests.graph.consuming_child "BOUNDARY" NUMBER consume learning …
"""

from __future__ import annotations

import os
import sys
from typing import Any

BOUNDARIES = (
    "events taken",
    "before a write",
    "after a write",
    "entities noted",
    "before completing",
    "after completing",
    "before confirming",
    "after confirming",
)


def _methods() -> dict[str, tuple[Any, str, str]]:
    from sync_pipelines.engine.ledger.ledger import Ledger
    from sync_pipelines.engine.run import Run
    from sync_pipelines.sources.postgres.events import PostgresOutbox
    from sync_pipelines.targets.neo4j.client import Graph

    return {
        "events taken": (PostgresOutbox, "take", "after"),
        "before a write": (Graph, "write", "before"),
        "after a write": (Graph, "write", "after"),
        "entities noted": (Ledger, "note_entities", "after"),
        "before completing": (PostgresOutbox, "complete", "before"),
        "after completing": (PostgresOutbox, "complete", "after"),
        "before confirming": (Run, "_confirm", "before"),
        "after confirming": (Run, "_confirm", "after"),
    }


def main(boundary: str, number: int, *arguments: str) -> None:
    import sync_pipelines.definitions as project
    from sync_pipelines.cli import app
    from sync_pipelines.engine import consuming
    from sync_pipelines.log import configure
    from sync_pipelines_tests.graph.app import concepts, prerequisites
    from sync_pipelines_tests.graph.dying import die_at

    documents = (concepts(), prerequisites())
    project.load = lambda *_: (None, documents)  # ty: ignore
    consuming.BOUT_SECONDS = float(os.environ.get("BOUT_SECONDS", "1"))
    if boundary:
        die_at(_methods()[boundary], number)
    configure()
    app(list(arguments))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
