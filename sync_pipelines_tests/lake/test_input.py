"""A user's own asset gets rows of a Delta table by its type annotation: a window of them, or all, or what it names."""

from __future__ import annotations

from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.lake.house import House, document

pytestmark = pytest.mark.slow

ALL = {1, 2, 3, 4, 5, 6}


def daily(*, changed_at: str = "at", **more: Any) -> PostgresToDelta:
    source = {"connection": "shop", "table": "item", "key": ["id"], "changed_at": changed_at}
    return document(source=source, partitions={"every": "day", "start": "2024-01-02"}, **more)


@pytest.fixture
def table(house: House, engine: str) -> PostgresToDelta:
    """Items of three days, one from before the first window, one of the future, and one without a change time."""
    return filled(house)


def filled(house: House, **more: Any) -> PostgresToDelta:
    found = daily(**more)
    house.execute(
        "CREATE TABLE item (id int PRIMARY KEY, word text, at timestamptz, plain timestamp, day date)",
    )
    house.capture(found)
    house.execute(
        "INSERT INTO item SELECT n, 'w' || n, t, t AT TIME ZONE 'UTC', t::date FROM (VALUES (1, timestamptz "
        "'2023-05-05 00:00Z'), (2, '2024-01-02 23:59:59.999999Z'), (3, '2024-01-03 00:00Z'), (4, '2024-01-04 00:00Z'), "
        "(5, '2990-01-01 00:00Z'), (6, NULL)) AS v (n, t)"
    )
    house.sync(found)
    return found


def downstream(table: PostgresToDelta, kind: Any, count: Any, *, partition: str | None = None, **asked: Any) -> Any:
    """What an asset with an input of this annotation makes of it."""

    def report(found: Any) -> Any:
        return count(found)

    report.__annotations__ = {"found": kind, "return": Any}
    windows = table.partitions.definition() if partition else None
    ins = {"found": dg.AssetIn(key=table.asset_key, metadata=asked)}
    asset = dg.asset(report, ins=ins, partitions_def=windows, name="report")
    project = dg.Definitions.merge(definitions(table), dg.Definitions(assets=[asset]))
    job = project.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, asset_selection=[asset.key], partition_key=partition)
        return result.output_for_node("report")


def ids(found: pa.Table) -> list[int]:
    return sorted(found.column("id").to_pylist())


WINDOWS = {"2024-01-02": [1, 2, 6], "2024-01-03": [3], "2024-01-04": [4], "2024-01-05": [], None: sorted(ALL)}


def test_an_asset_with_the_same_windows_gets_its_own(table: PostgresToDelta):
    found = {partition: downstream(table, pa.Table, ids, partition=partition) for partition in WINDOWS}
    assert found == WINDOWS


@pytest.mark.parametrize("changed_at", ["plain", "day"])
def test_a_window_is_chosen_by_a_time_of_each_type(house: House, changed_at: str):
    table = filled(house, changed_at=changed_at)
    assert downstream(table, pa.Table, ids, partition="2024-01-02") == [1, 2, 6]
    assert downstream(table, pa.Table, ids, partition="2024-01-03") == [3]


def test_a_window_of_a_time_that_is_stored_as_text_is_one_sentence(house: House):
    table = filled(house, types={"at": "string"})
    with pytest.raises(dg.Failure, match="'at' is stored as string: no window of time"):
        downstream(table, pa.Table, ids, partition="2024-01-03")
    assert downstream(table, pa.Table, ids) == sorted(ALL)


KINDS = {
    pd.DataFrame: lambda found: found["id"].tolist(),
    pa.RecordBatchReader: lambda found: found.read_all().column("id").to_pylist(),
    pl.LazyFrame: lambda found: found.collect()["id"].to_list(),
    duckdb.DuckDBPyRelation: lambda found: [row[0] for row in found.project("id").fetchall()],
}


def test_each_kind_of_frame_holds_the_rows_and_columns_that_are_named(house: House):
    table = filled(house)
    for kind, keys in KINDS.items():
        found = downstream(table, kind, keys, columns=["id", "word"], where="id < 3 OR word = 'w4'")
        assert sorted(found) == [1, 2, 4], kind
        found = downstream(table, kind, keys, partition="2024-01-02", where="id < 2 OR word = 'w4'")
        assert found == [1], kind


def test_an_input_that_cannot_be_narrowed_so_is_one_sentence(house: House):
    table = filled(house)
    for kind, asked, said in (
        (pa.Table, {"columns": "id"}, r"columns: 'id' is one text, not a list of names\. Give \['id'\]"),
        (pa.Table, {"columns": []}, "columns: there is none in the list"),
        (DeltaTable, {"columns": ["id"]}, "DeltaTable is the whole table"),
        (DeltaTable, {"where": "id = 1"}, "DeltaTable is the whole table"),
    ):
        with pytest.raises(dg.Failure, match=said):
            downstream(table, kind, id, **asked)


def test_a_frame_has_the_columns_that_are_named_and_else_none_of_the_syncs_own(house: House):
    table = filled(house)
    assert downstream(table, pa.Table, lambda found: found.column_names, columns=["word"]) == ["word"]
    names = downstream(table, pa.Table, lambda found: found.column_names)
    assert sorted(names) == ["at", "day", "id", "plain", "synced_at", "word"]
    assert downstream(table, DeltaTable, lambda found: found.version()) >= 0
