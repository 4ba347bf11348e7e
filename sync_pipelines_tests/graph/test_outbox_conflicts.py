"""People edit the graph while events bring what the application has changed: a conflict has the versions of both."""

from __future__ import annotations

import pytest

from sync_pipelines import ConflictResolver
from sync_pipelines.components.outbox_to_neo4j import OutboxToNeo4j
from sync_pipelines.engine.draining import COVERED
from sync_pipelines.engine.errors import TransientError
from sync_pipelines.engine.outcome import GONE, STAYS
from sync_pipelines.publisher import relationship
from sync_pipelines.targets.neo4j.writing import NodeWriter
from sync_pipelines_tests.graph.app import Application, concepts, prerequisites, publish
from sync_pipelines_tests.graph.house import Academy
from sync_pipelines_tests.graph.test_conflicts import conflicts, edit, held
from sync_pipelines_tests.graph.test_resolving import use

# what Neo4j itself makes of it, its neighbours ask: nodes, types, relationships, proof, conflicts
pytestmark = pytest.mark.spare_where(graph="neo4j")

_STATES = "SELECT entity_id, source_version, target_version, has_conflict, tombstone FROM sync.sync_status ORDER BY 1"


def test_an_edit_in_review_is_kept_over_events_and_has_their_versions(
    academy: Academy, monkeypatch: pytest.MonkeyPatch
) -> None:
    academy.add("c0")
    app = Application(academy.url)
    table = concepts(conflicts={"strategy": "manual_review"})
    use(monkeypatch, table)
    academy.sync(table)
    app.create("c1", "c2")
    academy.sync(table)
    edit(academy, "n.title = 'theirs'")
    app.update("c1", title="ours")
    app.update("c2", title="new")
    academy.sync(table)
    assert academy.titles() == ["c0", "new", "theirs"]
    (found,) = conflicts(academy)
    assert (found.state, found.source_version, found.target_version) == ("review", "2", "1")
    assert academy.execute(_STATES) == [("c1", 2, 1, True, False), ("c2", 2, 2, False, False)]
    assert academy.prove(table, "deep").equal
    ConflictResolver().resolve_conflict("c1", "concept", "source", "ada")
    assert academy.titles() == ["c0", "new", "ours"]
    assert academy.execute(_STATES)[0] == ("c1", 2, 2, False, False)
    edit(academy, "n.title = 'theirs'")
    app.delete("c1")
    academy.sync(table)
    assert academy.titles() == ["c0", "new", "theirs"]
    ConflictResolver().resolve_conflict("c1", "concept", "source", "ada")
    assert academy.titles() == ["c0", "new"]
    assert academy.execute(_STATES)[0] == ("c1", 3, 3, False, True)
    assert academy.prove(table, "deep").equal


def test_a_review_of_a_relationship_stands_with_the_entity_whatever_its_id(
    academy: Academy, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = prerequisites(conflicts={"strategy": "manual_review"})
    use(monkeypatch, table)
    academy.add("c1", "c2")
    academy.require(("c1", "c2"))
    for kind in (concepts(), table):
        academy.sync(kind)  # without an event, so that nothing is known of its entity
    app, ends = Application(academy.url), relationship(start=("concept", "c1"), end=("concept", "c2"))
    for version, weight in ((1, 2.0), (2, 3.0)):
        academy.cypher("MATCH ()-[r:PREREQUISITE_OF]->() SET r.weight = 9.0")
        with app.transaction() as cursor:
            cursor.execute("UPDATE prerequisite SET weight = %s", (weight,))
            publish(cursor, "RELATIONSHIP_CREATED", "prerequisite_of", "r1", ends)
        academy.sync(table)
        assert academy.execute(_STATES) == [("r1", version, version - 1 or None, True, False)]
        found = ConflictResolver().get_conflict("r1", "prerequisite_of")
        assert found is not None
        assert (found.source_version, found.target_version) == (version, version - 1 or None)
        ConflictResolver().resolve_conflict('["c2", "c1"]', "prerequisite_of", "source", "ada")
        assert academy.execute(_STATES) == [("r1", version, version, False, False)]


@pytest.mark.parametrize("modes", [["incremental"], ["incremental", "incremental"], ["full", "incremental"]])
@pytest.mark.parametrize("strategy", ["manual_review", "target_wins", "merge", "last_write_wins"])
def test_what_writes_that_failed_have_left_is_nobodys_edit_when_the_row_has_changed_again(
    academy: Academy, app: Application, monkeypatch: pytest.MonkeyPatch, strategy: str, modes: list[str]
) -> None:
    table = concepts(conflicts={"strategy": strategy})
    app.create("c1", "c2", "c3")
    academy.sync(table)
    edit(academy, "n.title = 'theirs'", key="c3")

    def lost(*_: object) -> int:
        raise TransientError("the graph does not answer.")

    def change(title: str) -> None:
        for name in ("c1", "c2"):
            app.update(name, title=f"{title} {name}")

    for mode in modes:
        change(f"second {mode}")
        with monkeypatch.context() as patch:
            patch.setattr(NodeWriter, "put", lost)
            with pytest.raises(TransientError):
                academy.sync(table, mode=mode)
    assert held(academy, "title") == ["c1"]
    change("third")
    app.update("c3", difficulty=3)
    academy.sync(table)
    assert (held(academy, "title"), held(academy, "title", key="c2")) == (["third c1"], ["third c2"])
    assert [item.key for item in conflicts(academy)] == ["c3"], "of what somebody has edited"
    app.delete("c1")
    academy.sync(table)
    assert academy.node("c1") is None


def disputed(academy: Academy, monkeypatch: pytest.MonkeyPatch) -> OutboxToNeo4j:
    """Of c1 somebody has edited the node, and the application the row, without an event."""
    app = Application(academy.url)
    table = concepts(conflicts={"strategy": "manual_review"})
    use(monkeypatch, table)
    academy.sync(table)
    app.create("c1", "c2")
    academy.sync(table)
    edit(academy, "n.title = 'theirs'")
    academy.execute("UPDATE concept SET title = 'ours' WHERE id = 'c1'")
    return table


@pytest.mark.slow
def test_a_change_of_the_source_without_an_event_is_reviewed_until_both_sides_agree(
    academy: Academy, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = disputed(academy, monkeypatch)
    ledger = academy.bind(table).ledger

    def state() -> tuple[str, int]:
        assert academy.prove(table, "deep").equal
        return conflicts(academy)[0].state, ledger.left_out("learning", "concept").excluded

    assert state() == ("review", 1), "a proof opens the review that no event has opened"
    ConflictResolver().resolve_conflict("c1", "concept", "target", "ada")
    assert state() == ("accepted", 1)
    academy.execute("UPDATE concept SET title = 'ours again' WHERE id = 'c1'")
    assert state() == ("review", 1), "what was accepted was the row before"
    edit(academy, "n.title = 'ours again'")
    assert academy.repair(table).repaired == 1, "its fingerprint is the old row's"
    assert state() == ("resolved", 0)


@pytest.mark.slow
@pytest.mark.parametrize("seen_by", ["a proof", "a full sync"])
def test_what_is_gone_from_both_sides_without_an_event_is_a_tombstone(
    academy: Academy, monkeypatch: pytest.MonkeyPatch, seen_by: str
) -> None:
    table = disputed(academy, monkeypatch)
    assert academy.prove(table, "deep").excluded == 1
    academy.execute("DELETE FROM concept WHERE id = 'c1'")
    academy.cypher("MATCH (n:Concept {sync_key: 'c1'}) DETACH DELETE n")
    if seen_by == "a full sync":
        academy.sync(table, mode="full")
    assert academy.prove(table).equal
    assert academy.execute(_STATES)[0] == ("c1", 1, 1, False, True)


def test_a_sync_of_the_whole_table_notes_of_each_entity_what_its_events_do(academy: Academy) -> None:
    table = concepts(conflicts={"strategy": "manual_review"})
    academy.add("c0")
    academy.sync(table)
    app = Application(academy.url)
    app.create("c1", "c2", "c3", "c4")
    academy.sync(table)
    edit(academy, "n.title = 'theirs'")
    app.update("c1", title="ours")
    app.update("c2", title="new")
    academy.execute("DELETE FROM concept WHERE id = 'c2'")
    app.publish("CONTENT_DELETED", "c3")
    app.delete("c4")
    academy.sync(table, mode="full")
    assert academy.titles() == ["c0", "c3", "theirs"]
    states = [
        ("c1", 2, 1, True, False),
        ("c2", 2, 2, False, True),
        ("c3", 2, 2, False, False),
        ("c4", 2, 2, False, True),
    ]
    assert academy.execute(_STATES) == states, "what stays has not arrived; what has no row is gone, whatever is told"
    told = {name: text for name, version, text in app.events("entity_id, source_version, last_error") if version == 2}
    assert (told["c2"], told["c3"], told["c1"], told["c4"]) == (GONE, STAYS, COVERED, COVERED)


def test_what_a_repair_writes_over_a_review_that_nothing_holds_any_more_has_arrived(academy: Academy) -> None:
    academy.add("c0")
    app, held_back = Application(academy.url), concepts(conflicts={"strategy": "manual_review"})
    academy.sync(held_back)
    app.create("c1", "c2")
    academy.sync(held_back)
    edit(academy, "n.title = 'theirs'")
    edit(academy, "n.title = 'theirs'", key="c2")
    app.update("c1", title="ours")
    app.delete("c2")
    academy.sync(held_back)
    assert academy.execute(_STATES) == [("c1", 2, 1, True, False), ("c2", 2, 1, True, False)]
    academy.repair(concepts(conflicts={"strategy": "source_wins"}))
    assert academy.titles() == ["c0", "ours"]
    assert academy.execute(_STATES) == [("c1", 2, 2, False, False), ("c2", 2, 2, False, True)]


@pytest.mark.parametrize("ended", ["by a person", "by a full sync"])
def test_what_was_made_again_on_both_sides_is_no_tombstone_any_more(
    academy: Academy, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    academy.add("c0")
    app, table = Application(academy.url), concepts(conflicts={"strategy": "manual_review"})
    use(monkeypatch, table)
    academy.sync(table)
    app.create("c1")
    academy.sync(table)
    app.delete("c1")
    academy.sync(table)
    academy.cypher("CREATE (:Concept {sync_key: 'c1', id: 'c1', title: 'theirs'})")
    app.create("c1", title="ours")
    academy.sync(table)
    assert academy.execute(_STATES) == [("c1", 3, 2, True, True)]
    if ended == "by a person":
        ConflictResolver().resolve_conflict("c1", "concept", "source", "ada")
    else:
        academy.sync(concepts(conflicts={"strategy": "source_wins"}), mode="full")
    assert academy.titles() == ["c0", "ours"]
    assert academy.execute(_STATES) == [("c1", 3, 3, False, False)]
