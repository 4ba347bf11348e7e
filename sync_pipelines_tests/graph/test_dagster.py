"""Nodes and relationships under Dagster: assets, checks, sensor, and what an asset downstream is given."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from sync_pipelines.sandbox.graph.neo4j import Neo4jServer
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.graph.house import Academy, concept, prerequisite

pytestmark = pytest.mark.slow


@pytest.fixture
def instance() -> Any:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def world(academy: Academy, instance: Any, component: Any) -> World:
    return World(url=academy.url, chroma=None, instance=instance, component=component)


def test_assets_are_written_and_their_checks_pass(academy: Academy, instance: Any) -> None:
    academy.add("c1", "c2")
    academy.require(("c1", "c2"))
    for component in (concept(), prerequisite()):
        result = world(academy, instance, component).materialize()
        assert result.success
        checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
        assert checks
        assert all(checks.values()), checks
    assert academy.arrows() == [("c1", "c2")]


def test_the_sensor_asks_for_changes_and_for_a_relationship_whose_node_has_come(
    academy: Academy, instance: Any
) -> None:
    nodes, arrows = (world(academy, instance, component) for component in (concept(), prerequisite()))
    academy.add("c1")
    assert nodes.sensor_tick().run_requests
    nodes.materialize()
    assert not nodes.sensor_tick().run_requests
    academy.require(("c1", "c1"), ("c1", "c2"))
    arrows.materialize()
    assert not arrows.sensor_tick().run_requests
    academy.add("c2")
    nodes.materialize()
    assert arrows.sensor_tick().run_requests
    arrows.materialize()
    assert academy.arrows() == [("c1", "c1"), ("c1", "c2")]


def test_an_old_window_compares_the_nodes_in_it(academy: Academy, instance: Any) -> None:
    academy.execute("INSERT INTO concept VALUES ('c1', 'Sets', 1, NULL, '2024-05-05Z')")
    nodes = world(academy, instance, concept())
    nodes.materialize()
    academy.cypher("MATCH (n:Concept) SET n.title = 'edited', n.sync_fingerprint = 'x'")
    nodes.materialize(partition="2024-05-01")
    assert academy.titles() == ["Sets"]


def given(instance: Any, upstream: Any, kind: Any, metadata: Any = None, partition: str | None = None) -> Any:
    """What an asset downstream of a table is given."""
    found: list[Any] = []

    def reader(rows):  # type: ignore[no-untyped-def]
        found.append(rows)

    reader.__annotations__["rows"] = kind
    asset = dg.asset(
        ins={"rows": dg.AssetIn(upstream.asset_key, metadata=metadata)},
        partitions_def=upstream.partitions.definition() if partition else None,
    )(reader)
    defs = dg.Definitions.merge(definitions(upstream), dg.Definitions(assets=[asset]))
    job = defs.resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey("reader")], partition_key=partition)
    return found[0]


def test_an_asset_downstream_gets_nodes_relationships_or_the_rows_of_a_query(academy: Academy, instance: Any) -> None:
    academy.execute(
        "INSERT INTO concept VALUES ('c1', 'Sets', 1, '{a}', '2024-05-05Z'), ('c2', 'Maps', 2, NULL, now())"
    )
    academy.require(("c1", "c2"))
    for table in (concept(), prerequisite()):
        academy.sync(table)
    nodes = given(instance, concept(), pd.DataFrame).sort_values("id")
    assert list(nodes["title"]) == ["Sets", "Maps"]
    assert nodes["updated_at"].iloc[0] == datetime(2024, 5, 5, tzinfo=UTC)
    assert not [name for name in nodes.columns if name.startswith("sync_")]
    arrows = given(instance, prerequisite(), pa.Table)
    assert arrows.select(["start", "end"]).to_pylist() == [{"start": "c1", "end": "c2"}]
    academy.execute("UPDATE prerequisite SET weight = 0.5")
    lasting = prerequisite(properties={"weight": "start"})  # as of a membership that has a start and an end
    academy.sync(lasting, mode="full")
    arrows = given(instance, lasting, pa.Table)
    assert arrows.to_pylist() == [{"sync_start": "c1", "end": "c2", "start": 0.5}]
    cypher = "MATCH (a)-[:PREREQUISITE_OF]->(b) WHERE b.difficulty >= $least RETURN a.title AS first, b.title AS next"
    rows = given(instance, concept(), pd.DataFrame, {"cypher": cypher, "parameters": {"least": 2}})
    assert rows.to_dict("records") == [{"first": "Sets", "next": "Maps"}]
    none = given(instance, concept(), pd.DataFrame, {"cypher": cypher, "parameters": {"least": 9}})
    assert (list(none.columns), len(none)) == (["first", "next"] if isinstance(academy.server, Neo4jServer) else [], 0)
    big = {"cypher": f"UNWIND [{2**53 + 1}, null] AS number RETURN number"}
    assert given(instance, concept(), pd.DataFrame, big)["number"][0] == 2**53 + 1
    assert given(instance, concept(), pa.Table, big).to_pydict() == {"number": [2**53 + 1, None]}
    with pytest.raises(dg.Failure, match=r"column 'mixed' .* no Arrow column holds together \(int, str\)"):
        given(instance, concept(), pa.Table, {"cypher": "UNWIND [1, 'a'] AS mixed RETURN mixed"})


def test_a_partitioned_asset_downstream_gets_the_nodes_of_its_window(academy: Academy, instance: Any) -> None:
    academy.execute(
        "INSERT INTO concept VALUES ('c1', 'Sets', 1, '{a}', '2024-05-05Z'), ('c2', 'Maps', 2, NULL, now())"
    )
    academy.sync(concept())
    assert list(given(instance, concept(), pd.DataFrame, partition="2024-05-01")["id"]) == ["c1"]
    empty = given(instance, concept(), pd.DataFrame, partition="2024-06-01")
    assert (set(empty.columns), len(empty)) == ({"id", "title", "difficulty", "tags", "updated_at"}, 0)
