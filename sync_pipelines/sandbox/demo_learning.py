"""The demo of `learning`: an academy's tables become a graph, stay equal, and answer what only a graph answers well."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from rich.table import Table

from sync_pipelines.sandbox.demo_knowledge import execute
from sync_pipelines.sandbox.story import Line, Story

CONCEPT, PREREQUISITE, STUDIES = "learning/concept", "learning/prerequisite_of", "learning/studies"
NODES = (CONCEPT, "learning/learning_path", "learning/user")
RELATIONSHIPS = (PREREQUISITE, "learning/includes", STUDIES)
PATH = "machines-that-learn"

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
    """Full syncs, changes and incremental syncs, an edit and a deletion behind the sync's back, a graph question."""
    story.tell("learning: PostgreSQL → graph")
    for path in (*NODES, *RELATIONSHIPS):
        story.sync("full sync", path, full=True)
    _show_changes(story)
    _show_repair(story)
    _show_question(story)


def _show_changes(story: Story) -> None:
    """A concept comes with its prerequisite, one is renamed, one goes and its relationships with it."""
    execute(
        [
            (
                "INSERT INTO concept (id, title, field, difficulty, hours) VALUES (%s, %s, 'learning machines', 5, 7)",
                ("attention", "Attention"),
            ),
            (
                "INSERT INTO concept_prerequisite (concept_id, requires_id, strength) VALUES (%s, %s, 0.9)",
                ("attention", "embeddings"),
            ),
            ("INSERT INTO path_concept VALUES (%s, %s, 10)", (PATH, "attention")),
            ("UPDATE concept SET title = 'Cost of a program' WHERE id = 'complexity'", ()),
            ("DELETE FROM concept WHERE id = 'dynamic-programming'", ()),
        ],
        connection="learning",
    )
    line = story.sync("incremental", CONCEPT)
    story.expect("nodes upserted and deleted", _written(line), (2, 1))
    line = story.sync("incremental", PREREQUISITE)
    story.expect("relationships upserted", line.counts.upserted, 1)
    for path in RELATIONSHIPS[1:]:
        story.sync("incremental", path)


def _written(line: Line) -> tuple[int, int]:
    return line.counts.upserted, line.counts.deleted


def _show_repair(story: Story) -> None:
    """Somebody changes a title in the graph and removes a relationship; both are found, named and mended."""
    from sync_pipelines.registry import tables

    _cypher("MATCH (c:Concept {sync_key: 'graphs'}) SET c.title = 'Somebody was here'")
    _cypher("MATCH (:Concept {sync_key: 'trees'})-[r:PREREQUISITE_OF]->(:Concept {sync_key: 'graphs'}) DELETE r")
    for path, wanted in ((CONCEPT, {"stale": 1}), (PREREQUISITE, {"missing": 1})):
        bound = tables(path)[0]
        proof = bound.prove("deep")
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


def _cypher(text: str, **parameters: Any) -> list[dict[str, Any]]:
    """Straight through the driver, as a script of somebody's would."""
    from neo4j import GraphDatabase

    from sync_pipelines.definitions import default_resources

    settings = default_resources()["neo4j"].settings()
    with closing(GraphDatabase.driver(settings.uri, auth=(settings.user, settings.password))) as driver:
        found = driver.execute_query(text, parameters, database_=settings.database)  # ty: ignore
    return [dict(record) for record in found.records]
