from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_pipelines.sandbox.graph.server import GraphServer
from sync_pipelines_tests.graph.app import Application, concepts
from sync_pipelines_tests.graph.house import Academy
from sync_pipelines_tests.graph.servers import KINDS

ENGINES = ["arcadedb", pytest.param("neo4j", marks=pytest.mark.slow)]
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test-fast` starts no Java, which both graphs are."""
    for item in items:
        asked = {"graph", "own_graph"} & set(getattr(item, "fixturenames", ()))
        if asked and item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=ENGINES)
def graph(request: pytest.FixtureRequest, graph_servers: dict[str, GraphServer]) -> GraphServer:
    """An empty graph."""
    server = graph_servers[request.param]
    server.start()
    wipe(server)
    return server


@pytest.fixture(params=ENGINES)
def own_graph(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphServer]:
    """A graph of the test's own, which it may stop and kill."""
    with KINDS[request.param](tmp_path / "graph") as server:
        yield server


def wipe(server: GraphServer) -> None:
    """Take everything out of a graph but its constraints."""
    from neo4j import GraphDatabase

    with GraphDatabase.driver(server.uri, auth=(server.user, server.password)) as driver:
        driver.execute_query("MATCH (n) DETACH DELETE n", database_=server.database)


def name_graph(server: GraphServer, environment: pytest.MonkeyPatch) -> None:
    """NEO4J_… name this graph."""
    for name, value in server.variables.items():
        environment.setenv(name, value)


@pytest.fixture
def academy(academy_url: str, graph: GraphServer, monkeypatch: pytest.MonkeyPatch) -> Academy:
    """The academy's tables, empty, and an empty graph; the environment names both."""
    name_graph(graph, monkeypatch)
    return Academy(academy_url, graph)


@pytest.fixture
def app(academy: Academy) -> Application:
    """The application; the first, full sync has brought one concept."""
    academy.add("c0")
    academy.sync(concepts())
    return Application(academy.url)
