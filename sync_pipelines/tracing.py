"""The way of the events that belong to one correlation id: from the outbox through the ledger to the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.events import record_key
from sync_pipelines.engine.sensitive import mask_of

if TYPE_CHECKING:
    from sync_pipelines.registry import BoundTable


@dataclass(frozen=True, kw_only=True)
class TracedEvent:
    """One event. Times are UTC.

    Args:
        table: `sync/table` that follows its type; empty where no document does.
        published_at: when the application published it; taken_at: when a consumer first took it; completed_at: when
            the target had it. seconds: from the first to the last.
        note: why it was refused, what it waits for, or what else there is to say.
        target_version: of the entity's newest event that the target has; None where it has none.
        quarantined: why its record is in quarantine, if it is.
    """

    table: str
    event_id: str
    event_type: str
    entity_type: str
    entity_id: str
    version: int
    status: str
    attempts: int
    published_at: datetime
    taken_at: datetime | None
    completed_at: datetime | None
    seconds: float | None
    note: str | None
    target_version: int | None = None
    quarantined: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def trace(correlation_id: str) -> list[TracedEvent]:
    """Every event of a correlation id that the outboxes of this project still hold, as it was published.

    Raises:
        TransientError, RunError: a database does not answer, or has no outbox.
    """
    from sync_pipelines.registry import outboxes

    by_database = [{bound.spec.entity_type: bound for bound in followers} for followers in outboxes().values()]
    found = [event for followed in by_database for event in _of_database(followed, correlation_id)]
    return sorted(found, key=lambda event: (event.published_at, event.entity_id, event.version))


def _of_database(followed: Mapping[str, BoundTable], correlation_id: str) -> list[TracedEvent]:
    any_of_them = next(iter(followed.values())).source().outbox
    assert any_of_them is not None
    return [_traced(followed.get(row["entity_type"]), row) for row in any_of_them.of_correlation(correlation_id)]


def _traced(bound: BoundTable | None, row: Mapping[str, Any]) -> TracedEvent:
    done, began = row["completed_at"], row["published_at"]
    found = TracedEvent(
        **{name: value for name, value in row.items() if name not in ("start_id", "end_id")},
        table=bound.path if bound else "",
        seconds=(done - began).total_seconds() if done else None,
    )
    return _with_ledger(bound, found, row) if bound else found


def _with_ledger(bound: BoundTable, found: TracedEvent, row: Mapping[str, Any]) -> TracedEvent:
    sync, table = bound.spec.sync, bound.spec.name
    ends = (row["start_id"], row["end_id"])
    try:
        key = record_key(found.entity_id, None if None in ends else ends, bound.spec)
    except ValueError:
        key = found.entity_id
    with bound.resources.ledger.ledger() as ledger:
        state = ledger.entities(sync, table, [found.entity_id]).get(found.entity_id)
        held = ledger.list_quarantine(sync, table, keys=[key])
    return replace(
        found,
        entity_id=mask_of(bound.spec).key(found.entity_id),
        target_version=state.target_version if state else None,
        quarantined=held[0].reason if held else None,
    )
