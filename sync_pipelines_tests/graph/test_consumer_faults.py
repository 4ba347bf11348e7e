"""The consumer as a process: killed at every boundary, beside late publishers; the graph and PostgreSQL restart."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sync_pipelines.engine.errors import TransientError
from sync_pipelines.engine.locks import alive_consumer
from sync_pipelines.sandbox.graph.server import GraphServer
from sync_pipelines.targets.neo4j.writing import NodeWriter
from sync_pipelines_tests.dagster.homes import fresh_home
from sync_pipelines_tests.graph.app import Application, concepts, prerequisites, publish
from sync_pipelines_tests.graph.conftest import name_graph
from sync_pipelines_tests.graph.consuming_child import BOUNDARIES
from sync_pipelines_tests.graph.house import Academy
from sync_pipelines_tests.graph.test_consuming import completed, until

pytestmark = pytest.mark.slow

PUBLISHERS, CONCEPTS = 20, 60
BACKLOG = 2_000
"""Publishers rest while more events wait: on a slow machine nobody could ever catch up."""
EVENTS = [1_500, pytest.param(20_000, marks=[pytest.mark.exhaustive, pytest.mark.timeout(3_000)])]
"""At least so many are published."""


@pytest.fixture
def academy(academy_url: str, own_graph: GraphServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Academy:
    """An academy with a graph of its own, and a first sync."""
    name_graph(own_graph, monkeypatch)
    monkeypatch.setenv("DAGSTER_HOME", str(fresh_home(tmp_path / "dagster")))
    found = Academy(academy_url, own_graph)
    found.add("c0")
    found.require(("c0", "c0"))
    for table in (concepts(), prerequisites()):
        found.sync(table)
    return found


@pytest.fixture
def app(academy: Academy) -> Application:
    return Application(academy.url)


def start(*arguments: str, boundary: str = "", number: int = 1, bout: float = 1.0) -> subprocess.Popen[str]:
    """`sync-pipelines …` in a process of its own; a consumer's books are open for `bout` seconds."""
    command = [sys.executable, "-m", "sync_pipelines_tests.graph.consuming_child", boundary, str(number), *arguments]
    environment = os.environ | {"SYNC_LOG_LEVEL": "INFO", "BOUT_SECONDS": str(bout)}
    return subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE)


@contextmanager
def consumer() -> Iterator[subprocess.Popen[str]]:
    """A consumer that has begun; ended by SIGTERM, which must be clean."""
    child = start("consume", "learning", "--poll-interval", "0.5")
    try:
        url, path = os.environ["DATABASE_URL"], concepts().path
        until(lambda: child.poll() is not None or alive_consumer(url, "learning", path), seconds=60)
        yield child
        child.send_signal(signal.SIGTERM)
        _, told = child.communicate(timeout=60)
        assert child.returncode == 0, told
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()


class Publisher(threading.Thread):
    """Works on concepts and their prerequisites; commits late, sometimes not at all.

    Args:
        pause: at most so many seconds between two transactions.
    """

    def __init__(self, url: str, seed: int, stop: threading.Event, pause: float) -> None:
        super().__init__(daemon=True)
        self._pause = pause
        self._app, self._random, self._stop_asked = Application(url), random.Random(seed), stop
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stop_asked.wait(self._random.random() * self._pause):
                waiting = self._app.run("SELECT count(*) FROM sync.sync_event_log WHERE status <> 'COMPLETED'")
                if waiting[0][0] < BACKLOG:
                    self._work()
        except BaseException as error:
            self.error = error
            raise

    def _work(self) -> None:
        chance = self._random
        try:
            with self._app.transaction() as cursor:
                for name in sorted(f"c{chance.randrange(1, CONCEPTS)}" for _ in range(chance.randrange(1, 4))):
                    self._change(cursor, name)
                time.sleep(chance.random() ** 4 * 0.5)
                if chance.random() < 0.1:
                    raise _RolledBackError
        except _RolledBackError:
            return

    def _change(self, cursor: object, name: str) -> None:
        """The row is locked first, as the publisher's documentation says, so transactions cannot deadlock by key."""
        chance = self._random
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (name,))  # type: ignore[attr-defined]
        cursor.execute("SELECT title FROM concept WHERE id = %s", (name,))  # type: ignore[attr-defined]
        found, title = cursor.fetchone(), f"{name} {chance.random()}"  # type: ignore[attr-defined]
        if found is None:
            cursor.execute("INSERT INTO concept (id, title) VALUES (%s, %s)", (name, title))  # type: ignore[attr-defined]
            publish(cursor, "CONTENT_CREATED", "concept", name, {"id": name, "title": title})
            self._relate(cursor, name)
        elif chance.random() < 0.2:
            self._unrelate(cursor, name)
            cursor.execute("DELETE FROM concept WHERE id = %s", (name,))  # type: ignore[attr-defined]
            publish(cursor, "CONTENT_DELETED", "concept", name)
        else:
            cursor.execute("UPDATE concept SET title = %s WHERE id = %s", (title, name))  # type: ignore[attr-defined]
            publish(cursor, "CONTENT_UPDATED", "concept", name, {"title": title})

    def _relate(self, cursor: object, name: str) -> None:
        """Each concept requires c0, which is never deleted."""
        cursor.execute(  # type: ignore[attr-defined]
            "INSERT INTO prerequisite (requires_id, concept_id) VALUES ('c0', %s)", (name,)
        )
        ends = {"start": {"type": "concept", "id": "c0"}, "end": {"type": "concept", "id": name}}
        key = json.dumps([name, "c0"])
        publish(cursor, "RELATIONSHIP_CREATED", "prerequisite_of", key, {"type": "X", "properties": {}, **ends})

    def _unrelate(self, cursor: object, name: str) -> None:
        cursor.execute("DELETE FROM prerequisite WHERE concept_id = %s", (name,))  # type: ignore[attr-defined]
        publish(
            cursor, "RELATIONSHIP_DELETED", "prerequisite_of", json.dumps([name, "c0"]), {"type": "X", "properties": {}}
        )


class _RolledBackError(Exception):
    pass


def deaths(app: Application, events: int) -> Iterator[tuple[int, str, int]]:
    """Each boundary, and how often a consumer comes there before it dies; again until so many events are there."""
    yield from ((number, boundary, 3) for number, boundary in enumerate(BOUNDARIES))
    number = len(BOUNDARIES)
    while app.run("SELECT count(*) FROM sync.sync_event_log")[0][0] <= events:
        yield number, BOUNDARIES[number % len(BOUNDARIES)], 20
        number += 1


@pytest.mark.spare_where(own_graph="neo4j")  # it is the consumer that dies; what a batch leaves is in test_faults
@pytest.mark.parametrize("events", EVENTS)
def test_killed_at_every_boundary_beside_late_publishers_it_loses_and_resurrects_nothing(
    academy: Academy, app: Application, events: int
) -> None:
    enough = threading.Event()
    publishers = [Publisher(academy.url, seed, enough, pause=1_500 / events) for seed in range(PUBLISHERS)]
    for publisher in publishers:
        publisher.start()
    for number, boundary, times in deaths(app, events):
        child = start("consume", "learning", "--poll-interval", "0.2", boundary=boundary, number=times)
        try:
            child.communicate(timeout=90)
        except subprocess.TimeoutExpired:  # on a slow machine it may die wherever it is, once it was at each boundary
            child.kill()
            child.communicate()
            assert number >= len(BOUNDARIES), boundary
        assert child.returncode == -signal.SIGKILL, boundary
        if number % 8 == 3:
            academy.server.stop()
            academy.server.start()
    enough.set()
    for publisher in publishers:
        publisher.join(120)
        assert publisher.error is None
    with consumer():
        until(lambda: completed(app), seconds=300)
    assert app.run("SELECT count(*) FROM sync.sync_event_log")[0][0] > events
    for table in (concepts(), prerequisites()):
        proof = academy.prove(table, "deep")
        assert proof.equal, proof
        assert proof.pending == proof.quarantined == 0
    # no event was completed before one of its entity with a lower version
    disorder = """SELECT count(*) FROM (SELECT completed_at < max(completed_at) OVER (PARTITION BY
        entity_type, entity_id ORDER BY source_version) AS late FROM sync.sync_event_log) AS e WHERE late"""
    assert app.run(disorder) == [(0,)]


def test_an_outage_of_the_graph_uses_no_try_and_is_waited_out(
    academy: Academy, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = NodeWriter.put

    def stopped(writer: NodeWriter, *given: object) -> None:
        academy.server.stop()
        put(writer, *given)  # ty: ignore

    with monkeypatch.context() as broken:
        broken.setattr("sync_pipelines.targets.neo4j.client._PATIENCE", 0.5)
        broken.setattr(NodeWriter, "put", stopped)
        app.create("c1")
        with pytest.raises(TransientError):
            academy.sync(concepts())
    assert app.run("SELECT status, attempts FROM sync.sync_event_log") == [("PENDING", 0)]
    with consumer():
        time.sleep(2)
        academy.server.start()
        until(lambda: completed(app), seconds=90)
    assert academy.titles() == ["c0", "c1"]


@pytest.mark.spare_where(own_graph="neo4j")
def test_a_restart_of_postgresql_is_waited_out(academy: Academy, app: Application) -> None:
    with consumer():
        app.create("c1")
        until(lambda: completed(app), seconds=60)
        app.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        app.create("c2")
        until(lambda: completed(app), seconds=60)
    assert academy.titles() == ["c0", "c1", "c2"]


@pytest.mark.spare_where(own_graph="neo4j")
def test_it_ends_within_seconds_while_the_graph_does_not_answer(academy: Academy, app: Application) -> None:
    """Both tables have books open then, which are to be confirmed at the end."""
    child = start("consume", "learning", "--poll-interval", "0.5", bout=60.0)
    try:
        app.create("c1")
        app.require(("c0", "c1"))
        until(lambda: completed(app), seconds=90)
        academy.server.stop()
        app.create("c2")
        until(lambda: app.statuses("c2") == ["PROCESSING"], seconds=60)
        child.send_signal(signal.SIGTERM)
        began = time.monotonic()
        _, told = child.communicate(timeout=60)
        assert time.monotonic() - began < 15, told
        assert child.returncode == 0, told
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    assert app.statuses("c2") == ["PENDING"]
