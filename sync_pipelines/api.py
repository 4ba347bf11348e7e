"""Search from Python, over the collections of this project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.resources.chroma import ChromaResource

if TYPE_CHECKING:
    from sync_pipelines.targets.search import Hit


def search(
    words: str,
    *,
    table: str = "knowledge",
    limit: int = 10,
    where: dict[str, Any] | None = None,
    chroma: ChromaResource | None = None,
) -> list[Hit]:
    """The records nearest in meaning to `words`, in any language of the embedding, best first.

    Args:
        words: what is looked for.
        table: a sync (all of its collections) or `sync/table`.
        limit: at most so many records.
        where: a Chroma filter on metadata; datetimes and ISO texts are turned into what is stored.
        chroma: the connection; from the environment if left out.

    Raises:
        ConfigurationError: an unknown table, or one that has no search.
    """
    from sync_pipelines.components.postgres_to_chroma import PostgresToChroma
    from sync_pipelines.registry import tables
    from sync_pipelines.targets.search import best

    connection = chroma or ChromaResource()
    found = [bound.component for bound in tables(table) if isinstance(bound.component, PostgresToChroma)]
    if not found:
        raise ConfigurationError(f"{table} has no table that can be searched.")
    targets = [component.build_target(connection) for component in found]
    return best(targets, words, limit=limit, where=where)
