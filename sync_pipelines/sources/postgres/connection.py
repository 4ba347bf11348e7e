"""Reading transactions on PostgreSQL: one snapshot, fixed session settings, two clients.

Small statements go through psycopg2 (a connection costs 3 ms and is pooled), bulk reading through ADBC (a
process's first connection costs 40 ms, the next 2; it reads 4 times as fast as a server-side cursor, see
facts/performance.md). Both run the same SQL text, which casts every column to a type that both clients give back alike.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Protocol

import pyarrow as pa
import sqlalchemy as sa

from sync_pipelines.engine.database import connect_options, make_engine
from sync_pipelines.engine.model import FINGERPRINT, KEY
from sync_pipelines.engine.urls import NormalisedUrl, normalise_url, with_parameters, with_setting

__all__ = ["NormalisedUrl", "Session", "bulk_transaction", "normalise_url", "pool", "small_transaction"]

APPLICATION_NAME = "sync_pipelines"

SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "xmlbinary": "base64",
    "quote_all_identifiers": "off",
    "search_path": "pg_catalog, pg_temp",
    # A policy that hides rows from this role raises: hidden rows would be taken for deleted ones.
    "row_security": "off",
    # A cursor is read to its end; planned for its first rows, by the default, it may take twice the time.
    "cursor_tuple_fraction": "1",
}
"""What rows, and a value's text, depend on; fixed, so that keys and fingerprints are the same for every reader."""

BATCH_ROWS = 1000
_BATCH_BYTES = 1024 * 1024
_FETCH_FIRST = 4
_FETCH_ROWS = 32
"""Rows a FETCH, at first and at most: a row may be as large as a hundred before it (32 rows of 1 MB are 32 MB)."""
LOCK_TIMEOUT_MS = 30_000
"""So long a reader waits where somebody has locked a table against it (an ALTER TABLE that was left open)."""


class Session(Protocol):
    """One open reading transaction."""

    def all(self, sql: str) -> list[dict[str, Any]]:
        """Every row of a small result; values are text, int, bool, or what the client makes of the type."""
        ...

    def stream(self, sql: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of a result in batches of at most `BATCH_ROWS`, its columns in the order of `schema`."""
        ...


class Writing(Session, Protocol):
    """An open transaction that may write."""

    def execute(self, sql: str) -> None:
        """Run a statement that gives no rows."""
        ...


def settings_sql(*, wait_for_locks: bool = False, for_session: bool = False, **more: str) -> str:
    """A SELECT that fixes `SETTINGS` for the transaction, in one round trip.

    Args:
        wait_for_locks: for `LOCK_TIMEOUT_MS` and no longer; else as the transaction has it.
        for_session: beyond the transaction, for whoever has the connection alone. more: other settings.
    """
    settings = {**SETTINGS, **({"lock_timeout": str(LOCK_TIMEOUT_MS)} if wait_for_locks else {}), **more}
    local = str(not for_session).lower()
    calls = (f"pg_catalog.set_config('{name}', '{value}', {local}) AS {name}" for name, value in settings.items())
    return f"SELECT {', '.join(calls)}"


@functools.lru_cache(maxsize=32)
def pool(url: str, pool_max: int) -> sa.Engine:
    """The process's one pool for a database; it connects when it is first used."""
    return make_engine(url, pool_max=pool_max, application_name=APPLICATION_NAME)


class _Small:
    """A transaction on psycopg2."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, sql: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)

    def all(self, sql: str) -> list[dict[str, Any]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def stream(self, sql: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        # A cursor of the server's: the client's own holds the whole result (900 rows of 512 KB took 2.1 GB).
        with self._connection.cursor(name=f"stream_{next(_names)}") as cursor:
            cursor.execute(sql)
            for rows in _by_bytes(_fetched(cursor, most=_most_rows(schema))):
                columns = zip(*rows, strict=True)
                arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def lock_limit(*, session: bool = False) -> str:
    """The statement by which a transaction, or a session, waits for a lock for `LOCK_TIMEOUT_MS` and no longer."""
    return f"SET {'' if session else 'LOCAL '}lock_timeout = {LOCK_TIMEOUT_MS}"


class _Patient(_Small):
    """A transaction that waits for a lock for `LOCK_TIMEOUT_MS`, said in the message of its first statement."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self._first = f"{lock_limit()}; "

    def execute(self, sql: str) -> None:
        super().execute(self._begun() + sql)

    def all(self, sql: str) -> list[dict[str, Any]]:
        return super().all(self._begun() + sql)

    def _begun(self) -> str:
        first, self._first = self._first, ""
        return first


_names = itertools.count(1)


def _most_rows(schema: pa.Schema) -> int:
    """Keys and fingerprints are short: an index holds no key of more than 2.7 kB."""
    return BATCH_ROWS if {KEY, FINGERPRINT}.issuperset(schema.names) else _FETCH_ROWS


def _fetched(cursor: Any, *, most: int) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Rows and their sizes in bytes (roughly); each FETCH asks for as many as the largest row so far allows."""
    number, largest = min(_FETCH_FIRST, most), 1
    while rows := cursor.fetchmany(number):
        for row in rows:
            size = sum(len(value) for value in row if isinstance(value, str))
            largest = max(largest, size)
            yield row, size
        if len(rows) < number:
            return
        number = max(1, min(2 * number, most, _BATCH_BYTES // largest))


def _by_bytes(rows: Iterator[tuple[tuple[Any, ...], int]]) -> Iterator[list[tuple[Any, ...]]]:
    """Batches of at most `BATCH_ROWS` that end with the row that makes them reach `_BATCH_BYTES`."""
    batch: list[tuple[Any, ...]] = []
    held = 0
    for row, size in rows:
        batch.append(row)
        held += size
        if held >= _BATCH_BYTES or len(batch) >= BATCH_ROWS:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


class _Bulk:
    """A transaction on ADBC, whose results arrive as Arrow batches through COPY BINARY."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, sql: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)

    def all(self, sql: str) -> list[dict[str, Any]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return [
                {name: _utc(value) for name, value in row.items()} for row in cursor.fetch_arrow_table().to_pylist()
            ]

    def stream(self, sql: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self._connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)})
            cursor.execute(sql)
            with cursor.fetch_record_batch() as reader:
                for batch in reader:
                    yield from _slices(pa.RecordBatch.from_arrays(batch.columns, schema=schema))


def _utc(value: Any) -> Any:
    # Arrow gives ZoneInfo("UTC") where psycopg2 gives timezone.utc.
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, BATCH_ROWS):
        yield batch.slice(start, BATCH_ROWS)


@contextmanager
def plain_session(url: NormalisedUrl, *, pool_max: int) -> Generator[Session]:
    """A read-only transaction with the connection's own settings: there its search_path finds tables."""
    connection = pool(url.sqlalchemy, pool_max).raw_connection()
    try:
        session = _Small(connection)
        session.execute("SET TRANSACTION READ ONLY")
        yield session
    finally:
        connection.close()


@contextmanager
def small_transaction(url: NormalisedUrl, *, pool_max: int, locks: Sequence[str] = ()) -> Generator[Session]:
    """A REPEATABLE READ READ ONLY transaction on a pooled psycopg2 connection.

    Args:
        url: the database.
        pool_max: the most connections of the process's pool for it.
        locks: relations (as SQL) to hold in ACCESS SHARE mode before the snapshot is taken.
    """
    connection = pool(url.sqlalchemy, pool_max).raw_connection()
    try:
        session = _Small(connection)
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        _prepare(session, locks)
        yield session
    finally:
        # Back into the pool, which rolls back; a broken connection is thrown away there.
        connection.close()


@contextmanager
def writing_transaction(url: NormalisedUrl, *, pool_max: int = 10) -> Generator[Writing]:
    """A READ COMMITTED transaction that may write; committed at the end of the block, rolled back on an error.

    It waits for a lock as a reader does: a consumer that waited for ever would hold its target's lock as long.
    """
    connection = pool(url.sqlalchemy, pool_max).raw_connection()
    try:
        yield _Patient(connection)
        connection.commit()
    finally:
        connection.close()


@contextmanager
def bulk_transaction(url: NormalisedUrl, *, locks: Sequence[str] = ()) -> Generator[Session]:
    """The same transaction on an ADBC connection of its own; see `small_transaction`."""
    connection = bulk_connection(url)
    try:
        session = _Bulk(connection)
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        _prepare(session, locks)
        yield session
        session.execute("COMMIT")
    finally:
        # What the block raised says more than the complaint about a statement that it left open.
        with suppress(Exception):
            connection.close()


def bulk_connection(url: NormalisedUrl, *, types_of_today: bool = False) -> Any:
    """One ADBC connection in autocommit mode; the caller closes it.

    Args:
        url: the database.
        types_of_today: know the types that exist now (35 ms, and more with each table of the database); else those
            that the process has found before, which is enough where all is cast to types of PostgreSQL's own.
    """
    options = connect_options(sa.make_url(url.sqlalchemy), APPLICATION_NAME)
    named = {name: str(value) for name, value in options.items()}
    address = with_parameters(url.libpq, client_encoding="UTF8", **named)
    return _connected(_read_types(address) if types_of_today else _known_types(address))


def _read_types(address: str) -> Any:
    """The driver's database, which holds the types that it has read there, and no connection.

    It knows no type whose functions are quoted, as `quote_all_identifiers` of a database or a role has them: all would
    be bytes.
    """
    import adbc_driver_postgresql

    database = adbc_driver_postgresql.connect(address)
    with closing(_connected(database)) as connection:
        [row] = _Bulk(connection).all("SELECT pg_catalog.current_setting('quote_all_identifiers') AS said")
    if row["said"] == "off":
        return database
    database.close()
    # only then: a pooler such as PgBouncer may refuse options in the first message
    return adbc_driver_postgresql.connect(with_setting(address, "quote_all_identifiers", "off"))


_known_types = functools.lru_cache(maxsize=8)(_read_types)


class _Kept:
    """A driver's database that outlives the connections which would close it with themselves."""

    def __init__(self, database: Any) -> None:
        self._database = database

    def close(self) -> None:
        pass


def _connected(database: Any) -> Any:
    import adbc_driver_manager
    from adbc_driver_manager import dbapi

    kept: Any = _Kept(database)
    return dbapi.Connection(kept, adbc_driver_manager.AdbcConnection(database), autocommit=True)


def bulk_session(connection: Any) -> Session:
    """`Session` on such a connection, whose transaction somebody else holds."""
    return _Bulk(connection)


def _prepare(session: _Small | _Bulk, locks: Sequence[str]) -> None:
    """Lock, then fix the settings, which also takes the snapshot.

    TRUNCATE is not MVCC-safe: a snapshot older than a TRUNCATE sees an empty table that no log explains. With
    the lock taken first, a TRUNCATE is either in the snapshot or waits until we have read.
    """
    if locks:
        session.execute(lock_limit())
        session.execute(f"LOCK TABLE {', '.join(locks)} IN ACCESS SHARE MODE")
    session.all(settings_sql(wait_for_locks=True))
