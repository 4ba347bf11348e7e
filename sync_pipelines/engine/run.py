"""One run of one table: capture → changes → write → confirm (DESIGN.md §4, §7).

Nothing here knows Dagster or a client: source, target and ledger are given.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from sync_pipelines.engine import first_look
from sync_pipelines.engine.batches import ahead, prints_of, resized
from sync_pipelines.engine.binding import Binding, Request
from sync_pipelines.engine.compare import Comparison
from sync_pipelines.engine.conflicts import kept_by, without
from sync_pipelines.engine.deciding import judged_by
from sync_pipelines.engine.deleting import Deletes
from sync_pipelines.engine.draining import Drain
from sync_pipelines.engine.errors import SyncError, TargetDamagedError
from sync_pipelines.engine.filling import Filling, fill
from sync_pipelines.engine.freeing import look_again
from sync_pipelines.engine.ground import through, under_way
from sync_pipelines.engine.keeping import Keeping
from sync_pipelines.engine.keys import texts
from sync_pipelines.engine.listing import changed_since, listing_of
from sync_pipelines.engine.loading import read, to_write
from sync_pipelines.engine.measure import held_before
from sync_pipelines.engine.memory import hold_little
from sync_pipelines.engine.model import (
    BatchResult,
    ChangeSet,
    Counts,
    Doubt,
    RecordStream,
    Rejection,
    Target,
    Watermark,
)
from sync_pipelines.engine.not_held import must_hold
from sync_pipelines.engine.overwriting import Overwriting, overwrite
from sync_pipelines.engine.veil import Veil


@dataclass(kw_only=True)
class Run(Keeping):
    """A run under way: it holds the target's lock from the first look at the watermark to the last write.

    Args:
        held: records in the target at the end.
    """

    held: int = 0
    _marked: bool = False
    _marked_at: str | None = None

    @cached_property
    def veil(self) -> Veil:
        """What is said of this run's rows passes it."""
        return Veil(self.binding.spec)

    @cached_property
    def deletes(self) -> Deletes:
        """What this run deletes, and what it is refused."""
        return Deletes(self.binding.spec, self.binding.ledger)

    def open_changes(self) -> ChangeSet:
        """What this run brings, spooled; from here on the source is not needed."""
        scope = self.scope()
        changes = self.changes = read(self.binding, scope, since=self.since)
        self.reason = changes.reason or scope.reason
        changes.run = self
        changes.on_close.insert(0, self.close)
        return changes

    def write(self, changes: ChangeSet) -> Counts:
        """Bring the target to what the changes say, then confirm. Order: upserts, guard, deletes, events, watermark."""
        self.bring(changes)
        if (drain := self.drain(changes)) is not None:
            changes.touched += drain.all()
        self._confirm(changes)
        return self.counts

    def conclude(self, changes: ChangeSet) -> None:
        """Confirm what was brought; for a caller that does not `write`, and holds the lock."""
        self._confirm(changes)

    def bring(self, changes: ChangeSet) -> None:
        """All of `write` but events and watermark."""
        self.refusals.due, self.refusals.whole = changes.rows, changes.full
        if due := changes.rows + (0 if changes.full else sum(map(len, changes.deletes))):
            self.binding.ledger.due(self.record, due)
        if self.request.mode == "rebuild":
            self._rebuild(changes)
        else:
            self.guard_first(lambda: self._deletes(changes), source_empty=changes.source_empty)
            self.measure_before(self.before if changes.full else sum(map(len, changes.deletes)))
            if not first_look.bring_what_differs(self, changes):
                self._bring(changes)
                self._delete(changes)
            self.facts.update(changes.ended())

    def drain(self, changes: ChangeSet) -> Drain | None:
        """What brings the events that wait, begun; None where there is no outbox, or the run is not about what waits.

        It follows `bring`: rows are read anew for each event, so they are never older than what was brought before.
        A run of the whole table has brought what it saw; one of single records frees what was given up for their sake.
        """
        if self.binding.outbox is None:
            return None
        found = Drain(run=self, outbox=self.binding.outbox)
        if changes.full and changes.watermark is not None:
            found.covered(changes.watermark.position["snapshot"])
        if changes.full or changes.watermark is None:
            look_again(self.binding, self.binding.outbox)
            return None
        found.begin()
        return found

    def _bring(self, changes: ChangeSet) -> None:
        target = self.binding.target
        if changes.full and isinstance(target, Overwriting):
            overwrite(self, changes, target, mapped=self._mapped, mark=self.mark)
        else:
            self._take(target, changes)

    def _take(self, target: Target, changes: ChangeSet) -> None:
        if changes.full and isinstance(target, Filling) and target.may_fill():
            fill(self, changes.upserts, target, mapped=self._mapped, mark=self.mark)
        else:
            self.upsert(target, changes.upserts, doubt=changes.doubt)

    def upsert(self, target: Target, upserts: RecordStream, *, doubt: Doubt | None = None) -> None:
        """Write records; what the target refuses goes to quarantine, what arrives leaves it."""
        written: dict[str, str] = {}
        upserts = to_write(self, target, upserts, doubt=doubt, mark=self.mark)
        # Closed here, for each waits for a thread: left to the garbage collector, one was closed within the start
        # of another thread, and the process hung.
        with (
            closing(self._mapped(upserts, given=lambda mapped: written.update(prints_of(mapped)))) as mapped,
            closing(
                self.veil.results(target.upsert(mapped, doubt=doubt, before_write=self.mark), rows=lambda: upserts)
            ) as results,
        ):
            for result in results:
                self._note(result, written)

    def _note(self, result: BatchResult, written: dict[str, str]) -> None:
        """Count what the target has taken and refused."""
        self.counts += replace(result.counts, quarantined=0)  # they are counted where they are put aside
        self.quarantine(result.rejected, written)
        bad = {rejection.key for rejection in result.rejected}
        keys = list(written) if result.keys is None else result.keys
        self.note_judged(result, written)
        self.settle([key for key in keys if key not in bad])
        if result.keys is None:
            written.clear()
        for key in result.keys or ():
            written.pop(key, None)
        self.binding.ledger.progress(self.record, self.counts)
        # a target may take a batch before the one in front of it is written: look now, too
        self.lock.check()

    def _mapped(
        self,
        upserts: RecordStream,
        *,
        given: Callable[[pa.RecordBatch], object] = lambda _: None,
        refused: Callable[[Sequence[Rejection]], object] = lambda _: None,
    ) -> Generator[pa.RecordBatch]:
        """Batches for the target; `given` is called with each of them before it goes, `refused` with what cannot."""
        mapper = self.veil.mapping(self.binding.mapper)
        with closing(resized(upserts, self.binding.batch_size)) as batches, closing(ahead(mapper, batches)) as made:
            for batch, (mapped, rejected) in made:
                self.lock.check()
                self.counts.read += batch.num_rows
                self.counts.bytes_read += batch.nbytes
                self.quarantine(rejected, prints_of(batch) if rejected else {})
                refused(rejected)
                given(mapped)
                if mapped.num_rows:
                    yield mapped

    def settle(self, keys: Sequence[str], *, gone: bool = False) -> None:
        """These records are as they should be, or `gone` from both sides: what is noted of them is over."""
        if known := texts(keys):
            self.binding.ledger.settle(*self.place, known, run=self.record)
            how = "gone" if gone else "arrived"
            self.binding.ledger.settle_conflicts(*self.place, without(known, self.kept), as_=how)

    def _delete(self, changes: ChangeSet) -> None:
        if changes.full:
            self._delete_by_absence(self.binding.target, changes)
        else:
            self._delete_touched(changes)

    def _delete_touched(self, changes: ChangeSet) -> None:
        self.guard(deletes=self._deletes(changes), source_empty=changes.source_empty)
        for keys in changes.deletes:
            self.delete(self.binding.target, keys)
        self.end_deletes(self.binding.target)

    def _deletes(self, changes: ChangeSet) -> int:
        """How many records of the target would go now that no guard has let go before."""
        target = self.binding.target
        if not changes.full:
            pages = map(self.deletes.fresh, changes.deletes)
            return sum(len(target.existing(without(keys, kept_by(target, keys)))) for keys in pages)
        with changed_since(listing_of(changes.upserts), target) as differences:
            self.leave_out_kept(target, differences, note=False)
            return self.deletes.fresh_among(differences)

    def _delete_by_absence(self, target: Target, changes: ChangeSet, *, guarded: bool = True) -> None:
        """Remove what the whole source lacks; and look whether the store holds what was written."""
        with changed_since(listing_of(changes.upserts), target) as differences:
            self.remove_absent(target, differences, source_empty=changes.source_empty, guarded=guarded)
        self.settle_gone(changes.upserts)

    def remove_absent(
        self, target: Target, differences: Comparison, *, source_empty: bool, guarded: bool = True
    ) -> None:
        """Remove what the comparison with the whole source calls extra, if it finds nothing else."""
        self._leave_out_quarantined(differences)
        self.leave_out_kept(target, differences, note=True)
        must_hold(self.binding, target, differences)
        if guarded:
            self.guard(deletes=self.deletes.fresh_among(differences), source_empty=source_empty)
        for keys in differences.keys("extra"):
            self.delete(target, keys)
        self.end_deletes(target)

    def settle_gone(self, upserts: RecordStream) -> None:
        """Close what is noted of records that the whole source lacks: they were never stored, so never deleted."""
        gone = {record.key for record in self.binding.ledger.list_quarantine(*self.place, limit=None)}
        gone.difference_update(self.deletes.refused)
        gone -= listing_of(upserts).among(sorted(gone)) if gone else set()
        self.settle(sorted(gone), gone=True)
        listed = [item.key for item in self.binding.ledger.list_conflicts(*self.place, limit=None)]
        noted = without(listed, self.kept)
        here = listing_of(upserts).among(noted) if noted else set()
        self.binding.ledger.settle_conflicts(*self.place, [key for key in noted if key in here])
        away = [key for key in noted if key not in here]
        self.binding.ledger.settle_conflicts(*self.place, away, as_="gone")

    def _leave_out_quarantined(self, differences: Comparison) -> None:
        for keys in differences.keys("missing", "stale"):
            differences.leave_out(self.binding.ledger.quarantined_among(*self.place, keys), label="quarantined")

    def delete(self, target: Target, keys: Sequence[str]) -> None:
        """Delete these records, and take them out of quarantine; the guard was asked before, `end_deletes` follows."""
        self.lock.check()
        self.mark()
        kept, disputes = judged_by(target, keys)
        self.keep(kept, {}, disputes)
        self.counts.deleted += self.deletes.delete(target, without(keys, kept))
        self.settle([key for key in keys if key not in self.deletes.refused], gone=True)

    def end_deletes(self, target: Target) -> None:
        """Put into quarantine what the target did not let go; it says nothing of the mapping, so no limit counts it."""
        again = list(self.deletes.refused)
        self.counts.deleted += self.deletes.again(target)
        self.settle([key for key in again if key not in self.deletes.refused], gone=True)
        self.quarantine(list(self.deletes.refused.values()), {})

    def _rebuild(self, changes: ChangeSet) -> None:
        """Build beside, prove equality, swap; until the swap the old state serves, whole.

        What the old one holds and the new one does not is a deletion, whether the source lacks it or it was refused:
        its old version was made in another way, so it is not carried over.
        """
        old = self.binding.target
        self._marked = True  # the old state is not written to; what is built beside is marked when it serves
        beside = old.begin_rebuild()
        self.before = held_before(self.binding, old.count(), self.since)
        self._take(beside, changes)
        self._delete_by_absence(beside, changes, guarded=False)
        if gone := self._lost(beside, old):
            self.guard(deletes=gone, source_empty=changes.source_empty, left=beside.count(), written=False)
        self.counts.deleted = gone
        self.lock.check()
        old.swap()

    def _lost(self, beside: Target, old: Target) -> int:
        """Records of the old state that the new one lacks; of one that cannot be read any more, by their number."""
        try:
            with changed_since(beside, old) as differences:
                return differences.count("extra")
        except TargetDamagedError:
            return max(0, self.before - beside.count())

    def _confirm(self, changes: ChangeSet) -> None:
        """Close the books, and move the watermark."""
        self.held = self.count()
        self.lock.check()
        watermark = None if self._nothing_happened(changes) else changes.watermark
        if watermark is not None:
            watermark = self._stamped(self.binding.source.mark(watermark), full=changes.full)
        as_of = changes.watermark.taken_at if changes.watermark else None
        self.end(
            self.record,
            status="completed",
            watermark=watermark,
            as_of=None if watermark else as_of,
            reason=self.reason,
        )
        self._books = "closed"
        if watermark is not None:
            self.binding.source.confirmed(watermark)

    def mark(self) -> None:
        """Leave this run's id in source and target, before it writes anything there."""
        run, read = str(self.record.sync_id), self.binding.source.last_read()
        if self._marked and read == self._marked_at:
            return
        if not self._marked:
            self.note_before()
        # a repair reads again and again: what it has read last is what a copy from before lacks
        self._marked, self._marked_at = True, read
        if (ground := self.ground) is None:
            self.binding.target.set_stamp(under_way(run))
        else:
            ground.begin(run, emptied=not self.before and ground.since.records != 0)

    def _stamped(self, watermark: Watermark, *, full: bool) -> Watermark:
        """The watermark with what the target says of itself, this run's last mark among it."""
        target, since = self.binding.target, self.since
        # it was wiped under this run: a new mark would hide that from the next one, which compares everything then
        if not full and since is not None and since.stamp is not None and target.stamp() is None:
            return replace(watermark, target=since.target, stamp=since.stamp, records=self.held)
        mark = through(str(self.record.sync_id), read=self.binding.source.last_read())
        target.set_stamp(mark)
        return replace(watermark, target=target.identity(), stamp=target.stamp_of(mark), records=self.held)

    def complete(self) -> None:
        """Close the books of a run that moves no watermark (a repair)."""
        self.lock.check()
        self.end(self.record, status="completed")
        self._books = "closed"

    def _nothing_happened(self, changes: ChangeSet) -> bool:
        """Whether the old watermark says all that the new one would: then nothing but the run's row is written."""
        if self.since is None or changes.full or changes.rows or changes.touched:
            return False
        # a run of single records has left its mark, whose row in the ledger is kept for 90 days alone
        return self.since.stamp == self.binding.target.stamp()


def begin(binding: Binding, request: Request, *, keep: Callable[[Run], object] | None = None) -> Run:
    """Take the target's lock and open the run's books.

    Args:
        keep: gets the run before it holds anything. An interrupt can strike between any two lines, also of the
            caller; whoever kept the run closes it then.

    Raises:
        LockBusyError: another writer did not finish within `lock_timeout`.
        MigrationDueError: the ledger's schema is missing or old.
    """
    hold_little()
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


def refuse(binding: Binding, request: Request, error: SyncError) -> None:
    """Write down a run that a wrong setting ends before it begins."""
    with binding.ledger as ledger:
        ledger.check()
        record = ledger.begin(*binding.place, mode=request.mode, trigger=request.trigger, run_id=request.run_id)
        ledger.finish(record, status="failed", counts=Counts(), error=str(error))
