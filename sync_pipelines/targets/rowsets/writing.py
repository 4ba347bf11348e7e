"""Writing documents: payload, rows, history and check of a batch in one transaction, and only what is another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sync_pipelines.engine import pg_errors
from sync_pipelines.engine.database import connect
from sync_pipelines.engine.errors import RecordError
from sync_pipelines.engine.model import UNFETCHED, WAITING, BatchResult, Counts, Parent, Rejection
from sync_pipelines.engine.rowsets import Row, changes_of, plain, told
from sync_pipelines.engine.sql import identifier
from sync_pipelines.engine.urls import NormalisedUrl
from sync_pipelines.sources.postgres.connection import APPLICATION_NAME, lock_limit
from sync_pipelines.targets.rowsets.batch import STORED, Document, hash_of, parts_of
from sync_pipelines.targets.rowsets.books import Books
from sync_pipelines.targets.rowsets.difference import Difference, unwritten
from sync_pipelines.targets.rowsets.layout import Documents, Layout, SqlTable
from sync_pipelines.targets.rowsets.marking import BACK, Marking, Marks
from sync_pipelines.targets.rowsets.reading import Payload, arrays, payloads, stored, versions


@dataclass(kw_only=True)
class Done:
    """What became of a batch."""

    counts: Counts = field(default_factory=Counts)
    rejected: list[Rejection] = field(default_factory=list)


class Writer:
    """One connection that writes documents; a context manager.

    Args:
        url: the database. documents, layout, books: where they go. before_write: called before rows are written.
        requests: gives how many requests were sent since it was last asked, and the API's name; None where none are.
        check_marks: called before documents are marked as gone, see `engine.guarded.Marking`.
    """

    def __init__(
        self,
        url: NormalisedUrl,
        documents: Documents,
        layout: Layout,
        books: Books,
        *,
        before_write: Callable[[], object] = lambda: None,
        requests: Callable[[], tuple[str, int]] | None = None,
        check_marks: Callable[[int, int], object] = lambda gone, found: None,
    ) -> None:
        self._marking = Marking(books, check_marks)
        self._url, self._documents, self._layout, self._books = url, documents, layout, books
        self._before_write, self._requests = before_write, requests
        self._connection: Any = None

    def __enter__(self) -> Writer:
        with self.errors():
            self._connection = connect(self._url.libpq, APPLICATION_NAME)
            with self._connection.cursor() as cursor:
                cursor.execute("SET TimeZone = 'UTC'")
                cursor.execute(lock_limit(session=True))
            self._connection.autocommit = False
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):
            self._connection.close()

    def write(self, documents: Sequence[Document]) -> BatchResult:
        """Bring documents, each key once, into the tables; one that PostgreSQL refuses is refused alone."""
        documents = [item for item in documents if item.is_there]
        keys = [item.key for item in documents]
        try:
            done = self._together(documents)
        except RecordError:
            done = self._one_by_one(documents)
        return BatchResult(counts=done.counts, rejected=done.rejected, keys=keys)

    def differences(self, documents: Sequence[Document]) -> list[Difference]:
        """What these documents would change, without those that would be refused for what is there; writes nothing."""
        try:
            with self._transaction() as cursor:
                return self._differences(cursor, documents)
        except RecordError:
            if len(documents) == 1:
                return []
            return [found for item in documents for found in self.differences([item])]

    def _together(self, documents: Sequence[Document]) -> Done:
        done = Done()
        with self._transaction() as cursor:
            marks = self._marking.of(cursor, documents)
            found = self._differences(cursor, [item for item in documents if item.rows is not None])
            if marks.back or any(item.noted for item in found) or any(item.status == "absent" for item in documents):
                self._before_write()
            self._write_rows(cursor, found)
            self._note(cursor, documents, found, marks, done)
        self._marking.keep(marks)
        return done

    def _one_by_one(self, documents: Sequence[Document]) -> Done:
        done = Done()
        for document in documents:
            try:
                part = self._together([document])
            except RecordError as error:
                part = self._refused(document, error)
            done.counts += part.counts
            done.rejected += part.rejected
        return done

    def _refused(self, document: Document, error: RecordError) -> Done:
        """A document whose rows a constraint refuses: its payload and its check are kept."""
        waits = "[23503]" in error.message
        done = Done(counts=Counts(quarantined=1))
        stage, parent = (WAITING, self.parent_of(document)) if waits else ("write", None)
        done.rejected.append(Rejection(key=document.key, reason=error.message, stage=stage, parent=parent))
        with self._transaction() as cursor:
            self._note_broken(cursor, [document])
            self._note_checks(cursor, [document], status="waiting" if waits else "refused", reason=error.message)
        return done

    def parent_of(self, document: Document) -> Parent | None:
        """What it waits for, where the columns of its key alone say it."""
        for table, reference in self._layout.references.values():
            parts = dict(zip(table.rows.record, parts_of(document.key, len(table.rows.record)), strict=True))
            values = tuple(parts[name] for name in reference.columns)
            return Parent(constraint=reference.name, columns=reference.columns, values=values)
        return None

    # What differs

    def _differences(self, cursor: Any, documents: Sequence[Document]) -> list[Difference]:
        keys = [item.key for item in documents]
        held, kept = stored(cursor, self._layout, keys), payloads(cursor, self._books, keys)
        empty: dict[str, list[Row]] = {table.name: [] for table in self._layout.rows}
        found = [self._difference(item, held.get(item.key, empty), kept.get(item.key)) for item in documents]
        return self._with_history(cursor, found)

    def _with_history(self, cursor: Any, found: list[Difference]) -> list[Difference]:
        """Those whose payload is not there, with the version of their history, which has each version once."""
        if lost := [item.document.key for item in found if item.before is None]:
            known = versions(cursor, self._books, lost)
            found = [replace(item, told=known.get(item.document.key, 0)) for item in found]
        return found

    def _difference(self, document: Document, held: dict[str, list[Row]], before: Payload | None) -> Difference:
        assert document.rows is not None
        own = self._layout.own
        self._require_one_row_a_key(document, held)
        tables = [changes_of(table, held[table.name], document.rows[table.name]) for table in self._layout.rows]
        is_new = before is None and not any(held.values())
        history = [
            change
            for item in tables
            if not is_new
            for change in told(item, held[item.table.name], main=own is not None and item.table is own.rows)
        ]
        mark = hash_of(document.payload)
        return Difference(document=document, tables=tables, history=history, before=before, hash=mark, is_new=is_new)

    def _require_one_row_a_key(self, document: Document, held: Mapping[str, list[Row]]) -> None:
        """An application's table may have no unique key: which of two rows is the one that is meant, nobody knows."""
        for table in self._layout.tables:
            rows = Counter(map(table.rows.place, held[table.rows.name]))
            for place, number in rows.items():
                if number > 1:
                    raise self._held_twice(document, table, place, number)

    def _held_twice(self, document: Document, table: SqlTable, place: tuple[Any, ...], number: int) -> RecordError:
        columns = ", ".join(map(table.column, table.rows.identity))
        parts = parts_of(document.key, len(table.rows.record))
        text = f"{table.sql} holds {number} rows of the key {', '.join(map(str, (*parts, *place)))}: delete all but one"
        text = f"{text}, and let a unique index of ({columns}) keep it so."
        return RecordError(self._documents.hidden.text(text, parts, document.payload))

    # Writing

    def _write_rows(self, cursor: Any, found: Sequence[Difference]) -> None:
        """Parents first, and what vanished last, children first."""
        changed = [item for item in found if item.changed]
        for number, table in enumerate(self._layout.tables):
            self._insert(cursor, table, changed, number)
            for item in changed:
                for row, names in item.tables[number].updates:
                    self._update(cursor, table, row, names)
        for number, table in reversed(list(enumerate(self._layout.tables))):
            self._delete(cursor, table, [row for item in changed for row in item.tables[number].deletes])
        self._keep_own(cursor, changed)

    def _insert(self, cursor: Any, table: SqlTable, changed: Sequence[Difference], number: int) -> None:
        given = [row for item in changed for row in item.tables[number].inserts]
        names = list(table.rows.kinds)
        columns = ", ".join(map(table.column, names))
        _values(
            cursor, f"INSERT INTO {table.sql} ({columns}) VALUES %s", [_adapted(table, row, names) for row in given]
        )

    def _update(self, cursor: Any, table: SqlTable, row: Row, names: Sequence[str]) -> None:
        assigned = ", ".join(f"{table.column(name)} = %s" for name in names)
        identity = table.rows.identity
        where = " AND ".join(f"{table.column(name)} = %s" for name in identity)
        values = [*_adapted(table, row, names), *_adapted(table, row, identity)]
        cursor.execute(f"UPDATE {table.sql} SET {assigned} WHERE {where}", values)

    def _delete(self, cursor: Any, table: SqlTable, gone: Sequence[Row]) -> None:
        identity = table.rows.identity
        names = ", ".join(map(identifier, identity))
        where = " AND ".join(f"t.{table.column(name)} = v.{identifier(name)}" for name in identity)
        statement = f"DELETE FROM {table.sql} AS t USING (VALUES %s) AS v({names}) WHERE {where}"
        casts = ", ".join(f"%s::{table.columns[name].pg_type}" for name in identity)
        _values(cursor, statement, [_adapted(table, row, identity) for row in gone], template=f"({casts})")

    def _keep_own(self, cursor: Any, changed: Sequence[Difference]) -> None:
        """Version and time in the document's own row."""
        own, kept = self._layout.own, sorted(self._layout.kept.difference({"sync_status"}))
        if own is None or not kept:
            return
        assigned = ", ".join(f"{identifier(name)} = %s" for name in kept)
        for item in changed:
            values = {"data_version": item.version, "last_updated": _now()}
            statement = f"UPDATE {own.sql} AS t SET {assigned} FROM {own.keys} WHERE {own.matches}"
            cursor.execute(statement, [*(values[name] for name in kept), *_arrays(own, [item.document])])

    def _keep_status(self, cursor: Any, documents: Sequence[Document], status: str) -> None:
        """Whether the source still has it, in the document's own row; a row that says so already is not touched."""
        own = self._layout.own
        documents = [item for item in documents if self._layout.misfit(item.key) is None]
        if own is None or "sync_status" not in self._layout.kept or not documents:
            return
        statement = (
            f"UPDATE {own.sql} AS t SET sync_status = %s FROM {own.keys} "
            f"WHERE {own.matches} AND t.sync_status IS DISTINCT FROM %s"
        )
        cursor.execute(statement, [status, *_arrays(own, documents), status])

    # Books

    def _note(
        self, cursor: Any, documents: Sequence[Document], found: list[Difference], marks: Marks, done: Done
    ) -> None:
        self._note_payloads(cursor, found)
        self._note_broken(cursor, [item for item in documents if _broken(item)])
        self._note_history(cursor, found)
        gone = [item for item in documents if item.status == "absent" and item.has_key]
        self._keep_status(cursor, gone, "not_found")
        self._keep_status(cursor, [item for item in documents if item.status == "current"], "synced")
        self._note_checks(cursor, documents, back=marks.back)
        self._note_requests(cursor)
        done.rejected += [_rejection(item) for item in documents if item.problem]
        done.counts += _counted(documents, found, marks)

    def _note_broken(self, cursor: Any, documents: Sequence[Document]) -> None:
        """Keep the payloads of documents that give no rows, or none that the tables take."""
        kept = payloads(cursor, self._books, [item.key for item in documents])
        found = [unwritten(item, kept.get(item.key)) for item in documents]
        self._note_payloads(cursor, self._with_history(cursor, found))

    def _note_payloads(self, cursor: Any, found: Sequence[Difference]) -> None:
        from psycopg2.extras import Json

        rows = [
            (
                item.document.key,
                Json(item.document.payload),
                item.hash,
                item.document.at or _now(),
                item.version,
                _now(),
            )
            for item in found
            if item.noted
        ]
        _values(cursor, self._books.note_payloads(), rows, template="(%s, %s::jsonb, %s, %s, %s::bigint, %s)")

    def _note_history(self, cursor: Any, found: Sequence[Difference]) -> None:
        from psycopg2.extras import Json

        rows = [
            (item.document.key, item.version, change.path, _json(change.old, Json), _json(change.new, Json), _now())
            for item in found
            for change in item.history
        ]
        _values(cursor, self._books.note_changes(), rows, template="(%s, %s::bigint, %s, %s::jsonb, %s::jsonb, %s)")

    def _note_checks(
        self,
        cursor: Any,
        documents: Sequence[Document],
        *,
        status: str | None = None,
        reason: str | None = None,
        back: Collection[str] = (),
    ) -> None:
        rows = [
            (
                item.key,
                item.at,
                None if item.status in ("failed", "absent") else item.at,
                status or ("refused" if item.problem and item.status == "current" else item.status),
                item.http_status,
                reason or item.problem or (BACK if item.key in back else None),
            )
            for item in documents
            if item.status != STORED
        ]
        casts = "(%s, %s::timestamptz, %s::timestamptz, %s, %s::int, %s)"
        _values(cursor, self._books.note_checks(_now()), rows, template=casts)

    def _note_requests(self, cursor: Any) -> None:
        if self._requests is not None:
            api, sent = self._requests()
            if sent:
                cursor.execute(self._books.note_requests(), [api, sent])

    @contextmanager
    def _transaction(self) -> Generator[Any]:
        with self.errors():
            try:
                with self._connection.cursor() as cursor:
                    # a constraint that waits for the commit would fail the whole batch there
                    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                    yield cursor
                self._connection.commit()
            finally:
                with suppress(Exception):
                    self._connection.rollback()

    @contextmanager
    def errors(self) -> Generator[None]:
        """What PostgreSQL raises, as the engine's classes."""
        asked = self._documents
        with pg_errors.classified(
            database=self._url.safe, of_records=True, quiet=bool(asked.hidden), sync=asked.sync, table=asked.name
        ):
            yield


def _broken(item: Document) -> bool:
    return item.problem is not None and item.payload is not None


def _rejection(item: Document) -> Rejection:
    stage = "map" if item.payload is not None or item.status == "current" else UNFETCHED
    return Rejection(key=item.key, reason=item.problem or "", stage=stage)


def _counted(documents: Sequence[Document], found: Sequence[Difference], marks: Marks) -> Counts:
    written = sum(item.changed for item in found)
    beside = sum(item.noted and not item.changed for item in found) + marks.alone(found)
    refused = sum(item.problem is not None for item in documents)
    return Counts(
        upserted=written,
        metadata_only=beside,
        unchanged=len(documents) - written - beside - refused,
        quarantined=refused,
    )


def _arrays(own: SqlTable, documents: Sequence[Document]) -> list[list[str]]:
    return arrays([item.key for item in documents], len(own.rows.record))


def _adapted(table: SqlTable, row: Row, names: Iterable[str]) -> list[Any]:
    return [_argument(row[name], is_json=table.rows.kinds[name] == "json") for name in names]


def _argument(value: Any, *, is_json: bool) -> Any:
    from psycopg2.extras import Json

    if isinstance(value, Decimal) and value.is_infinite():
        return str(value)  # psycopg2 would write NaN
    return Json(value) if is_json and value is not None else value


def _json(value: Any, wrap: Any) -> Any:
    return None if value is None else wrap(plain(value))


def _now() -> datetime:
    return datetime.now(UTC)


def _values(cursor: Any, statement: str, rows: Sequence[Sequence[Any]], template: str | None = None) -> None:
    from psycopg2.extras import execute_values

    if rows:
        execute_values(cursor, statement, rows, template=template, page_size=500)
