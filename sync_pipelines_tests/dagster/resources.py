"""The resources of a run, made once for all tests: they read the environment when they are asked."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

from sync_pipelines.definitions import default_resources


def made_resources() -> SimpleNamespace:
    """Resources by attribute, as a run has them; each takes Dagster milliseconds to make."""
    return SimpleNamespace(**_made())


@cache
def _made() -> dict[str, Any]:
    return default_resources()
