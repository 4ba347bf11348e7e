from __future__ import annotations

import pytest

from sync_pipelines_tests.lake.engines import ENGINES, name_warehouse
from sync_pipelines_tests.lake.house import House, Lake


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


@pytest.fixture(params=[True, False], ids=["feed", "no feed"])
def feed(request: pytest.FixtureRequest) -> bool:
    """Whether the Delta table keeps a change feed."""
    return request.param
