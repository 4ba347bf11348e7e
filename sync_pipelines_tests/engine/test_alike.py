"""Rows that are surely alike, told column by column."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from sync_pipelines.engine.alike import suspicious
from sync_pipelines.engine.model import KEY

AT = datetime(2024, 1, 1, tzinfo=UTC)


def batch(values: list[Any], kind: pa.DataType, *, keys: str = "abc") -> pa.RecordBatch:
    """A column of values under these keys."""
    return pa.record_batch([pa.array(list(keys)), pa.array(values, kind)], names=[KEY, "v"])


@pytest.mark.parametrize(
    ("kind", "here", "there", "found"),
    [
        (pa.string(), ["x", None, "y"], ["x", None, "y"], ""),
        (pa.string(), ["x", None, ""], ["x", "", None], "bc"),
        (pa.string(), ["x", "y", "z"], ["x ", "y", "Z"], "ac"),
        (pa.timestamp("us", tz="UTC"), [AT, AT, None], [AT, AT.replace(microsecond=1), None], "b"),
        (pa.decimal128(5, 2), [Decimal("1.10"), None, None], [Decimal("1.11"), None, None], "a"),
        (pa.list_(pa.int64()), [[1], None, []], [[1], None, []], ""),
    ],
)
def test_rows_are_suspicious_where_a_value_differs(kind: pa.DataType, here: list, there: list, found: str):
    suspects = suspicious(batch(here, kind), [batch(there, kind)], ["v"], ())
    assert "".join(suspects.column(KEY).to_pylist()) == found


def test_what_cannot_be_told_by_columns_is_suspicious_as_a_whole():
    texts = batch(["1", "2", "3"], pa.string())
    assert suspicious(texts, [batch([1, 2, 3], pa.int64())], ["v"], ()).num_rows == 3
    lists = batch([[1.0], [float("nan")], None], pa.list_(pa.float64()))
    assert suspicious(lists, [lists], ["v"], ()).num_rows == 3


def test_rows_that_the_other_side_lacks_are_none_and_copies_are():
    here = batch(["x", "y", "z"], pa.string())
    assert suspicious(here, [], ["v"], ()).num_rows == 0
    there = batch(["y", "x"], pa.string(), keys="ba")
    assert suspicious(here, [there], ["v"], ()).num_rows == 0
    assert suspicious(here, [there], ["v"], {"b"}).column(KEY).to_pylist() == ["b"]
