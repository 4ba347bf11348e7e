"""Chroma under Dagster: change sets are written, and downstream assets get the synced records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg

from sync_pipelines.engine.model import ChangeSet
from sync_pipelines.failures import as_dagster_failure
from sync_pipelines.io_managers.base import change_window, write_changes
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
        upstream = context.upstream_output
        metadata = upstream.definition_metadata if upstream is not None else {}
        collection = metadata.get("chroma/collection")
        if not collection:
            raise dg.Failure(f"{context.asset_key.to_user_string()} is no table of a Chroma sync.", allow_retries=False)
        with as_dagster_failure():
            return self._load(str(getattr(collection, "value", collection)), context)

    def _load(self, collection: str, context: dg.InputContext) -> Any:
        from sync_pipelines.targets.chroma.target import open_collection, read_records

        wanted = _annotation(context)
        settings = self.chroma.settings()
        if wanted == "handle":
            return open_collection(settings, collection)
        return _frames()[wanted](read_records(settings, collection, window=change_window(context)))


def _annotation(context: dg.InputContext) -> str:
    kind = context.dagster_type.typing_type
    name = f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', '')}"
    if name.startswith("pandas.") and name.endswith("DataFrame"):
        return "pandas"
    if name.startswith("pyarrow.") and name.endswith("Table"):
        return "arrow"
    if name.startswith("chromadb.") and name.endswith("Collection"):
        return "handle"
    raise dg.Failure(
        f"input {context.name!r}: annotate it as pandas.DataFrame, pyarrow.Table or chromadb.Collection.",
        allow_retries=False,
    )


def _frames() -> dict[str, Callable[[Any], Any]]:
    import pyarrow as pa

    def arrow(reader: Any) -> pa.Table:
        return pa.Table.from_batches(list(reader), schema=reader.schema)

    return {"arrow": arrow, "pandas": lambda reader: arrow(reader).to_pandas()}
