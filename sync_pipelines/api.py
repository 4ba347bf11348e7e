"""Search from Python, over the collections of this project."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.resources.chroma import ChromaResource

if TYPE_CHECKING:
    from sync_pipelines.targets.chroma.target import ChromaTarget
    from sync_pipelines.targets.search import Hit


def search(
    words: str,
    *,
    table: str | None = None,
    limit: int = 10,
    where: dict[str, Any] | None = None,
    missing: Callable[[str], None] | None = None,
    chroma: ChromaResource | None = None,
) -> list[Hit]:
    """The records nearest in meaning to `words`, in any language of the embedding, best first.

    Args:
        words: what is looked for.
        table: a sync (all of its collections) or `sync/table`; left out where one sync alone can be searched.
        limit: at most so many records.
        where: a Chroma filter on metadata; datetimes and ISO texts are turned into what is stored.
        missing: told of a collection that is not made yet while others answer; the log if left out.
        chroma: the connection; from the environment if left out.

    Raises:
        ConfigurationError: an unknown table, one that has no search, or none where there are several syncs.
    """
    from sync_pipelines.targets.search import best

    return best(_targets(table, chroma), words, limit=limit, where=where, missing=missing)


def unknown_fields(where: dict[str, Any], *, table: str | None = None) -> tuple[set[str], set[str]]:
    """The fields of a filter that no record has, as far as a sample tells, and those that records have."""
    from sync_pipelines.targets.search import fields_in, fields_of

    known = fields_of(_targets(table, None))
    return fields_in(where) - known, known


def _targets(table: str | None, chroma: ChromaResource | None) -> list[ChromaTarget]:
    from sync_pipelines.components.postgres_to_chroma import PostgresToChroma
    from sync_pipelines.registry import tables

    connection = chroma or ChromaResource()
    found = [bound.component for bound in tables(table) if isinstance(bound.component, PostgresToChroma)]
    if not found:
        raise ConfigurationError(f"{table or 'This project'} has no table that can be searched.")
    syncs = sorted({component.sync for component in found})
    if len(syncs) > 1:
        raise ConfigurationError(
            f"Several syncs can be searched: {', '.join(syncs)}.", remedy="Name one, or one of its tables (table=…)."
        )
    return [component.build_target(connection) for component in found]
