"""Writing batches: COPY into a temporary table, what differs from there into the table; one transaction a batch.

Rows that are there and differ are updated, those that are not there are inserted (ON CONFLICT DO UPDATE, for somebody
else may be quicker).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from sync_pipelines.engine import pg_errors
from sync_pipelines.engine.batches import joined, pages
from sync_pipelines.engine.conflicts import Base, Policy, may_win, winner
from sync_pipelines.engine.errors import RecordError, SyncError
from sync_pipelines.engine.model import FINGERPRINT, KEY, WAITING, BatchResult, Counts, Parent, Rejection
from sync_pipelines.engine.urls import NormalisedUrl
from sync_pipelines.sources.postgres.connection import bulk_connection, bulk_session, settings_sql
from sync_pipelines.targets.postgres.layout import ForeignKey, Layout
from sync_pipelines.targets.postgres.staging import Statements, copy_into

_PLANS = {"enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off"}
"""Each staged row is looked up by an index of the key: a hash of either side, of rows of 1 KB, does not fit into
work_mem, and what is spilled takes 12.5 µs of the server a row where the index takes 9."""

_ROWS, _BYTES = 10_000, 16 * 1024 * 1024
"""Of one transaction, at most. Its rows are locked until its end, some 0.1 s."""

_TWIN = "another row of the source has a key that PostgreSQL takes for the same, though it is spelled otherwise"
_KEPT_OUT = "PostgreSQL did not write it: a trigger or rule of the application keeps it from that without an error."


class Books(Protocol):
    """What of the ledger a writer needs."""

    def bases(self, keys: list[str]) -> Mapping[str, Base]: ...
    def note(self, prints: Mapping[str, str]) -> None: ...
    def waiting(self, keys: Sequence[str]) -> set[str]: ...


@dataclass
class Verdict:
    """What of a batch is not written: key → why, kept for good or waiting for another record (of `parents`)."""

    kept: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    parents: dict[str, Parent] = field(default_factory=dict)


class Writer:
    """One connection that writes into one table; a context manager.

    Args:
        url: the database. layout: the table. policy: who wins where the target was edited, too.
        books: the bases; None where nobody needs them. before_write: called before rows are given to the table.
    """

    def __init__(
        self,
        url: NormalisedUrl,
        layout: Layout,
        policy: Policy,
        books: Books | None,
        *,
        before_write: Callable[[], object] = lambda: None,
    ) -> None:
        self._before_write = before_write
        self._url, self._layout, self._policy, self._books = url, layout, policy, books
        self._statements = Statements(layout)
        self._connection: Any = None

    def __enter__(self) -> Writer:
        with self._errors():
            self._connection = bulk_connection(self._url)
            self._rows(settings_sql(wait_for_locks=True, for_session=True, **_PLANS))
            self._execute(self._statements.create())
            for statement in self._statements.remember() if self._statements.respells else ():
                self._execute(statement)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):
            self._connection.close()

    def write(self, rows: pa.RecordBatch) -> BatchResult:
        """Bring a batch (`_key`, `_fingerprint`, the columns) into the table; each key once."""
        try:
            with self._transaction():
                return self._write(rows)
        except _UnstageableError:
            # a value that no column can take fails the COPY of all
            if rows.num_rows == 1:
                raise
        return self._halves(rows)

    def _halves(self, rows: pa.RecordBatch) -> BatchResult:
        half = rows.num_rows // 2
        found = []
        for part in (rows.slice(0, half), rows.slice(half)):
            try:
                found.append(self.write(part))
            except _UnstageableError as error:
                refused = Rejection(key=part.column(KEY)[0].as_py(), reason=error.message, stage="write")
                found.append(BatchResult(counts=Counts(quarantined=1), rejected=[refused]))
        return joined(found)

    def judge(self, rows: pa.RecordBatch) -> Verdict:
        """What of a batch would not be written now; writes nothing."""
        with self._transaction(commit=False):
            self._stage(rows)
            return self._verdict(rows, lock=False)

    def _write(self, rows: pa.RecordBatch) -> BatchResult:
        self._stage(rows)
        twins = self._twins() if self._statements.respells else []
        verdict = self._verdict(rows, lock=True)
        out = {**verdict.kept, **verdict.waiting, **{item.key: item.reason for item in twins}}
        self._unstage(verdict.kept)
        waiting = [
            Rejection(key=key, reason=why, stage=WAITING, parent=verdict.parents[key])
            for key, why in verdict.waiting.items()
        ]
        if rows.num_rows > len(out):
            self._before_write()
        written, refused = self._insert(rows, set(out))
        refused += twins
        bad = {item.key for item in refused}
        self._note_bases(rows, bad | set(out))
        same = rows.num_rows - written - len(refused) - len(waiting)
        counts = Counts(
            upserted=written,
            unchanged=same,
            quarantined=len(refused) + len(waiting),
            bytes=rows.nbytes * written // max(rows.num_rows, 1),
        )
        return BatchResult(counts=counts, rejected=[*waiting, *refused], kept=verdict.kept)

    def _twins(self) -> list[Rejection]:
        """Rows whose keys PostgreSQL takes for one; which of them it is to hold cannot be told."""
        found = [Rejection(key=key, reason=_TWIN, stage="write") for (key,) in self._rows(self._statements.twins())]
        self._unstage(item.key for item in found)
        self._execute(self._statements.seen())
        return found

    def _note_bases(self, rows: pa.RecordBatch, out: set[str]) -> None:
        """Just before the commit: a crash in between leaves the base ahead by one, which it knows of itself."""
        if self._books is not None:
            prints = zip(rows.column(KEY).to_pylist(), rows.column(FINGERPRINT).to_pylist(), strict=True)
            self._books.note({key: mark for key, mark in prints if key not in out})

    def _stage(self, rows: pa.RecordBatch) -> None:
        with self._connection.cursor() as cursor:
            try:
                copy_into(cursor, self._statements.staged(rows))
            except Exception as error:
                found = pg_errors.classify(error, database=self._url.safe)
                if isinstance(found, RecordError):
                    raise _UnstageableError(found.message) from None
                raise

    # What is not written

    def _verdict(self, rows: pa.RecordBatch, *, lock: bool) -> Verdict:
        verdict = Verdict()
        self._orphans(verdict)
        if self._policy.looks_at_edits:
            self._edits(rows, verdict, lock=lock)
        return verdict

    def _orphans(self, verdict: Verdict) -> None:
        """Rows whose parent is missing: one that the sync had written went with its parent, others wait for theirs."""
        for foreign in self._layout.catalog.foreign_keys:
            if set(foreign.columns) <= set(self._layout.names):
                # in a tree, a row that waits makes its children wait
                while self._orphans_of(foreign, verdict) and foreign.own:
                    pass

    def _orphans_of(self, foreign: ForeignKey, verdict: Verdict) -> bool:
        """Take the orphans of one foreign key out of the stage; whether there were any."""
        lost = self._rows(self._statements.orphans(foreign))
        known = self._went([key for key, held, *_ in lost if not held])
        columns = ", ".join(foreign.columns)
        for key, _, *values in lost:
            if key in known:
                verdict.kept[key] = f"it went with its row of {foreign.parent} ({columns}), which was deleted"
            else:
                verdict.waiting[key] = f"it waits for its row of {foreign.parent} ({columns}; {foreign.name})"
                verdict.parents[key] = Parent(constraint=foreign.name, columns=foreign.columns, values=tuple(values))
        self._unstage(key for key, *_ in lost)
        return bool(lost)

    def _went(self, keys: list[str]) -> set[str]:
        """Those of these orphans, which the table lacks, that went with their parent.

        One that waits for another parent than it was written with may lose its row with that one: it still waits.
        """
        known = list(self._bases(keys))
        return set(known) - self._books.waiting(known) if self._books is not None and known else set()

    def _unstage(self, keys: Iterable[str]) -> None:
        if chosen := list(keys):
            self._execute(self._statements.unstage(chosen))

    def _edits(self, rows: pa.RecordBatch, verdict: Verdict, *, lock: bool) -> None:
        """Rows that were edited in the target since the sync wrote them, and win."""
        held, unlike = self._rivals(lock=lock)
        if lock:
            # what was equal a moment ago may be edited now; what differed is locked
            self._execute(self._statements.unjudged([*held, *unlike]))
        bases = self._bases([*held, *unlike])
        source = {row[KEY]: row for row in self._judged(rows) if row[KEY] in held}
        for key in unlike:
            verdict.kept[key] = "it was edited in PostgreSQL, to a value that the source cannot hold"
        for key, row in held.items():
            changed = may_win(self._policy, row[FINGERPRINT], bases.get(key))
            if key in source and changed and winner(self._policy, source[key], row) == "target":
                verdict.kept[key] = f"it was edited in PostgreSQL ({self._policy.strategy.value})"

    def _rivals(self, *, lock: bool) -> tuple[dict[str, dict[str, Any]], list[str]]:
        """The target's rows that differ, by key; and keys of those that cannot be compared."""
        held: dict[str, dict[str, Any]] = {}
        unlike: list[str] = []
        session = bulk_session(self._connection)
        for batch in session.stream(self._statements.rivals(lock=lock), self._layout.sql.schema):
            rows, strange = self._layout.canonical(batch)
            held.update({row[KEY]: row for row in self._judged(rows)})
            unlike += strange
        return held, unlike

    def _judged(self, rows: pa.RecordBatch) -> list[dict[str, Any]]:
        """What of rows decides."""
        return rows.select([KEY, FINGERPRINT, *([self._policy.by] if self._policy.by else [])]).to_pylist()

    def _bases(self, keys: list[str]) -> Mapping[str, Base]:
        return self._books.bases(keys) if self._books is not None and keys else {}

    # Writing

    def _insert(self, rows: pa.RecordBatch, out: set[str]) -> tuple[int, list[Rejection]]:
        """Rows that were written, and those that a constraint refuses, found by halves.

        Those are tried once more at the end: one may have waited for a value that another one gave up.
        """
        refused: dict[int, Rejection] = {}
        keys = rows.column(KEY).to_pylist()
        written = self._range(0, len(keys), keys, refused)
        for number in list(refused) if 0 < len(refused) < len(keys) - len(out) else ():
            del refused[number]
            written += self._range(number, number + 1, keys, refused)
        return written, list(refused.values())

    def _range(self, start: int, end: int, keys: list[str], refused: dict[int, Rejection]) -> int:
        try:
            with self._savepoint():
                return self._put(start, end)
        except RecordError as error:
            if end - start == 1:
                stage = WAITING if _is_orphan(error) else "write"
                refused[start] = Rejection(key=keys[start], reason=error.message, stage=stage)
                return 0
        half = start + (end - start) // 2
        return self._range(start, half, keys, refused) + self._range(half, end, keys, refused)

    def _put(self, start: int, end: int) -> int:
        """Write those of a range that differ; how many.

        Raises:
            RecordError: a trigger (one that returns NULL) or a rule has kept one of them from being written.
        """
        statements = self._statements
        update = statements.update(start, end)
        watched = self._layout.catalog.may_keep_rows
        differing = self._rows(statements.differing(start, end))[0][0] if update and watched else 0
        updated = self._execute(update) if update else 0
        if updated < differing:
            raise RecordError(_KEPT_OUT)
        if updated == end - start:
            return updated
        inserted = self._execute(statements.insert(start, end))
        if watched and self._rows(statements.lacking(start, end))[0][0]:
            raise RecordError(_KEPT_OUT)
        return updated + inserted

    @contextmanager
    def _savepoint(self) -> Generator[None]:
        self._execute("SAVEPOINT sync_batch")
        try:
            with self._errors():
                yield
        except RecordError:
            self._execute("ROLLBACK TO SAVEPOINT sync_batch")
            raise
        self._execute("RELEASE SAVEPOINT sync_batch")

    @contextmanager
    def _transaction(self, *, commit: bool = True) -> Generator[None]:
        with self._errors():
            self._execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
            try:
                # a constraint that waits for the commit would fail the whole batch there
                self._execute("SET CONSTRAINTS ALL IMMEDIATE")
                yield
                self._execute("COMMIT" if commit else "ROLLBACK")
            except BaseException:
                with suppress(Exception):
                    self._execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Generator[None]:
        spec = self._layout.spec
        with pg_errors.classified(
            database=self._url.safe, of_records=True, quiet=bool(spec.sensitive), sync=spec.sync, table=spec.name
        ):
            yield

    def _execute(self, statement: str) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return max(cursor.rowcount, 0)

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()


class _UnstageableError(SyncError):
    """A row that not even a temporary table takes."""


def _is_orphan(error: RecordError) -> bool:
    return "[23503]" in error.message


def batches_of(rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What is written by one transaction each: several batches, in which each key stands once, the last one."""
    for batch in pages(rows, rows=_ROWS, most_bytes=_BYTES):
        last = {key: number for number, key in enumerate(batch.column(KEY).to_pylist())}
        yield batch if len(last) == batch.num_rows else batch.take(pa.array(sorted(last.values())))
