"""Records that wait for rows of other tables to come, or to go: whether they have, asked without reading the source."""

from __future__ import annotations

from dataclasses import replace

from sync_pipelines.engine.binding import Binding
from sync_pipelines.engine.conflicts import Parented
from sync_pipelines.engine.model import Scope, Watermark


def can_arrive(binding: Binding) -> bool:
    """Whether a record that waits could be written, or deleted, now.

    What each waits for was noted when it was put aside: so the ledger and an index of the target are all that is asked,
    and nothing where nothing waits.
    """
    target = binding.target
    if not isinstance(target, Parented):
        return False
    ledger, place = binding.ledger, binding.place
    return any(map(target.any_there, ledger.awaited(*place))) or any(map(target.any_free, ledger.held_by(*place)))


def with_waiting(binding: Binding, scope: Scope, since: Watermark | None) -> Scope:
    """What a run reads, and the records that wait for others, where those would not be read anyway.

    Args:
        since: the watermark that it begins with.
    """
    if scope.full or scope.keys is not None or since is None:
        return scope
    return replace(scope, also=tuple(binding.ledger.retried(*binding.place)))
