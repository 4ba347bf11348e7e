"""A run that replaces the whole content of a target by one commit; what must not go is carried over.

The new content is gathered beside the old one, which serves until the commit. A record that is refused keeps its last
good state, and where the guard stops the deletion, what the source lacks stays: both are taken over by that commit, as
if the run had merged. What comes after it (the look whether the store holds what was written, the guard's sentence,
the settling of quarantine) is the same for all runs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import pyarrow as pa

from sync_pipelines.engine.compare import scratch
from sync_pipelines.engine.errors import SyncError
from sync_pipelines.engine.listing import changed_since, listing_of
from sync_pipelines.engine.model import ChangeSet, Counts, RecordStream, Rejection, Scope

if TYPE_CHECKING:
    import sqlite3

    from sync_pipelines.engine.run import Run

REASON = "target.mode: overwrite replaces the whole table"
_AT_ONCE = 10_000


class Replacement(Protocol):
    """A target's new content under way; the old one serves until `commit`."""

    def take(self, batches: Iterable[pa.RecordBatch]) -> Iterator[int]:
        """Put mapped records aside; how many, for each part that was taken. The table is not touched."""
        ...

    def commit(self, staying: Callable[[], KeySet]) -> int:
        """Put what was taken in the place of the old content by ONE commit; how many bytes this process wrote.

        Args:
            staying: looks at the old content and gives the records whose rows there, if any, are taken over as they
                are. Asked at each try; a try fails where the content has changed since the look.
        """
        ...


@runtime_checkable
class Overwriting(Protocol):
    """A target whose content each whole run replaces."""

    def replacing(self) -> AbstractContextManager[Replacement]:
        """What gathers the new content; leaving the block removes whatever was put aside."""
        ...


class KeySet:
    """Keys in a temporary file: there may be as many as the target has records."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute("CREATE TABLE staying (key TEXT PRIMARY KEY, extra INTEGER) WITHOUT ROWID")

    def add(self, keys: Iterable[str], *, extra: bool = False) -> None:
        """Take these keys, too; `extra` ones until they are forgotten."""
        self._connection.execute("BEGIN")
        rows = ((key, extra) for key in keys)
        self._connection.executemany("INSERT OR IGNORE INTO staying VALUES (?, ?)", rows)
        self._connection.execute("COMMIT")

    def forget_extra(self) -> None:
        """Leave just those that were not added as extra."""
        self._connection.execute("DELETE FROM staying WHERE extra")

    def among(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys` that are in it."""
        found: set[str] = set()
        for start in range(0, len(keys), _AT_ONCE):
            page = keys[start : start + _AT_ONCE]
            query = f"SELECT key FROM staying WHERE key IN ({','.join('?' * len(page))})"
            found.update(key for (key,) in self._connection.execute(query, page))
        return found

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM staying").fetchone()[0])

    def __iter__(self) -> Iterator[list[str]]:
        """All of them in pages, in order."""
        last: str | None = None
        query = "SELECT key FROM staying WHERE ? IS NULL OR key > ? ORDER BY key LIMIT ?"
        while page := [key for (key,) in self._connection.execute(query, (last, last, _AT_ONCE))]:
            yield page
            last = page[-1]


@contextmanager
def key_set() -> Generator[KeySet]:
    """An empty set of keys, whose file goes with the block."""
    with scratch() as connection:
        yield KeySet(connection)


def due_whole(scope: Scope, target: object) -> Scope:
    """What a run must read of a table whose content it replaces: all of it, unless it was asked for single records."""
    if not isinstance(target, Overwriting) or scope.full or scope.keys is not None:
        return scope
    return Scope(full=True, reason=REASON)


Mapped = Callable[..., Generator[pa.RecordBatch]]
"""A run's source rows → rows for the target; its argument `refused` is told of those that cannot be mapped."""


def overwrite(run: Run, changes: ChangeSet, target: Overwriting, *, mapped: Mapped, mark: Callable[[], object]) -> None:
    """Replace the target's content by what the changes say, and count what that was for the records.

    Args:
        mark: called before the target is written to.
    """
    with key_set() as staying, target.replacing() as new:
        rows = _gather(run, changes.upserts, new, staying, mapped)
        look = _Look(run, changes, staying, rows)
        if rows or not look.is_stopped():  # where nothing comes and nothing may go, all stays as it is
            run.lock.check()
            mark()
            with run.veil.errors(lambda: _rows(run, changes.upserts, staying)):
                look.counts.bytes = new.commit(look)
        run.counts += look.counts
        settle_arrived(run, changes.upserts, staying)


def _gather(run: Run, upserts: RecordStream, new: Replacement, staying: KeySet, mapped: Mapped) -> int:
    """Map all records and put them aside; how many. Those that are refused are to stay as they are."""
    rows = 0

    def refused(rejected: Sequence[Rejection]) -> None:
        staying.add(item.key for item in rejected)

    with closing(mapped(upserts, refused=refused)) as batches, run.veil.errors():
        for number in new.take(batches):
            rows += number
            run.binding.ledger.progress(run.record, run.counts)
            run.lock.check()
    return rows


@dataclass
class _Look:
    """What a merge would make of the old content, looked at anew by each call.

    Args:
        staying: holds the records that were refused; a call adds what the source lacks where the guard stops its
            deletion. rows: records of the new content.
    """

    run: Run
    changes: ChangeSet
    staying: KeySet
    rows: int
    counts: Counts = field(default_factory=Counts)

    def __call__(self) -> KeySet:
        self.is_stopped()
        self.run.lock.check()
        return self.staying

    def is_stopped(self) -> bool:
        """Look, count, and say whether the guard stops the deletion; then what would go stays."""
        run, staying = self.run, self.staying
        staying.forget_extra()
        with changed_since(listing_of(self.changes.upserts), run.binding.target) as differences:
            for keys in differences.keys("missing", "stale"):
                differences.leave_out(staying.among(keys), label="quarantined")
            changed = differences.count("missing") + differences.count("stale")
            self.counts = Counts(upserted=changed, unchanged=self.rows - changed)
            deletes, empty = run.deletes.fresh_among(differences), self.changes.source_empty
            if not run.limits.refuses(deletes=deletes, held=run.before, source_empty=empty):
                self.counts.deleted = differences.count("extra")
                return False
            for keys in differences.keys("extra"):
                staying.add(keys, extra=True)
            return True


def settle_arrived(run: Run, upserts: RecordStream, staying: KeySet) -> None:
    """Take out of quarantine what has arrived; what the source lacks is settled where it is deleted.

    Args:
        upserts: what the run has read. staying: of it, the records that were refused.
    """
    noted = [record.key for record in run.binding.ledger.list_quarantine(*run.place, limit=None)]
    waiting = sorted(set(noted) - staying.among(noted))
    if waiting:
        run.settle(sorted(listing_of(upserts).among(waiting)))


def _rows(run: Run, upserts: RecordStream, staying: KeySet) -> Iterator[pa.RecordBatch]:
    """All rows that a commit writes: an error of its may quote any of them."""
    yield from upserts
    with suppress(SyncError):  # the first error counts; a target that does not answer quotes no value
        for keys in staying:
            yield from run.binding.target.values(keys)
