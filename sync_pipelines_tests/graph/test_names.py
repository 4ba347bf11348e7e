"""Labels, types, properties and keys from hell; and those that cannot be."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines_tests.graph.house import Academy, concept, prerequisite
from sync_pipelines_tests.spare import spare

LABELS = [
    "a b",
    *spare("a`b", "مفهوم", "a.b-c:d{e}", "MATCH", "@x", "1", "concept", "``", "back\\slash"),
    'it\'s "it"',
    "😀\n``",
]
PROPERTIES = [
    "a b",
    "a`b",
    "مفهوم",
    "😀",
    "a.b-c:d{e}",
    'it\'s "it"',
    "back\\slash",
    "$row",
    "id",
    "type",
    "in",
    "null",
]
KEYS = ["a b", "a`b", "مفهوم", "😀", 'it\'s "it"', "back\\slash", "new\nline", "$x", "", " ", "null", "∅", "k" * 8000]


@pytest.mark.parametrize("label", LABELS)
def test_a_label_and_a_type_may_be_spelled_in_any_way(academy: Academy, label: str) -> None:
    nodes = concept(target={"label": label}, name="nodes")
    end = {"label": label, "key": "id"}
    loops = concept(target={"relationship": f"{label} loop", "start": end, "end": end}, name="loops")
    for table in (nodes, loops):
        academy.capture(table)
    academy.add("c1", "c2")
    for table in (nodes, loops):
        academy.sync(table)
        academy.execute("UPDATE concept SET title = 'new' WHERE id = 'c1'")
        academy.sync(table)
        assert academy.prove(table, "deep").equal
    found = academy.cypher(
        "MATCH (n)-[r]->(n) WHERE n.sync_key = 'c1' RETURN labels(n) AS l, type(r) AS t, n.title AS x"
    )
    assert found == [{"l": [label], "t": f"{label} loop", "x": "new"}]
    academy.execute("DELETE FROM concept WHERE id = 'c1'")
    for table in (loops, nodes):
        assert academy.sync(table).deleted == 1


def test_properties_may_be_spelled_in_any_way(academy: Academy) -> None:
    names = {f"c{number}": name for number, name in enumerate(PROPERTIES)}
    times = {f"t{number}": f"{name} at" for number, name in enumerate(PROPERTIES)}
    columns = ", ".join([*(f"{name} text" for name in names), *(f"{name} timestamptz DEFAULT now()" for name in times)])
    academy.execute(f"CREATE TABLE thing (key int PRIMARY KEY, {columns})")
    source = {"connection": "learning", "table": "thing", "key": ["key"]}
    thing = concept(source=source, target={"label": "Thing"}, properties={**names, **times, "key": "the key"})
    academy.capture(thing)
    academy.execute(f"INSERT INTO thing VALUES (1, {', '.join(['%s'] * len(names))})", *names)
    academy.sync(thing)
    node = academy.node("1", "Thing") or {}
    assert {name: node[name] for name in PROPERTIES} == {name: column for column, name in names.items()}
    assert all(node[name] is not None for name in times.values())
    assert academy.prove(thing, "deep").equal


def test_keys_may_be_spelled_in_any_way_of_nodes_and_of_their_relationships(academy: Academy) -> None:
    academy.add(*KEYS)
    academy.require(*((key, key) for key in KEYS if len(key) < 1000))
    for table in (concept(), prerequisite()):
        academy.sync(table)
        assert not academy.quarantined(table)
        assert academy.prove(table, "deep").equal
    academy.execute("UPDATE concept SET title = title || '!'")
    academy.execute("UPDATE prerequisite SET weight = 1")
    assert academy.sync(concept()).upserted == len(KEYS)
    assert academy.sync(prerequisite()).upserted == len(KEYS) - 1
    academy.execute("DELETE FROM prerequisite WHERE concept_id <> ''")
    assert academy.sync(prerequisite()).deleted == len(KEYS) - 2
    assert academy.arrows() == [("", "")]


def test_the_node_of_a_relationship_is_found_whatever_the_type_of_its_key(academy: Academy) -> None:
    academy.execute("CREATE TABLE day (d date, n numeric, u uuid, i int, PRIMARY KEY (d, n, u, i))")
    academy.execute("CREATE TABLE next (id int PRIMARY KEY, d date, n numeric, u uuid, i int)")
    key = ["d", "n", "u", "i"]
    day = concept(source={"connection": "learning", "table": "day", "key": key}, target={"label": "Day"})
    end = {"label": "Day", "key": key}
    follows = concept(
        source={"connection": "learning", "table": "next", "key": ["id"]},
        target={"relationship": "NEXT", "start": end, "end": end},
        properties={"i": "number"},
    )
    for table in (day, follows):
        academy.capture(table)
    values = "'2024-02-29', 1.50, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 7"
    academy.execute(f"INSERT INTO day VALUES ({values}); INSERT INTO next VALUES (1, {values})")
    for table in (day, follows):
        academy.sync(table)
        assert academy.prove(table, "deep").equal
    assert academy.cypher("MATCH ()-[r:NEXT]->() RETURN r.number AS n") == [{"n": 7}]


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ({"label": "a,b"}, "'a,b' holds ',', which ArcadeDB takes for its own"),
        ({"label": "a~b"}, "holds '~'"),
        ({"label": ""}, "is empty"),
        ({"label": "ä" * 91}, "has more than 180 bytes"),
        ({"label": "SyncTarget"}, "is the sync's own label"),
        ({}, "name a label, or a relationship with its start and end"),
        ({"label": "A", "relationship": "B"}, "name a label, or a relationship"),
        ({"label": "A", "start": {"label": "A", "key": "id"}}, "start belongs to a relationship"),
        ({"relationship": "B", "start": {"label": "A", "key": "id"}}, "a relationship needs start and end"),
        ({"relationship": "B", "start": {"label": "A", "key": []}}, "key names no column"),
        (
            {"relationship": "A", "start": {"label": "A", "key": "id"}, "end": {"label": "A", "key": "id"}},
            "'A' is a label, too, which ArcadeDB does not allow",
        ),
    ],
)
def test_a_target_that_cannot_be_is_refused_by_its_document(target: dict, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        concept(target=target)


@pytest.mark.parametrize(
    ("properties", "why"),
    [
        (["@type"], "'@type': the name begins with '@', as ArcadeDB's own do"),
        ({"title": "sync_key"}, "'sync_key': the name begins with 'sync_', as the sync's own do"),
        ({"title": ""}, "is empty"),
        ({"title": "x", "id": "x"}, "two columns would be the property 'x'"),
    ],
)
def test_a_property_that_cannot_be_is_refused_by_its_document(properties: list | dict, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        concept(properties=properties)


def test_a_column_of_a_whole_table_that_can_be_no_property_stops_the_run_with_a_remedy(academy: Academy) -> None:
    academy.execute("""ALTER TABLE concept ADD COLUMN "@rid" text""")
    academy.add("c1")
    with pytest.raises(ConfigurationError, match=r"the column '@rid' cannot be the property .*leave it out"):
        academy.sync(concept())
