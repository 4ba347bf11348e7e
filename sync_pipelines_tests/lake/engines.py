"""The engines of a Delta table, each as the environment names it."""

from __future__ import annotations

import pytest

from sync_pipelines_tests.lake.house import House
from sync_pipelines_tests.sandbox.databricks.shared import Schema

ENGINES = ["delta-rs", pytest.param("databricks", marks=pytest.mark.slow)]
WITH_SPARK = [*ENGINES, pytest.param("spark", marks=pytest.mark.slow)]
"""Each full read is a job of 10 to 20 s: for the tests that its own (`test_spark`) do not cover."""
PASSWORD = "pw-of-the-source-1f8a"


def name_warehouse(schema: Schema, environment: pytest.MonkeyPatch) -> None:
    """DATABRICKS_… name the stand-in's warehouse and a schema of the test's own."""
    environment.delenv("DELTA_URI", raising=False)
    for name, value in variables(schema).items():
        environment.setenv(name, value)


def name_job(house: House, schema: Schema, environment: pytest.MonkeyPatch) -> None:
    """Databricks is named, and the source's password, which this PostgreSQL does not ask for, is a secret there."""
    name_warehouse(schema, environment)
    environment.setenv("DATABASE_URL", house.url.replace("@", f":{PASSWORD}@", 1))
    scope = f"scope-{schema.name}"
    schema.client.secrets.create_scope(scope)
    schema.client.secrets.put_secret(scope, "shop_password", string_value=PASSWORD)
    environment.setenv("DATABRICKS_SCOPE", scope)


def variables(schema: Schema) -> dict[str, str]:
    """What names them."""
    return {
        "DATABRICKS_HOST": schema.server.url,
        "DATABRICKS_TOKEN": schema.server.token,
        "DATABRICKS_HTTP_PATH": schema.server.http_path,
        "DATABRICKS_SCHEMA": schema.name,
        "DATABRICKS_VOLUME": "staging",
    }
