"""Projects for tests: a table of an application's own and its component, with the deterministic embedder."""

from __future__ import annotations

from typing import Any

import dagster as dg

from sync_pipelines.automation import timezone
from sync_pipelines.components.base import SyncComponent
from sync_pipelines.components.postgres_to_chroma import PostgresToChroma
from sync_pipelines.definitions import assemble

ARTICLE_DDL = """
CREATE TABLE "Article" (
    id text PRIMARY KEY, title jsonb, body text, stock integer, "updatedAt" timestamp(3) NOT NULL
        DEFAULT (now() AT TIME ZONE 'UTC'))
"""


def article(**changed: Any) -> PostgresToChroma:
    """The component of the table `Article`: its text is title and body, `stock` is metadata alone."""
    given = {
        "sync": "shop",
        "source": {"connection": "shop", "table": "Article", "key": ["id"], "changed_at": "updatedAt"},
        "target": {"collection": "article"},
        "text": ["title", "body"],
        "metadata": ["stock"],
        "embedding": {"name": "hash", "dimensions": 16},
        **changed,
    }
    return PostgresToChroma.model_validate(given)


_last: list[tuple[str, tuple[SyncComponent, ...], dg.Definitions]] = []


def definitions(*components: SyncComponent) -> dg.Definitions:
    """What `sync_pipelines.definitions` makes of documents, of these components; of the last ones it is kept."""
    for zone, given, kept in _last:
        if zone == timezone() and [*map(id, given)] == [*map(id, components)]:
            return kept
    made = assemble(dg.Definitions.merge(*(c.build_defs(None) for c in components)), components)
    _last[:] = [(timezone(), components, made)]
    return made
