"""One statement on whichever connection the application has, in the transaction that is open there.

No driver is imported here: what is given tells by itself where it comes from.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sync_pipelines.publisher.errors import (
    EventIdConflictError,
    InvalidEventError,
    NotInstalledError,
    PayloadTooLargeError,
    PublishError,
    VersionConflictError,
)

Values = Mapping[str, str | None]
Parse = Callable[[list[str]], Any]

_REFUSALS: dict[str, type[PublishError]] = {
    "SY001": InvalidEventError,
    "SY002": VersionConflictError,
    "SY003": EventIdConflictError,
    "SY004": PayloadTooLargeError,
}
"""SQLSTATEs that `publish_event` raises."""

_UNSTORABLE = frozenset({"22P02", "22P05", "22021"})
"""Text that this database cannot hold, such as a letter that its encoding lacks."""

_MISSING = frozenset({"3F000", "42883", "42P01"})


class Statement:
    """A call with text parameters that gives one text, in each driver's spelling.

    Args:
        before, after: what stands before and after the parameters.
        parameters: their names, and the types that their texts are cast to.
        schema: the sync schema, for the remedy of what is missing.
    """

    def __init__(self, before: str, parameters: Mapping[str, str], after: str, *, schema: str) -> None:
        self._before, self._parameters, self._after, self._schema = before, parameters, after, schema
        self._clause: Any = None

    def run(self, connection: Any, values: Sequence[Values], parse: Parse) -> Any:
        """Run it with each of these values; gives what `parse` makes of the answers.

        Of an async connection it gives an awaitable of it.

        Raises:
            TypeError: for an object that is no connection.
            PublishError: when `publish_event` refuses, is not there, or is not allowed.
        """
        connection = _of_this_thread(connection)
        executes = hasattr(connection, "execute")  # an engine, or a maker of sessions, does not
        if executes and _is_from(connection, "sqlalchemy.ext.asyncio"):
            return self._later(connection, values, parse)
        with _Translating(self._schema):
            if not (executes and _is_from(connection, "sqlalchemy.orm", "sqlalchemy.engine.base.Connection")):
                return parse(self._by_cursor(connection, values))
            if _is_due(connection):
                connection.flush()
            return parse([connection.execute(self._text(), value).scalar_one() for value in values])

    async def _later(self, connection: Any, values: Sequence[Values], parse: Parse) -> Any:
        with _Translating(self._schema):
            if _is_due(getattr(connection, "sync_session", None)):
                await connection.flush()
            answers = [await connection.execute(self._text(), value) for value in values]
            return parse([answer.scalar_one() for answer in answers])

    def _by_cursor(self, connection: Any, values: Sequence[Values]) -> list[str]:
        """By a new cursor: the caller's may hold rows that are not fetched yet, or make dicts of rows."""
        before, after = (part.replace("%", "%%") for part in (self._before, self._after))
        statement = f"{before}{self._casts('%s')}{after}"
        cursor = _cursor(connection)
        try:
            answers = []
            for value in values:
                cursor.execute(statement, [value[name] for name in self._parameters])
                answers.append(_only(cursor.fetchone()))
            return answers
        finally:
            cursor.close()

    def _text(self) -> Any:
        if self._clause is None:
            import sqlalchemy as sa

            before, after = (part.replace(":", "\\:") for part in (self._before, self._after))
            texts = [sa.bindparam(name, type_=sa.Text()) for name in self._parameters]
            self._clause = sa.text(f"{before}{self._casts(':{name}')}{after}").bindparams(*texts)
        return self._clause

    def _casts(self, mark: str) -> str:
        marks = {name: mark.format(name=name) for name in self._parameters}
        return ", ".join(f"CAST({marks[name]} AS {kind})" for name, kind in self._parameters.items())


def _is_from(connection: Any, *names: str) -> bool:
    """Whether a class of the object stands in one of these modules, or is one of these."""
    return any(f"{base.__module__}.{base.__name__}".startswith(names) for base in type(connection).__mro__)


def _of_this_thread(connection: Any) -> Any:
    """The session behind a scoped_session, by which web frameworks hand theirs on."""
    is_scoped = _is_from(connection, "sqlalchemy.orm.scoping", "sqlalchemy.ext.asyncio.scoping")
    return connection.registry() if is_scoped else connection


def _is_due(session: Any) -> bool:
    """Whether a session's changes are to be written first: the entity's row is locked before its version is.

    SQLAlchemy 2.1 does so by itself before a statement that is a text, 2.0 does not. Not within the session's own
    flush (a hook such as after_flush may publish), nor where the application flushes by itself.
    """
    return getattr(session, "autoflush", False) and not getattr(session, "_flushing", False)


def _cursor(connection: Any) -> Any:
    is_cursor = hasattr(connection, "execute") and hasattr(connection, "fetchone")
    source = connection.connection if is_cursor else connection
    asks_later = inspect.iscoroutinefunction(getattr(source, "execute", None))
    if asks_later or not callable(getattr(source, "cursor", None)):
        raise TypeError(
            f"{type(connection).__module__}.{type(connection).__name__} is no connection to publish on: give one of "
            "psycopg2 (or a cursor), or SQLAlchemy's Connection, Session, AsyncConnection or AsyncSession."
        )
    return source.cursor()


def _only(row: Any) -> str:
    return next(iter(row.values())) if isinstance(row, dict) else row[0]


class _Translating:
    """Turn what PostgreSQL refuses into errors of this package; deadlocks and outages stay what they are."""

    def __init__(self, schema: str) -> None:
        self._schema = schema

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and (found := translated(error, self._schema)) is not None:
            raise found from error


def translated(error: BaseException, schema: str) -> PublishError | None:
    """The error of this package that a driver's error means; None where it means none."""
    driver = _driver_error(error)
    code = getattr(driver, "pgcode", None) or getattr(driver, "sqlstate", None)
    message, hint = _words(driver)
    if code in _REFUSALS:
        return _REFUSALS[code](message, remedy=hint)
    if code == "23505" and "sync_event_log_event_id_key" in message:
        return EventIdConflictError(
            "The event_id is that of another event.", remedy="Give each event an id of its own, or none."
        )
    if code in _UNSTORABLE:
        return InvalidEventError(f"The database cannot hold this event: {message}.", remedy="Take that text out.")
    if code in _MISSING:
        return NotInstalledError(
            f"There is no function publish_event in schema {schema!r}.", remedy="Run `sync-pipelines db upgrade`."
        )
    if code == "42501":
        return NotInstalledError(
            f"This role may not publish: {message}.",
            remedy=f"GRANT USAGE ON SCHEMA {schema} and EXECUTE ON FUNCTION {schema}.publish_event TO it.",
        )
    return None


def _driver_error(error: BaseException) -> BaseException:
    """The driver's own error, out of what SQLAlchemy, and its adapter of asyncpg, put around it."""
    found = getattr(error, "orig", None) or error
    inner = found.__cause__
    return inner if inner is not None and hasattr(inner, "sqlstate") else found


def _words(error: BaseException) -> tuple[str, str]:
    """The server's message and hint."""
    diagnosis = getattr(error, "diag", None)
    message = getattr(diagnosis, "message_primary", None) or getattr(error, "message", None) or str(error)
    hint = getattr(diagnosis, "message_hint", None) or getattr(error, "hint", None) or ""
    return message, hint
