"""SIGKILL at every boundary of a run into Delta, or back: the next one ends equal, and no record is there twice."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from sync_pipelines_tests.faults.child import Children
from sync_pipelines_tests.faults.lake_line import BackLine, DeltaLine, HouseLine, WarehouseLine
from sync_pipelines_tests.lake.engines import name_warehouse, variables
from sync_pipelines_tests.lake.house import House, back, document
from sync_pipelines_tests.sandbox.databricks.shared import Schema
from sync_pipelines_tests.spare import spare

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def kill_then_run_again(
    line: HouseLine, children: Children, home: Path, boundary: tuple[str, int], **named: str
) -> None:
    """Kill a run of the command line at a boundary; the next one, in this process, ends equal."""
    line.arrange("sync")
    before = line.confirmed()
    name, number = boundary
    environment = {"DATABASE_URL": line.house.url, "DAGSTER_HOME": str(home), **named}
    place = f"{line.table.sync}/{line.table.table_name}"
    killed = children.run("sync", place, environment=environment, boundary=name, number=number)
    assert killed == -signal.SIGKILL, "the boundary was not reached"
    assert (line.confirmed() == before) == (name != "confirmed")
    assert line.act("sync").ok
    line.assert_equal()
    line.assert_made_once()


@pytest.mark.parametrize(
    "boundary",
    [*spare(("committing", 1), ("deleted", 1)), ("committed", 1), ("closing", 1)],
    ids=lambda boundary: boundary[0],
)
def test_a_run_into_delta_that_is_killed(
    house: House, children: Children, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boundary: Any
):
    line = DeltaLine(house, document(), {}, monkeypatch)
    kill_then_run_again(line, children, home, boundary, DELTA_URI=str(tmp_path / "lake"))


@pytest.mark.parametrize("boundary", spare(("staged", 2), ("committed", 1)), ids=lambda boundary: boundary[0])
def test_a_run_into_a_warehouse_that_is_killed(
    house: House,
    databricks_schema: Schema,
    children: Children,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    boundary: Any,
):
    name_warehouse(databricks_schema, monkeypatch)
    line = WarehouseLine(house, document(), {}, monkeypatch)
    kill_then_run_again(line, children, home, boundary, **variables(databricks_schema))


@pytest.mark.parametrize(
    "boundary",
    [*spare(("staged", 1), ("confirmed", 1)), ("committing", 1), ("committed", 1)],
    ids=lambda boundary: boundary[0],
)
def test_a_run_back_into_postgresql_that_is_killed(
    review: House, children: Children, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boundary: Any
):
    line = BackLine(review, back(), {}, monkeypatch)
    kill_then_run_again(line, children, home, boundary, DELTA_URI=str(tmp_path / "lake"))
