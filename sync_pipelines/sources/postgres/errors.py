"""What an error while reading PostgreSQL means; SQLSTATEs are judged in `engine.pg_errors`.

Two things are special about a source. ADBC raises a bare OSError, without SQLSTATE, when a stream breaks off
half-way; and a data error in our own statement is no fault of one record: it stops the run.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager

import pyarrow as pa

from sync_pipelines.engine import pg_errors
from sync_pipelines.engine.errors import RecordError, RunError, SyncError, TransientError
from sync_pipelines.engine.urls import NormalisedUrl

_TIMEOUT = "57014"
_ROW_SECURITY = re.compile(r"row-level security", re.I)

_REMEDIES = {
    "42501": "GRANT the role of this connection SELECT on the table, and on schema {schema}: USAGE, and SELECT "
    "on its change_log, captured_tables, capture_readers and capture_marks; where row-level security hides rows, "
    "BYPASSRLS.",
    _TIMEOUT: "If it comes again, raise statement_timeout for this role, or read from a standby.",
}


class InvalidKeyError(RunError):
    """A key's text is no value of the key column's type."""


def is_reading_error(error: BaseException) -> bool:
    """Whether `error` comes from a driver, SQLAlchemy, or Arrow's reading of a driver's stream."""
    return pg_errors.is_database_error(error) or isinstance(error, OSError | pa.ArrowException)


def classify(
    error: BaseException,
    *,
    url: NormalisedUrl,
    sync: str | None = None,
    table: str | None = None,
    sync_schema: str = "sync",
) -> SyncError:
    """The failure class of an error while reading; the text never holds the password.

    Args:
        error: what psycopg2, SQLAlchemy, ADBC or Arrow raised.
        url: the connection, for the sentence and to blot out its password.
        sync, table: where, for the sentence.
        sync_schema: for the remedy of a missing right.
    """
    if isinstance(error, SyncError):
        return error
    code = pg_errors.sqlstate(error)
    found = pg_errors.classify(error, database=url.safe, sync_schema=sync_schema)
    kind = TransientError if _broken_stream(error, code) else type(found)
    if isinstance(found, RecordError):
        kind = InvalidKeyError if code and code[:2] == "22" else RunError
    told = None if _ROW_SECURITY.search(found.message) else _REMEDIES.get(code or "")
    remedy = told.format(schema=sync_schema) if told else found.remedy
    return kind(url.scrub(found.message), sync=sync, table=table, remedy=remedy)


def _broken_stream(error: BaseException, code: str | None) -> bool:
    """A stream that broke off: libpq's words for a lost connection may be in the server's language."""
    return code is None and isinstance(error, OSError) and "ERROR:" not in str(error)


@contextmanager
def reading(
    url: NormalisedUrl, *, sync: str | None = None, table: str | None = None, sync_schema: str = "sync"
) -> Generator[None]:
    """Turn the errors of a block that reads into SyncErrors; see `classify`."""
    try:
        yield
    except Exception as error:
        if isinstance(error, SyncError) or not is_reading_error(error):
            raise
        # Not `from error`, whose statement and DETAIL hold keys and values: see `pg_errors.classified`.
        raise classify(error, url=url, sync=sync, table=table, sync_schema=sync_schema) from None
