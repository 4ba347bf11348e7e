"""Which engine reads and writes a document's Delta table: what it says, or what is configured."""

from __future__ import annotations

from typing import Any, Literal

Engine = Literal["auto", "delta-rs", "databricks"]


def engine_of(wanted: Engine, resources: Any) -> Literal["delta-rs", "databricks"]:
    """The engine of a table: `auto` is delta-rs where DELTA_URI is set, else Databricks where DATABRICKS_HOST is."""
    if wanted != "auto":
        return wanted
    return "databricks" if not resources.delta.configured() and resources.databricks.configured() else "delta-rs"


def not_configured(wanted: Engine, resources: Any) -> str | None:
    """Why a table is not in use here (it names the variable), or None."""
    there = {"delta-rs": resources.delta.configured, "databricks": resources.databricks.configured}
    if there[engine_of(wanted, resources)]():
        return None
    if wanted == "auto":
        return "not configured: neither DELTA_URI nor DATABRICKS_HOST is set"
    return f"not configured: {'DELTA_URI' if wanted == 'delta-rs' else 'DATABRICKS_HOST'} is not set"
