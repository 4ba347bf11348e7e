"""What a run stands on: whether the target is still the one that its watermark speaks of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sync_pipelines.engine.model import Scope, Target, Watermark

RESTORED = "the ledger and the target do not speak of the same run (a restored database?)"


def due_scope(
    scope: Scope, since: Watermark | None, target: Target, *, held: int, begun: Callable[[], Iterable[str]]
) -> Scope:
    """What a run must read: everything, where the target is not as the last confirmed run has left it.

    A restored database takes its ledger back with it, by default, so that the watermark fits the source and the
    target alone is ahead of both; and a restored target is behind both. The stamp tells.

    Args:
        held: records in the target now. begun: ids of the table's runs in the ledger, the newest first.
    """
    if scope.full or scope.keys is not None or since is None:
        return scope
    reason = next(_reasons(since, target, held, begun), None)
    return scope if reason is None else Scope(full=True, reason=reason)


def _reasons(since: Watermark, target: Target, held: int, begun: Callable[[], Iterable[str]]) -> Iterator[str]:
    if since.target is not None and since.target != target.identity():
        yield "the target was dropped and made anew"
    if not held:
        yield "the target is empty"
    if not is_marked_by_ours(since, target, begun):
        yield RESTORED


def is_marked_by_ours(since: Watermark, target: Target, begun: Callable[[], Iterable[str]]) -> bool:
    """Whether the target bears the mark of the last confirmed run, or of one that the ledger has begun after it.

    A run marks the target before it writes: one that died, was stopped, or moves no watermark (single records, a
    repair) is still in the ledger, unless that was restored. The confirmed run's own mark from before it was confirmed
    speaks of a target that was restored from the middle of it.
    """
    mark = target.stamp()
    if mark == since.stamp:
        return True
    begun_since = False
    for run in begun() if mark is not None else ():
        marks = (target.stamp_of(run), target.stamp_of(under_way(run)))
        if since.stamp in marks:
            return begun_since
        begun_since = begun_since or mark in marks
    # the ledger does not know the run that it calls confirmed: only one of an older version has no mark
    return begun_since and since.stamp is None


def under_way(run: str) -> str:
    """The mark of a run that has not confirmed what it writes."""
    return f"{run} under way"


EMPTIED = "emptied"
"""The mark, no run's, of a target that was found empty and is being filled again: until that is confirmed, each run
reads everything."""
