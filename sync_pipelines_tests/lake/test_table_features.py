"""A Delta table with what another engine gave it (deletion vectors, column mapping, …), read by delta-rs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from sync_pipelines.engine.errors import RunError
from sync_pipelines_tests.lake.house import House, Lake, back
from sync_pipelines_tests.lake.reviews import held, reason_of, row, rows
from sync_pipelines_tests.sandbox.databricks.shared import Schema

COLUMNS = "id STRING, stars INT, note STRING, topics ARRAY<STRING>, detail STRING, updated_at TIMESTAMP"


def make(schema: Schema, *ids: str, feed: bool, **properties: str) -> None:
    """A table in the house's folder, made by Spark."""
    given = {"delta.enableChangeDataFeed": str(feed).lower(), **properties}
    named = ", ".join(f"'{name}' = '{value}'" for name, value in given.items())
    place = Path(os.environ["DELTA_URI"]) / "shop" / "review"
    schema.sql(f"CREATE TABLE review ({COLUMNS}) USING delta TBLPROPERTIES ({named}) LOCATION '{place}'")
    add(schema, *ids)


def add(schema: Schema, *ids: str) -> None:
    values = (f"('{id}', 3, 'n', array('x'), '{{}}', TIMESTAMP'2024-01-01T12:00:00Z')" for id in ids)
    schema.sql(f"INSERT INTO review VALUES {', '.join(values)}")


@pytest.mark.slow
@pytest.mark.spare_where(feed=False)
@pytest.mark.parametrize(
    "properties",
    [{"delta.enableDeletionVectors": "true"}, {"delta.columnMapping.mode": "name"}],
    ids=["deletion vectors", "column mapping"],
)
def test_what_changed_is_told(
    review: House, lake: Lake, databricks_schema: Schema, feed: bool, properties: dict[str, str]
):
    make(databricks_schema, *"abcdefgh", feed=feed, **properties)
    assert review.sync(back()).upserted == 8
    databricks_schema.sql("UPDATE review SET stars = 5 WHERE id = 'a'")
    databricks_schema.sql("DELETE FROM review WHERE id = 'b'")
    counts = review.sync(back())
    assert (counts.upserted, counts.deleted, reason_of(review)) == (1, 1, "")
    add(databricks_schema, "z")
    assert (review.sync(back()).read, reason_of(review)) == (1, "")
    assert held(review)["a"][0] == 5
    assert review.prove(back(), "deep").equal


@pytest.mark.slow
def test_a_feature_that_delta_rs_cannot_read_is_told_with_who_can(review: House, lake: Lake, databricks_schema: Schema):
    make(databricks_schema, "a", feed=False, **{"delta.enableTypeWidening": "true"})
    with pytest.raises(RunError, match=r"shop/review: .*TypeWidening.*Read it by Databricks, or drop the feature"):
        review.sync(back())


@pytest.mark.parametrize("before", [{"id": pa.list_(pa.string())}, {"number": pa.string()}], ids=["type", "name"])
def test_where_an_older_version_had_another_key_everything_is_read(review: House, lake: Lake, before: dict[str, Any]):
    (name, kind), *_ = before.items()
    older = rows(row("a")).drop_columns(["id"]).append_column(name, pa.array([None], kind))
    lake.write(rows(row("a"), row("b")), feed=False)
    review.sync(back())
    for states in (older, rows(row("a", stars=1))):
        write_deltalake(lake.place, states, mode="overwrite", schema_mode="overwrite")
    counts = review.sync(back())
    assert "an older version had another id" in reason_of(review)
    assert (counts.upserted, counts.deleted, held(review)["a"][0]) == (1, 1, 1)
