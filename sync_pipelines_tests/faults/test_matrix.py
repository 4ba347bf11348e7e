"""Every boundary of a sync × every fault: equality after recovery, or a clear sentence and equality next time."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from cryptography.fernet import Fernet
from dagster_postgres import DagsterPostgresStorage, utils
from databricks.sdk._base_client import _BaseClient
from deltalake import DeltaTable

from sync_pipelines import failures
from sync_pipelines.alerts import delivery, outbox, sensor
from sync_pipelines.engine.ledger import store
from sync_pipelines.sandbox.chroma import ChromaServer
from sync_pipelines.sandbox.graph.server import GraphServer
from sync_pipelines.sandbox.notion.server import NotionServer
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines.sources.postgres import connection
from sync_pipelines.sources.rest.settings import ClientSettings
from sync_pipelines.targets import retries
from sync_pipelines.targets.chroma import client
from sync_pipelines.targets.lake import contention
from sync_pipelines.targets.neo4j import client as graph_client
from sync_pipelines_tests.alerts.receiver import Receiver
from sync_pipelines_tests.conftest import fresh_database
from sync_pipelines_tests.dagster.deployment import REPOSITORY
from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.faults import alert_line as alerts
from sync_pipelines_tests.faults import chroma_line as chroma
from sync_pipelines_tests.faults import graph_line as graph
from sync_pipelines_tests.faults import lake_line as lake
from sync_pipelines_tests.faults import notes_line as notes
from sync_pipelines_tests.faults import rest_line as rest
from sync_pipelines_tests.faults.alert_line import AlertLine
from sync_pipelines_tests.faults.chroma_line import DIMENSIONS, ChromaLine
from sync_pipelines_tests.faults.far_proxy import FarProxy
from sync_pipelines_tests.faults.matrix import Table, run_cell
from sync_pipelines_tests.faults.provider import serving
from sync_pipelines_tests.faults.proxy import Proxy
from sync_pipelines_tests.faults.stores import QUICK, StoreSystem, WarehouseSystem
from sync_pipelines_tests.faults.systems import (
    TRIES,
    ChromaSystem,
    DagsterSystem,
    PostgresSystem,
    ProviderSystem,
    ReceiverSystem,
    SourceSystem,
    through,
    to_server,
)
from sync_pipelines_tests.graph.app import concepts
from sync_pipelines_tests.graph.conftest import name_graph, wipe
from sync_pipelines_tests.graph.house import Academy
from sync_pipelines_tests.lake.engines import name_warehouse
from sync_pipelines_tests.lake.house import House, back, document
from sync_pipelines_tests.lake.s3 import BUCKET, name_store
from sync_pipelines_tests.rest.hotels import Hotels, documents
from sync_pipelines_tests.sandbox.databricks.shared import Schema

TESTS = Path(__file__).parents[1]
LEDGER_TABLES = ("sync.sync_logs", "sync.reconciliation_runs")
DAGSTER_TABLES = ("kvs", "event_logs", "asset_check_executions", "runs")

LINES = {
    "chroma": chroma.TABLE,
    "alerts": alerts.TABLE,
    "delta": lake.DELTA,
    "warehouse": lake.WAREHOUSE,
    "back": lake.BACK,
    "graph": graph.TABLE,
    "rest": rest.TABLE,
    "notes": notes.TABLE,
}
"""A new sync adds its table here, and a fixture `<name>_line`."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many layers of patience as in production, each of few tries, with short pauses."""
    monkeypatch.setattr(retries, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(failures, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(failures, "MAX_RETRIES", 1)
    monkeypatch.setitem(retries.RetryPolicy.__init__.__kwdefaults__, "attempts", TRIES)
    monkeypatch.setitem(store.Store.__init__.__kwdefaults__, "attempts", TRIES)
    monkeypatch.setattr(store, "_LOCK_TIMEOUT", "SET lock_timeout = '200ms'")
    monkeypatch.setattr(connection, "LOCK_TIMEOUT_MS", 200)
    monkeypatch.setattr(client, "REQUEST_SECONDS", 1.0)
    monkeypatch.setattr(graph_client, "_PATIENCE", 0.5)
    monkeypatch.setattr(graph_client, "_ACQUIRE_SECONDS", 2.0)
    monkeypatch.setattr(contention, "_LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(outbox, "FIRST_PAUSE", timedelta())
    monkeypatch.setattr(delivery, "READ_SECONDS", 1)
    monkeypatch.setattr(sensor, "LAG_SECONDS", 1.0)


@pytest.fixture
def ledger_url(postgres_server: PostgresServer, world: World, world_template: str) -> Iterator[str]:
    """A database of its own for the ledger, so that it can have a fault that the source has not."""
    name = f"ledger_{world.url.rpartition('_')[2]}"
    postgres_server.create_database(name, template=world_template)
    yield postgres_server.url(name)
    postgres_server.start()
    postgres_server.drop_database(name)


@pytest.fixture
def chroma_line(
    world: World,
    ledger_url: str,
    impatient: None,
    postgres_server: PostgresServer,
    chroma_server: ChromaServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ChromaLine]:
    """PostgreSQL → Chroma with a remote provider, every connection through a proxy."""
    with ExitStack() as stack:
        provider = stack.enter_context(serving(DIMENSIONS))
        source = stack.enter_context(Proxy(to_server(world.url)))
        ledger = stack.enter_context(Proxy(to_server(ledger_url)))
        target = stack.enter_context(Proxy(lambda: ("127.0.0.1", chroma_server.port)))
        embedding = stack.enter_context(Proxy(lambda: ("127.0.0.1", provider.server_port)))
        monkeypatch.setenv("DATABASE_URL", through(world.url, source, connect_timeout="2"))
        monkeypatch.setenv("SYNC_DATABASE_URL", through(ledger_url, ledger, connect_timeout="2"))
        monkeypatch.setenv("CHROMA_URL", through(chroma_server.url, target))
        monkeypatch.delenv("HUGGINGFACE_API_KEY", raising=False)
        remote = {"url": f"http://127.0.0.1:{embedding.port}"}
        world.component = article(
            runs={"batch_size": 10},
            embedding={"name": "huggingface_server", "config": remote, "dimensions": DIMENSIONS},
        )
        _short_answers(monkeypatch)
        systems = {
            "source": SourceSystem(source, postgres_server, world.url, ('"Article"',)),
            "ledger": PostgresSystem(ledger, postgres_server, ledger_url, LEDGER_TABLES),
            "target": ChromaSystem(target, chroma_server),
            "provider": ProviderSystem(embedding),
        }
        yield ChromaLine(world=world, systems=systems, provider=provider, patch=monkeypatch)
        for system in systems.values():
            system.heal()


def _short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's client waits for 5 s and gives no way to say otherwise; reading certificates takes 50 ms."""
    monkeypatch.setattr(httpx, "Client", partial(httpx.Client, timeout=1.0, verify=False))


@pytest.fixture(scope="session")
def dagster_template(postgres_server: PostgresServer) -> str:
    """The name of a database with Dagster's own tables."""
    name = "template_dagster"
    postgres_server.create_database(name)
    DagsterPostgresStorage(postgres_url=postgres_server.url(name))
    postgres_server.seal_database(name)
    return name


@pytest.fixture
def dagster_url(postgres_server: PostgresServer, world: World, dagster_template: str) -> Iterator[str]:
    """A database of its own for Dagster's storage."""
    name = f"dagster_{world.url.rpartition('_')[2]}"
    postgres_server.create_database(name, template=dagster_template)
    yield postgres_server.url(name)
    postgres_server.start()
    postgres_server.drop_database(name)


@pytest.fixture
def alerts_line(
    world: World,
    dagster_url: str,
    impatient: None,
    postgres_server: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[AlertLine]:
    """Dagster's storage → a receiver, every connection through a proxy."""
    shutil.copy(REPOSITORY / "dagster.yaml", tmp_path)
    # Dagster tries each connection again, for seven seconds in all
    few = partial(utils.retry_pg_connection_fn, retry_limit=TRIES - 1, retry_wait=0.01)
    monkeypatch.setattr(utils, "retry_pg_connection_fn", few)
    receiver = Receiver()
    receiver.up()
    with ExitStack() as stack:
        stack.callback(receiver.down)
        far = stack.enter_context(Proxy(lambda: ("127.0.0.1", receiver.port)))
        ledger = stack.enter_context(Proxy(to_server(world.url)))
        storage = stack.enter_context(Proxy(to_server(dagster_url)))
        waits = {"connect_timeout": "2", "options": "-c%20lock_timeout%3D200ms"}
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", through(dagster_url, storage, **waits))
        monkeypatch.setenv("SYNC_DATABASE_URL", through(world.url, ledger, connect_timeout="2"))
        monkeypatch.setenv("SYNC_ALERT_URLS", f"http://127.0.0.1:{far.port}/hook")
        systems = {
            "dagster": DagsterSystem(storage, postgres_server, dagster_url, DAGSTER_TABLES),
            "ledger": PostgresSystem(ledger, postgres_server, world.url, LEDGER_TABLES),
            "receiver": ReceiverSystem(far),
        }
        instance = stack.enter_context(dg.DagsterInstance.get())
        yield AlertLine(world=world, instance=instance, systems=systems, receiver=receiver, patch=monkeypatch)
        for system in systems.values():
            system.heal()


@pytest.fixture
def delta_line(
    house: House, s3: str, impatient: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[lake.DeltaLine]:
    """PostgreSQL → Delta on an S3 server, every request of which goes through a proxy."""
    host, port = s3.removeprefix("http://").split(":")
    with FarProxy(host, int(port)) as proxy:
        name_store(f"http://127.0.0.1:{proxy.port}", tmp_path.name, monkeypatch)
        monkeypatch.setenv("DELTA_STORAGE_OPTIONS", json.dumps(QUICK))
        place = house.resources.delta.settings().table("shop/item")

        def somebody() -> None:
            table = DeltaTable(place, storage_options={"AWS_ENDPOINT_URL": s3})
            table.update({"synced_at": "synced_at"})

        log = f"PUT /{BUCKET}/{tmp_path.name}/shop/item/_delta_log/"
        system = StoreSystem(proxy, somebody, log)
        yield lake.DeltaLine(house, document(), {"target": system}, monkeypatch)
        system.heal()


@pytest.fixture
def warehouse_line(
    house: House, databricks_schema: Schema, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[lake.WarehouseLine]:
    """PostgreSQL → Delta through the stand-in of a SQL warehouse."""
    name_warehouse(databricks_schema, monkeypatch)
    made = _BaseClient.__init__

    def impatiently(self: _BaseClient, *given: Any, **more: Any) -> None:
        made(self, *given, **{**more, "retry_timeout_seconds": 1})

    monkeypatch.setattr(_BaseClient, "__init__", impatiently)
    system = WarehouseSystem(databricks_schema)
    yield lake.WarehouseLine(house, document(), {"target": system}, monkeypatch)
    system.heal()


@pytest.fixture
def books_url(postgres_server: PostgresServer, house_template: str) -> Iterator[str]:
    """A database of its own for the ledger, so that the target can have a fault that it has not."""
    yield from fresh_database(postgres_server, house_template)


@pytest.fixture
def back_line(
    review: House, books_url: str, postgres_server: PostgresServer, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[lake.BackLine]:
    """Delta in a folder → PostgreSQL through a proxy."""
    with Proxy(to_server(review.url)) as proxy:
        monkeypatch.setenv("SYNC_DATABASE_URL", books_url)
        monkeypatch.setenv("SHOP_DATABASE_URL", through(review.url, proxy, connect_timeout="2"))
        system = PostgresSystem(proxy, postgres_server, review.url, ("review",))
        yield lake.BackLine(review, back(), {"target": system}, monkeypatch)
        system.heal()


@pytest.fixture
def graph_line(
    academy_url: str,
    books_url: str,
    graph_servers: dict[str, GraphServer],
    postgres_server: PostgresServer,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[graph.GraphLine]:
    """PostgreSQL's outbox → ArcadeDB, each through a proxy; the ledger has a database of its own."""
    server = graph_servers["arcadedb"]
    server.start()
    wipe(server)
    name_graph(server, monkeypatch)
    with Proxy(to_server(academy_url)) as source, Proxy(lambda: ("127.0.0.1", server.port)) as target:
        monkeypatch.setenv("SYNC_DATABASE_URL", books_url)
        monkeypatch.setenv("LEARNING_DATABASE_URL", through(academy_url, source, connect_timeout="2"))
        monkeypatch.setenv("NEO4J_URI", f"bolt://127.0.0.1:{target.port}")
        systems = {
            "source": PostgresSystem(source, postgres_server, academy_url, ("sync.sync_event_log",)),
            "target": graph.GraphSystem(target),
        }
        yield graph.GraphLine(Academy(academy_url, server), concepts(), systems, monkeypatch)
        for system in systems.values():
            system.heal()


@pytest.fixture
def rest_line(
    hotels: Hotels,
    postgres_server: PostgresServer,
    books_url: str,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[rest.RestLine]:
    """Cupid → PostgreSQL, each through a proxy; the ledger has a database of its own."""
    monkeypatch.setitem(ClientSettings.__init__.__kwdefaults__, "timeout", 1.0)
    monkeypatch.setitem(ClientSettings.__init__.__kwdefaults__, "backoff", 0.05)
    monkeypatch.setenv("HOTELS_PATIENCE", "0.2s")
    monkeypatch.setenv("HOTELS_BATCH_SIZE", "8")
    url = hotels.house.url
    with Proxy(to_server(hotels.cupid.url)) as source, Proxy(to_server(url)) as target:
        monkeypatch.setenv("SYNC_DATABASE_URL", books_url)
        monkeypatch.setenv("HOTELS_DATABASE_URL", through(url, target, connect_timeout="2"))
        monkeypatch.setenv("CUPID_BASE_URL", through(hotels.cupid.url, source))
        systems = {
            "source": rest.ApiSystem(source),
            "target": PostgresSystem(target, postgres_server, url, ("properties",)),
        }
        table = documents()["properties"]
        yield rest.RestLine(hotels.house, table, systems, monkeypatch, cupid=hotels.cupid)
        for system in systems.values():
            system.heal()


@pytest.fixture
def notes_line(
    house: House,
    notion_server: NotionServer,
    impatient: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[notes.NotesLine]:
    """An export of Keep → Notion through a proxy."""
    workspace = notion_server.workspace()
    with Proxy(to_server(workspace.url)) as target:
        notes.point_at(workspace, monkeypatch, Fernet.generate_key().decode())
        monkeypatch.setenv("NOTION_BASE_URL", through(workspace.url, target))
        systems = {"target": notes.NotionSystem(target)}
        folder = tmp_path / "export"
        yield notes.NotesLine(house, notes.table(), systems, monkeypatch, workspace=workspace, folder=folder)
        systems["target"].heal()


CELLS = [
    pytest.param(name, *cell, marks=[pytest.mark.exhaustive] if cell in table.spare() else [])
    for name, table in LINES.items()
    for cell in table.cells()
]


@pytest.mark.parametrize(("name", "boundary", "fault"), CELLS, ids=lambda name: name)
def test_a_fault_at_a_boundary_loses_nothing(request: pytest.FixtureRequest, name: str, boundary: str, fault: str):
    line, table = request.getfixturevalue(f"{name}_line"), LINES[name]
    assert run_cell(line, table.moments[boundary], fault) == table.outcome(boundary, fault)


@pytest.mark.parametrize("boundary", alerts.DEATHS, ids=lambda boundary: " ".join(map(str, boundary)))
def test_a_tick_that_is_killed_loses_no_alert(alerts_line: AlertLine, boundary: tuple[str, int]):
    alerts_line.arrange("alert")
    alerts_line.die(boundary)
    assert alerts_line.act("alert").ok
    alerts_line.assert_made_once()
    alerts_line.assert_equal()


@pytest.mark.parametrize("table", LINES.values(), ids=LINES)
def test_each_boundary_and_each_fault_has_a_cell_in_make_test(table: Table):
    kept = set(table.cells()) - table.spare()
    for place in (0, 1):
        assert {cell[place] for cell in kept} == {cell[place] for cell in table.cells()}


@pytest.mark.parametrize("table", LINES.values(), ids=LINES)
def test_every_cell_of_the_matrix_is_run_or_has_its_reason(table: Table):
    cells = set(table.cells())
    for boundary in table.moments:
        for fault in table.columns:
            known = [
                (boundary, fault) in cells,
                (boundary, fault) in table.elsewhere,
                table.why_not(boundary, fault) is not None,
            ]
            assert sum(known) == 1, (boundary, fault)
    for test in set(table.elsewhere.values()):
        file, _, name = test.partition("::")
        assert re.search(rf"^def {name}\(", (TESTS / file).read_text(), re.M), test
