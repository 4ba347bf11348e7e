"""A Dagster project that keeps derived stores equal to their sources, and proves it.

Everything here is looked up when it is first used, so that `import sync_pipelines` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "PostgresToChroma": ("sync_pipelines.components.postgres_to_chroma", "PostgresToChroma"),
    "PostgresToDelta": ("sync_pipelines.components.postgres_to_delta", "PostgresToDelta"),
    "DeltaToPostgres": ("sync_pipelines.components.delta_to_postgres", "DeltaToPostgres"),
    "OutboxToNeo4j": ("sync_pipelines.components.outbox_to_neo4j", "OutboxToNeo4j"),
    "KeepToNotion": ("sync_pipelines.components.keep_to_notion", "KeepToNotion"),
    "RestToPostgres": ("sync_pipelines.components.rest_to_postgres", "RestToPostgres"),
    "SearchResource": ("sync_pipelines.resources.search", "SearchResource"),
    "ConflictResolver": ("sync_pipelines.resolving", "ConflictResolver"),
    "ReconciliationJob": ("sync_pipelines.reconciling", "ReconciliationJob"),
    "ResolutionStrategy": ("sync_pipelines.engine.conflicts", "ResolutionStrategy"),
    "run_consumer": ("sync_pipelines.consumer", "run_consumer"),
    "search": ("sync_pipelines.api", "search"),
}
__all__ = [
    "ConflictResolver",
    "DeltaToPostgres",
    "KeepToNotion",
    "OutboxToNeo4j",
    "PostgresToChroma",
    "PostgresToDelta",
    "ReconciliationJob",
    "ResolutionStrategy",
    "RestToPostgres",
    "SearchResource",
    "__version__",
    "run_consumer",
    "search",
]


def __getattr__(name: str) -> Any:
    if name == "client":
        return import_module("sync_pipelines.client")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    loaded = import_module(module)
    return getattr(loaded, attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
