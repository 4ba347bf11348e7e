"""Documents in PostgreSQL as a target: what is held is read back from the rows, never believed from the books."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NoReturn

import pyarrow as pa

from sync_pipelines.engine import pg_errors
from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.model import (
    FINGERPRINT,
    FINGERPRINTS_SCHEMA,
    KEY,
    UNDELETED,
    WAITING,
    BatchResult,
    Child,
    Counts,
    Deletion,
    Digest,
    Doubt,
    Parent,
    PlannedWrites,
    Rejection,
    Underived,
    bucket_of,
)
from sync_pipelines.engine.rowsets import fingerprint, spelled
from sync_pipelines.engine.sql import identifier
from sync_pipelines.engine.urls import NormalisedUrl
from sync_pipelines.sources.postgres.connection import lock_limit, pool, small_transaction
from sync_pipelines.targets.rowsets.batch import Document, documents_of
from sync_pipelines.targets.rowsets.books import Books
from sync_pipelines.targets.rowsets.layout import Documents, Layout, Reference, SqlTable
from sync_pipelines.targets.rowsets.reading import pages_of, stored
from sync_pipelines.targets.rowsets.writing import Writer

_IDENTITY = """SELECT s.system_identifier::text || '/' || pg_catalog.current_database() || '/' || d.oid || '/' || {oid}
    AS identity
FROM pg_catalog.pg_control_system() AS s, pg_catalog.pg_database AS d
WHERE d.datname = pg_catalog.current_database()"""


class RowsetTarget(Underived):
    """The tables of one document kind; implements `engine.model.Target`. Making one connects to nothing.

    A record is a document. It is there where its own row is, or, of a kind whose documents have none, where its
    payload is kept; rows that the sync has never written are somebody else's, and are not looked at.

    Args:
        url: the database. documents: the tables. books: what is kept beside. pool_max: connections at most.
        require: raises where the migrations are due that make the tables; None where no migrations do.
    """

    def __init__(
        self,
        url: NormalisedUrl,
        documents: Documents,
        books: Books,
        *,
        pool_max: int = 10,
        require: Callable[[], object] | None = None,
    ) -> None:
        self.url, self.documents, self.books, self.pool_max = url, documents, books, pool_max
        self._requests: Callable[[], tuple[str, int]] | None = None
        self._check_marks: Callable[[int, int], object] = lambda gone, found: None
        self._require = require
        self._place = (documents.sync, documents.name)
        self._ledger: Ledger | None = None

    def keep_books(self, ledger: Ledger) -> None:
        """Keep the stamp in this ledger."""
        self._ledger = ledger

    def guard_marks(self, check: Callable[[int, int], object]) -> None:
        """Ask this before documents are marked as gone; see `engine.guarded.Marking`."""
        self._check_marks = check

    def count_requests(self, requests: Callable[[], tuple[str, int]]) -> None:
        """Count an API's requests with each batch; see `Writer`."""
        self._requests = requests

    @cached_property
    def layout(self) -> Layout:
        """The tables as they are at the beginning of a run; those that no migration makes are made."""
        self._make()
        with self.errors(), small_transaction(self.url, pool_max=self.pool_max) as session:
            return self.documents.layout(session)

    # What a listing is asked

    def count(self) -> int:
        with self.cursor() as cursor:
            cursor.execute(f"SELECT pg_catalog.count(*) FROM {self.books.payloads} AS p WHERE {self._is_there}")
            return cursor.fetchone()[0]

    @property
    def _is_there(self) -> str:
        """Condition on `p`, a payload: its document is there."""
        own = self.layout.own
        if own is None:
            return f"p.{self.books.mine}"
        return f"p.{self.books.mine} AND EXISTS (SELECT FROM {own.sql} AS t WHERE {_is_row_of(own)})"

    def digests(self) -> Mapping[int, Digest] | None:
        """None: fingerprints are made here, so they are added up where they are compared."""
        return None

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        for keys in self.kept_keys():
            chosen = [key for key in keys if buckets is None or bucket_of(key) in buckets]
            for batch in self.values(chosen):
                yield batch.select([KEY, FINGERPRINT]).cast(FINGERPRINTS_SCHEMA)

    def kept_keys(self) -> Iterator[list[str]]:
        """The keys of the payloads that are kept, in pages."""
        statement = (
            f"SELECT record_key AS key FROM {self.books.payloads} WHERE {self.books.mine} "
            "AND record_key > %s ORDER BY record_key LIMIT %s"
        )
        with self.cursor() as cursor:
            yield from pages_of(cursor, statement)

    # What a target is asked

    def identity(self) -> str | None:
        """Server, database and the document's first table."""
        with self.cursor() as cursor:
            cursor.execute(_IDENTITY.format(oid=self.layout.tables[0].oid))
            return cursor.fetchone()[0]

    def stamp(self) -> str | None:
        return self._book().target_stamp(*self._place)

    def set_stamp(self, text: str) -> None:
        self._book().set_target_stamp(*self._place, text)

    def stamp_of(self, text: str) -> str:
        return text

    def _book(self) -> Ledger:
        assert self._ledger is not None
        return self._ledger

    def holdings(self) -> dict[str, Any]:
        """What PostgreSQL says of the tables: their rows (an estimate) and bytes, indexes included."""
        found = {}
        with self.cursor() as cursor:
            for table in self.layout.tables:
                cursor.execute(
                    "SELECT reltuples::int8, pg_catalog.pg_stat_get_live_tuples(oid), "
                    "pg_catalog.pg_total_relation_size(oid) FROM pg_catalog.pg_class "
                    f"WHERE oid = {table.oid}"
                )
                analysed, counted, size = cursor.fetchone()  # a small table is never analysed; a restart forgets counts
                found[table.rows.name] = {"rows": counted or max(analysed, 0), "bytes": size}
        return found

    def prepare(self) -> None:
        """Make those tables that are the sync's own alone, and look whether the others are there."""
        self.__dict__.pop("layout", None)
        _ = self.layout

    def _make(self) -> None:
        """Insist on the migrations that make the tables; where none do, make what is not there."""
        if self._require is not None:
            self._require()
            self._insist_on_tables()
            return
        with self.writing() as cursor:
            cursor.execute(self.books.are_of_before())
            additions = self.books.additions() if cursor.fetchone()[0] else []
            if not additions and not _lacking(cursor, [*self.documents.made(), *self.books.tables()]):
                return
            cursor.execute("SET LOCAL client_min_messages = warning")
            for statement in (*additions, *self.documents.ddl(), *self.books.ddl()):
                cursor.execute(statement)

    def _insist_on_tables(self) -> None:
        """Look whether the tables are there that migrations have made.

        Raises:
            RunError: somebody dropped one; migrations that are done make nothing again.
        """
        with self.cursor() as cursor:
            lacking = _lacking(cursor, [*self.documents.names(), *self.books.tables()])
        if lacking:
            raise self.documents.error(
                f"there is no table {', '.join(lacking)}, though the migrations that make it are done: it was dropped.",
                "Restore it from a backup; or run its statements of `sync-pipelines db upgrade --sql --whole`, then "
                f"`sync-pipelines reparse {self.documents.sync}`, or `sync --full` where the payloads went, too.",
            )

    def upsert(
        self,
        batches: Iterable[pa.RecordBatch],
        *,
        doubt: Doubt | None = None,
        before_write: Callable[[], object] = lambda: None,
    ) -> Iterator[BatchResult]:
        """Write batches of documents, a transaction each; values are compared anyway: `doubt` adds nothing."""
        del doubt
        with self.writer(before_write) as writer:
            for batch in batches:
                yield writer.write(documents_of(batch, self.layout.rows))

    def writer(self, before_write: Callable[[], object] = lambda: None) -> Writer:
        """What writes into the tables."""
        return Writer(
            self.url,
            self.documents,
            self.layout,
            self.books,
            before_write=before_write,
            requests=self._requests,
            check_marks=self._check_marks,
        )

    def existing(self, keys: Sequence[str]) -> list[str]:
        with self.cursor() as cursor:
            cursor.execute(
                f"SELECT p.record_key FROM {self.books.payloads} AS p WHERE {self._is_there} "
                "AND p.record_key = ANY (%s)",
                [list(keys)],
            )
            held = {row[0] for row in cursor.fetchall()}
        return [key for key in dict.fromkeys(keys) if key in held]

    def delete(self, keys: Sequence[str]) -> Deletion:
        """Nothing: what an API does not name any more may be hidden, moved or back tomorrow. It is marked, and kept."""
        held = self.existing(keys)
        why = "It stays in the table: a document is marked, never deleted, where its source has it no more."
        return Deletion(refused=[Rejection(key=key, reason=why, stage=UNDELETED) for key in held])

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The stored rows of these documents, a column a table, and their fingerprints."""
        there, tables = self.existing(keys) if keys else [], self.layout.rows
        with self.cursor() as cursor:
            held = stored(cursor, self.layout, there)
        empty = {table.name: [] for table in tables}
        found = [(key, held.get(key, empty)) for key in there]
        columns: dict[str, list[str]] = {
            KEY: [key for key, _ in found],
            FINGERPRINT: [fingerprint(tables, rows) for _, rows in found],
            **{table.name: [spelled(rows[table.name]) for _, rows in found] for table in tables},
        }
        if found:
            yield pa.RecordBatch.from_pydict(columns)

    def drift(self) -> list[str]:
        """What about the tables is not as it is asked for now, in words."""
        try:
            with self.errors(), small_transaction(self.url, pool_max=self.pool_max) as session:
                self.documents.layout(session)
        except RunError as error:
            return [error.message]
        return []

    def plan(self, batches: Iterable[pa.RecordBatch], *, rebuild: bool = False) -> PlannedWrites:
        """What `upsert` of these batches would do; writes nothing."""
        counts = Counts()
        with self.writer() as writer:
            for batch in batches:
                found = [item for item in documents_of(batch, self.layout.rows) if item.is_there]
                refused = sum(item.rows is None and item.status != "absent" for item in found)
                whole = [item for item in found if item.rows is not None]
                differing = writer.differences(whole)
                refused += len(whole) - len(differing)
                changed = [item.document for item in differing if item.changed]
                waiting = self._waiting(changed, writer)
                upserted, same = len(changed) - len(waiting), len(found) - len(changed) - refused
                counts += Counts(upserted=upserted, unchanged=same, quarantined=refused + sum(waiting.values()))
        return PlannedWrites(counts=counts)

    def _waiting(self, documents: Sequence[Document], writer: Writer) -> dict[str, bool]:
        """Those that have waited for the row of another table, which is still not there; False for one that somebody
        has dropped."""
        keys = [item.key for item in documents]
        noted = self._book().list_quarantine(*self._place, keys=keys, limit=None) if keys else []
        dropped = {item.key: item.dropped_at is not None for item in noted if item.stage == WAITING}
        parents = {item.key: writer.parent_of(item) for item in documents if item.key in dropped}
        return {key: not dropped[key] for key, it in parents.items() if it is None or not self.any_there([it])}

    # Records that wait

    def any_there(self, parents: Sequence[Parent]) -> bool:
        """Whether one of these rows of other tables is there, or its foreign key is gone."""
        known = self.layout.references
        with self.cursor() as cursor:
            return any(
                item.constraint not in known or _is_there(cursor, *known[item.constraint], item) for item in parents
            )

    def any_free(self, held: Mapping[str, Child]) -> bool:
        """Nothing is deleted, so nothing waits to be."""
        return False

    # A rebuild

    def begin_rebuild(self) -> NoReturn:
        """Tables that an application reads are not swapped."""
        sync, table = self._place
        raise RunError(
            "documents are not built anew beside the old ones.",
            sync=sync,
            table=table,
            remedy=f"Run `sync-pipelines reparse {sync}/{table}`, which makes the rows anew from the stored payloads.",
        )

    def swap(self) -> None:
        """Follows `begin_rebuild`, which there is none of."""

    @contextmanager
    def cursor(self) -> Generator[Any]:
        """A cursor of a short transaction that writes nothing."""
        with self.errors():
            connection: Any = pool(self.url.sqlalchemy, self.pool_max).raw_connection()
            try:
                with connection.cursor() as cursor:
                    cursor.execute(f"SET TRANSACTION READ ONLY; SET LOCAL TimeZone = 'UTC'; {lock_limit()}")
                    yield cursor
            finally:
                connection.close()

    @contextmanager
    def writing(self) -> Generator[Any]:
        """A cursor of a short transaction of its own, committed at the end of the block."""
        with self.errors():
            connection: Any = pool(self.url.sqlalchemy, self.pool_max).raw_connection()
            try:
                with connection.cursor() as cursor:
                    cursor.execute(lock_limit())
                    yield cursor
                connection.commit()
            finally:
                connection.close()

    @contextmanager
    def errors(self) -> Generator[None]:
        """What PostgreSQL raises, as the engine's classes."""
        sync, table = self._place
        with pg_errors.classified(database=self.url.safe, sync=sync, table=table):
            yield


def _is_there(cursor: Any, table: SqlTable, reference: Reference, parent: Parent) -> bool:
    same = " AND ".join(
        f"p.{identifier(there)} = %s::{table.columns[here].pg_type}"
        for here, there in zip(reference.columns, reference.parent_columns, strict=True)
    )
    cursor.execute(f"SELECT EXISTS (SELECT FROM {reference.parent} AS p WHERE {same})", parent.values)
    return cursor.fetchone()[0]


def _is_row_of(own: SqlTable) -> str:
    """Condition: `t` is the document's own row of the payload `p`."""
    types = {name: own.columns[name].pg_type for name in own.rows.record}
    names = own.rows.record
    if len(names) == 1:
        return f"t.{own.column(names[0])} = p.record_key::{types[names[0]]}"
    parts = (
        f"t.{own.column(name)} = (p.record_key::json ->> {number})::{types[name]}" for number, name in enumerate(names)
    )
    return " AND ".join(parts)


def _lacking(cursor: Any, names: Sequence[str]) -> list[str]:
    """Those of these tables, by their quoted names, that are not there."""
    cursor.execute(
        "SELECT n FROM pg_catalog.unnest(%s::text[]) WITH ORDINALITY AS t(n, i) "
        "WHERE pg_catalog.to_regclass(n) IS NULL ORDER BY i",
        [list(names)],
    )
    return [name for (name,) in cursor.fetchall()]
