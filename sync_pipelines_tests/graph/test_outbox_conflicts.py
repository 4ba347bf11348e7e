import pytest
from sync_pipelines import ConflictResolver
from sync_pipelines_tests.graph.app import Application, concepts, prerequisites
from sync_pipelines_tests.graph.test_conflicts import conflicts, edit, held
from sync_pipelines_tests.graph.test_resolving import use

def test_outbox_conflict(academy, monkeypatch):
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
    assert academy.execute("SELECT entity_id, source_version, target_version, has_conflict, has_pending_changes FROM sync.sync_status ORDER BY 1") == [("c1", 2, 1, True, False), ("c2", 2, 2, False, False)]
    assert academy.prove(table, "deep").equal
    got = ConflictResolver().get_conflict("c1", "concept")
    assert (got.source_version, got.target_version) == (2, 1)
    app.update("c1", title="ours 2")
    academy.sync(table)
    assert len(conflicts(academy)) == 1 and conflicts(academy)[0].source_data["title"] == "ours 2"
    ConflictResolver().resolve_conflict("c1", "concept", "source", "ada")
    assert academy.titles() == ["c0", "new", "ours 2"]
    edit(academy, "n.title = 'theirs'")
    app.delete("c1")
    academy.sync(table)
    assert academy.titles() == ["c0", "new", "theirs"]
    ConflictResolver().resolve_conflict("c1", "concept", "source", "ada")
    assert academy.titles() == ["c0", "new"]
    print(academy.execute("SELECT entity_id, source_version, target_version, has_conflict, tombstone FROM sync.sync_status ORDER BY 1"))
    assert academy.prove(table, "deep").equal
