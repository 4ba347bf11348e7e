"""What is done behind the sync's back is found, named and mended; a graph that is another one is noticed."""

from __future__ import annotations

import pytest

from sync_pipelines.engine.errors import MassDeleteError, RunError
from sync_pipelines_tests.graph.house import Academy, concept, prerequisite


@pytest.fixture
def synced(academy: Academy) -> Academy:
    """Four concepts in a row, on both sides."""
    academy.add("c1", "c2", "c3", "c4")
    academy.require(("c1", "c2"), ("c2", "c3"), ("c3", "c4"))
    for table in (concept(), prerequisite()):
        academy.sync(table)
    return academy


def test_a_quick_proof_names_nodes_that_are_missing_stale_and_extra(synced: Academy) -> None:
    synced.cypher("MATCH (n:Concept {sync_key: 'c1'}) DETACH DELETE n")
    synced.cypher("MATCH (n:Concept {sync_key: 'c2'}) SET n.sync_fingerprint = 'other'")
    synced.cypher("CREATE (:Concept {sync_key: 'c9', title: 'made by hand'})")
    proof = synced.prove(concept())
    assert proof.samples == {"missing": ["c1"], "stale": ["c2"], "extra": ["c9"]}
    assert synced.repair(concept()).repaired == 3
    assert synced.prove(concept()).equal
    assert synced.titles() == ["c1", "c2", "c3", "c4"]


EDITS = [
    "n.title = 'edited'",
    "n.title = null",
    "n.difficulty = 5",
    "n.difficulty = '4'",
    "n.difficulty = 4.0",
    "n.tags = ['a', 'b']",
    "n.tags = '[\"a\"]'",
    "n.updated_at = datetime('2020-01-01T00:00:00Z')",
    "n.updated_at = '2024-01-01T00:00:00Z'",
    "n.id = 'other'",
]


def test_a_deep_proof_finds_each_edited_property_and_a_repair_mends_it(academy: Academy) -> None:
    edits = {f"c{number}": edit for number, edit in enumerate(EDITS)}
    for key in (*edits, "untouched"):
        academy.execute("INSERT INTO concept VALUES (%s, 'Sets', 4, '{a}', '2024-01-01Z')", key)
    academy.sync(concept())
    before = {key: academy.node(key) for key in edits}
    for key, edit in edits.items():
        academy.cypher(f"MATCH (n:Concept {{sync_key: '{key}'}}) SET {edit}")
    assert academy.prove(concept()).equal
    proof = academy.prove(concept(), "deep")
    assert proof.samples == {"stale": sorted(edits)}
    for key, edit in edits.items():
        assert edit.split(" ")[0].removeprefix("n.") in proof.reasons[key], edit
    assert academy.repair(concept()).repaired == len(edits)
    assert {key: academy.node(key) for key in edits} == before
    assert academy.prove(concept(), "deep").equal


def test_a_value_of_another_type_where_the_source_has_none_is_found(academy: Academy) -> None:
    academy.execute("INSERT INTO concept (id, title) VALUES ('c1', NULL)")
    academy.sync(concept())
    academy.cypher("MATCH (n:Concept) SET n.title = 5")
    proof = academy.prove(concept(), "deep")
    assert proof.reasons == {"c1": "property 'title' holds no STRING that the sync would write"}
    assert academy.repair(concept()).repaired == 1
    assert academy.node("c1", "Concept")
    assert academy.prove(concept(), "deep").equal


def test_proofs_find_relationships_that_were_deleted_edited_or_led_elsewhere(synced: Academy) -> None:
    synced.cypher("MATCH ({sync_key: 'c1'})-[r:PREREQUISITE_OF]->() DELETE r")
    synced.cypher("MATCH ({sync_key: 'c2'})-[r:PREREQUISITE_OF]->() SET r.weight = 7.0")
    led = "MATCH (:Concept {sync_key: 'c3'})-[r:PREREQUISITE_OF]->() MATCH (b:Concept {sync_key: 'c1'}) "
    made = "MATCH (a:Concept {sync_key: 'c3'}) CREATE (a)-[x:PREREQUISITE_OF]->(b) SET x += p"
    synced.cypher(f"{led} WITH r, b, properties(r) AS p DELETE r WITH b, p {made}")
    assert synced.prove(prerequisite()).samples == {"missing": ['["c2", "c1"]']}
    proof = synced.prove(prerequisite(), "deep")
    assert proof.samples == {"missing": ['["c2", "c1"]'], "stale": ['["c3", "c2"]', '["c4", "c3"]']}
    assert proof.reasons == {'["c3", "c2"]': "weight differs", '["c4", "c3"]': "sync_end differs"}
    assert synced.repair(prerequisite()).repaired == 3
    assert synced.prove(prerequisite(), "deep").equal
    assert synced.arrows() == [("c1", "c2"), ("c2", "c3"), ("c3", "c4")]


def test_a_node_that_no_sync_wrote_is_extra_and_goes_with_a_repair(synced: Academy) -> None:
    synced.cypher("CREATE (:Concept {title: 'a stranger'})")
    assert synced.sync(concept()).deleted == 0
    proof = synced.prove(concept())
    assert (proof.target_count, proof.extra) == (5, 1)
    assert proof.samples["extra"][0].startswith("∅ without sync_key: ")
    assert synced.repair(concept()).repaired == 1
    assert synced.titles() == ["c1", "c2", "c3", "c4"]


def test_a_relationship_that_no_sync_wrote_is_extra_and_goes_with_a_full_run(synced: Academy) -> None:
    synced.cypher("MATCH (a:Concept {sync_key: 'c1'}) CREATE (a)-[:PREREQUISITE_OF]->(a)")
    assert synced.prove(prerequisite()).extra == 1
    assert synced.sync(prerequisite(), mode="full").deleted == 1
    assert synced.arrows() == [("c1", "c2"), ("c2", "c3"), ("c3", "c4")]
    assert synced.prove(prerequisite(), "deep").equal


def test_a_wiped_graph_is_noticed_and_filled_anew(synced: Academy) -> None:
    synced.cypher("MATCH (n) DETACH DELETE n")
    assert synced.sync(concept()).upserted == 4
    assert synced.reason(concept()) == "the target was dropped and made anew"
    assert synced.sync(prerequisite()).upserted == 3
    assert synced.prove(concept(), "deep").equal
    assert synced.prove(prerequisite(), "deep").equal


def test_a_label_whose_nodes_were_all_deleted_is_filled_anew(synced: Academy) -> None:
    synced.cypher("MATCH (n:Concept) DETACH DELETE n")
    assert synced.sync(concept()).upserted == 4
    assert synced.reason(concept()) == "the target is empty"
    synced.sync(prerequisite())
    assert synced.reason(prerequisite()) == "the target is empty"
    assert synced.prove(prerequisite()).equal


def test_a_graph_that_was_restored_from_before_the_last_run_is_noticed(synced: Academy) -> None:
    before = synced.cypher("MATCH (m:SyncTarget {sync_key: 'label Concept'}) RETURN m.stamp AS s")[0]["s"]
    synced.add("c5")
    synced.sync(concept())
    assert synced.reason(concept()) == ""
    synced.cypher("MATCH (n:Concept {sync_key: 'c5'}) DELETE n")
    synced.cypher("MATCH (m:SyncTarget {sync_key: 'label Concept'}) SET m.stamp = $s", s=before)
    assert synced.sync(concept()).upserted == 1
    assert "do not speak of the same run" in synced.reason(concept())
    assert synced.titles() == ["c1", "c2", "c3", "c4", "c5"]


def test_a_mass_deletion_stops_and_deletes_nothing(academy: Academy) -> None:
    academy.execute("INSERT INTO concept (id, title) SELECT n, n FROM generate_series(1, 300) AS n")
    academy.sync(concept(), batch_size=500)
    academy.execute("DELETE FROM concept WHERE id::int > 150")
    with pytest.raises(MassDeleteError, match="150"):
        academy.sync(concept())
    assert academy.cypher("MATCH (n:Concept) RETURN count(n) AS c") == [{"c": 300}]
    assert academy.sync(concept(), allow=True).deleted == 150
    assert academy.prove(concept()).equal


def test_a_label_that_somebody_else_uses_is_refused(academy: Academy) -> None:
    academy.cypher("CREATE (:Concept {title: 'of another application'})")
    academy.add("c1")
    with pytest.raises(RunError, match="label Concept of the graph was made by something else and holds 1"):
        academy.sync(concept())
    assert academy.titles() == ["of another application"]


def test_a_label_of_another_table_is_refused(synced: Academy) -> None:
    with pytest.raises(RunError, match="label Concept of the graph belongs to learning/concept"):
        synced.sync(concept(name="rival"))


def test_a_rebuild_is_refused_with_what_to_do_instead(synced: Academy) -> None:
    with pytest.raises(RunError, match="sync learning/concept --full"):
        synced.sync(concept(), mode="rebuild")
