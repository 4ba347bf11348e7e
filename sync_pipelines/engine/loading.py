"""A run whose target reads the whole table by itself, and which writes just what the target has left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sync_pipelines.engine.binding import Binding
from sync_pipelines.engine.export import Export, Exporter, Loader
from sync_pipelines.engine.model import KEY, ChangeSet, Doubt, RecordStream, Scope, Target, Watermark

if TYPE_CHECKING:
    from sync_pipelines.engine.run import Run


@runtime_checkable
class Meanwhile(Protocol):
    """A source whose rows are read on while they are written; for targets that say `writes_meanwhile`."""

    def changes_meanwhile(self, scope: Scope, *, since: Watermark | None) -> ChangeSet:
        """What a run needs, as soon as it is known which version or snapshot is read."""
        ...


def read(binding: Binding, scope: Scope, *, since: Watermark | None) -> ChangeSet:
    """What a run needs: spooled, or left in its snapshot where the target reads such a table by itself."""
    source, target = binding.source, binding.target
    if isinstance(source, Exporter) and isinstance(target, Loader):
        found = source.exported(scope, since=since, least_rows=target.least_rows)
        if found is not None:
            return found
    if isinstance(source, Meanwhile) and getattr(target, "writes_meanwhile", False):
        return source.changes_meanwhile(scope, since=since)
    return source.changes(scope, since=since)


def to_write(
    run: Run, target: Target, upserts: RecordStream, *, doubt: Doubt | None, mark: Callable[[], object]
) -> RecordStream:
    """What this process writes: of an export just the rows that the target has left when it read the others itself.

    They go the way of all rows: what cannot be mapped is quarantined there.

    Args:
        doubt: see `Target.upsert`. mark: called before the target writes.
    """
    if not (isinstance(upserts, Export) and isinstance(target, Loader)):
        return upserts
    mark()
    loaded = target.load(upserts, doubt=doubt, alive=run.lock.check)
    if run.changes is not None:
        run.changes.on_close.append(loaded.close)
    run.lock.check()
    run.counts += loaded.counts
    run.facts.update(loaded.facts)
    run.binding.ledger.progress(run.record, run.counts)
    left = upserts.rows_of(loaded.left())
    upserts.release(loaded.listing)
    _settle_taken(run, upserts, left)
    return left


def _settle_taken(run: Run, export: Export, left: RecordStream) -> None:
    """Take out of quarantine what has arrived: all that was read, but for the rows that were left."""
    waiting = {record.key for record in run.binding.ledger.list_quarantine(*run.place, limit=None)}
    for batch in left if waiting else ():
        waiting.difference_update(batch.column(KEY).to_pylist())
    if waiting:
        run.settle(sorted(export.listing.among(sorted(waiting))))
