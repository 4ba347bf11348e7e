"""Rows become relationships: between the nodes that they name, waiting for those that are not there."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipelines.components.outbox_to_neo4j import OutboxToNeo4j
from sync_pipelines.engine.plan import plan
from sync_pipelines.engine.waiting import can_arrive
from sync_pipelines.targets.neo4j.judging import Judge
from sync_pipelines_tests.graph.house import Academy, concept, prerequisite


def test_rows_become_relationships_between_the_nodes_that_they_name(academy: Academy) -> None:
    academy.add("c1", "c2")
    academy.require(("c1", "c2"))
    academy.execute("UPDATE prerequisite SET weight = 0.5")
    academy.sync(concept())
    assert academy.sync(prerequisite()).upserted == 1
    found = academy.cypher("MATCH (a)-[r:PREREQUISITE_OF]->(b) RETURN a.title AS a, b.title AS b, properties(r) AS p")
    assert (found[0]["a"], found[0]["b"]) == ("c1", "c2")
    own = {name: value for name, value in found[0]["p"].items() if name != "sync_fingerprint"}
    assert own.pop("updated_at")
    assert own == {"sync_key": '["c2", "c1"]', "weight": 0.5}
    assert academy.prove(prerequisite(), "deep").equal


def test_a_changed_row_changes_its_relationship_in_its_place(academy: Academy) -> None:
    academy.add("c1", "c2")
    academy.require(("c1", "c2"))
    for table in (concept(), prerequisite()):
        academy.sync(table)
    academy.cypher("MATCH ()-[r:PREREQUISITE_OF]->() SET r.note = 'mine'")
    academy.execute("UPDATE prerequisite SET weight = 2")
    assert academy.sync(prerequisite()).upserted == 1
    found = academy.cypher("MATCH ()-[r:PREREQUISITE_OF]->() RETURN r.weight AS weight, r.note AS note")
    assert found == [{"weight": 2.0, "note": "mine"}]


def test_a_deleted_row_takes_its_relationship_and_leaves_the_nodes(academy: Academy) -> None:
    academy.add("c1", "c2", "c3")
    academy.require(("c1", "c2"), ("c2", "c3"))
    for table in (concept(), prerequisite()):
        academy.sync(table)
    academy.execute("DELETE FROM prerequisite WHERE concept_id = 'c2'")
    assert academy.sync(prerequisite()).deleted == 1
    assert academy.arrows() == [("c2", "c3")]
    assert academy.titles() == ["c1", "c2", "c3"]


def follows(academy: Academy, **more: Any) -> OutboxToNeo4j:
    """Relationships with a key of their own, which may lead elsewhere: of three concepts two follow the second."""
    academy.execute("CREATE TABLE follows (id int PRIMARY KEY, who text, whom text, since int)")
    ends = {name: {"label": "Concept", "key": key} for name, key in (("start", "who"), ("end", "whom"))}
    table = prerequisite(
        source={"connection": "learning", "table": "follows", "key": ["id"]},
        target={"relationship": "FOLLOWS", **ends},
        **more,
    )
    academy.capture(table)
    academy.add("c1", "c2", "c3")
    academy.execute("INSERT INTO follows VALUES (1, 'c1', 'c2', 2020), (2, 'c2', 'c2', 2021)")
    for each in (concept(), table):
        academy.sync(each)
    return table


def followers(academy: Academy) -> list[tuple[Any, ...]]:
    text = "MATCH (a)-[r:FOLLOWS]->(b) RETURN a.sync_key AS a, b.sync_key AS b, r.since AS s, r.id AS id ORDER BY id"
    return [tuple(row.values()) for row in academy.cypher(text)]


def test_a_relationship_that_leads_elsewhere_now_is_made_anew(academy: Academy) -> None:
    table = follows(academy)
    academy.execute("UPDATE follows SET whom = 'c3', since = 2022 WHERE id = 1")
    academy.sync(table)
    assert followers(academy) == [("c1", "c3", 2022, 1), ("c2", "c2", 2021, 2)]
    assert academy.prove(table, "deep").equal


def test_an_edit_of_a_relationship_that_is_about_to_lead_elsewhere_is_judged_before_it_goes(
    academy: Academy, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = follows(academy, conflicts={"strategy": "merge"})
    written, edits = Judge._written, iter([1999])

    def late(self: Judge, found: Any) -> Any:
        for year in edits:
            academy.cypher("MATCH ()-[r:FOLLOWS {id: 1}]->() SET r.since = $year", year=year)
        return written(self, found)

    monkeypatch.setattr(Judge, "_written", late)
    academy.execute("UPDATE follows SET whom = 'c3' WHERE id = 1")
    academy.sync(table)
    assert followers(academy) == [("c1", "c3", 1999, 1), ("c2", "c2", 2021, 2)]


def test_a_relationship_whose_node_is_not_there_waits_and_arrives_after_it(academy: Academy) -> None:
    academy.add("c1")
    academy.sync(concept())
    academy.require(("c1", "c2"), ("c1", "c1"))
    counts = academy.sync(prerequisite())
    assert (counts.upserted, counts.quarantined) == (1, 1)
    assert academy.quarantined(prerequisite()) == {
        '["c2", "c1"]': "it waits for its end, the node 'c2' of label Concept"
    }
    assert academy.prove(prerequisite()).equal
    assert not can_arrive(academy.bind(prerequisite()))
    academy.add("c2")
    academy.sync(concept())
    assert can_arrive(academy.bind(prerequisite()))
    assert academy.sync(prerequisite()).upserted == 1
    assert academy.arrows() == [("c1", "c1"), ("c1", "c2")]
    assert not academy.quarantined(prerequisite())


def test_relationships_that_are_read_before_any_node_all_wait(academy: Academy) -> None:
    pairs = [(f"c{n}", f"c{n + 1}") for n in range(150)]
    academy.require(*pairs)
    assert academy.sync(prerequisite(), mode="full").quarantined == 150
    academy.add(*(f"c{n}" for n in range(151)))
    academy.sync(concept())
    assert academy.sync(prerequisite()).upserted == 150
    assert academy.arrows() == sorted(pairs)


def test_a_row_without_a_node_at_one_end_is_quarantined_alone(academy: Academy) -> None:
    academy.execute("CREATE TABLE follows (id int PRIMARY KEY, who text, whom text)")
    ends = {name: {"label": "Concept", "key": key} for name, key in (("start", "who"), ("end", "whom"))}
    source = {"connection": "learning", "table": "follows", "key": ["id"]}
    follows = prerequisite(source=source, target={"relationship": "FOLLOWS", **ends})
    academy.capture(follows)
    academy.add("c1")
    academy.execute("INSERT INTO follows VALUES (1, 'c1', NULL), (2, 'c1', 'c1')")
    academy.sync(concept())
    assert academy.sync(follows).upserted == 1
    assert academy.quarantined(follows) == {"1": "column 'whom' is NULL: a relationship has a node at both ends"}


def test_with_a_node_go_its_relationships_which_wait_for_it_where_their_rows_stay(academy: Academy) -> None:
    academy.add("c1", "c2", "c3")
    academy.require(("c1", "c2"), ("c2", "c3"), ("c3", "c1"))
    for table in (concept(), prerequisite()):
        academy.sync(table)
    academy.cypher("MATCH (a:Concept {sync_key: 'c2'}) MATCH (b:Concept {sync_key: 'c3'}) CREATE (a)-[:LIKED]->(b)")
    academy.execute("DELETE FROM concept WHERE id = 'c2'")
    academy.execute("DELETE FROM prerequisite WHERE concept_id = 'c2'")
    academy.sync(concept())
    assert academy.arrows() == [("c3", "c1")]
    assert academy.cypher("MATCH ()-[r:LIKED]->() RETURN count(r) AS c") == [{"c": 0}]
    academy.sync(prerequisite())
    proof = academy.prove(prerequisite())
    assert (proof.missing, proof.samples["missing"]) == (1, ['["c3", "c2"]'])
    assert academy.repair(prerequisite()).counts.quarantined == 1
    assert academy.prove(prerequisite()).equal
    academy.add("c2")
    academy.sync(concept())
    assert can_arrive(academy.bind(prerequisite()))
    academy.sync(prerequisite())
    assert academy.arrows() == [("c2", "c3"), ("c3", "c1")]
    assert not academy.quarantined(prerequisite())


def test_a_plan_names_relationships_that_would_wait(academy: Academy) -> None:
    academy.add("c1")
    academy.sync(concept())
    academy.require(("c1", "c1"), ("c1", "c2"))
    found = plan(academy.bind(prerequisite()), mode="full")
    assert (found.upserts, found.quarantined) == (1, 1)
    assert academy.arrows() == []


@pytest.mark.slow
@pytest.mark.spare_where(graph="neo4j")
def test_a_node_with_ten_thousand_relationships_is_kept(academy: Academy) -> None:
    academy.execute("INSERT INTO concept (id, title) SELECT 'c' || n, n FROM generate_series(0, 10000) AS n")
    academy.execute(
        "INSERT INTO prerequisite (requires_id, concept_id) SELECT 'c0', 'c' || n FROM generate_series(1, 10000) AS n"
    )
    academy.sync(concept(), batch_size=5000)
    assert academy.sync(prerequisite(), batch_size=2000).upserted == 10_000
    academy.execute("UPDATE prerequisite SET weight = 1 WHERE concept_id IN ('c1', 'c9999')")
    assert academy.sync(prerequisite()).upserted == 2
    assert academy.prove(prerequisite()).equal
    academy.execute("DELETE FROM concept WHERE id = 'c0'")
    academy.execute("DELETE FROM prerequisite")
    academy.sync(concept())
    academy.sync(prerequisite(), allow=True)
    assert academy.cypher("MATCH ()-[r]->() RETURN count(r) AS c") == [{"c": 0}]
