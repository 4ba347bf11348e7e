"""What `status` and `health` say of a table that comes from an API: due by an interval, not by a cron."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sync_pipelines.components.rest_to_postgres import RestToPostgres
    from sync_pipelines.engine.binding import Binding


def rest_facts(component: RestToPostgres, resources: Any, binding: Binding) -> dict[str, Any]:
    """Interval, next run and what is left out, as fields of `status.Facts`."""
    from sync_pipelines.targets.rowsets.looking import absent

    interval = component.settings(resources).interval
    quarantined, excluded = binding.ledger.left_out(*binding.place)
    found: dict[str, Any] = {
        "interval": interval,
        "next_run": None if component.not_watched(resources) else next_run(binding),
        "quarantined": quarantined,
        "excluded": excluded + absent(binding.target),  # ty: ignore[invalid-argument-type]
    }
    if component.not_watched(resources):
        found["warnings"] = (f"it asks for no run by itself: {component.not_watched(resources)}",)
    return found


def next_run(binding: Binding) -> datetime:
    """When something is due next (UTC): now, where something is."""
    due = binding.source.next_due(binding.ledger.watermark(*binding.place))  # ty: ignore[missing-attribute]
    return max(due, datetime.now(UTC))


def marks(binding: Binding, began: datetime) -> str | None:
    """Which records a run did not find any more, and which it found again, as a clause; None where neither."""
    from sync_pipelines.targets.rowsets.looking import marked

    gone, back = marked(binding.target, began)  # ty: ignore[invalid-argument-type]
    told = [f"gone from the API, marked (sync_status 'not_found') and kept: {gone:,}"] if gone else []
    return "; ".join(told + ([f"back, their mark removed: {back:,}"] if back else [])) or None
