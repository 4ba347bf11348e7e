"""What a run stands on: whether the target is still the one that its watermark speaks of."""

from __future__ import annotations

from collections.abc import Iterator

from sync_pipelines.engine.model import Scope, Target, Watermark

RESTORED = "the ledger and the target do not speak of the same run (a restored database?)"


def due_scope(scope: Scope, since: Watermark | None, target: Target, *, held: int) -> Scope:
    """What a run must read: everything, where the target is not as the last confirmed run has left it.

    A restored database takes its ledger back with it, by default, so that the watermark fits the source and the
    target alone is ahead of both; and a restored target is behind both. The stamp tells.

    Args:
        held: records in the target now.
    """
    if scope.full or scope.keys is not None or since is None:
        return scope
    reason = next(_reasons(since, target, held), None)
    return scope if reason is None else Scope(full=True, reason=reason)


def _reasons(since: Watermark, target: Target, held: int) -> Iterator[str]:
    if since.target is not None and since.target != target.identity():
        yield "the target was dropped and made anew"
    if not held:
        yield "the target is empty"
    if since.stamp != target.stamp():
        yield RESTORED
