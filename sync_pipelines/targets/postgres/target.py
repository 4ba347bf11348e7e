"""A table of an application as a target: kept equal to its source, row by row, and never altered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from typing import Any, NoReturn

import pyarrow as pa

from sync_pipelines.engine import pg_errors
from sync_pipelines.engine.conflicts import Base, Policy, edited
from sync_pipelines.engine.errors import RecordError, RunError
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
)
from sync_pipelines.sources.postgres.changes import existing
from sync_pipelines.sources.postgres.connection import settings_sql, writing_transaction
from sync_pipelines.sources.postgres.errors import InvalidKeyError, reading
from sync_pipelines.sources.postgres.sql import keys_query
from sync_pipelines.targets.postgres.children import any_free, holders
from sync_pipelines.targets.postgres.layout import Layout, PostgresTable, TargetSql
from sync_pipelines.targets.postgres.listing import PrintedRows, listed
from sync_pipelines.targets.postgres.parents import questions
from sync_pipelines.targets.postgres.values import fingerprints, hashes
from sync_pipelines.targets.postgres.writing import Verdict, Writer, batches_of

_log = logging.getLogger(__name__)

_KEYS_A_STATEMENT = 2000
_KEPT_SILENTLY = "a trigger or rule of the application keeps it without an error"
_REFERRED = " Delete the rows that refer to it, or let the foreign key do it (ON DELETE CASCADE)."


class _Books:
    """The ledger's bases of one table. Each names the columns that it was taken of: others cannot be compared."""

    def __init__(self, ledger: Ledger, place: tuple[str, str], shape: str) -> None:
        self._ledger, self._place, self._shape = ledger, place, shape

    def bases(self, keys: list[str]) -> Mapping[str, Base]:
        return {key: self._read(base) for key, base in self._ledger.bases(*self._place, keys).items()}

    def _read(self, base: Base) -> Base:
        shape, _, mark = base.fingerprint.partition("/")
        before = (base.previous or "").partition("/")
        return Base(mark, before[2] if before[0] == shape else None, comparable=shape == self._shape)

    def note(self, prints: Mapping[str, str]) -> None:
        self._ledger.note_bases(*self._place, {key: f"{self._shape}/{mark}" for key, mark in prints.items()})

    def forget(self, keys: Sequence[str]) -> None:
        self._ledger.forget_bases(*self._place, keys)

    def waiting(self, keys: Sequence[str]) -> set[str]:
        found = self._ledger.list_quarantine(*self._place, keys=keys, limit=None)
        return {item.key for item in found if item.stage == WAITING}


class PostgresTarget(Underived):
    """One table; implements `engine.model.Target` and `engine.conflicts.Judging`. Making one connects to nothing.

    A stored row's fingerprint is computed from its values, so a quick proof compares what a deep one does. The stamp
    stands in the ledger: a table has no place for one. A copy of the database that took its name is told by oids, one
    that was restored to an earlier point by its timeline (`identity`).

    Args:
        table: the table. columns: gives the names of the source's columns; asked once a run.
        policy: who wins where a row was edited in PostgreSQL, too. ledger: bases and the stamp.
    """

    writes_meanwhile = True
    """What a source gives is taken while it is read."""

    def __init__(
        self,
        table: PostgresTable,
        *,
        columns: Callable[[], Collection[str]],
        policy: Policy,
        ledger: Ledger | None = None,
    ) -> None:
        self.table, self._columns, self._policy = table, columns, policy
        if ledger is not None:
            self.keep_books(ledger)
        self._place = (table.spec.sync, table.spec.name)

    def keep_books(self, ledger: Ledger) -> None:
        """Keep bases and the stamp in this ledger."""
        self._ledger = ledger

    @cached_property
    def layout(self) -> Layout:
        """The table as it is at the beginning of a run."""
        return self.table.layout(self._columns())

    @property
    def _books(self) -> _Books | None:
        """Bases are kept where something depends on them: on an edit, or on what a parent took with it."""
        if self._policy.looks_at_edits or self.layout.catalog.foreign_keys:
            return _Books(self._ledger, self._place, self.layout.shape)
        return None

    # What a listing is asked

    def count(self) -> int:
        with self.table.session() as session:
            return session.all(self.layout.sql.count())[0]["records"]

    def digests(self) -> Mapping[int, Digest] | None:
        """None: fingerprints are made here, so they are added up where they are compared."""
        return None

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        return listed(self, fingerprints, buckets=buckets)

    def compared(self, *, lasting: bool) -> PrintedRows:
        """All rows by what a comparison within this process needs of them; see `engine.first_look`."""
        return PrintedRows(self, fingerprints if lasting else hashes)

    @property
    def remembers(self) -> bool:
        """Whether bases are kept."""
        return self._books is not None

    def note_equal(self, prints: Mapping[str, str]) -> None:
        """Take these records, which are as the source has them, for what the sync has written."""
        if (books := self._books) is not None:
            books.note(prints)

    # What a target is asked

    def identity(self) -> str | None:
        """Server, timeline, database and table."""
        found = self.layout.catalog.identity
        return f"{found.system_identifier}/{found.timeline}/{found.database}/{found.database_oid}/{found.table_oid}"

    def stamp(self) -> str | None:
        return self._ledger.target_stamp(*self._place)

    def set_stamp(self, text: str) -> None:
        self._ledger.set_target_stamp(*self._place, text)

    def stamp_of(self, text: str) -> str:
        return text

    def holdings(self) -> dict[str, Any]:
        """What PostgreSQL says of the table: its bytes, indexes included."""
        info = self.layout.info
        with self.table.session() as session:
            size = session.all(f"SELECT pg_catalog.pg_total_relation_size({info.oid}::pg_catalog.oid) AS bytes")
        return {"table": self.table.spec.table, "bytes": size[0]["bytes"]}

    def prepare(self) -> None:
        """Look whether the table is there and has the columns that it needs; nothing is made.

        Raises:
            RunError: it is not there, a column is missing on one side, no unique index covers the key.
        """
        self.__dict__.pop("layout", None)
        if altered := self.altered_by():
            _log.warning("%s: %s", "/".join(self._place), altered)
        by = self._policy.by
        if by is not None and by not in self.layout.names:
            raise RunError(
                f"conflicts.by names {by!r}, which is no column that is synced.",
                sync=self._place[0],
                table=self._place[1],
                remedy=f"There are: {', '.join(self.layout.names)}.",
            )

    def altered_by(self) -> str | None:
        """The triggers that may change a row before it is stored, and what to do (`engine.not_held`)."""
        if not (triggers := self.layout.catalog.triggers):
            return None
        return (
            f"The trigger {', '.join(triggers)} may change rows as they are written; a column that it sets can never "
            "be equal: leave it out of `columns`."
        )

    def upsert(
        self,
        batches: Iterable[pa.RecordBatch],
        *,
        doubt: Doubt | None = None,
        before_write: Callable[[], object] = lambda: None,
    ) -> Iterator[BatchResult]:
        """Write conformed rows, several batches a transaction; values are compared anyway: `doubt` adds nothing."""
        del doubt
        rows = batches_of(batches)
        # who reads in a thread goes on while the connection is made; and where nothing comes, none is
        if (first := next(rows, None)) is None:
            return
        with Writer(self.table.url, self.layout, self._policy, self._books, before_write=before_write) as writer:
            for batch in chain([first], rows):
                yield writer.write(batch)

    def existing(self, keys: Sequence[str]) -> list[str]:
        held = {key for batch in self._by_keys(keys) for key in batch.column(KEY).to_pylist()}
        return [key for key in dict.fromkeys(keys) if key in held]

    def delete(self, keys: Sequence[str]) -> Deletion:
        """Delete these records; those that other rows refer to, or a trigger keeps, are found by halves."""
        left, held, deleted = self.existing(keys), dict[str, str](), 0
        while left:
            held.clear()
            gone = self._delete(left, held)
            deleted += gone
            # in a tree, a half may have been refused for children that went with the other one
            left = list(held) if gone and self.layout.is_tree else []
        if (books := self._books) is not None:
            books.forget([key for key in keys if key not in held])
        return Deletion(deleted=deleted, refused=self._refused(held))

    def _refused(self, held: Mapping[str, str]) -> list[Rejection]:
        """Records that were not let go, each with the rows that hold it, where they can be asked for."""
        children: dict[str, Child] = {}
        for keys in _pages(list(held)):
            with self.table.session() as session:
                children |= holders(session, self.layout.sql, keys)
        return [
            Rejection(key=key, reason=f"It stays in the table: {why}", stage=UNDELETED, child=children.get(key))
            for key, why in held.items()
        ]

    def _delete(self, keys: Sequence[str], held: dict[str, str]) -> int:
        if not keys:
            return 0
        try:
            with self.errors(), writing_transaction(self.table.url, pool_max=self.table.pool_max) as session:
                session.all(settings_sql(wait_for_locks=True))
                gone = len(session.all(self._delete_sql(keys)))
            # a BEFORE trigger that returns NULL, or a rule, keeps a row without an error
            held.update(dict.fromkeys(self.existing(keys) if gone < len(keys) else (), _KEPT_SILENTLY))
            return gone
        except RecordError as error:
            if len(keys) == 1:
                held[keys[0]] = f"{error.message}{_REFERRED if '[23503]' in error.message else ''}"
                return 0
        half = len(keys) // 2
        return self._delete(keys[:half], held) + self._delete(keys[half:], held)

    def _delete_sql(self, keys: Sequence[str]) -> str:
        sql = self.layout.sql
        return f"DELETE FROM {sql.info.sql} AS t USING ({keys_query(keys)}) AS k WHERE {sql.is_key()} RETURNING 1"

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The stored rows of these keys, in the types that both sides are brought to."""
        for batch in self._by_keys(keys):
            rows, strange = self.layout.canonical(batch)
            yield rows
            if strange:
                nothing = {KEY: strange, FINGERPRINT: [None] * len(strange)}
                yield pa.RecordBatch.from_pydict(nothing, schema=FINGERPRINTS_SCHEMA)

    def drift(self) -> list[str]:
        """What about the table is not as it is asked for now, in words."""
        try:
            self.table.layout(self._columns())
        except RunError as error:
            return [error.message]
        return []

    def plan(self, batches: Iterable[pa.RecordBatch], *, rebuild: bool = False) -> PlannedWrites:
        """What `upsert` of these batches would do; writes nothing."""
        counts = Counts()
        for batch in batches_of(batches):
            verdict = self._verdict(batch) if batch.num_rows else Verdict()
            held = {row[KEY]: row[FINGERPRINT] for found in self.values(_keys(batch)) for row in _prints(found)}
            rows = [row for row in _prints(batch) if row[KEY] not in verdict.waiting]
            same = sum(held.get(row[KEY]) == row[FINGERPRINT] or row[KEY] in verdict.kept for row in rows)
            waiting = batch.num_rows - len(rows)
            counts += Counts(unchanged=same, upserted=len(rows) - same, quarantined=waiting)
        return PlannedWrites(counts=counts)

    # What a target that others may edit is asked

    def excused(self, rows: pa.RecordBatch) -> Mapping[str, str]:
        """Those of these rows that a run would not write: an edit wins, or they went with their parent."""
        if not rows.num_rows or self._books is None:
            return {}
        return self._verdict(rows).kept

    def _verdict(self, rows: pa.RecordBatch) -> Verdict:
        with Writer(self.table.url, self.layout, self._policy, self._books) as writer:
            return writer.judge(rows)

    def keeps(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Those of these records, which the source lacks, that were made or edited here since the sync wrote them."""
        books = self._books
        if not self._policy.looks_at_edits or books is None:
            return {}
        bases = books.bases(list(keys))
        held = [row for found in self.values(keys) for row in _prints(found)]
        return {
            row[KEY]: f"it was {'edited' if row[KEY] in bases else 'made'} in PostgreSQL, and the source lacks it"
            for row in held
            if edited(row[FINGERPRINT], bases.get(row[KEY]))
        }

    def bases(self, keys: Sequence[str]) -> Mapping[str, Base]:
        """What the sync has last written of these records, where that matters."""
        return {} if self._books is None else self._books.bases(list(keys))

    def give_way(self, keys: Sequence[str]) -> None:
        """Note the rows of now as written: they are edited no more, unless somebody edits them again."""
        if (books := self._books) is not None:
            held = [row for found in self.values(keys) for row in _prints(found)]
            books.note({row[KEY]: row[FINGERPRINT] for row in held if row[FINGERPRINT] is not None})

    def any_there(self, parents: Sequence[Parent]) -> bool:
        """Whether one of these rows of other tables is there, or its foreign key is gone."""
        catalog = self.table.catalog()
        with self.table.session() as session:
            return any(query is None or session.all(query)[0]["there"] for query in questions(catalog, parents))

    def any_free(self, held: Mapping[str, Child]) -> bool:
        """Whether one of these records, which were not let go, is gone, or no longer held by what it was."""
        sql = TargetSql(self.table.catalog().info, self.table.spec)
        with self.table.session() as session:
            return any_free(session, sql, held)

    # A rebuild

    def begin_rebuild(self) -> NoReturn:
        """A table that an application uses cannot be swapped: grants, triggers and foreign keys hang on it."""
        raise RunError(
            "a table of an application is not built anew: what hangs on it (foreign keys, grants, triggers) would be "
            "lost.",
            sync=self._place[0],
            table=self._place[1],
            remedy=f"Run `sync-pipelines sync {'/'.join(self._place)} --full`, which compares every row.",
        )

    def swap(self) -> None:
        """Follows `begin_rebuild`, which there is none of."""

    def _by_keys(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for page in _pages(keys):
            yield from self._page(keys_query(page))

    def _page(self, query: str) -> list[pa.RecordBatch]:
        sql = self.layout.sql
        try:
            with self.table.session() as session:
                return list(existing(session.stream(sql.by_keys(query), sql.found_schema), sql.schema))
        except InvalidKeyError:
            # a key that is no value of the column's type is not there, but must not hide the others
            with self.table.session() as session:
                return list(existing(session.stream(sql.by_key_text(query), sql.found_schema), sql.schema))

    @contextmanager
    def errors(self) -> Generator[None]:
        """Errors of reading and writing the table as the engine's."""
        sync, table = self._place
        with (
            reading(self.table.url, sync=sync, table=table),
            pg_errors.classified(
                database=self.table.url.safe,
                of_records=True,
                quiet=bool(self.table.spec.sensitive),
                sync=sync,
                table=table,
            ),
        ):
            yield


def _pages(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _KEYS_A_STATEMENT):
        yield keys[start : start + _KEYS_A_STATEMENT]


def _keys(batch: pa.RecordBatch) -> list[str]:
    return batch.column(KEY).to_pylist()


def _prints(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    return batch.select([KEY, FINGERPRINT]).to_pylist()
