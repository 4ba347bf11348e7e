"""Events whose type no document follows: nobody brings them, and they keep what is newer from the clean-up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sync_pipelines.engine.events import Strays
from sync_pipelines.engine.sql import literal, qualified

if TYPE_CHECKING:
    from sync_pipelines.registry import BoundTable


def unfollowed(path: str) -> list[str]:
    """What is to be said of them beside a table, a sentence a type.

    Of each outbox just one table has something to say, the first that follows it: one cause is one incident.

    Args:
        path: `sync/table`.

    Raises:
        TransientError, RunError: the database does not answer, or has no outbox.
    """
    from sync_pipelines.registry import outboxes

    said = (followers for followers in outboxes().values() if path == min(bound.path for bound in followers))
    return [sentence for followers in said for sentence in _sentences(followers)]


def unfollowed_beside(tables: Iterable[BoundTable]) -> list[str]:
    """What is to be said of them in the outboxes that these tables follow."""
    from sync_pipelines.registry import outboxes

    wanted = {table.source().url.sqlalchemy for table in tables}
    said = (followers for url, followers in outboxes().items() if url in wanted)
    return [sentence for followers in said for sentence in _sentences(followers)]


def _sentences(followers: Sequence[BoundTable]) -> list[str]:
    """What waits in the outbox of these tables, which are all that follow it, of other types than theirs."""
    first = followers[0]
    outbox = first.source().outbox
    assert outbox is not None
    found = outbox.strays(sorted({bound.spec.entity_type for bound in followers}))
    log = qualified(first.sync_schema, "sync_event_log")
    return [_sentence(item, log) for item in found]


def _sentence(found: Strays, log: str) -> str:
    number = f"{'at least ' if found.capped else ''}{found.events:,}"
    return (
        f"{number} events of the entity type {found.entity_type!r}, which no document follows, wait since "
        f"{found.oldest:%Y-%m-%d %H:%M} UTC and keep what is newer from the clean-up: write a document with this "
        f"entity_type, or have none published and DELETE FROM {log} WHERE entity_type = {literal(found.entity_type)}"
    )
