"""What an error of PostgreSQL means (DESIGN.md §4, Failure classes), decided here and nowhere else.

Works by SQLSTATE on psycopg2's errors, on SQLAlchemy's wrapping of them and on ADBC's, without importing any
of the three. Where libpq gives no SQLSTATE (a connection that was never made, or broke) its words decide.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from sync_pipelines.engine import whence
from sync_pipelines.engine.errors import (
    ConfigurationError,
    MigrationDueError,
    RecordError,
    RunError,
    SyncError,
    TransientError,
)

MISSING_OBJECT = frozenset({"3F000", "42P01", "42703", "42883", "42704"})
"""Schema, table, column, function or type that is not there."""

_TRANSIENT_CLASSES = ("08", "40", "53", "57", "58")
_TRANSIENT = frozenset({"25P03", "25P04", "55006", "55P03", "72000"})
_LASTING = frozenset({"53100", "53400", "57P04", "58P01", "58P02"})
"""Members of those classes that waiting does not mend: full disk, set limit, dropped database, lost file."""

_SETTINGS = ("28", "3D")
"""Classes that speak of the connection's own settings: user, password, name of the database."""

_RECORD_CLASSES = ("22", "23")
_RECORD = frozenset({"54000"})
"""An index row that is too large."""

_RAISED = "P0001"
"""What RAISE EXCEPTION gives where the function names no other code."""

_REMEDIES = {
    _RAISED: "A trigger or function of the application refuses this: it says what it wants.",
    "28": "Check user and password in {url}, and the server's pg_hba.conf.",
    "3D000": "Check the database's name in {url}, or create it.",
    "42501": "Grant the role of this connection what the message names.",
    "55P03": "Another session holds a lock on the table or on a row of it: an open transaction, a migration, TRUNCATE, "
    "VACUUM FULL.",
    "25006": "The server is a standby or read-only: point {url} to the primary.",
    "53100": "Free or add space on the server's disk.",
    "57P04": "The database was dropped: restore it, or correct {url}.",
}
_REMEDIES_BY_WORDS = {
    "row-level security": "Rows that this role may not see would be taken for deleted: ALTER ROLE … BYPASSRLS for the "
    "role of this connection, or DISABLE ROW LEVEL SECURITY on the table.",
    "insert or update rules": "Rows are written with ON CONFLICT: make the table's rule a trigger.",
}
"""For messages whose SQLSTATE says too little."""
_MIGRATE = "Run `sync-pipelines db upgrade`."

# libpq's words for refusals that have no SQLSTATE in psycopg2, and the SQLSTATE that the server sent.
_WORDS = (
    (re.compile(r"password authentication failed|no password supplied|authentication failed", re.I), "28P01"),
    (re.compile(r"no pg_hba\.conf entry|role \".*\" does not exist|not permitted to log in", re.I), "28000"),
    (re.compile(r"database \".*\" does not exist", re.I), "3D000"),
    (re.compile(r"too many (clients|connections)|remaining connection slots", re.I), "53300"),
    (re.compile(r"permission denied for", re.I), "42501"),
    (re.compile(r"session is read-only|server is in hot standby mode", re.I), "25006"),
)
_NO_SUCH_HOST = re.compile(r"could not translate host name|could not parse network address", re.I)
_LATER = re.compile(r"temporary failure|try again", re.I)
_WRONG_SETTING = re.compile(
    r"invalid (?:dsn|URI|connection option|sslmode|port|integer)|certificate|root\.crt|does not support SSL", re.I
)
_BROKEN = re.compile(
    r"refused|reset by peer|closed the connection|could not connect|connection .*(?:failed|closed|lost)"
    r"|timed? ?out|timeout|SSL SYSCALL|SSL connection|could not (?:receive|send) data|EOF detected"
    r"|broken pipe|unreachable|no connection to the server|terminating connection|starting up"
    r"|shutting down|recovery mode",
    re.I,
)
_REFUSED = re.compile(r"connection refused", re.I)
_START = "Start the server, or correct host and port in {url}."
_ASKS = re.compile(r"\s*Is the server running (?:on that host|locally)[^?]*\?", re.I)
"""What libpq adds to a refusal; the remedy says it."""
_DRIVERS = ("psycopg2", "psycopg", "sqlalchemy", "adbc_driver_manager")


def sqlstate(error: BaseException) -> str | None:
    """The five characters by which PostgreSQL names a kind of error, or None where the error has none."""
    for item in _layers(error):
        for name in ("pgcode", "sqlstate"):
            code = getattr(item, name, None)
            if isinstance(code, str) and len(code) == 5 and code != "00000":
                return code
    text = _words(error)
    return next((code for pattern, code in _WORDS if pattern.search(text)), None)


def is_database_error(error: BaseException) -> bool:
    """Whether `error` comes from one of PostgreSQL's drivers or from SQLAlchemy."""
    return any(base.__module__.partition(".")[0] in _DRIVERS for base in type(error).__mro__)


def classify(
    error: BaseException,
    *,
    database: str = "",
    sync_schema: str | None = None,
    only_ours: bool = False,
    of_records: bool = False,
    quiet: bool = False,
    sync: str | None = None,
    table: str | None = None,
) -> SyncError:
    """The failure class of `error`, with a sentence and a remedy; raise it `from None` (see `classified`).

    Args:
        error: what a driver or SQLAlchemy raised; a SyncError comes back as it is.
        database: host:port/name for the sentence, without a password (`engine.database.place`); left out of what
            is said of a record.
        sync_schema: the package's own schema: what is missing in it means that a migration is due.
        only_ours: every object of the statement is ours, so whatever is missing means that.
        of_records: the statement writes records, so what an application's trigger raises (P0001) speaks of one.
        quiet: what an application's function says is left out: it may quote any value of the row.
        sync, table: where, for the sentence.
    """
    if isinstance(error, SyncError):
        return error
    code, text = sqlstate(error), _words(error)
    if quiet and _is_of_a_function(error):
        text = "a trigger or function of the application refuses it, in words that are left out for sensitive columns"
    kind, remedy = _kind(code, text)
    if of_records and code == _RAISED:
        kind = RecordError
    if code in MISSING_OBJECT:
        if only_ours or _names(text, sync_schema):
            kind, remedy = MigrationDueError, _MIGRATE
        else:
            kind, remedy = RunError, "Check the names of schema, table and columns."
    # what is said of a record is kept and compared with what is said later; an address has many spellings
    remedy = remedy and remedy.replace("{url}", whence.url_of(database, text))
    where = f"PostgreSQL {database}" if database and kind is not RecordError else "PostgreSQL"
    state = f" [{code}]" if code else ""
    return kind(f"{where}: {text}{state}.", sync=sync, table=table, remedy=remedy)


@contextmanager
def classified(
    *,
    database: str = "",
    sync_schema: str | None = None,
    only_ours: bool = False,
    of_records: bool = False,
    quiet: bool = False,
    sync: str | None = None,
    table: str | None = None,
) -> Generator[None]:
    """Turn every driver's error of the block into a SyncError; see `classify` for the arguments."""
    try:
        yield
    except Exception as error:
        if isinstance(error, SyncError) or not is_database_error(error):
            raise
        # Not `from error`: its DETAIL and LINE quote the values of records, and every link of the chain is
        # written out, into logs and into Dagster's storage.
        raise classify(
            error,
            database=database,
            sync_schema=sync_schema,
            only_ours=only_ours,
            of_records=of_records,
            quiet=quiet,
            sync=sync,
            table=table,
        ) from None


def _is_of_a_function(error: BaseException) -> bool:
    """Whether the error was raised within a function: PostgreSQL's own words name columns, a function's name values."""
    return any(_told(layer, "context") for layer in _layers(error))


def _kind(code: str | None, text: str) -> tuple[type[SyncError], str | None]:
    if code is None:
        return _kind_of_words(text)
    told = next((remedy for words, remedy in _REMEDIES_BY_WORDS.items() if words in text.lower()), None)
    remedy = told or _REMEDIES.get(code) or _REMEDIES.get(code[:2])
    if code in _TRANSIENT or (code[:2] in _TRANSIENT_CLASSES and code not in _LASTING):
        return TransientError, remedy
    if code in _RECORD or code[:2] in _RECORD_CLASSES:
        return RecordError, None
    return (ConfigurationError if code[:2] in _SETTINGS else RunError), remedy


def _kind_of_words(text: str) -> tuple[type[SyncError], str | None]:
    if _NO_SUCH_HOST.search(text) and not _LATER.search(text):
        return ConfigurationError, "Check the host's name in {url}."
    if _WRONG_SETTING.search(text):
        return ConfigurationError, "Check the options of {url}."
    if _BROKEN.search(text) or _LATER.search(text):
        return TransientError, _START if _REFUSED.search(text) else None
    return RunError, None


def _names(text: str, schema: str | None) -> bool:
    return bool(schema) and (f'"{schema}.' in text or f'"{schema}"' in text or f" {schema}." in text)


def _layers(error: BaseException) -> Iterator[BaseException]:
    """The error, then what SQLAlchemy or a driver wrapped in it."""
    seen: set[int] = set()
    item: BaseException | None = error
    while item is not None and id(item) not in seen:
        seen.add(id(item))
        yield item
        item = getattr(item, "orig", None) or item.__cause__


def _told(error: BaseException, what: str) -> str | None:
    """One of the fields of the server's answer: psycopg2 has them as attributes, ADBC in a list."""
    found = getattr(getattr(error, "diag", None), what, None)
    if found is not None:
        return found
    details = getattr(error, "details", None)
    given = dict(details if isinstance(details, list) else ()).get(f"PG_DIAG_{what.upper()}".encode())
    return given.decode(errors="replace") if given else None


def _words(error: BaseException) -> str:
    """The message in one line, without the statement (SQLAlchemy's, ADBC's) and PostgreSQL's CONTEXT."""
    inner = getattr(error, "orig", None) or error
    text = _told(inner, "message_primary") or str(inner) or type(inner).__name__
    # ADBC repeats the whole statement, with the keys that it asks for.
    text = re.split(r"\n(?:LINE |CONTEXT:|\s*Query was:)", text, maxsplit=1)[0]
    # libpq quotes a wrong connection string whole, with its password, in no form that can be told apart.
    text = re.sub(r"(invalid dsn: .*?)(?: in \"| after \"|: \").*", r"\1", text, flags=re.S)
    return " ".join(_ASKS.sub("", text).split()).rstrip(".")
