from __future__ import annotations

import pytest

from sync_pipelines_tests.lake.engines import ENGINES, name_job, name_warehouse
from sync_pipelines_tests.lake.house import House, document
from sync_pipelines_tests.lake.overwritten import DDL


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, house: House, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who reads and writes the Delta tables of the house."""
    if request.param == "databricks":
        name_warehouse(request.getfixturevalue("databricks_schema"), monkeypatch)
    if request.param == "spark":
        name_job(house, request.getfixturevalue("databricks_schema"), monkeypatch)
    return request.param


@pytest.fixture
def items(house: House) -> House:
    """Three hundred items, not synced yet."""
    house.execute(DDL)
    house.capture(document())
    return house
