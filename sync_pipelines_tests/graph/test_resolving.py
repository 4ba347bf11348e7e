"""What a person decides of a conflict in the graph, from Python and from the terminal, and what is remembered of it."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest
from typer.testing import CliRunner

import sync_pipelines.definitions
from sync_pipelines import ConflictResolver, ResolutionStrategy
from sync_pipelines.cli import app
from sync_pipelines.commands.conflict_views import show_comparison
from sync_pipelines.components.outbox_to_neo4j import OutboxToNeo4j
from sync_pipelines.engine.errors import ConfigurationError, UnknownRecordError
from sync_pipelines.engine.locks import TargetLock
from sync_pipelines.targets.neo4j.names import START_NAME
from sync_pipelines_tests.graph.house import Academy, concept, prerequisite
from sync_pipelines_tests.graph.test_conflicts import conflicts, edit, held

# what Neo4j itself makes of it, its neighbours ask: nodes, types, relationships, proof, conflicts
pytestmark = pytest.mark.spare_where(graph="neo4j")

REVIEW = concept(conflicts={"strategy": "manual_review"})


def use(monkeypatch: pytest.MonkeyPatch, *tables: OutboxToNeo4j) -> None:
    """Put these documents in the place of those below `defs/`."""
    monkeypatch.setattr(sync_pipelines.definitions, "load", lambda *_: (None, tables))


def run(*words: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["conflicts", *words])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if "--json" in words else result.output


@pytest.fixture
def contested(academy: Academy, monkeypatch: pytest.MonkeyPatch) -> Academy:
    """Of `c1` both sides have changed the title; the graph the difficulty, too, and the source the tags."""
    use(monkeypatch, REVIEW)
    academy.execute("INSERT INTO concept VALUES ('c1', 'Sets', 1, '{a}', '2024-1-1Z'), ('c2', 'Maps', 1, '{}', now())")
    academy.sync(REVIEW)
    edit(academy, "n.title = 'theirs', n.difficulty = 5")
    academy.execute("UPDATE concept SET title = 'ours', tags = '{a,b}' WHERE id = 'c1'")
    return academy


def test_a_conflict_is_seen_with_its_three_states_before_any_run_meets_it(contested: Academy) -> None:
    resolver = ConflictResolver(strategy=ResolutionStrategy.MERGE)
    assert resolver.has_conflict("c1", "concept")
    assert not resolver.has_conflict("c2", "Concept")
    assert resolver.get_conflict("c2", "learning/concept") is None
    found = resolver.get_conflict("c1", "concept")
    assert found is not None
    states = (found.base_data, found.source_data, found.target_data)
    assert [(state or {})["title"] for state in states] == ["Sets", "ours", "theirs"]
    assert (found.clashes, found.detected_at) == (("title",), None)
    assert found.source_version == found.target_version == "2024-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("method", "after"),
    [
        ("source_wins", ["ours", 1, ["a", "b"]]),
        ("target_wins", ["theirs", 5, ["a"]]),
        (ResolutionStrategy.MERGE, ["both", 5, ["a", "b"]]),
        (None, ["ours", 1, ["a", "b"]]),
    ],
)
@pytest.mark.parametrize("seen", [True, False])
def test_a_decision_is_carried_out_and_kept_with_who_and_why(
    contested: Academy, method: Any, after: list[Any], seen: bool
) -> None:
    if seen:
        contested.sync(REVIEW)
    values = {"title": "both"} if method is ResolutionStrategy.MERGE else None
    resolver = ConflictResolver()
    done = resolver.resolve_conflict("c1", "concept", method, "ada", "we have talked", values=values)
    assert (done.resolved_by, done.still) == ("ada", None)
    assert held(contested, "title", "difficulty", "tags") == after
    assert not resolver.has_conflict("c1", "concept")
    contested.sync(REVIEW, mode="full")
    assert contested.repair(REVIEW, deep=True).repaired == 0
    assert held(contested, "title", "difficulty", "tags") == after
    for kind in ("quick", "deep"):
        assert contested.prove(REVIEW, kind).equal
    (found,) = conflicts(contested)
    assert (found.resolved_by, found.resolution_notes) == ("ada", "we have talked")
    assert found.method == done.method.value
    assert found.state == ("resolved" if done.took == "source" else "accepted")
    assert [(data or {})["title"] for data in (found.source_data, found.target_data)] == ["ours", "theirs"]


def test_what_was_accepted_holds_until_the_sources_row_changes_and_stays_on_record(contested: Academy) -> None:
    contested.sync(REVIEW)
    ConflictResolver().resolve_conflict("c1", "concept", "target", "ada")
    contested.sync(REVIEW, mode="full")
    assert [item.state for item in conflicts(contested)] == ["accepted"]
    contested.execute("UPDATE concept SET title = 'ours again' WHERE id = 'c1'")
    contested.sync(REVIEW)
    assert held(contested, "title") == ["theirs"]
    assert [(item.state, item.method) for item in conflicts(contested)] == [
        ("review", None), ("resolved", "target_wins"),
    ]  # fmt: skip
    contested.bind(REVIEW).ledger.clean(days=1)
    contested.execute(
        "UPDATE sync.sync_conflicts SET resolved_at = now() - interval '99 years' WHERE method IS NOT NULL"
    )
    assert contested.bind(REVIEW).ledger.clean()["sync_conflicts"] == 0
    assert len(conflicts(contested)) == 2


def test_what_was_accepted_is_not_merged_any_more_but_by_properties_that_are_named(contested: Academy) -> None:
    contested.sync(REVIEW)
    resolver = ConflictResolver()
    resolver.resolve_conflict("c1", "concept", "target", "ada")
    with pytest.raises(ConfigurationError, match=r"was accepted .target_wins, by ada."):
        resolver.resolve_conflict("c1", "concept", "merge")
    assert held(contested, "title", "difficulty") == ["theirs", 5]
    assert [item.method for item in conflicts(contested)] == ["target_wins"]
    resolver.resolve_conflict("c1", "concept", "merge", values={"title": "ours"})
    assert held(contested, "title", "difficulty") == ["ours", 5]


def test_what_was_accepted_against_a_row_is_asked_again_when_the_row_is_deleted(contested: Academy) -> None:
    contested.sync(REVIEW)
    ConflictResolver().resolve_conflict("c1", "concept", "target", "ada")
    contested.execute("DELETE FROM concept WHERE id = 'c1'")
    contested.sync(REVIEW)
    assert held(contested, "title") == ["theirs"]
    assert [item.state for item in conflicts(contested)] == ["review", "resolved"]
    ConflictResolver().resolve_conflict("c1", "concept", "target", "ada")
    contested.sync(concept(conflicts={"strategy": "source_wins"}), mode="full")
    assert held(contested, "title") == ["theirs"], "whatever the table's own strategy"
    assert [item.state for item in conflicts(contested)] == ["accepted", "resolved"]


def test_what_a_person_has_accepted_stands_over_the_tables_own_strategy(
    contested: Academy, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, table := concept(conflicts={"strategy": "source_wins"}))
    ConflictResolver().resolve_conflict("c1", "concept", "target", "ada")
    contested.sync(table)
    contested.sync(table, mode="full")
    assert contested.repair(table, deep=True).repaired == 0
    assert held(contested, "title", "difficulty") == ["theirs", 5]
    contested.execute("UPDATE concept SET title = 'ours again' WHERE id = 'c1'")
    contested.sync(table)
    assert held(contested, "title") == ["ours again"]


def test_an_edit_after_the_decision_for_the_source_is_held_again(contested: Academy) -> None:
    contested.sync(REVIEW)
    contested.bind(REVIEW).target.give_way(["c1"])
    edit(contested, "n.title = 'theirs again'")
    contested.sync(REVIEW, mode="full")
    assert held(contested, "title") == ["theirs again"]


@pytest.mark.parametrize(
    ("key", "method", "error", "said"),
    [
        ("c1", "merge", ConfigurationError, "both sides changed title"),
        ("c1", "manual_review", ConfigurationError, "decides nothing"),
        ("c1", "coin", ConfigurationError, "There are source, target"),
        ("c2", "source", UnknownRecordError, "no such record is in conflict"),
        ("c9", "source", UnknownRecordError, "no such record is in conflict"),
    ],
)
def test_what_decides_nothing_is_refused_and_changes_nothing(
    contested: Academy, key: str, method: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        ConflictResolver().resolve_conflict(key, "concept", method)
    assert held(contested, "title") == ["theirs"]
    assert conflicts(contested) == []


def test_values_that_are_no_map_are_refused_and_change_nothing(contested: Academy) -> None:
    for given in (["title"], "title"):
        with pytest.raises(ConfigurationError, match="values is no map but"):
            ConflictResolver().resolve_conflict("c1", "concept", "merge", values=given)  # ty: ignore
    assert held(contested, "title") == ["theirs"]
    assert conflicts(contested) == []


@pytest.mark.parametrize("name", ["titel", "sync_key", "tags.x"])
def test_a_value_of_a_property_that_there_is_not_is_refused_and_not_dropped(contested: Academy, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"no property '{name}' that is synced. There are: .*title"):
        ConflictResolver().resolve_conflict("c1", "concept", "merge", values={"title": "both", name: "x"})
    assert held(contested, "title") == ["theirs"]
    assert ConflictResolver().has_conflict("c1", "concept")


def test_deletions_against_edits_are_resolved_either_way(contested: Academy) -> None:
    contested.cypher("MATCH (n:Concept {sync_key: 'c2'}) DELETE n")
    contested.execute("UPDATE concept SET title = 'ours' WHERE id = 'c2'; DELETE FROM concept WHERE id = 'c1'")
    contested.sync(REVIEW)
    assert {item.state for item in conflicts(contested)} == {"review"}
    resolver = ConflictResolver()
    resolver.resolve_conflict("c1", "concept", "target")
    resolver.resolve_conflict("c2", "concept", "target")
    contested.sync(REVIEW, mode="full")
    assert contested.titles() == ["theirs"]
    assert {item.state for item in conflicts(contested)} == {"accepted"}
    proof = contested.prove(REVIEW, "deep")
    assert (proof.equal, proof.excluded) == (True, 2)
    resolver.resolve_conflict("c1", "concept", "source")
    resolver.resolve_conflict("c2", "concept", "source")
    assert contested.titles() == ["ours"]
    assert contested.prove(REVIEW, "deep").excluded == 0
    decided = [(item.key, item.method, item.state) for item in conflicts(contested)]
    assert sorted(decided) == [
        (key, side, "resolved") for key in ("c1", "c2") for side in ("source_wins", "target_wins")
    ]


def test_an_operator_lists_shows_compares_and_merges(contested: Academy) -> None:
    contested.sync(REVIEW)
    assert [(item["key"], item["state"]) for item in run("list", "--json")["conflicts"]] == [("c1", "review")]
    fields = {item["field"]: item for item in run("diff", "learning/concept", "c1", "--json")["fields"]}
    assert sorted(fields) == ["difficulty", "tags", "title"]
    assert [fields["title"][name] for name in ("base", "source", "target", "merged")] == [
        "Sets", "ours", "theirs", "clash",
    ]  # fmt: skip
    assert [fields[name]["merged"] for name in ("difficulty", "tags")] == ["target", "source"]
    assert all(word in run("diff", "learning/concept", "c1") for word in ("Sets", "ours", "theirs", "clash"))
    words = ("resolve", "learning/concept", "c1", "--take", "merge", "--by", "ada", "--notes", "agreed")
    assert "both sides changed title" in run(*words, code=3)
    assert "accepted" in run(*words, "--property", "title=target", "--set", "difficulty=7")
    assert held(contested, "title", "difficulty", "tags") == ["theirs", 7, ["a", "b"]]
    (past,) = run("show", "learning/concept", "c1", "--json")["history"]
    assert (past["method"], past["resolved_by"], past["resolution_notes"]) == ("merge", "ada", "agreed")
    assert "agreed" in run("show", "learning/concept", "c1")
    assert "merge" in run("list", "--history")
    contested.sync(REVIEW, mode="full")
    contested.execute("UPDATE concept SET tags = '{c}' WHERE id = 'c1'")
    fields = {item["field"]: item for item in run("diff", "learning/concept", "c1", "--json")["fields"]}
    assert (fields["title"]["base"], fields["title"]["merged"]) == ("ours", "target"), "decided once for all"


def test_sensitive_values_are_masked_wherever_a_conflict_is_shown(
    contested: Academy, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, table := concept(conflicts={"strategy": "manual_review"}, sensitive=["title"]))
    contested.execute("UPDATE concept SET title = 'ours too'")
    edit(contested, "n.title = 'theirs too'", key="c2")
    contested.sync(table)
    shown = run("show", "learning/concept", "c2", "--json")
    title = next(item for item in shown["fields"] if item["field"] == "title")
    assert [title[side] for side in ("source", "target", "differs")] == ["***", "***", True]
    found = ConflictResolver().get_conflict("c2", "concept")
    assert found is not None
    assert {(data or {}).get("title") for data in (found.source_data, found.target_data)} == {"***"}
    assert "theirs" not in run("show", "learning/concept", "c2") + run("list")


@pytest.mark.parametrize("key", [None, ["c1"], ("c1",), b"c1"])
def test_what_is_no_key_is_refused_and_not_taken_for_a_record_that_there_is_not(contested: Academy, key: Any) -> None:
    with pytest.raises(ConfigurationError, match="is no key"):
        ConflictResolver().has_conflict(key, "concept")


@pytest.mark.parametrize("entity_type", [None, ["concept"]])
def test_what_is_no_type_is_that_of_no_table(entity_type: Any) -> None:
    with pytest.raises(ConfigurationError, match="No table has the entity type"):
        ConflictResolver().has_conflict("c1", entity_type)


def test_a_property_whose_name_looks_like_markup_is_shown_as_it_is() -> None:
    item = {"field": "[/x] [b]1", "source": "a", "target": "b", "differs": True}
    document = {"sync": "s", "table": "t", "key": "k", "source_is": "changed", "target_is": "changed", "fields": [item]}
    printed = StringIO()
    with redirect_stdout(printed):
        show_comparison(document)
    assert "[/x] [b]1" in printed.getvalue()


def test_a_relationship_is_merged_by_property_as_a_node_is(academy: Academy, monkeypatch: pytest.MonkeyPatch) -> None:
    review = prerequisite(conflicts={"strategy": "manual_review"})
    use(monkeypatch, REVIEW, review)
    academy.add("c1", "c2")
    academy.sync(REVIEW)
    academy.require(("c1", "c2"))
    academy.sync(review)
    academy.cypher("MATCH ()-[r:PREREQUISITE_OF]->() SET r.weight = 0.9")
    academy.execute("UPDATE prerequisite SET weight = 0.1, updated_at = '2030-01-01Z'")
    run("resolve", "learning/prerequisite", '["c2", "c1"]', "--take", "merge", "--property", "weight=target")
    (found,) = academy.cypher(
        "MATCH (a)-[r]->(b) RETURN a.sync_key AS a, b.sync_key AS b, r.weight AS w, r.updated_at AS u"
    )
    assert (found["a"], found["b"], found["w"], found["u"].year) == ("c1", "c2", 0.9, 2030)
    academy.sync(review)
    assert academy.cypher("MATCH ()-[r:PREREQUISITE_OF]->() RETURN r.weight AS w") == [{"w": 0.9}]
    with pytest.raises(ConfigurationError, match="There are: weight, updated_at"):
        ConflictResolver().resolve_conflict(
            '["c2", "c1"]', "prerequisite", "merge", values={"weight": 0.5, "_key": "c9"}
        )
    with pytest.raises(ConfigurationError, match=f"'{START_NAME}' is part of the record's key"):
        ConflictResolver().resolve_conflict(
            '["c2", "c1"]', "prerequisite", "merge", values={"weight": 0.5, START_NAME: "c9"}
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("difficulty", 2**63),
        ("title", "a\ud800"),
        ("tags", ["a\ud800"]),
        ("title", {"a": object()}),
        ("updated_at", "0001-01-01T00:00:00+14:00"),
        (5, "five"),
    ],
)
def test_a_value_that_no_property_can_hold_is_refused_by_its_name(contested: Academy, name: Any, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"property '?{name}"):
        ConflictResolver().resolve_conflict("c1", "concept", "merge", values={"title": "both", name: value})
    assert held(contested, "title", "difficulty") == ["theirs", 5]


def test_a_value_of_another_type_is_no_part_of_a_merge_and_stays(contested: Academy) -> None:
    edit(contested, "n.difficulty = 'hard'")
    words = ("resolve", "learning/concept", "c1", "--take", "merge", "--property", "title=source")
    assert "the graph's value of 'difficulty' is no INTEGER" in run(*words, code=3)
    assert held(contested, "title", "difficulty") == ["theirs", "hard"]
    assert ConflictResolver().has_conflict("c1", "concept")
    run(*words, "--property", "difficulty=source")
    assert held(contested, "title", "difficulty") == ["ours", 1]


def test_an_edit_while_a_merge_waits_is_not_written_over(contested: Academy, monkeypatch: pytest.MonkeyPatch) -> None:
    acquire, row = TargetLock.acquire, "UPDATE concept SET difficulty = 7 WHERE id = 'c1'"
    changes = [lambda: contested.execute(row), lambda: edit(contested, "n.difficulty = 6")]
    monkeypatch.setattr(TargetLock, "acquire", lambda lock, seconds: (changes.pop()(), acquire(lock, seconds)))
    words = ("resolve", "learning/concept", "c1", "--take", "merge", "--property", "title=source")
    while changes:
        assert "nothing was written" in run(*words, code=1)
    assert held(contested, "title", "difficulty") == ["theirs", 6]


def test_a_value_that_would_part_a_record_from_its_key_is_refused(contested: Academy) -> None:
    words = ("resolve", "learning/concept", "c1", "--take", "merge", "--property", "title=target")
    assert "the property 'id' is part of the record's key" in run(*words, "--set", 'id="c9"', code=3)
    assert "the property 'id' is part of the record's key" in run(*words, "--set", "id=null", code=3)
    assert held(contested, "id", "title") == ["c1", "theirs"]
    assert ConflictResolver().has_conflict("c1", "concept")
    run(*words, "--set", 'id="c1"')
    assert held(contested, "id", "difficulty") == ["c1", 5]


@pytest.mark.parametrize("value", ["1099511627776", "-2147483649"])
def test_a_value_that_the_sources_column_cannot_hold_is_refused_with_its_type(contested: Academy, value: str) -> None:
    words = ("resolve", "learning/concept", "c1", "--take", "merge", "--property", "title=target")
    told = " ".join(run(*words, "--set", f"difficulty={value}", code=3).split())
    assert "column 'difficulty' of type integer, which cannot hold this value" in told
    assert held(contested, "title", "difficulty") == ["theirs", 5]
    assert ConflictResolver().has_conflict("c1", "concept")
    run(*words, "--set", "difficulty=2147483647")
    assert held(contested, "title", "difficulty") == ["theirs", 2147483647]


def test_a_property_whose_column_must_have_a_value_is_not_emptied(contested: Academy) -> None:
    words = ("resolve", "learning/concept", "c1", "--take", "merge", "--property", "title=target")
    told = " ".join(run(*words, "--set", "updated_at=null", code=3).split())
    assert "column 'updated_at' of type timestamp with time zone, which must not be empty" in told
    run(*words, "--set", "difficulty=null")
    assert held(contested, "title", "difficulty") == ["theirs", None]


def test_a_text_that_spells_no_json_is_no_value_of_a_column_of_json(contested: Academy) -> None:
    contested.execute("ALTER TABLE concept ADD COLUMN more jsonb")
    words = ("resolve", "learning/concept", "c1", "--take", "merge", "--property", "title=target")
    told = " ".join(run(*words, "--set", 'more="plain"', code=3).split())
    assert "column 'more' of type jsonb, which cannot hold this value" in told
    assert ConflictResolver().has_conflict("c1", "concept")
    run(*words, "--set", 'more="[1, 2]"')
    assert held(contested, "title", "more") == ["theirs", "[1, 2]"]


def test_what_people_hold_in_the_graph_may_stay_although_the_source_could_not_hold_it(contested: Academy) -> None:
    edit(contested, "n.difficulty = 1099511627776")
    run("resolve", "learning/concept", "c1", "--take", "merge", "--property", "title=target")
    assert held(contested, "title", "difficulty", "tags") == ["theirs", 1099511627776, ["a", "b"]]


def test_an_option_that_names_no_property_is_wrong_as_a_setting_is(contested: Academy) -> None:
    told = run("resolve", "learning/concept", "c1", "--take", "merge", "--property", "titel=target", code=3)
    assert "neither side has a property 'titel'. There are: difficulty, id, " in told


@pytest.mark.parametrize("more", [("--set", 'title="b"'), ("--property", "title=source")], ids=["value", "side"])
def test_a_property_that_is_named_twice_is_wrong_usage(contested: Academy, more: tuple[str, str]) -> None:
    told = run("resolve", "learning/concept", "c1", "--take", "merge", "--property", "title=target", *more, code=2)
    assert "title is named twice" in told
