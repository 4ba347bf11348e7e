"""The engines of a Delta table, each as the environment names it."""

from __future__ import annotations

import pytest

from sync_pipelines_tests.sandbox.databricks.shared import Schema

ENGINES = ["delta-rs", pytest.param("databricks", marks=pytest.mark.slow)]


def name_warehouse(schema: Schema, environment: pytest.MonkeyPatch) -> None:
    """DATABRICKS_… name the stand-in's warehouse and a schema of the test's own."""
    environment.delenv("DELTA_URI", raising=False)
    for name, value in variables(schema).items():
        environment.setenv(name, value)


def variables(schema: Schema) -> dict[str, str]:
    """What names them."""
    return {
        "DATABRICKS_HOST": schema.server.url,
        "DATABRICKS_TOKEN": schema.server.token,
        "DATABRICKS_HTTP_PATH": schema.server.http_path,
        "DATABRICKS_SCHEMA": schema.name,
        "DATABRICKS_VOLUME": "staging",
    }
