"""Real servers for every test: one PostgreSQL and one Chroma a session, a database of its own a test."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
from collections.abc import Callable, Generator, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from sync_pipelines.engine import secrets
from sync_pipelines.sandbox.chroma import ChromaServer
from sync_pipelines.sandbox.folders import temporary_folder
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines.sandbox.prepare import prepare_database
from sync_pipelines_tests.dagster.storages import quicken
from sync_pipelines_tests.fast import mark_further
from sync_pipelines_tests.order import longest_first
from sync_pipelines_tests.spare import mark_spare

if TYPE_CHECKING:
    from sync_pipelines.sandbox.cupid.api import Cupid
    from sync_pipelines.sandbox.databricks.server import DatabricksServer
    from sync_pipelines.sandbox.graph.server import GraphServer
    from sync_pipelines.sandbox.notion.control import WorkspaceControl
    from sync_pipelines.sandbox.notion.server import NotionServer
    from sync_pipelines_tests.dagster.world import World
    from sync_pipelines_tests.lake.house import House, Lake
    from sync_pipelines_tests.rest.hotels import Hotels
    from sync_pipelines_tests.sandbox.databricks.shared import Schema

# a machine that others share is slow now and then: that is no failure of what is tested
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

_TEMPLATE = "template_app"
_WORLD_TEMPLATE = "template_world"
_HOUSE_TEMPLATE = "template_house"
_ACADEMY_TEMPLATE = "template_academy"
_HOTELS_TEMPLATE = "template_hotels"
_numbers = count(1)

_MEMORY = Path("/dev/shm")
_ROOM = 4_000_000_000


@event.listens_for(Engine, "connect")
def _not_durable(connection: Any, _record: object) -> None:
    # Dagster's SQLite waits for the disk at every commit, which only a power cut could tell; as the servers below.
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


def pytest_collection_finish() -> None:
    """Look for garbage more rarely, and never among what is imported: it took a tenth of what the tests took."""
    quicken()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    mark_spare(items)  # before -m chooses by marks
    mark_further(items)
    yield
    workers = getattr(config, "workerinput", {}).get("workercount", 0)
    if workers and config.option.dist == "worksteal":
        items[:] = longest_first(items, workers)


@pytest.fixture(autouse=True)
def no_secret_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test's URLs had for passwords is hidden for the rest of the process: not for the rest of the tests."""
    monkeypatch.setattr(secrets, "_told", set())
    monkeypatch.setattr(secrets, "_variables", set())


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user can reach: pytest's own lie below one that only we may enter.

    In memory where there is room: each test's database is 300 files, and to make and remove them on a disk is a sixth
    of the tests' time.
    """
    with temporary_folder(_MEMORY if _has_room(_MEMORY) else None) as folder:
        yield folder


def _has_room(place: Path) -> bool:
    return place.is_dir() and os.access(place, os.W_OK) and shutil.disk_usage(place).free > _ROOM


@pytest.fixture(scope="session")
def postgres_server(server_folder: Path) -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole session; not durable, so that a database goes in 10 ms."""
    with PostgresServer(server_folder / "postgres", durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def chroma_server(server_folder: Path) -> Iterator[ChromaServer]:
    """One Chroma server for the whole session; a test uses collection names of its own."""
    with ChromaServer(server_folder / "chroma") as server:
        yield server


@pytest.fixture(scope="session")
def databricks_server(tmp_path_factory: pytest.TempPathFactory) -> DatabricksServer:
    """One stand-in of Databricks, with one Spark, for the whole run, however many workers it has."""
    from sync_pipelines_tests.sandbox.databricks.shared import shared_server

    return shared_server(tmp_path_factory)


@pytest.fixture
def databricks_schema(request: pytest.FixtureRequest) -> Iterator[Schema]:
    """A schema of the test's own in the stand-in of Databricks, with a Volume."""
    from sync_pipelines_tests.sandbox.databricks.shared import Schema

    assert request.node.get_closest_marker("slow"), "it would start Java in `make test-fast`: mark it slow"
    schema = Schema.new(request.getfixturevalue("databricks_server"))
    yield schema
    schema.drop()


@pytest.fixture(scope="session")
def notion_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotionServer]:
    """One stand-in of Notion for the session, a process of its own."""
    from sync_pipelines.sandbox.notion.server import NotionServer

    with NotionServer(tmp_path_factory.mktemp("notion")) as server:
        yield server


@pytest.fixture
def notion_workspace(notion_server: NotionServer) -> WorkspaceControl:
    """A workspace of the test's own in the stand-in of Notion: its token, and the hands of its people."""
    return notion_server.workspace()


def made_once(server: PostgresServer, name: str, make: Callable[[str], object]) -> str:
    """The name of a database that is made by its URL and copied from then on."""
    server.create_database(name)
    make(server.url(name))
    # a pooled connection that making left open would make every copy fail
    server.seal_database(name)
    return name


@pytest.fixture(scope="session")
def house_template(postgres_server: PostgresServer) -> str:
    """The name of a database with both branches of migrations and nothing else."""
    from sync_pipelines_tests.lake.house import House

    return made_once(postgres_server, _HOUSE_TEMPLATE, lambda url: House(url).migrate())


@pytest.fixture
def house_url(postgres_server: PostgresServer, house_template: str) -> Iterator[str]:
    """The URL of a fresh copy of that database."""
    yield from fresh_database(postgres_server, house_template)


@pytest.fixture
def house(house_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A database without tables of an application and an empty folder; the environment names both."""
    from sync_pipelines_tests.lake.house import House

    monkeypatch.setenv("DATABASE_URL", house_url)
    monkeypatch.setenv("DELTA_URI", str(tmp_path / "lake"))
    return House(house_url)


@pytest.fixture
def review(house: House) -> House:
    """A house with the table `review`."""
    from sync_pipelines_tests.lake.reviews import DDL

    house.execute(DDL)
    return house


@pytest.fixture
def lake(house: House) -> Lake:
    """The Delta table `shop/review` of this house; nothing is there yet."""
    from sync_pipelines_tests.lake.house import Lake

    return Lake(house)


@pytest.fixture(params=[True, False], ids=["feed", "no feed"])
def feed(request: pytest.FixtureRequest) -> bool:
    """Whether the Delta table keeps a change feed."""
    return request.param


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of one S3 server for the whole session, with one bucket."""
    from sync_pipelines_tests.lake.s3 import serving

    with serving() as address:
        yield address


@pytest.fixture(scope="session")
def graph_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, GraphServer]]:
    """The graph servers of this session, started where they are first asked for."""
    from sync_pipelines_tests.graph.servers import KINDS

    folder = tmp_path_factory.mktemp("graphs")
    servers = {name: kind(folder / name) for name, kind in KINDS.items()}
    yield servers
    for server in servers.values():
        server.stop()


@pytest.fixture(scope="session")
def academy_template(postgres_server: PostgresServer) -> str:
    """The name of a database with the academy's tables, both branches of migrations and the triggers."""
    from sync_pipelines_tests.graph.house import DDL, concept, prerequisite
    from sync_pipelines_tests.lake.house import House

    def make(url: str) -> None:
        house = House(url)
        house.execute(DDL)
        house.migrate()
        for table in (concept(), prerequisite()):
            house.capture(table)

    return made_once(postgres_server, _ACADEMY_TEMPLATE, make)


@pytest.fixture
def academy_url(
    postgres_server: PostgresServer, academy_template: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The URL of a fresh copy of that database, which the environment names."""
    for url in fresh_database(postgres_server, academy_template):
        monkeypatch.setenv("DATABASE_URL", url)
        yield url


@pytest.fixture(scope="session")
def cupid_server() -> Iterator[Cupid]:
    """One stand-in of Cupid for the session."""
    from sync_pipelines.sandbox.cupid.api import Cupid

    with Cupid(key="a-key-of-cupid") as cupid:
        yield cupid


@pytest.fixture(scope="session")
def hotels_template(postgres_server: PostgresServer) -> str:
    """The name of a database with the ledger and the tables of hotels."""
    from sync_pipelines_tests.rest.hotels import migrate

    return made_once(postgres_server, _HOTELS_TEMPLATE, migrate)


@pytest.fixture
def hotels(
    cupid_server: Cupid, postgres_server: PostgresServer, hotels_template: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hotels]:
    """The sync `hotels` with a database of its own; Cupid is as new."""
    from sync_pipelines_tests.lake.house import House
    from sync_pipelines_tests.rest.hotels import Hotels

    cupid_server.reset()
    monkeypatch.setenv("CUPID_BASE_URL", cupid_server.url)
    monkeypatch.setenv("CUPID_API_KEY", cupid_server.key)
    monkeypatch.setenv("HOTELS_RATE_LIMIT", "10000")
    for url in fresh_database(postgres_server, hotels_template):
        monkeypatch.setenv("DATABASE_URL", url)
        yield Hotels(House(url), cupid_server)


@pytest.fixture(scope="session")
def template_database(postgres_server: PostgresServer) -> str:
    """The name of a prepared database: the application's tables with their sample rows."""
    return made_once(postgres_server, _TEMPLATE, prepare_database)


@pytest.fixture
def database_url(postgres_server: PostgresServer, template_database: str) -> Iterator[str]:
    """The URL of a fresh copy of the prepared database."""
    yield from fresh_database(postgres_server, template_database)


@pytest.fixture
def empty_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a fresh database with nothing in it."""
    yield from fresh_database(postgres_server, None)


def fresh_database(server: PostgresServer, template: str | None) -> Iterator[str]:
    """The URL of a database of the test's own, a copy of the template if one is named."""
    # A fault test may have killed the server; the next test must not pay for it.
    server.start()
    name = f"test_{next(_numbers)}"
    server.create_database(name, template=template)
    yield server.url(name)
    server.start()
    server.drop_database(name)


@pytest.fixture
def chroma_database(chroma_server: ChromaServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Chroma database of the test's own; the variables point at it."""
    from sync_pipelines_tests.own_chroma import create_database

    chroma_server.start()
    name = f"world_{next(_numbers)}"
    create_database(chroma_server.url, name)
    monkeypatch.setenv("CHROMA_URL", chroma_server.url)
    monkeypatch.setenv("CHROMA_DATABASE", name)
    monkeypatch.delenv("CHROMA_PATH", raising=False)
    return name


@pytest.fixture(scope="session")
def world_template(postgres_server: PostgresServer) -> str:
    """The name of a database with the table Article, both branches of migrations and the triggers."""
    from sync_pipelines_tests.dagster.world import prepare

    return made_once(postgres_server, _WORLD_TEMPLATE, prepare)


@pytest.fixture
def world_url(postgres_server: PostgresServer, world_template: str) -> Iterator[str]:
    """The URL of a fresh copy of that database."""
    yield from fresh_database(postgres_server, world_template)


@pytest.fixture
def world(
    world_url: str, chroma_database: str, chroma_server: ChromaServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """The table Article with its triggers, migrated, a Chroma database, and an ephemeral Dagster instance."""
    import dagster as dg

    from sync_pipelines_tests.dagster.world import World

    monkeypatch.setenv("DATABASE_URL", world_url)
    for name in ("SYNC_DATABASE_URL", "SHOP_DATABASE_URL", "SYNC_SCHEMA", "SYNC_BATCH_SIZE", "SHOP_BATCH_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with dg.DagsterInstance.ephemeral() as instance:
        chroma = SimpleNamespace(url=chroma_server.url, database=chroma_database)
        yield World(url=world_url, chroma=chroma, instance=instance)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Lone surrogates that a test logged on purpose: a worker could not send its report otherwise."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report
