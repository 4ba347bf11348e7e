"""The engines of a Delta table, each as the environment names it."""

from __future__ import annotations

import pytest

from sync_pipelines_tests.sandbox.databricks.shared import Schema

ENGINES = ["delta-rs", pytest.param("databricks", marks=pytest.mark.slow)]


def name_warehouse(schema: Schema, environment: pytest.MonkeyPatch) -> None:
    """DATABRICKS_… name the stand-in's warehouse and a schema of the test's own."""
    environment.delenv("DELTA_URI", raising=False)
    values = {
        "HOST": schema.server.url,
        "TOKEN": schema.server.token,
        "HTTP_PATH": schema.server.http_path,
        "SCHEMA": schema.name,
        "VOLUME": "staging",
    }
    for name, value in values.items():
        environment.setenv(f"DATABRICKS_{name}", value)
