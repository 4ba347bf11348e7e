"""A code location whose runs die: one sync for each boundary of `DEATHS`, killed there once under the daemon.

The daemon executes a run in a process of its own (`dagster api execute_run`), which loads this module too. A sync
dies while the file of its name lies in the folder that MORTAL_ORDERS names; its last act is to write down what
its collection holds, and to remove the file, so that the next run lives.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from datetime import timedelta
from pathlib import Path

from sync_pipelines import decide
from sync_pipelines.components.postgres_to_chroma import PostgresToChroma
from sync_pipelines.engine.held import Held
from sync_pipelines_tests.dagster.project import article, definitions
from sync_pipelines_tests.faults.boundaries import bend
from sync_pipelines_tests.faults.child import PROJECT

DEATHS = {
    "embedded": 2,
    "after delete": 3,
    "confirmed": 1,
}
"""Boundary → for the so-many-th time; `test_killed_runs` has the others, each with a run of the command line."""

FOLDER = "MORTAL_ORDERS"


def sync_of(boundary: str) -> str:
    """The sync that dies there; also the name of its connection."""
    return "dies_" + boundary.replace(" ", "_")


def settings(boundary: str) -> dict[str, object]:
    """What its document has beyond `child.PROJECT`."""
    name = sync_of(boundary)
    return {
        "sync": name,
        "source": {"connection": name, "table": "Article", "key": ["id"], "changed_at": "updatedAt"},
        "target": {"collection": name},
        "sensor": {"every_seconds": 5},
        "schedules": {"incremental": None, "full": None, "checks": None},
    }


def components() -> list[PostgresToChroma]:
    return [article(**PROJECT, **settings(boundary)) for boundary in DEATHS]


def location() -> object:
    """The definitions, with this process made mortal."""
    decide.FIRST_PAUSE = timedelta(seconds=2)
    _make_mortal()
    return definitions(*components())


def _make_mortal() -> None:
    under_way: list[tuple[str, str]] = []
    seen: Counter[str] = Counter()
    begin = Held.begin

    def noted(self: Held) -> None:
        under_way[:] = [(self.place[0], self.request.run_id)]
        begin(self)

    def reach(boundary: str) -> None:
        seen[boundary] += 1
        for sync, run_id in under_way:
            order = Path(os.environ[FOLDER]) / sync
            if sync == sync_of(boundary) and seen[boundary] == DEATHS[boundary] and order.exists():
                _die(order, sync, run_id)

    Held.begin = noted  # type: ignore[method-assign]
    bend(reach)


def _die(order: Path, sync: str, run_id: str) -> None:
    last = order.with_suffix(".last")
    last.write_text(json.dumps({"run_id": run_id, "stored": _stored(sync)}))
    order.unlink()
    os.kill(os.getpid(), signal.SIGKILL)


def _stored(collection: str) -> list[list[str]]:
    from sync_pipelines_tests.own_chroma import own_client

    client = own_client(os.environ["CHROMA_URL"], os.environ["CHROMA_DATABASE"])
    found = client.get_collection(collection, embedding_function=None).get(include=["documents", "metadatas"])
    pairs = zip(found["metadatas"] or (), found["documents"] or (), strict=True)
    return [[str(metadata["sync_key"]), document] for metadata, document in pairs]
