"""A user's rows in the types of a table's columns: each value as it is, or none of them."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.resources.databricks import DatabricksResource
from sync_pipelines.resources.delta import DeltaResource
from sync_pipelines.resources.lakehouse import LakehouseResource
from sync_pipelines.targets.lake.frames import fitted, stream_of
from sync_pipelines.targets.lake.input import as_kind
from sync_pipelines_tests.lake.house import House

DOUBLE, FLOAT, LONG, INT, MONEY = pa.float64(), pa.float32(), pa.int64(), pa.int32(), pa.decimal128(10, 2)
CASES: list[tuple[pa.DataType, pa.DataType, Any, Any]] = [
    (DOUBLE, FLOAT, 0.1, 1e300),
    (DOUBLE, FLOAT, -0.5, 0.123456789012),
    (DOUBLE, MONEY, 1.1, 1.239),
    (DOUBLE, pa.bool_(), 1.0, float("nan")),
    (LONG, pa.bool_(), 1, 2),
    (LONG, MONEY, 7, 10**9),
    (MONEY, FLOAT, Decimal("0.10"), Decimal("16777217.00")),
    (pa.timestamp("us"), pa.date32(), datetime(2024, 5, 1), datetime(2024, 5, 1, 6)),
    (pa.string(), DOUBLE, "inf", "1e400"),
    (pa.float16(), LONG, 2.0, 2.5),
    (pa.dictionary(pa.int8(), LONG), pa.bool_(), 0, 3),
    (pa.list_(DOUBLE), pa.list_(INT), [2.0, None], [1.7]),
    (pa.list_(DOUBLE, 1), pa.list_(FLOAT), [0.1], [1e300]),
    (pa.struct([("b", LONG), ("a", DOUBLE)]), pa.struct([("a", INT), ("b", LONG)]), {"b": 1, "a": 2}, {"a": 1.7}),
    (pa.struct([("a", LONG)]), pa.struct([("a", pa.bool_())]), {"a": 1}, {"a": 2}),
    (pa.map_(pa.string(), DOUBLE), pa.map_(pa.string(), FLOAT), [("x", 0.1)], [("x", 1e300)]),
]
"""Types of a frame and of a table's column, a value that fits, and one that would be changed."""


@pytest.mark.parametrize(("kind", "held", "good", "bad"), CASES, ids=[f"{kind}-{held}" for kind, held, *_ in CASES])
def test_a_value_that_its_column_would_change_is_refused(kind: pa.DataType, held: pa.DataType, good: Any, bad: Any):
    # of a slice, so that what lies outside it is not looked at
    given = pa.chunked_array([pa.array([bad, good, None, bad], kind)])
    table = pa.schema([("x", held)])
    rows = fitted(pa.table({"x": given.slice(1, 2)}).to_reader(), table).read_all().column("x")
    assert rows.null_count == 1
    assert pa.types.is_struct(held) or rows.type == held
    with pytest.raises(ConfigurationError, match="column 'x' of the rows does not fit into the table's"):
        fitted(pa.table({"x": given.slice(1)}).to_reader(), table).read_all()


def test_values_that_are_no_numbers_and_columns_without_a_value_pass():
    floats = pa.table({"x": pa.array([float("nan"), float("-inf")], DOUBLE)})
    found = fitted(floats.to_reader(), pa.schema([("x", FLOAT)])).read_all().column("x")
    assert str(found.to_pylist()) == "[nan, -inf]"
    nothing = pa.table({"x": pa.nulls(1)})
    assert fitted(nothing.to_reader(), pa.schema([("x", pa.list_(LONG))])).read_all().to_pylist() == [{"x": None}]


def test_a_table_is_made_for_every_schema_whose_rows_can_be_written(house: House):
    lakehouse = LakehouseResource(delta=DeltaResource(), databricks=DatabricksResource())
    rows = pa.table(
        {
            "small": pa.array([200], pa.uint8()),
            "at": pa.array([0], pa.timestamp("ns", tz="Asia/Tokyo")),
            "word": pa.array(["a"]).dictionary_encode(),
            "day": pa.array([date(2024, 5, 1)], pa.date64()),
        }
    )
    lakehouse.create_table("shop/score", rows.schema)
    lakehouse.write(rows, "shop/score")
    assert lakehouse.read("shop/score", columns=["small", "word"]).to_pylist() == [{"small": 200, "word": "a"}]
    with pytest.raises(ConfigurationError, match=r"a lakehouse has no type for Arrow's time64\[us\]"):
        lakehouse.create_table("shop/hour", pa.schema([("at", pa.time64("us"))]))
    for name, mode in (("shop/odd", "append"), ("shop/score", "overwrite")):
        with pytest.raises(ConfigurationError, match="cannot have the column 'a b'"):
            lakehouse.write(pa.table({"a b": [1]}), name, mode=mode)  # type: ignore[arg-type]


def test_no_integer_beside_a_missing_one_is_another_number_in_pandas():
    large = 2**53 + 1
    rows = pa.table({"id": [large, None], "ids": [[large, None], None], "few": [7, None], "all": [large, -large]})
    frame = as_kind("pandas", rows.to_reader())
    assert (frame["id"][0], frame["ids"][0].tolist(), frame["few"][0]) == (large, [large, None], 7)
    assert [str(kind) for kind in frame.dtypes] == ["Int64", "object", "float64", "int64"]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame({"id": [1, "x"]}), "column id .*: Could not convert 'x' with type str"),
        (pd.DataFrame([[1, 2]], columns=["id", "id"]), "Duplicate column names found"),
    ],
    ids=["types", "names"],
)
def test_a_dataframe_that_is_no_table_is_one_sentence(frame: pd.DataFrame, said: str):
    with pytest.raises(ConfigurationError, match=f"the DataFrame cannot be written: .*{said}"):
        stream_of(frame)
