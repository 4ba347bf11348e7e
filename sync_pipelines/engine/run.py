"""One run of one table: capture → changes → write → confirm (DESIGN.md §4, §7).

Nothing here knows Dagster or a client: source, target and ledger are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa

from sync_pipelines.engine.batches import ahead, resized
from sync_pipelines.engine.compare import Comparison
from sync_pipelines.engine.errors import TransientError
from sync_pipelines.engine.guard import Guard
from sync_pipelines.engine.held import Held
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.listing import StreamListing, changed_since
from sync_pipelines.engine.locks import run_is_alive
from sync_pipelines.engine.model import (
    FINGERPRINT,
    KEY,
    ChangeSet,
    Counts,
    Doubt,
    Listing,
    Pending,
    RecordStream,
    Rejection,
    Scope,
    Target,
    Watermark,
)
from sync_pipelines.engine.spec import TableSpec

Mapper = Callable[[pa.RecordBatch], tuple[pa.RecordBatch, list[Rejection]]]


class ColumnShape(Protocol):
    """A column as the source's catalog has it; `pg_type` with its modifier."""

    @property
    def name(self) -> str: ...
    @property
    def pg_type(self) -> str: ...


class TableShape(Protocol):
    """A table as the source's catalog has it."""

    @property
    def columns(self) -> Sequence[ColumnShape]: ...


class Source(Protocol):
    """What a run asks of a source."""

    def changes(self, scope: Scope, *, since: Watermark | None) -> ChangeSet: ...
    def pending(self, since: Watermark | None) -> Pending: ...
    def confirmed(self, watermark: Watermark) -> bool: ...
    def capture_warnings(self) -> list[str]: ...
    def inspect(self) -> TableShape: ...
    def at_snapshot(self) -> AbstractContextManager[Listing]: ...
    def pending_keys(self, since: Watermark | None) -> Iterator[list[str]]: ...
    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]: ...


class RebuildableTarget(Target, Protocol):
    """A target that can be built anew beside the old one."""

    def begin_rebuild(self) -> Target: ...
    def swap(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Binding:
    """A table with everything that a run of it needs.

    Args:
        spec: the table; source, target, ledger: its systems, which connect when they are first used.
        mapper: source batch → (batch for the target, rows that could not be mapped).
        guard: the mass-delete guard without any allowance.
        lock_url: the ledger's database, where locks are held; lock_name: the target's name in all the world.
        lock_timeout: seconds to wait for another writer.
        batch_size: records a batch: the unit of writing, of progress and of the look at the lock.
    """

    spec: TableSpec
    source: Source
    target: RebuildableTarget
    ledger: Ledger
    mapper: Mapper
    guard: Guard
    lock_url: str
    lock_name: str
    lock_timeout: float = 900.0
    batch_size: int = 100

    @property
    def place(self) -> tuple[str, str]:
        """Sync and table, as the ledger names them."""
        return self.spec.sync, self.spec.name

    def close(self) -> None:
        """Give the ledger's connections back; it connects again where it is used again."""
        self.ledger.dispose()


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one run was asked to do."""

    mode: str
    scope: Scope
    trigger: str
    run_id: str
    allow_mass_delete: bool = False


@dataclass(kw_only=True)
class Run(Held):
    """A run under way: it holds the target's lock from the first look at the watermark to the last write.

    `held` is the number of records in the target at the end; `since` the watermark that it began with.
    """

    held: int = 0
    since: Watermark | None = None

    def open_changes(self) -> ChangeSet:
        """What this run brings, spooled; from here on the source is not needed."""
        ledger, target = self.binding.ledger, self.binding.target
        since = self.since = ledger.watermark(*self.place)
        scope = self.request.scope
        if self.request.mode != "rebuild":
            target.prepare()
            scope = self._full_if_wiped(scope, since)
        changes = self.changes = self.binding.source.changes(scope, since=since)
        self.reason = changes.reason or scope.reason
        changes.run = self
        changes.on_close.insert(0, self.close)
        return changes

    def _full_if_wiped(self, scope: Scope, since: Watermark | None) -> Scope:
        if scope.full or scope.keys is not None or since is None:
            return scope
        if since.target is not None and since.target != self.binding.target.identity():
            return Scope(full=True, reason="the target was dropped and made anew")
        if not self.binding.target.count():
            return Scope(full=True, reason="the target is empty")
        return scope

    def write(self, changes: ChangeSet) -> Counts:
        """Bring the target to what the changes say, then confirm. Order: upserts, guard, deletes, watermark."""
        if self.request.mode == "rebuild":
            self._rebuild(changes)
        else:
            self.upsert(self.binding.target, changes.upserts)
            self._delete(changes)
        self._confirm(changes)
        return self.counts

    def upsert(self, target: Target, upserts: RecordStream, *, doubt: Doubt | None = None) -> None:
        """Write records; what the target refuses goes to quarantine, what arrives leaves it."""
        written: dict[str, str] = {}
        for result in target.upsert(self._mapped(upserts, written), doubt=doubt):
            self.counts += result.counts
            self._quarantine(result.rejected, written)
            bad = {rejection.key for rejection in result.rejected}
            keys = list(written) if result.keys is None else result.keys
            self._settle([key for key in keys if key not in bad])
            for key in keys:
                written.pop(key, None)
            self.binding.ledger.progress(self.record, self.counts)
            # a target may take a batch before the one in front of it is written: look now, too
            self.lock.check()

    def _mapped(self, upserts: RecordStream, written: dict[str, str]) -> Iterator[pa.RecordBatch]:
        """Batches for the target; `written` collects the keys and fingerprints that it was given."""
        for batch, (mapped, rejected) in ahead(self.binding.mapper, resized(upserts, self.binding.batch_size)):
            self.lock.check()
            self.counts.read += batch.num_rows
            self.counts.quarantined += len(rejected)
            self._quarantine(rejected, _prints(batch) if rejected else {})
            written.update(_prints(mapped))
            if mapped.num_rows:
                yield mapped

    def _quarantine(self, rejected: Sequence[Rejection], fingerprints: Mapping[str, str]) -> None:
        if rejected:
            known = {item.key: fingerprints[item.key] for item in rejected if item.key in fingerprints}
            self.binding.ledger.quarantine(self.record, rejected, fingerprints=known)

    def _settle(self, keys: Sequence[str]) -> None:
        if keys:
            self.binding.ledger.settle(*self.place, keys, run=self.record)

    def _delete(self, changes: ChangeSet) -> None:
        if changes.full:
            self._delete_by_absence(self.binding.target, changes)
        else:
            self._delete_touched(changes)

    def _delete_touched(self, changes: ChangeSet) -> None:
        target = self.binding.target
        deletes = sum(len(target.existing(keys)) for keys in changes.deletes)
        if deletes:
            self.guard(deletes=deletes, held=target.count(), source_empty=changes.source_empty)
        for keys in changes.deletes:
            self.delete(target, keys)

    def _delete_by_absence(self, target: Target, changes: ChangeSet, *, guarded: bool = True) -> None:
        """Remove what the whole source lacks; and look whether the store holds what was written."""
        with changed_since(StreamListing(changes.upserts), target) as differences:
            self._leave_out_quarantined(differences)
            self._must_hold(differences.count("missing"), differences.count("stale"), differences)
            extra = differences.count("extra")
            if guarded and extra:
                self.guard(deletes=extra, held=target.count(), source_empty=changes.source_empty)
            for keys in differences.keys("extra"):
                self.delete(target, keys)
        self._settle_gone(changes.upserts)

    def _settle_gone(self, upserts: RecordStream) -> None:
        """Take records out of quarantine that the whole source lacks: they were never stored, so never deleted."""
        gone = {record.key for record in self.binding.ledger.list_quarantine(*self.place, limit=None)}
        for batch in upserts if gone else ():
            gone.difference_update(batch.column(KEY).to_pylist())
        self._settle(sorted(gone))

    def _leave_out_quarantined(self, differences: Comparison) -> None:
        for keys in differences.keys("missing", "stale"):
            differences.leave_out(self.binding.ledger.quarantined_among(*self.place, keys), label="quarantined")

    def _must_hold(self, missing: int, stale: int, differences: Comparison) -> None:
        # Chroma can lose upserts that it has acknowledged (chroma#6975): ask the store, not the writer.
        if missing or stale:
            keys = differences.sample("missing", 5) or differences.sample("stale", 5)
            raise TransientError(
                f"the target does not hold what was just written: {missing} missing, {stale} stale (such as {keys}).",
                sync=self.place[0],
                table=self.place[1],
                remedy="Nothing was confirmed; the next run writes it again.",
            )

    def delete(self, target: Target, keys: Sequence[str]) -> None:
        """Delete these records, and take them out of quarantine; the guard was asked before."""
        self.lock.check()
        self.counts.deleted += target.delete(keys)
        self._settle(keys)

    def guard(self, *, deletes: int, held: int, source_empty: bool) -> None:
        guard = replace(self.binding.guard, allow=self.request.allow_mass_delete)
        sync, table = self.place
        guard.check(deletes=deletes, held=held, source_empty=source_empty, sync=sync, table=table)

    def _rebuild(self, changes: ChangeSet) -> None:
        """Build beside, prove equality, swap; until the swap the old state serves, whole."""
        old = self.binding.target
        beside = old.begin_rebuild()
        self.upsert(beside, changes.upserts)
        self._delete_by_absence(beside, changes, guarded=False)
        with changed_since(StreamListing(changes.upserts), old) as differences:
            if gone := differences.count("extra"):
                self.guard(deletes=gone, held=old.count(), source_empty=changes.source_empty)
            self.counts.deleted = gone
        self.lock.check()
        old.swap()

    def _confirm(self, changes: ChangeSet) -> None:
        self.held = self.binding.target.count()
        self.lock.check()
        watermark = None if self._nothing_happened(changes) else changes.watermark
        if watermark is not None:
            watermark = replace(watermark, target=self.binding.target.identity())
        as_of = changes.watermark.taken_at if changes.watermark else None
        self.binding.ledger.finish(
            self.record,
            status="completed",
            counts=self.counts,
            watermark=watermark,
            as_of=None if watermark else as_of,
            reason=self.reason,
        )
        self._books = "closed"
        if watermark is not None:
            self.binding.source.confirmed(watermark)

    def complete(self) -> None:
        """Close the books of a run that moves no watermark (a repair)."""
        self.lock.check()
        self.binding.ledger.finish(self.record, status="completed", counts=self.counts)
        self._books = "closed"

    def _nothing_happened(self, changes: ChangeSet) -> bool:
        """Whether the old watermark says all that the new one would: then nothing but the run's row is written."""
        return self.since is not None and not (changes.full or changes.rows or changes.touched)


def _prints(batch: pa.RecordBatch) -> dict[str, str]:
    return dict(zip(batch.column(KEY).to_pylist(), batch.column(FINGERPRINT).to_pylist(), strict=True))


def begin(binding: Binding, request: Request, *, keep: Callable[[Run], object] | None = None) -> Run:
    """Take the target's lock and open the run's books.

    Args:
        keep: gets the run before it holds anything. An interrupt can strike between any two lines, also of the
            caller; whoever kept the run closes it then.

    Raises:
        LockBusyError: another writer did not finish within `lock_timeout`.
        MigrationDueError: the ledger's schema is missing or old.
    """
    run = Run(binding=binding, request=request)
    if keep is not None:
        keep(run)
    try:
        run.begin()
    except BaseException as error:
        run.close(error)
        raise
    return run


def open_run(binding: Binding, request: Request, *, keep: Callable[[Run], object] | None = None) -> ChangeSet:
    """Begin a run and read its changes; the change set carries the run, and closing it ends the run.

    The caller hands the changes to `write`, or closes them. `keep` is that of `begin`.
    """
    run = begin(binding, request, keep=keep)
    try:
        return run.open_changes()
    except BaseException as error:
        run.close(error)
        raise


def write(changes: ChangeSet) -> Counts:
    """Write an opened change set, closing the books on failure; the change set is closed in any case."""
    with changes.run as run:
        return run.write(changes)


def dead_runs(binding: Binding) -> list[str]:
    """Run ids of this table whose process died: their step has started and their lock is free.

    Their books are closed; the caller closes them in Dagster.
    """
    died = "the process of this run died before it ended"
    opened = binding.ledger.open_runs(*binding.place)
    free = [record for record in opened if not run_is_alive(binding.lock_url, record.run_id)]
    # close_dead says False where a run ended between the two looks
    return [record.run_id for record in free if binding.ledger.close_dead(record, error=died)]
