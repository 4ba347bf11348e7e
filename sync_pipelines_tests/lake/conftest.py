from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines_tests.conftest import fresh_database
from sync_pipelines_tests.lake.engines import ENGINES, name_warehouse
from sync_pipelines_tests.lake.house import House, Lake
from sync_pipelines_tests.lake.reviews import DDL

_TEMPLATE = "template_house"


@pytest.fixture(scope="session")
def house_template(postgres_server: PostgresServer) -> str:
    """The name of a database with both branches of migrations and nothing else."""
    postgres_server.create_database(_TEMPLATE)
    House(postgres_server.url(_TEMPLATE)).migrate()
    postgres_server.seal_database(_TEMPLATE)
    return _TEMPLATE


@pytest.fixture
def house_url(postgres_server: PostgresServer, house_template: str) -> Iterator[str]:
    """The URL of a fresh copy of that database."""
    yield from fresh_database(postgres_server, house_template)


@pytest.fixture
def house(house_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A database without tables of an application and an empty folder; the environment names both."""
    monkeypatch.setenv("DATABASE_URL", house_url)
    monkeypatch.setenv("DELTA_URI", str(tmp_path / "lake"))
    return House(house_url)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, house: House, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who reads and writes the Delta tables of the house."""
    if request.param == "databricks":
        name_warehouse(request.getfixturevalue("databricks_schema"), monkeypatch)
    return request.param


@pytest.fixture
def lake(house: House) -> Lake:
    """The Delta table `shop/review` of this house; nothing is there yet."""
    return Lake(house)


@pytest.fixture
def review(house: House) -> House:
    """A house with the table `review`."""
    house.execute(DDL)
    return house


@pytest.fixture(params=[True, False], ids=["feed", "no feed"])
def feed(request: pytest.FixtureRequest) -> bool:
    """Whether the Delta table keeps a change feed."""
    return request.param
