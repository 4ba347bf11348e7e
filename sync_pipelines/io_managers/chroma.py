"""Chroma under Dagster: change sets are written, and downstream assets get the synced records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg

from sync_pipelines.engine.model import ChangeSet
from sync_pipelines.failures import as_dagster_failure
from sync_pipelines.io_managers.base import change_window, synced, wanted_kind, write_changes
from sync_pipelines.resources.chroma import ChromaResource


class ChromaIOManager(dg.ConfigurableIOManager):
    """Writes a change set to its collection; reads a collection as DataFrame, Arrow table or handle.

    A downstream asset says by its type annotation what it gets: `pandas.DataFrame`, `pyarrow.Table` or
    `chromadb.Collection` (chromadb's own handle). Partitioned alike, it gets its window; else all records.
    """

    chroma: ChromaResource

    def handle_output(self, context: dg.OutputContext, obj: ChangeSet) -> None:
        write_changes(context, obj)

    def load_input(self, context: dg.InputContext) -> Any:
        (collection,) = synced(context, "chroma/collection", kind="a Chroma sync")
        with as_dagster_failure():
            return self._load(collection, context)

    def _load(self, collection: str, context: dg.InputContext) -> Any:
        from sync_pipelines.targets.chroma.target import open_collection, read_records

        wanted = wanted_kind(context, _KINDS)
        settings = self.chroma.settings()
        if wanted == "handle":
            return open_collection(settings, collection)
        return _frames()[wanted](read_records(settings, collection, window=change_window(context)))


_KINDS = {
    ("pandas", "DataFrame"): "pandas",
    ("pyarrow", "Table"): "arrow",
    ("chromadb", "Collection"): "handle",
}


def _frames() -> dict[str, Callable[[Any], Any]]:
    import pyarrow as pa

    from sync_pipelines.engine.frames import in_pandas

    def arrow(reader: Any) -> pa.Table:
        return pa.Table.from_batches(list(reader), schema=reader.schema)

    return {"arrow": arrow, "pandas": lambda reader: in_pandas(arrow(reader))}
