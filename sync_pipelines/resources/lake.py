"""Which engine reads and writes a document's Delta table: what it says, or what is configured."""

from __future__ import annotations

from typing import Any, Literal

Engine = Literal["auto", "delta-rs", "databricks", "spark"]
Chosen = Literal["delta-rs", "databricks", "spark"]


def engine_of(wanted: Engine, resources: Any) -> Chosen:
    """The engine of a table: `auto` is delta-rs where DELTA_URI is set, else Databricks where DATABRICKS_HOST is.

    `spark` is never chosen by itself: it needs compute and a secret of its own.
    """
    if wanted != "auto":
        return wanted
    return "databricks" if not resources.delta.configured() and resources.databricks.configured() else "delta-rs"


def in_databricks(wanted: Engine, resources: Any) -> bool:
    """Whether a document's table stands in Databricks, whoever writes it there."""
    return engine_of(wanted, resources) != "delta-rs"


def not_configured(wanted: Engine, resources: Any) -> str | None:
    """Why a table is not in use here (it names the variable), or None."""
    resource = resources.databricks if in_databricks(wanted, resources) else resources.delta
    if resource.configured():
        return None
    if wanted == "auto":
        return "not configured: neither DELTA_URI nor DATABRICKS_HOST is set"
    return f"not configured: {'DELTA_URI' if wanted == 'delta-rs' else 'DATABRICKS_HOST'} is not set"
