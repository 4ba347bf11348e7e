"""Records that wait for one of another table: whether that one has come, asked without reading the source."""

from __future__ import annotations

from sync_pipelines.engine.binding import Binding
from sync_pipelines.engine.conflicts import Judging


def can_arrive(binding: Binding) -> bool:
    """Whether a record that waits could be written now.

    What each waits for was noted when it was put aside: so the ledger and an index of the target are all that is asked,
    and nothing where nothing waits.
    """
    target = binding.target
    if not isinstance(target, Judging):
        return False
    return any(target.any_there(page) for page in binding.ledger.awaited(*binding.place))
