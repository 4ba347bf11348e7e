"""People edit the graph, too: what was edited is seen, and each strategy lets the side win that it names."""

from __future__ import annotations

import json
from typing import Any

import pytest

import sync_pipelines.definitions
from sync_pipelines import ConflictResolver
from sync_pipelines.components.outbox_to_neo4j import OutboxToNeo4j
from sync_pipelines.engine.ledger.conflict_rows import Conflict
from sync_pipelines.targets.neo4j.judging import Judge
from sync_pipelines.targets.neo4j.target import GraphTarget
from sync_pipelines_tests.graph.house import Academy, concept, prerequisite


def by(strategy: str, **more: Any) -> OutboxToNeo4j:
    return concept(conflicts={"strategy": strategy}, **more)


def conflicts(academy: Academy) -> list[Conflict]:
    return academy.bind(concept()).ledger.conflict_history("learning", "concept")


def edit(academy: Academy, change: str, key: str = "c1", label: str = "Concept") -> None:
    """Somebody changes a node by hand."""
    academy.cypher(f"MATCH (n:{label} {{sync_key: $key}}) SET {change}", key=key)


def held(academy: Academy, *names: str, key: str = "c1") -> list[Any]:
    node = academy.node(key) or {}
    return [node.get(name) for name in names]


@pytest.fixture
def synced(academy: Academy) -> Academy:
    academy.execute(
        "INSERT INTO concept VALUES ('c1', 'Sets', 1, '{a,b}', '2024-01-01Z'), ('c2', 'Maps', 1, '{}', now())"
    )
    return academy


@pytest.mark.parametrize(
    ("strategy", "title", "state"),
    [
        ("source_wins", "ours", "resolved"),
        ("last_write_wins", "ours", "resolved"),
        ("target_wins", "theirs", "open"),
        ("manual_review", "theirs", "review"),
        ("merge", "theirs", "review"),
    ],
)
def test_what_both_sides_changed_is_decided_by_the_strategy_and_kept_on_record(
    synced: Academy, strategy: str, title: str, state: str
) -> None:
    table = by(strategy)
    synced.sync(table)
    edit(synced, "n.title = 'theirs'")
    synced.execute(
        "UPDATE concept SET title = 'ours' WHERE id = 'c1'; UPDATE concept SET title = 'new' WHERE id = 'c2'"
    )
    synced.sync(table)
    assert (held(synced, "title"), held(synced, "title", key="c2")) == ([title], ["new"])
    (found,) = conflicts(synced)
    assert (found.key, found.state, found.strategy) == ("c1", state, strategy)
    assert [data["title"] for data in (found.source_data, found.target_data, found.base_data) if data] == [
        "ours", "theirs", "Sets",
    ]  # fmt: skip
    assert (found.method, found.resolved_by) == ((None, None) if state == "review" else (strategy, "strategy"))
    ledger = synced.bind(table).ledger
    assert ledger.review_count("learning", "concept") == (state == "review")
    for kind in ("quick", "deep"):
        proof = synced.prove(table, kind)
        assert (proof.equal, proof.excluded) == (True, int(title == "theirs"))
    synced.sync(table, mode="full")
    assert synced.repair(table, deep=True).counts.upserted == 0
    assert held(synced, "title") == [title]
    assert len(conflicts(synced)) == 1
    marked = synced.execute("SELECT entity_id FROM sync.sync_status WHERE has_conflict")
    assert marked == ([("c1",)] if state == "review" else [])


def test_a_merge_keeps_the_edits_of_both_sides_and_takes_in_later_ones(synced: Academy) -> None:
    table = by("merge")
    synced.sync(table)
    edit(synced, "n.difficulty = 5, n.tags = ['b', 'z']")
    synced.execute("UPDATE concept SET title = 'ours', tags = '{a,b,c}' WHERE id = 'c1'")
    synced.sync(table)
    assert held(synced, "title", "difficulty", "tags") == ["ours", 5, ["b", "c", "z"]]
    (found,) = conflicts(synced)
    assert (found.state, found.method, found.resolved_by) == ("resolved", "merge", "strategy")
    synced.execute("UPDATE concept SET title = 'ours again', tags = '{c}' WHERE id = 'c1'")
    synced.sync(table)
    assert held(synced, "title", "difficulty", "tags") == ["ours again", 5, ["c", "z"]]
    assert synced.prove(table).equal
    proof = synced.prove(table, "deep")
    assert (proof.equal, proof.excluded) == (True, 1)
    assert synced.repair(table, deep=True).repaired == 0
    assert held(synced, "difficulty") == [5]
    synced.execute("UPDATE concept SET difficulty = 2 WHERE id = 'c1'")
    synced.sync(table)
    assert (held(synced, "difficulty"), conflicts(synced)[0].state) == ([5], "review")
    assert "both changed difficulty" in conflicts(synced)[0].reason


def test_a_merge_takes_maps_by_their_keys_and_leaves_a_value_of_another_type_to_a_person(synced: Academy) -> None:
    table = by("merge")
    synced.execute('ALTER TABLE concept ADD meta jsonb; UPDATE concept SET meta = \'{"a": 1, "b": {"x": 1}}\'')
    synced.sync(table)
    edit(synced, """n.meta = '{"a": 2, "b": {"x": 1}}'""")
    synced.execute('UPDATE concept SET meta = \'{"a": 1, "b": {"x": 1, "y": 2}}\' WHERE id = \'c1\'')
    edit(synced, "n.difficulty = 'hard'", key="c2")
    synced.execute("UPDATE concept SET title = 'ours' WHERE id = 'c2'")
    # a number that no float holds would be rounded, so the whole is left to a person
    synced.execute("INSERT INTO concept (id, meta) VALUES ('c3', '{\"p\": 0.12345678901234567890}')")
    synced.sync(table)
    edit(synced, """n.meta = '{"a": 1, "p": 0.12345678901234567890}'""", key="c3")
    synced.execute("UPDATE concept SET meta = meta || '{\"b\": 1}' WHERE id = 'c3'")
    synced.sync(table)
    assert json.loads(held(synced, "meta")[0]) == {"a": 2, "b": {"x": 1, "y": 2}}
    assert held(synced, "title", "difficulty", key="c2") == ["Maps", "hard"]
    assert held(synced, "meta", key="c3") == ['{"a": 1, "p": 0.12345678901234567890}']
    assert {item.key: item.state for item in conflicts(synced)} == {"c1": "resolved", "c2": "review", "c3": "review"}


def test_a_review_is_over_when_the_edit_was_taken_back(synced: Academy) -> None:
    table = by("manual_review")
    synced.sync(table)
    edit(synced, "n.title = 'theirs'")
    synced.execute("UPDATE concept SET title = 'ours' WHERE id = 'c1'")
    synced.sync(table)
    edit(synced, "n.title = 'Sets'")
    synced.sync(table, mode="full")
    assert held(synced, "title") == ["ours"]
    assert conflicts(synced)[0].state == "resolved"
    assert synced.execute("SELECT count(*) FROM sync.sync_status WHERE has_conflict") == [(0,)]


@pytest.mark.parametrize(
    ("strategy", "left"),
    [("source_wins", None), ("last_write_wins", None), ("target_wins", "theirs"), ("manual_review", "theirs")],
)
def test_a_deletion_in_the_source_against_an_edit_is_a_conflict(synced: Academy, strategy: str, left: Any) -> None:
    table = by(strategy)
    synced.sync(table)
    edit(synced, "n.title = 'theirs'")
    synced.execute("DELETE FROM concept WHERE id = 'c1'")
    synced.sync(table)
    assert held(synced, "title") == [left]
    (found,) = conflicts(synced)
    assert (found.source_data, (found.target_data or {})["title"]) == (None, "theirs")
    assert found.state == ("review" if strategy == "manual_review" else "open" if left else "resolved")
    proof = synced.prove(table)
    assert (proof.equal, proof.excluded) == (True, int(left is not None))
    synced.sync(table, mode="full")
    assert held(synced, "title") == [left]


@pytest.mark.parametrize(
    ("strategy", "left"),
    [("source_wins", "ours"), ("last_write_wins", "ours"), ("target_wins", None), ("merge", None)],
)
def test_a_deletion_in_the_graph_against_an_edit_is_a_conflict(synced: Academy, strategy: str, left: Any) -> None:
    table = by(strategy)
    synced.sync(table)
    synced.cypher("MATCH (n:Concept {sync_key: 'c1'}) DELETE n")
    synced.execute("UPDATE concept SET title = 'ours' WHERE id = 'c1'")
    synced.sync(table)
    assert held(synced, "title") == [left]
    (found,) = conflicts(synced)
    assert (found.target_data, (found.base_data or {})["title"]) == (None, "Sets")
    assert synced.prove(table).equal


def test_an_edit_that_has_raised_its_version_wins_the_last_write(synced: Academy) -> None:
    table = by("last_write_wins")
    synced.sync(table)
    edit(synced, "n.title = 'theirs', n.updated_at = datetime('2099-01-01T00:00:00Z')")
    synced.execute("UPDATE concept SET title = 'ours', updated_at = '2098-01-01Z' WHERE id = 'c1'")
    synced.sync(table)
    assert held(synced, "title") == ["theirs"]
    assert synced.repair(table, deep=True).repaired == 0
    found = conflicts(synced)[0]
    assert (found.source_version, found.target_version) == ("2098-01-01T00:00:00+00:00", "2099-01-01T00:00:00+00:00")
    synced.execute("UPDATE concept SET updated_at = '2099-01-01Z' WHERE id = 'c1'")
    synced.sync(table)
    assert held(synced, "title") == ["ours"]
    assert {item.state for item in conflicts(synced)} == {"resolved"}


def test_an_edit_that_comes_between_the_judgement_and_the_write_is_judged_too(
    synced: Academy, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = by("merge")
    synced.sync(table)
    written, edits = Judge._written, iter(["n.difficulty = 5"])

    def late(self: Judge, found: Any) -> Any:
        for change in edits:
            edit(synced, change)
        return written(self, found)

    monkeypatch.setattr(Judge, "_written", late)
    synced.execute("UPDATE concept SET title = 'ours'")
    synced.sync(table)
    assert held(synced, "title", "difficulty") == ["ours", 5]
    assert held(synced, "title", key="c2") == ["ours"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_a_run_was_cut_off_from_writing_is_no_edit(
    synced: Academy, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    table = by("manual_review")
    synced.sync(table)
    written = Judge._written

    def cut(self: Judge, found: Any) -> Any:
        if moment == "after":
            written(self, found)
        raise KeyboardInterrupt

    synced.execute("UPDATE concept SET title = 'ours'; INSERT INTO concept (id, title) VALUES ('c3', 'ours')")
    monkeypatch.setattr(Judge, "_written", cut)
    with pytest.raises(KeyboardInterrupt):
        synced.sync(table)
    monkeypatch.setattr(Judge, "_written", written)
    synced.execute("UPDATE concept SET title = 'later'")
    synced.sync(table)
    assert synced.titles() == ["later", "later", "later"]
    assert conflicts(synced) == []


def test_without_detection_nothing_is_kept_and_the_source_is_written_over_an_edit(synced: Academy) -> None:
    table = concept(conflict_detection=False)
    synced.sync(table)
    edit(synced, "n.title = 'theirs'")
    synced.execute("UPDATE concept SET title = 'ours' WHERE id = 'c1'")
    synced.sync(table)
    assert held(synced, "title") == ["ours"]
    assert conflicts(synced) == []
    assert synced.execute("SELECT count(*) FROM sync.sync_bases") == [(0,)]


def test_sensitive_values_are_compared_but_not_stored_readable(synced: Academy) -> None:
    table = by("merge", sensitive=["title", "tags"])
    synced.sync(table)
    edit(synced, "n.title = 'theirs', n.tags = ['private']")
    synced.execute("UPDATE concept SET title = 'ours', difficulty = 4 WHERE id = 'c1'")
    synced.sync(table)
    assert held(synced, "title", "difficulty") == ["theirs", 1]
    (found,) = conflicts(synced)
    assert (found.state, found.source_data and found.source_data["difficulty"]) == ("review", 4)
    stored = json.dumps(synced.execute("SELECT to_jsonb(t)::text FROM sync.sync_conflicts t"))
    stored += json.dumps(synced.execute("SELECT to_jsonb(t)::text FROM sync.sync_bases t"))
    assert not [word for word in ("Sets", "ours", "theirs", "private", "Maps") if word in stored]


def test_a_node_that_the_source_made_anew_gets_its_relationships_again(
    academy: Academy, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes, arrows = by("source_wins"), prerequisite(conflicts={"strategy": "target_wins"})
    academy.add("c1", "c2", "c3", "c4", "c5")
    academy.require(("c1", "c2"), ("c2", "c3"), ("c3", "c4"), ("c4", "c5"))
    academy.sync(nodes)
    academy.sync(arrows)
    academy.execute("DELETE FROM concept WHERE id = 'c2'")
    academy.sync(nodes)
    academy.add("c2")
    academy.sync(nodes)
    academy.execute("UPDATE prerequisite SET weight = 2")
    academy.sync(arrows)
    assert academy.arrows() == [("c1", "c2"), ("c2", "c3"), ("c3", "c4"), ("c4", "c5")]
    academy.cypher('MATCH ()-[r:PREREQUISITE_OF {sync_key: \'["c2", "c1"]\'}]->() DELETE r')
    academy.execute("UPDATE prerequisite SET weight = 3")
    academy.sync(arrows)
    assert academy.arrows() == [("c2", "c3"), ("c3", "c4"), ("c4", "c5")]
    academy.cypher("MATCH (n:Concept {sync_key: 'c3'}) DETACH DELETE n")
    academy.execute("UPDATE prerequisite SET weight = 4 WHERE concept_id <> 'c2'")
    academy.sync(arrows)
    academy.repair(nodes)
    academy.sync(arrows)
    assert academy.arrows() == [("c2", "c3"), ("c3", "c4"), ("c4", "c5")]
    assert academy.prove(arrows).equal
    academy.cypher("MATCH (n:Concept {sync_key: 'c3'}) DETACH DELETE n")
    academy.repair(nodes)
    academy.sync(arrows, mode="full")  # it has not seen them without their node: they were deleted by hand
    assert academy.arrows() == [("c4", "c5")]
    monkeypatch.setattr(sync_pipelines.definitions, "load", lambda *_: (None, (nodes, arrows)))
    for key in ('["c3", "c2"]', '["c4", "c3"]'):
        assert ConflictResolver().resolve_conflict(key, "prerequisite", "source", "ada").still is None
    assert academy.arrows() == [("c2", "c3"), ("c3", "c4"), ("c4", "c5")]


def test_a_graph_that_was_emptied_is_filled_anew_whatever_the_strategy(synced: Academy) -> None:
    table = by("manual_review")
    synced.sync(table)
    synced.cypher("MATCH (n:Concept) DETACH DELETE n")
    synced.sync(table)
    assert synced.titles() == ["Maps", "Sets"]
    assert conflicts(synced) == []


def test_columns_that_come_go_or_change_their_type_make_no_node_look_edited(synced: Academy) -> None:
    table = by("manual_review")
    synced.sync(table)
    synced.execute("ALTER TABLE concept ADD COLUMN level int DEFAULT 3, DROP tags, ALTER difficulty TYPE text")
    synced.sync(table)
    assert held(synced, "level", "difficulty", "tags") == [3, "1", None]
    assert conflicts(synced) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"conflicts": {"strategy": "merge", "by": "id"}}, "the column of last_write_wins"),
        ({"conflicts": {"strategy": "merge"}, "conflict_detection": False}, "conflict_detection is false"),
        ({"conflicts": {"by": "nope"}, "properties": ["title"]}, "becomes no property"),
    ],
)
def test_a_document_that_contradicts_itself_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        concept(**more)


def test_an_edit_that_comes_before_a_deletion_is_done_is_judged_too(
    synced: Academy, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = by("manual_review")
    synced.sync(table)
    delete, edits = GraphTarget._delete, iter(["n.title = 'theirs'"])

    def late(self: GraphTarget, *given: Any) -> None:
        for change in edits:
            edit(synced, change)
        delete(self, *given)

    monkeypatch.setattr(GraphTarget, "_delete", late)
    synced.execute("DELETE FROM concept")
    assert synced.sync(table, allow=True).deleted == 1
    assert synced.titles() == ["theirs"]
    assert synced.prove(table).excluded == 1


def test_a_quick_proof_counts_what_a_deep_one_has_put_on_record_until_it_is_so_no_more(synced: Academy):
    table = by("target_wins")
    synced.sync(table)
    ledger = synced.bind(table).ledger

    def counted(kind: Any) -> tuple[bool, int, int]:
        proof = synced.prove(table, kind)
        return proof.equal, proof.excluded, ledger.left_out("learning", "concept").excluded

    edit(synced, "n.title = 'theirs'")
    assert counted("quick") == (True, 0, 0), "the node has kept its fingerprint"
    assert counted("deep") == (True, 1, 1)
    assert counted("quick") == (True, 1, 1)
    edit(synced, "n.title = 'Sets'")
    assert counted("quick") == (True, 0, 0)
    assert [(found.key, found.state) for found in conflicts(synced)] == [("c1", "resolved")]


def test_what_nothing_protects_any_more_is_a_difference_and_not_on_record_as_kept(synced: Academy):
    kept = by("target_wins")
    synced.sync(kept)
    edit(synced, "n.title = 'theirs'")
    assert synced.prove(kept, "deep").equal
    table = by("source_wins")
    proof = synced.prove(table)
    assert (proof.stale, proof.excluded) == (1, 0)
    assert synced.repair(table).repaired == 1
    assert (held(synced, "title"), synced.prove(table).equal) == (["Sets"], True)
    assert synced.bind(table).ledger.conflict_count("learning", "concept") == 0


def test_what_a_deep_proof_has_named_and_is_kept_since_is_on_record_no_longer_than_it_is_so(synced: Academy):
    table = concept(conflicts={"strategy": "last_write_wins", "by": "updated_at"})
    synced.sync(table)
    edit(synced, "n.title = 'theirs'")
    assert synced.prove(table, "deep").stale == 1, "the edit has raised no version"
    edit(synced, "n.updated_at = datetime('2030-01-01T00:00:00Z')")
    ledger = synced.bind(table).ledger
    for wanted in (1, 0):
        proof = synced.prove(table)
        left_out = ledger.left_out("learning", "concept").excluded
        assert (proof.equal, proof.excluded, left_out) == (True, wanted, wanted)
        edit(synced, "n.title = 'Sets', n.updated_at = datetime('2024-01-01T00:00:00Z')")
