from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_pipelines.sandbox.graph.arcadedb import ArcadeServer
from sync_pipelines.sandbox.graph.neo4j import Neo4jServer
from sync_pipelines.sandbox.graph.server import GraphServer
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines_tests.conftest import fresh_database
from sync_pipelines_tests.graph.house import DDL, Academy, concept, prerequisite
from sync_pipelines_tests.lake.house import House

ENGINES = ["arcadedb", pytest.param("neo4j", marks=pytest.mark.slow)]
_KINDS: dict[str, type[GraphServer]] = {"arcadedb": ArcadeServer, "neo4j": Neo4jServer}
_TEMPLATE = "template_academy"


_HERE, _FAST = Path(__file__).parent, "test_nodes.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A JVM in each worker is much for `make test-fast`: the stories of nodes alone stay in it."""
    for item in items:
        asked = {"graph", "own_graph"} & set(getattr(item, "fixturenames", ()))
        if asked and item.path.is_relative_to(_HERE) and item.path.name != _FAST:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def graph_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, GraphServer]]:
    """The graph servers of this session, started where they are first asked for."""
    folder = tmp_path_factory.mktemp("graphs")
    servers = {name: kind(folder / name) for name, kind in _KINDS.items()}
    yield servers
    for server in servers.values():
        server.stop()


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
    with _KINDS[request.param](tmp_path / "graph") as server:
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


@pytest.fixture(scope="session")
def academy_template(postgres_server: PostgresServer) -> str:
    """The name of a database with the academy's tables, both branches of migrations and the triggers."""
    postgres_server.create_database(_TEMPLATE)
    house = House(postgres_server.url(_TEMPLATE))
    house.execute(DDL)
    house.migrate()
    for table in (concept(), prerequisite()):
        house.capture(table)
    postgres_server.seal_database(_TEMPLATE)
    return _TEMPLATE


@pytest.fixture
def academy_url(
    postgres_server: PostgresServer, academy_template: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The URL of a fresh copy of that database, which the environment names."""
    for url in fresh_database(postgres_server, academy_template):
        monkeypatch.setenv("DATABASE_URL", url)
        yield url


@pytest.fixture
def academy(academy_url: str, graph: GraphServer, monkeypatch: pytest.MonkeyPatch) -> Academy:
    """The academy's tables, empty, and an empty graph; the environment names both."""
    name_graph(graph, monkeypatch)
    return Academy(academy_url, graph)
