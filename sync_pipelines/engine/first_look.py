"""A full run that compares both sides before it writes: what is equal is neither mapped nor given to the target.

Most full runs find nothing changed. Then each side is listed once, and that was the closing comparison, too; else the
target is asked once more for the records that were written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import pyarrow as pa

from sync_pipelines.engine.batches import from_a_thread
from sync_pipelines.engine.compare import Comparison, compare
from sync_pipelines.engine.key_index import KeyIndex
from sync_pipelines.engine.listing import StreamListing, changed_since, listing_of
from sync_pipelines.engine.model import FINGERPRINT, FINGERPRINTS_SCHEMA, KEY, ChangeSet, Digest, Listing, RecordStream
from sync_pipelines.engine.overwriting import Overwriting
from sync_pipelines.engine.spool import RecordWriter, Spool, SpooledRecords, columns_of

if TYPE_CHECKING:
    from sync_pipelines.engine.run import Run

_MOST = 200_000
"""Of more records that differ their keys would fill the memory; then all are written, and compared at the end."""

_AHEAD = 32
"""Batches of keys and prints of the target, 1 MB each, that may wait until the source is listed."""

_FEW = 2000
"""So many records a target is asked for by their keys; for more it is listed."""


@runtime_checkable
class Compared(Protocol):
    """A side whose rows can be compared for less than by their fingerprints."""

    def compared(self, *, lasting: bool) -> Listing:
        """All rows with prints: of one print are equal rows, of two perhaps equal ones, too.

        Args:
            lasting: the prints of equal rows are their fingerprints; else they are good in this process alone.
        """
        ...


@runtime_checkable
class Rows(Compared, Protocol):
    """The stream of such a source."""

    def of(self, keys: pa.Array) -> RecordStream:
        """The rows of these keys alone."""
        ...


@runtime_checkable
class Remembering(Compared, Protocol):
    """Such a target."""

    @property
    def remembers(self) -> bool:
        """Whether it keeps in mind what it holds of the source."""
        ...

    def note_equal(self, prints: Mapping[str, str]) -> None:
        """These records are as the source has them, by key and fingerprint."""
        ...


@runtime_checkable
class Printing(Protocol):
    """A target that stores fingerprints, and lists them for much less than it looks for records."""

    lists_prints: bool


def _rows(run: Run, changes: ChangeSet) -> Any:
    """What is compared and written, a `Rows`; None where that cannot be, or where few rows may be equal."""
    rows, target = changes.upserts, run.binding.target
    # what overwrites is to replace everything; in doubt no two prints are believed
    if isinstance(target, Overwriting) or not changes.full or changes.doubt or 2 * run.before < changes.rows:
        return None
    if isinstance(rows, SpooledRecords) and isinstance(target, Printing) and target.lists_prints:
        return _Read(rows)
    return rows if isinstance(rows, Rows) and isinstance(target, Remembering) else None


def bring_what_differs(run: Run, changes: ChangeSet) -> bool:
    """Compare, then write and delete what differs; False where nothing was done: it does not pay, or too much does."""
    if (rows := _rows(run, changes)) is None:
        return False
    target: Any = run.binding.target
    remembers = isinstance(target, Remembering) and target.remembers
    with ExitStack() as stack:
        here = rows.compared(lasting=remembers)
        kept = _Kept(here, stack.enter_context(closing(Spool()))) if remembers else None
        theirs = target.compared(lasting=remembers) if isinstance(target, Remembering) else target
        listed = theirs.fingerprints()
        there = _Early(stack.enter_context(from_a_thread(listed, most=_AHEAD)))
        differences = stack.enter_context(changed_since(kept or here, there))
        run.lock.check()
        number = differences.count("missing") + differences.count("stale")
        if number > _MOST:
            return False
        _write(run, rows, differences, number)
        _count_equal(run, changes, here)
        _settle_equal(run, changes, differences)
        if kept is not None:
            _note_equal(run, target, kept, differences)
        run.remove_absent(target, differences, source_empty=changes.source_empty)
    run.settle_gone(changes.upserts)
    return True


def _write(run: Run, rows: Any, differences: Comparison, number: int) -> None:
    """Write the records that differ; those that are equal then, or were before, are differences no more."""
    if not number:
        return
    keys = pa.array([key for page in differences.keys("missing", "stale") for key in page], pa.string())
    stream = rows.of(keys)
    run.upsert(run.binding.target, stream)
    with compare(listing_of(stream), _Some(run.binding.target, keys)) as left:
        for page in differences.keys("missing", "stale"):
            still = left.among(page)
            differences.drop(key for key in page if key not in still)


def _count_equal(run: Run, changes: ChangeSet, here: Any) -> None:
    equal = changes.rows - run.counts.read
    run.counts.read += equal
    run.counts.unchanged += equal
    run.counts.bytes_read = here.bytes
    run.binding.ledger.progress(run.record, run.counts)


def _settle_equal(run: Run, changes: ChangeSet, differences: Comparison) -> None:
    """Take out of quarantine what is equal by now, perhaps by another's hand."""
    noted = [record.key for record in run.binding.ledger.list_quarantine(*run.place, limit=None)]
    waiting = sorted(set(noted) - differences.among(noted))
    if waiting:
        run.settle(sorted(listing_of(changes.upserts).among(waiting)))


def _note_equal(run: Run, target: Any, kept: _Kept, differences: Comparison) -> None:
    for batch in kept.listed():
        keys, prints = batch.column(KEY).to_pylist(), batch.column(FINGERPRINT).to_pylist()
        unlike = differences.ever_among(keys)
        run.lock.check()
        target.note_equal({key: mark for key, mark in zip(keys, prints, strict=True) if key not in unlike})


class _Read(StreamListing):
    """Rows that were read, or are being read, with their fingerprints: `Rows`, and the listing that it gives."""

    def __init__(self, stream: SpooledRecords) -> None:
        super().__init__(stream)
        self._rows = stream

    def compared(self, *, lasting: bool) -> _Read:
        del lasting  # they are fingerprints anyway
        return self

    @property
    def bytes(self) -> int:
        """Of all rows, once they are read."""
        return self._rows.bytes

    def of(self, keys: pa.Array) -> _Chosen:
        return _Chosen(self._rows, keys)


class _Chosen:
    """Those rows of a file that have one of these keys."""

    def __init__(self, rows: SpooledRecords, keys: pa.Array) -> None:
        self._rows, self._wanted = rows, KeyIndex(keys)

    @property
    def schema(self) -> pa.Schema:
        return self._rows.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self._among(self._rows)

    def only(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """These columns of them, the key's among them."""
        return self._among(columns_of(self._rows, [KEY, *(name for name in names if name != KEY)]))

    def _among(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            chosen = batch.filter(self._wanted.holds(batch.column(KEY)))
            if chosen.num_rows:
                yield chosen


class _Early:
    """A listing, read once, that is made while the other side is listed."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches

    def count(self) -> int:
        raise NotImplementedError("it is added up as it is read")

    def digests(self) -> Mapping[int, Digest] | None:
        return None

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        del buckets
        return self._batches


class _Kept:
    """A listing that is kept in a file as it is read."""

    def __init__(self, listing: Listing, spool: Spool) -> None:
        self._listing, self._spool = listing, spool
        self._file: SpooledRecords | None = None

    def count(self) -> int:
        return self._listing.count()

    def digests(self) -> Mapping[int, Digest] | None:
        return self._listing.digests()

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        with RecordWriter(self._spool, "listed", FINGERPRINTS_SCHEMA) as file:
            self._file = file.records()
            for batch in self._listing.fingerprints(buckets=buckets):
                file.write(batch)
                yield batch

    def listed(self) -> Iterator[pa.RecordBatch]:
        """What was read."""
        return iter(self._file or ())


class _Some:
    """Some records of a target as a listing, by their fingerprints."""

    def __init__(self, target: Any, keys: pa.Array) -> None:
        self._target, self._keys = target, keys

    def count(self) -> int:
        return sum(batch.num_rows for batch in self.fingerprints())

    def digests(self) -> Mapping[int, Digest] | None:
        return None

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        del buckets
        if len(self._keys) <= _FEW:
            for batch in self._target.values(self._keys.to_pylist()):
                yield batch.select([KEY, FINGERPRINT])
            return
        wanted = KeyIndex(self._keys)
        for batch in self._target.fingerprints():
            yield batch.filter(wanted.holds(batch.column(KEY)))
