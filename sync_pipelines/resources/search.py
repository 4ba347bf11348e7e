"""Semantic search as a resource for a user's own assets."""

from __future__ import annotations

from typing import Any

import dagster as dg

from sync_pipelines.resources.chroma import ChromaResource


class SearchResource(dg.ConfigurableResource):
    """`search(…)` of `sync_pipelines`, with the connection of the code location."""

    chroma: ChromaResource

    def search(
        self, words: str, *, table: str | None = None, limit: int = 10, where: dict[str, Any] | None = None
    ) -> list[Any]:
        """The records nearest in meaning to `words`, best first; see `sync_pipelines.search`."""
        from sync_pipelines.api import search

        return search(words, table=table, limit=limit, where=where, chroma=self.chroma)
