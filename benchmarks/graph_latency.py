"""From the commit of a change and its event to the graph that shows it: through the consumer, woken by NOTIFY."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.deployment import wait_for
from benchmarks.graphs import named, servers
from benchmarks.results import Figure, Result, figure
from benchmarks.stage import Stage
from benchmarks.timing import percentile
from sync_pipelines.sandbox import academy, application
from sync_pipelines.sandbox.folders import temporary_folder

if TYPE_CHECKING:
    from neo4j import Driver

    from sync_pipelines.sandbox.graph.server import GraphServer

NAME = "graph-latency"
_LOOK_SECONDS = 0.002


def run(stage: Stage, *, quick: bool) -> Result:
    """Changes of a concept, one by one, at random moments."""
    changes = 30 if quick else 200
    for text in academy.TABLES.values():
        stage.execute(text)
    figures: list[Figure] = []
    with servers(stage) as graphs:
        for title, server in graphs:
            stage.say(f"{NAME}: {title}")
            with named(server):
                figures += _measured(stage, server, title, changes)
    return Result(
        name=NAME,
        compares=f"a concept is changed and the change published in one transaction, and the graph is asked until it "
        f"shows it: {changes} changes at random moments, `sync-pipelines consume learning` as a process",
        figures=tuple(figures),
        notes=(
            f"Asked every {_LOOK_SECONDS * 1000:.0f} ms, which is in the figures. The project's own documents; the "
            "consumer opens and closes the books of a run each minute, which meets some of the changes.",
        ),
    )


def _measured(stage: Stage, server: GraphServer, title: str, changes: int) -> list[Figure]:
    from neo4j import GraphDatabase

    key = f"latency-{title.lower()}"
    luck = random.Random(1)
    with (
        temporary_folder() as folder,
        GraphDatabase.driver(
            server.uri,
            auth=(server.user, server.password),
            telemetry_disabled=True,
            notifications_min_severity="OFF",  # that there is no such label before the first change
        ) as driver,
        _consumer(folder),
    ):
        with application.transaction(stage.url) as cursor:
            academy.Application(cursor).add_concept(key, "0", "mathematics", difficulty=1, hours=1.0)
        wait_for("the concept in the graph", lambda: _shown(driver, server, key) == "0")
        found = []
        for number in range(1, changes + 1):
            time.sleep(luck.uniform(0.05, 0.5))
            found.append(_change(stage, driver, server, key, str(number)))
    return [
        figure(f"{title}: commit → visible, p50", percentile(found, 50) * 1000, "ms", at_most=1000),
        figure(f"{title}: commit → visible, p95", percentile(found, 95) * 1000, "ms"),
        figure(f"{title}: commit → visible, the slowest", max(found) * 1000, "ms"),
    ]


@contextmanager
def _consumer(folder: Path) -> Generator[None]:
    """`sync-pipelines consume learning` until the block ends."""
    program = Path(sys.executable).with_name("sync-pipelines")
    with (folder / "consumer.log").open("wb") as log:
        child = subprocess.Popen(
            [str(program), "consume", "learning"],
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    try:
        yield
    except TimeoutError as error:
        raise TimeoutError(f"{error}\n{(folder / 'consumer.log').read_text(errors='replace')[-3000:]}") from None
    finally:
        child.terminate()
        child.wait(timeout=60)


def _change(stage: Stage, driver: Driver, server: GraphServer, key: str, title: str) -> float:
    """Seconds from the commit until the graph shows it."""
    with application.transaction(stage.url) as cursor:
        academy.Application(cursor).change_concept(key, title=title)
    committed = time.perf_counter()
    wait_for("the change", lambda: _shown(driver, server, key) == title, every=_LOOK_SECONDS)
    return time.perf_counter() - committed


def _shown(driver: Driver, server: GraphServer, key: str) -> Any:
    with driver.session(database=server.database) as session:
        record = session.run("MATCH (n:Concept {sync_key: $key}) RETURN n.title AS title", key=key).single()
    return record and record["title"]
