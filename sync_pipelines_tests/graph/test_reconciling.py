"""Reconciliation: what differs is mended from Python, nobody's edit is lost by it, and it stands on record."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sync_pipelines import ReconciliationJob
from sync_pipelines.cli import app as commands
from sync_pipelines.engine.errors import ConfigurationError, RunError, UnknownRecordError
from sync_pipelines.reconciling import ReconciliationError
from sync_pipelines.targets.neo4j.client import Graph
from sync_pipelines_tests.dagster.homes import fresh_home
from sync_pipelines_tests.graph.app import Application, concepts, prerequisites
from sync_pipelines_tests.graph.house import Academy
from sync_pipelines_tests.graph.test_conflicts import edit, held
from sync_pipelines_tests.graph.test_consuming import completed, consumer, until
from sync_pipelines_tests.graph.test_resolving import use

# what Neo4j itself makes of it, its neighbours ask: nodes, types, relationships, proof, conflicts
pytestmark = pytest.mark.spare_where(graph="neo4j")


@pytest.fixture
def app(academy: Academy, monkeypatch: pytest.MonkeyPatch) -> Application:
    """Four concepts in a row, on both sides; the relationships' document comes first."""
    use(monkeypatch, prerequisites(), concepts())
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    academy.add("c1", "c2", "c3", "c4")
    academy.require(("c1", "c2"), ("c2", "c3"), ("c3", "c4"))
    for table in (concepts(), prerequisites()):
        academy.sync(table)
    return Application(academy.url)


def numbers(found: Any) -> tuple[int, ...]:
    return found.missing, found.stale, found.extra, found.repaired


def logged(*words: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(commands, ["logs", *words, "--proofs", "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["proofs"]


def test_nodes_values_relationships_and_what_leads_nowhere_are_mended_nodes_first(
    academy: Academy, app: Application
) -> None:
    edit(academy, "n.title = 'edited'")
    academy.cypher("MATCH (n:Concept {sync_key: 'c2'}) DETACH DELETE n")
    academy.cypher("MATCH (n:Concept {sync_key: 'c4'}) REMOVE n.sync_key")
    academy.cypher("MATCH (a:Concept {sync_key: 'c1'}) CREATE (a)-[:PREREQUISITE_OF]->(a)")
    done = ReconciliationJob().run_full_reconciliation(batch_size=1)
    nodes, arrows = done.types["learning/concept"], done.types["learning/prerequisite"]
    assert numbers(nodes) == (2, 1, 1, 4)
    assert numbers(arrows) == (3, 0, 1, 4)
    assert list(done.types) == [nodes.entity_type, arrows.entity_type]
    assert done.equal
    assert (done.repaired, done.as_dict()["types"]["learning/concept"]["stale"]) == (8, 1)
    assert academy.titles() == ["c1", "c2", "c3", "c4"]
    assert academy.arrows() == [("c1", "c2"), ("c2", "c3"), ("c3", "c4")]
    again = ReconciliationJob().run_full_reconciliation()
    assert (again.repaired, again.equal) == (0, True)


def test_each_has_a_row_that_says_who_when_what_and_what_was_left_out(academy: Academy, app: Application) -> None:
    academy.cypher("MATCH (n:Concept {sync_key: 'c4'}) DETACH DELETE n")
    app.update("c1", title="on its way")
    done = ReconciliationJob().run_full_reconciliation(["Concept"]).types["learning/concept"]
    row = academy.execute(
        "SELECT r.kind, r.missing, r.repaired, r.pending, l.trigger, l.mode, r.finished_at > r.started_at "
        "FROM sync.reconciliation_runs AS r JOIN sync.sync_logs AS l USING (run_id) WHERE r.id = %s",
        done.audit_id,
    )
    assert row == [("repair", 1, 1, 1, "reconciliation", "repair", True)]
    after, repair = logged("learning/concept")[:2]
    assert [proof["kind"] for proof in (after, repair)] == ["deep", "repair"]
    assert (repair["id"], repair["trigger"], repair["samples"]) == (
        done.audit_id,
        "reconciliation",
        {"missing": ["c4"]},
    )
    printed = CliRunner().invoke(commands, ["logs", "learning", "--proofs"]).stdout
    for part in ("1 missing", "1 pending", "reconciliation", done.run_id):
        assert part in printed
    keyed = ReconciliationJob().run_full_reconciliation(["concept"], ["c2", "c3"]).types["learning/concept"]
    assert (numbers(keyed), logged("learning/concept")[1]["scope"]) == ((0, 0, 0, 0), "2 keys")


UNKNOWN: list[tuple[Any, Any, type[RunError], str]] = [
    (["lesson"], None, ConfigurationError, "'lesson'. There are: concept, prerequisite."),
    ([], None, ConfigurationError, "names no type"),
    (5, None, ConfigurationError, "entity_types is 5, which is no list of types. Give a list of names, such as"),
    (b"concept", None, ConfigurationError, "entity_types is b'concept', which is no list of types"),
    ([5], None, ConfigurationError, "No table has the entity type 5"),
    (None, ["c1"], ConfigurationError, "entity_ids are those of one type. Name it in entity_types: concept"),
    (["concept"], [], ConfigurationError, "names no record"),
    (["concept"], "12", ConfigurationError, "'12', which is no list of keys. Give a list, such as ['12']"),
    (["concept"], 12, ConfigurationError, "entity_ids is 12, which is no list of keys. Give a list, such as [12]"),
    (["concept"], ["c1", "nobody"], UnknownRecordError, "no such record in source or target (key 'nobody')"),
]


def test_what_is_unknown_is_refused_before_anything_is_done(academy: Academy, app: Application) -> None:
    for types, ids, error, said in UNKNOWN:
        with pytest.raises(error) as caught:
            ReconciliationJob().run_full_reconciliation(types, ids)
        assert said in str(caught.value)
    for size in (0, True, 2.5, "50", None):
        with pytest.raises(ConfigurationError, match=f"A batch of {size!r} is none"):
            ReconciliationJob().run_full_reconciliation(batch_size=size)  # ty: ignore
    assert academy.execute("SELECT count(*) FROM sync.reconciliation_runs") == [(0,)]


def test_a_type_that_fails_hides_none_of_the_others(academy: Academy, app: Application) -> None:
    academy.execute("ALTER TABLE concept RENAME TO elsewhere")
    academy.cypher("MATCH ()-[r:PREREQUISITE_OF]->() DELETE r")
    with pytest.raises(ReconciliationError, match=r"1 of 2 entity types .* there is no table 'concept'") as caught:
        ReconciliationJob().run_full_reconciliation()
    assert list(caught.value.errors) == ["learning/concept"]
    assert caught.value.result.types["learning/prerequisite"].repaired == 3


def test_open_reviews_protected_edits_and_events_on_their_way_are_left_as_they_are(
    academy: Academy, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = concepts(conflicts={"strategy": "manual_review"})
    use(monkeypatch, table)
    edit(academy, "n.title = 'theirs'", key="c1")
    app.update("c1", title="ours")
    academy.sync(table)
    edit(academy, "n.title = 'theirs alone'", key="c2")
    app.update("c3", title="on its way")
    academy.execute("INSERT INTO concept (id, title) VALUES ('c5', 'nobody told')")
    found = ReconciliationJob().run_full_reconciliation().types["learning/concept"]
    assert (*numbers(found), found.excluded, found.pending) == (1, 0, 0, 1, 2, 1)
    assert found.equal
    assert [held(academy, "title", key=f"c{number}")[0] for number in (1, 2, 3, 5)] == [
        "theirs", "theirs alone", "c3", "nobody told",
    ]  # fmt: skip
    assert app.statuses("c3") == ["PENDING"]
    assert [item.state for item in academy.bind(table).ledger.list_conflicts("learning", "concept", keys=["c1"])] == [
        "review"
    ]


@pytest.mark.parametrize("status", ["PROCESSING", "BLOCKED", "FAILED"])
def test_an_event_that_is_not_completed_is_on_its_way_whatever_its_state(
    academy: Academy, app: Application, status: str
) -> None:
    """PROCESSING as a consumer that was killed has left it, BLOCKED behind another one, FAILED before a replay."""
    app.update("c3", title="on its way")
    app.run("UPDATE sync.sync_event_log SET status = %s WHERE status = 'PENDING'", status)
    for kind in ("quick", "deep"):
        proof = academy.prove(concepts(), kind)
        assert (proof.equal, proof.stale, proof.pending) == (True, 0, 1)
    assert academy.repair(concepts(), deep=True).repaired == 0
    assert held(academy, "title", key="c3") == ["c3"]
    assert app.statuses("c3")[-1] == status


def test_a_relationship_that_is_on_its_way_is_known_by_its_ends(academy: Academy, app: Application) -> None:
    before = academy.arrows()
    app.create("c6", "c7")
    academy.sync(concepts())
    app.require(("c6", "c7"))
    proof = academy.prove(prerequisites())
    assert (proof.equal, proof.missing, proof.pending) == (True, 0, 1)
    assert academy.repair(prerequisites()).repaired == 0
    assert academy.arrows() == before


def test_what_an_event_spells_otherwise_than_the_table_is_on_its_way(academy: Academy) -> None:
    academy.execute("ALTER TABLE concept ALTER id TYPE uuid USING id::uuid")
    academy.sync(concepts())
    app, name = Application(academy.url), str(uuid.uuid4())
    academy.add(name)
    app.publish("CONTENT_CREATED", name.upper())
    app.publish("CONTENT_UPDATED", "no UUID")
    proof = academy.prove(concepts())
    assert (proof.equal, proof.missing, proof.pending) == (True, 0, 1)
    academy.sync(concepts())
    academy.execute("DELETE FROM concept")
    app.publish("CONTENT_DELETED", name.upper())
    proof = academy.prove(concepts())
    assert (proof.equal, proof.extra, proof.pending) == (True, 0, 1)


@pytest.mark.slow
def test_beside_a_consumer_at_work_it_finds_nothing_to_mend_and_holds_nothing_up(
    academy: Academy, app: Application, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(fresh_home(tmp_path / "dagster")))
    done = []
    with consumer(app, batch_size=5):
        for number in range(40):
            name = f"n{number}"
            app.create(name)
            app.update(name, title=f"{name} 2")
            app.delete(name) if number % 4 == 0 else app.require(("c1", name))
            if number % 10 == 5:
                done.append(ReconciliationJob().run_full_reconciliation(["concept"]))
        until(lambda: completed(app), seconds=120)
    assert [found.repaired for found in done] == [0] * 4
    assert all(found.equal for found in done)
    assert academy.prove(concepts(), "deep").equal


def copy(academy: Academy, pattern: str, made: str) -> None:
    """Somebody drops the constraint, and makes a second one of the same key."""
    name = "PREREQUISITE_OF" if "PREREQUISITE_OF" in pattern else "Concept"
    drop(academy, name)
    academy.cypher(f"MATCH {pattern} WITH a, x, properties(x) AS p {made}")


def drop(academy: Academy, name: str) -> None:
    for row in academy.cypher("SHOW CONSTRAINTS"):
        if name in row["labelsOrTypes"] and row["type"].endswith("UNIQUENESS"):
            academy.cypher(f"DROP CONSTRAINT `{row['name']}`")


def test_copies_of_a_node_and_of_a_relationship_are_named_and_one_is_left(academy: Academy, app: Application) -> None:
    copy(academy, "(x:Concept {sync_key: 'c2'}) , (a:Concept {sync_key: 'c1'})", "CREATE (n:Concept) SET n += p")
    arrow = "(a:Concept {sync_key: 'c1'})-[x:PREREQUISITE_OF]->(b:Concept {sync_key: 'c2'})"
    copy(academy, arrow, "MATCH (b:Concept {sync_key: 'c3'}) CREATE (a)-[y:PREREQUISITE_OF]->(b) SET y += p")
    for table, key in ((concepts(), "c2"), (prerequisites(), '["c2", "c1"]')):
        for kind in ("quick", "deep"):
            proof = academy.prove(table, kind)
            assert (proof.samples, proof.reasons) == ({"stale": [key]}, {key: "the target holds it more than once"})
        academy.sync(table)  # what comes meanwhile is brought all the same
    done = ReconciliationJob().run_full_reconciliation()
    assert [numbers(found) for found in done.types.values()] == [(0, 1, 0, 1)] * 2
    assert done.equal
    assert academy.titles() == ["c1", "c2", "c3", "c4"]
    assert academy.arrows() == [("c1", "c2"), ("c2", "c3"), ("c3", "c4")]
    for table in (concepts(), prerequisites()):
        academy.sync(table)
    unique = [row for row in academy.cypher("SHOW CONSTRAINTS") if row["type"].endswith("UNIQUENESS")]
    assert {"Concept", "PREREQUISITE_OF"} <= {name for row in unique for name in row["labelsOrTypes"]}


def test_a_lock_that_was_lost_after_the_last_look_at_it_writes_nothing(
    academy: Academy, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sync_pipelines.engine.errors import LockLostError

    write = Graph.write

    def late(graph: Graph, doing: str, work: Any) -> Any:
        def robbed(transaction: Any) -> Any:
            found = work(transaction)
            app.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'sync graph%'")
            return found

        return write(graph, doing, robbed if doing == "write to label Concept" else work)

    app.update("c1", title="too late")
    monkeypatch.setattr(Graph, "write", late)
    with pytest.raises(LockLostError):
        academy.sync(concepts())
    monkeypatch.undo()
    assert academy.titles() == ["c1", "c2", "c3", "c4"]
