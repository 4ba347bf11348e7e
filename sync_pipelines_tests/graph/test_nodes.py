"""Rows become nodes: made, changed, deleted, and nothing is written twice."""

from __future__ import annotations

import pytest

from sync_pipelines_tests.graph.house import Academy, concept


def test_rows_become_nodes_with_their_properties(academy: Academy) -> None:
    academy.execute("INSERT INTO concept VALUES ('c1', 'Sets', 2, '{a,b}', '2024-02-29 10:00+02')")
    counts = academy.sync(concept())
    assert (counts.read, counts.upserted, counts.quarantined) == (1, 1, 0)
    node = academy.node("c1")
    assert node is not None
    assert str(node.pop("updated_at")) == "2024-02-29T08:00:00.000000000+00:00"
    assert node == {"id": "c1", "title": "Sets", "difficulty": 2, "tags": ["a", "b"]}
    assert academy.prove(concept(), "deep").equal


def test_a_changed_row_changes_its_node_and_a_null_removes_the_property(academy: Academy) -> None:
    academy.add("c1", "c2")
    academy.sync(concept())
    academy.execute("UPDATE concept SET title = 'new', difficulty = 3 WHERE id = 'c1'")
    academy.execute("UPDATE concept SET title = NULL WHERE id = 'c2'")
    assert academy.sync(concept()).upserted == 2
    assert (academy.node("c1") or {})["title"] == "new"
    assert "title" not in (academy.node("c2") or {"title": "no node"})


def test_a_deleted_row_takes_its_node_with_it(academy: Academy) -> None:
    academy.add("c1", "c2")
    academy.sync(concept())
    academy.execute("DELETE FROM concept WHERE id = 'c1'")
    assert academy.sync(concept()).deleted == 1
    assert academy.titles() == ["c2"]
    assert academy.prove(concept()).equal


def test_a_row_that_is_as_it_was_is_not_written_again(academy: Academy) -> None:
    academy.add("c1", "c2")
    academy.sync(concept())
    counts = academy.sync(concept(), mode="full")
    assert (counts.upserted, counts.unchanged) == (0, 2)


def test_named_properties_alone_are_written_and_a_map_renames_them(academy: Academy) -> None:
    academy.add("c1")
    academy.sync(concept(properties={"title": "name"}))
    assert academy.node("c1") == {"id": "c1", "name": "c1"}


def test_a_property_that_the_document_names_no_more_is_removed(academy: Academy) -> None:
    academy.add("c1")
    academy.sync(concept(properties=["title"]))
    academy.sync(concept(properties={"title": "name"}), mode="full")
    assert academy.node("c1") == {"id": "c1", "name": "c1"}


def test_what_somebody_else_adds_to_a_node_stays(academy: Academy) -> None:
    academy.add("c1")
    academy.sync(concept())
    academy.cypher("MATCH (n:Concept {sync_key: 'c1'}) SET n.note = 'mine', n:Reviewed")
    academy.execute("UPDATE concept SET title = 'new'")
    academy.sync(concept())
    node = academy.node("c1") or {}
    assert (node["title"], node["note"]) == ("new", "mine")
    assert academy.prove(concept(), "deep").equal


def test_more_rows_than_a_batch_holds_all_arrive(academy: Academy) -> None:
    academy.execute("INSERT INTO concept (id, title) SELECT n, 'title ' || n FROM generate_series(1, 130) AS n")
    assert academy.sync(concept()).upserted == 130
    assert academy.cypher("MATCH (n:Concept) RETURN count(n) AS c") == [{"c": 130}]
    assert academy.prove(concept(), "deep").equal


def test_a_key_of_several_columns_names_a_node(academy: Academy) -> None:
    academy.execute("CREATE TABLE lesson (course int, number int, title text, PRIMARY KEY (course, number))")
    lesson = concept(
        source={"connection": "learning", "table": "lesson", "key": ["course", "number"]}, target={"label": "Lesson"}
    )
    academy.capture(lesson)
    academy.execute("INSERT INTO lesson VALUES (1, 2, 'x')")
    academy.sync(lesson)
    assert academy.node('["1", "2"]', "Lesson") == {"course": 1, "number": 2, "title": "x"}
    academy.execute("DELETE FROM lesson")
    academy.sync(lesson, allow=True)
    assert academy.node('["1", "2"]', "Lesson") is None


@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_a_plan_says_what_a_run_would_do_and_writes_nothing(academy: Academy, mode: str) -> None:
    from sync_pipelines.engine.plan import plan

    academy.add("c1", "c2")
    academy.sync(concept())
    academy.execute("UPDATE concept SET title = 'new' WHERE id = 'c1'")
    academy.execute("DELETE FROM concept WHERE id = 'c2'")
    academy.add("c3")
    found = plan(academy.bind(concept()), mode=mode)
    assert (found.upserts, found.deletes, found.unchanged) == (2, 1, 0)
    assert academy.titles() == ["c1", "c2"]
