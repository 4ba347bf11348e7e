"""The demo of `learning`: an academy's tables become a graph, stay equal, and answer what only a graph answers well."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from threading import Event, Thread
from typing import Any

from rich.table import Table

from sync_pipelines.sandbox import academy, application
from sync_pipelines.sandbox.story import DemoFailedError, Story
from sync_pipelines.silence import silenced

CONCEPT, PREREQUISITE, STUDIES = "learning/concept", "learning/prerequisite_of", "learning/studies"
PATHS = "learning/learning_path"
NODES = (CONCEPT, PATHS, "learning/user")
RELATIONSHIPS = (PREREQUISITE, "learning/includes", STUDIES)
PATH = "machines-that-learn"
CORRELATION = "demo"
SETTLED = {"sets": "source_wins", "logic": "target_wins", "proofs": "merge", "induction": "last_write_wins"}
_EDITED = "c.title = 'A title from the graph'"
_EDITS = {"proofs": "c.hours = 8.5"}
_PATIENCE = 60.0
"""Seconds."""

_IN_ORDER = """
MATCH (p:LearningPath {sync_key: $path})-[:INCLUDES]->(c:Concept)
MATCH (q:Concept)-[:PREREQUISITE_OF*0..]->(c)
WITH DISTINCT q
OPTIONAL MATCH (a:Concept)-[:PREREQUISITE_OF*1..]->(q)
RETURN q.sync_key AS concept, q.title AS title, q.hours AS hours, count(DISTINCT a) AS before
ORDER BY before, title
"""
"""All that a path rests on; what has fewer concepts before it is never after one that has more."""


def tell(story: Story) -> None:
    """Full syncs, events, one that the graph refuses, conflicts, damage behind the sync's back, a graph question."""
    story.tell("learning: PostgreSQL, by its application's events → graph")
    for path in (*NODES, *RELATIONSHIPS):
        story.sync("full sync", path, full=True)
    _show_events(story)
    _show_poison(story)
    _show_conflicts(story)
    _show_consumer(story)
    _show_repair(story)
    _show_question(story)


@contextmanager
def _application() -> Generator[academy.Application]:
    """The academy's application in one transaction."""
    with application.transaction(os.environ["DATABASE_URL"]) as cursor:
        yield academy.Application(cursor, CORRELATION)


def _show_events(story: Story) -> None:
    """A concept comes with its relationships, one is renamed twice, one goes and its relationships with it."""
    with _application() as app:
        app.add_concept("attention", "Attention", "learning machines", difficulty=5, hours=7)
        app.require("embeddings", "attention", strength=0.9)
        app.include(PATH, "attention", 10)
        app.change_concept("complexity", title="Cost of programs")
        app.change_concept("complexity", title="Cost of a program")
        app.remove_concept("dynamic-programming")
    line = story.sync("events", CONCEPT)
    story.expect("nodes upserted and deleted", (line.counts.upserted, line.counts.deleted), (2, 1))
    for path in RELATIONSHIPS[:2]:
        line = story.sync("events", path)
        story.expect("relationships upserted", line.counts.upserted, 1)


def _show_poison(story: Story) -> None:
    """Somebody has told the graph that titles are unique: one concept is refused, and stops nothing else."""
    _cypher("CREATE CONSTRAINT IF NOT EXISTS FOR (c:Concept) REQUIRE c.title IS UNIQUE")
    with _application() as app:
        app.add_concept("sets-again", "Sets", "mathematics", difficulty=1, hours=1)
        app.add_concept("queues", "Queues", "algorithms", difficulty=2, hours=2)
    line = story.sync("one is poison", CONCEPT)
    story.expect("nodes upserted, quarantined", (line.counts.upserted, line.counts.quarantined), (1, 1))
    with _bound(CONCEPT).resources.ledger.ledger() as ledger:
        (poison,) = ledger.list_quarantine(*CONCEPT.split("/"))
    story.console.print(f"in quarantine: {poison.key}: {poison.reason}", highlight=False)
    for row in _cypher("SHOW CONSTRAINTS YIELD name, properties WHERE 'title' IN properties RETURN name"):
        _cypher(f"DROP CONSTRAINT `{row['name']}`")
    line = story.sync("replayed", CONCEPT, keys=[poison.key])
    story.expect("nodes upserted", line.counts.upserted, 1)


def _show_conflicts(story: Story) -> None:
    """Four concepts are edited in the graph and by the application at once; each is settled in another way."""
    from sync_pipelines import ConflictResolver

    for key in SETTLED:
        _cypher(f"MATCH (c:Concept {{sync_key: $key}}) SET {_EDITS.get(key, _EDITED)}", key=key)
        with _application() as app:
            app.change_concept(key, title=f"{key.capitalize()}, as the application has it")
    line = story.sync("conflicts", CONCEPT)
    story.expect("nodes upserted over an edit in review", line.counts.upserted, 0)
    shown = Table(title="Edited on both sides: sync-pipelines conflicts list learning --history")
    for name in ("concept", "settled by", "title in the graph", "hours"):
        shown.add_column(name)
    resolver = ConflictResolver()
    for key, method in SETTLED.items():
        with silenced():
            resolver.resolve_conflict(key, "concept", method, resolved_by="demo", resolution_notes="shown")
        (node,) = _cypher("MATCH (c:Concept {sync_key: $key}) RETURN c.title AS title, c.hours AS hours", key=key)
        shown.add_row(key, method, node["title"], f"{node['hours']:g}")
    story.console.print(shown)
    story.sync("settled", CONCEPT)


def _show_consumer(story: Story) -> None:
    """The long-running consumer, woken by NOTIFY: how long an event takes to the graph."""
    from sync_pipelines import run_consumer

    stop, seconds = Event(), []
    consumer = Thread(target=run_consumer, kwargs={"sync": "learning", "stop": stop, "poll_interval": 1.0})
    with silenced():
        consumer.start()
        try:
            for number in range(6):
                seconds.append(_seconds_to_the_graph(f"Queues, edition {number}"))
        finally:
            stop.set()
            consumer.join(60)
    # the first waits for the consumer to begin
    median = statistics.median(seconds[1:])
    story.console.print(f"consume learning: committed → in the graph: {median:.2f} s (p50 of 5)")
    story.sync("after the consumer", CONCEPT)


def _seconds_to_the_graph(title: str) -> float:
    with _application() as app:
        app.change_concept("queues", title=title)
    started = time.monotonic()
    while not _cypher("MATCH (c:Concept {title: $title}) RETURN c.sync_key AS key", title=title):
        if time.monotonic() - started > _PATIENCE:
            raise DemoFailedError(f"an event has not reached the graph within {_PATIENCE:.0f} s")
        time.sleep(0.02)
    return time.monotonic() - started


def _show_repair(story: Story) -> None:
    """Somebody changes a title in the graph and removes a relationship; both are found, named and mended."""
    _cypher("MATCH (p:LearningPath {sync_key: 'data-engineer'}) SET p.title = 'Somebody was here'")
    _cypher("MATCH (:Concept {sync_key: 'trees'})-[r:PREREQUISITE_OF]->(:Concept {sync_key: 'graphs'}) DELETE r")
    for path, wanted in ((PATHS, {"stale": 1}), (PREREQUISITE, {"missing": 1})):
        proof = _bound(path).prove("deep")
        story.expect(f"what the deep check of {path} named", {k: len(v) for k, v in proof.samples.items() if v}, wanted)
        story.repair(path, deep=True, records=1)


def _show_question(story: Story) -> None:
    found = _cypher(_IN_ORDER, path=PATH)
    shown = Table(title=f"What the path {PATH!r} rests on, in an order in which it can be learned (Cypher)")
    for name in ("concept", "hours", "concepts before it"):
        shown.add_column(name)
    for row in found:
        shown.add_row(row["title"], f"{row['hours']:g}", str(row["before"]))
    story.console.print(shown)
    keys = [row["concept"] for row in found]
    pairs = _cypher("MATCH (a:Concept)-[:PREREQUISITE_OF]->(b:Concept) RETURN a.sync_key AS a, b.sync_key AS b")
    wrong = [row for row in pairs if row["b"] in keys and row["a"] not in keys[: keys.index(row["b"])]]
    story.expect("concepts that stand before what they require", wrong, [])


def _bound(path: str) -> Any:
    from sync_pipelines.registry import tables

    return tables(path)[0]


def _cypher(text: str, **parameters: Any) -> list[dict[str, Any]]:
    """Straight through the driver, as a script of somebody's would."""
    from neo4j import GraphDatabase

    from sync_pipelines.definitions import default_resources

    settings = default_resources()["neo4j"].settings()
    with closing(GraphDatabase.driver(settings.uri, auth=(settings.user, settings.password))) as driver:
        found = driver.execute_query(text, parameters, database_=settings.database)  # ty: ignore
    return [dict(record) for record in found.records]
