"""Statements: what databricks-sdk sends runs on a real Spark with Delta, and what comes back has Databricks' shape."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from databricks.sdk.service.sql import StatementParameterListItem as Parameter

from sync_pipelines_tests.sandbox.databricks.shared import Schema

pytestmark = pytest.mark.slow


def test_a_merge_with_parameters_from_a_staged_file_changes_the_table(databricks_schema: Schema) -> None:
    databricks_schema.sql("CREATE TABLE shop (id BIGINT, name STRING, price DECIMAL(10,2))")
    staged = io.BytesIO()
    pq.write_table(pa.table({"id": [1, 2], "name": ["one", None]}), staged)
    staged.seek(0)
    databricks_schema.client.files.upload(f"{databricks_schema.volume}/a b/ü.parquet", staged)
    merge = f"""
        MERGE INTO main.{databricks_schema.name}.shop t
        USING (SELECT *, :price AS price FROM parquet.`{databricks_schema.volume}/a b/ü.parquet`) s ON t.id = s.id
        WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *
    """
    for price in ("9.99", None):
        databricks_schema.sql(merge, parameters=[Parameter("price", "DECIMAL(10,2)", price)])
    assert databricks_schema.sql("SELECT * FROM shop ORDER BY id") == [["1", "one", None], ["2", None, None]]
