from __future__ import annotations

from pathlib import Path

import pytest

from sync_pipelines_tests.lake.engines import ENGINES, name_warehouse
from sync_pipelines_tests.lake.house import House, Lake
from sync_pipelines_tests.lake.reviews import DDL


@pytest.fixture
def house(empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """An empty database and an empty folder; the environment names both."""
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    monkeypatch.setenv("DELTA_URI", str(tmp_path / "lake"))
    made = House(empty_database_url)
    made.migrate()
    return made


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
