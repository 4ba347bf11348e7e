"""A user's own asset gets the synced records by its type annotation: a window of them, or all."""

from __future__ import annotations

import json
from typing import Any

import chromadb
import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from sync_pipelines_tests.dagster.project import article, definitions
from sync_pipelines_tests.dagster.world import World

KEY = dg.AssetKey(["shop", "article"])
MOMENTS = {"ancient": "2019-02-10", "february": "2024-02-10", "march": "2024-03-01", "far": "2999-01-01"}


@pytest.fixture
def shop(world: World) -> World:
    """Four synced articles of different times; one is long, in chunks."""
    world.component = article(chunking={"max_characters": 64})
    for key, moment in MOMENTS.items():
        world.put(key, body=f"{key} has a long text. " * 9, stock=len(key))
        world.execute("""UPDATE "Article" SET "updatedAt" = %s WHERE id = %s""", moment, key)
    world.sync()
    return world


def given(world: World, kind: Any, *, partition: str | None = None) -> Any:
    """Materialize an asset whose parameter is annotated with this type, and give what it got."""
    found = []
    windows = world.component.partitions.definition() if partition else None

    def report(articles):
        found.append(articles)

    report.__annotations__ = {"articles": kind}
    asset = dg.asset(report, ins={"articles": dg.AssetIn(KEY)}, partitions_def=windows, name="report")
    project = dg.Definitions.merge(definitions(world.component), dg.Definitions(assets=[asset]))
    job = project.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=world.instance, asset_selection=[asset.key], partition_key=partition, raise_on_error=False
    )
    return found[0] if result.success else str(result.failure_data_for_node("report").user_failure_data.description)


def test_a_data_frame_holds_every_record_whole(shop: World):
    frame = given(shop, pd.DataFrame).set_index("key")
    assert set(frame.index) == set(MOMENTS)
    assert frame.document["march"] == "a title\n\n" + "march has a long text. " * 9
    assert json.loads(frame.metadata["march"]) == {"stock": 5}
    assert frame.changed_at["march"] == pd.Timestamp("2024-03-01", tz="UTC")
    assert frame.chunks["march"] > 1


@pytest.mark.slow
def test_an_arrow_table_holds_the_same(shop: World):
    table = given(shop, pa.Table)
    assert table.column_names == ["key", "document", "metadata", "changed_at", "chunks"]
    assert sorted(table["key"].to_pylist()) == sorted(MOMENTS)


def test_the_stores_own_handle_answers_queries(shop: World):
    collection = given(shop, chromadb.Collection)
    assert collection.count() == shop.collection.count()
    assert collection.query(query_texts=["march has"], n_results=1)["metadatas"][0][0]["sync_key"] == "march"


@pytest.mark.parametrize(
    ("partition", "keys"),
    [
        ("2024-02-01", {"february"}),
        pytest.param("2024-01-01", {"ancient"}, marks=pytest.mark.slow),
        pytest.param("2024-03-01", {"march"}, marks=pytest.mark.slow),
        pytest.param("2024-04-01", set(), marks=pytest.mark.slow),
        pytest.param("newest", {"far"}, marks=pytest.mark.slow),
    ],
)
def test_an_asset_with_the_same_windows_gets_its_own(shop: World, partition: str, keys: set[str]):
    newest = shop.component.partitions.definition().get_last_partition_key()
    table = given(shop, pa.Table, partition=newest if partition == "newest" else partition)
    assert set(table["key"].to_pylist()) == keys


@pytest.mark.slow
def test_another_annotation_is_refused_with_what_there_is(shop: World):
    assert "annotate it as pandas.DataFrame, pyarrow.Table or chromadb.Collection" in given(shop, dict)


@pytest.mark.slow
def test_a_collection_that_is_not_there_yet_is_named_with_the_remedy(shop: World):
    shop.client.delete_collection("article")
    assert "Run its sync first" in given(shop, pa.Table)
