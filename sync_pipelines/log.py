"""Logging: levels, a rotating file, the place of each line, and no secret in any.

Nothing happens at import. Modules log as usual, to `logging.getLogger(__name__)`; one record's failure is
WARNING, a system's ERROR, progress INFO. `configure` is for processes of our own (a command, a run).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock

from sync_pipelines.engine.errors import ConfigurationError, redact

ROOT = "sync_pipelines"
MAX_BYTES = 10 * 1024 * 1024
BACKUPS = 5

_OWNER_ONLY = 0o600
_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s%(place)s: %(message)s"
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_FIELDS = ("sync", "table", "run_id")

_CLIENTS = ("neo4j", "urllib3", "databricks", "sqlalchemy.pool")
"""Loggers of clients that try again and say so (a pool with a traceback, when the server has ended a session); without
any handler Python prints it to standard error."""

_context: ContextVar[Mapping[str, str]] = ContextVar("sync_pipelines_log_context", default={})  # noqa: B039


@contextmanager
def log_context(*, sync: str | None = None, table: str | None = None, run_id: str | None = None) -> Generator[None]:
    """Every line that is logged inside carries these; what is left out stays as it was outside.

    It belongs to the thread, and to the task: a thread that is started inside begins without it.
    """
    given = {"sync": sync, "table": table, "run_id": run_id}
    token = _context.set({**_context.get(), **{name: value for name, value in given.items() if value}})
    try:
        yield
    finally:
        _context.reset(token)


def configure(
    level: str | None = None,
    file: str | os.PathLike[str] | None = None,
    *,
    stream: TextIO | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Send the package's lines to standard error and, where one is named, to a file. A second call replaces.

    Args:
        level: by default `SYNC_LOG_LEVEL`, then `LOG_LEVEL`, then INFO.
        file: by default `SYNC_LOG_FILE`; readable by its owner alone, rotated at 10 MB, five old ones kept.
        stream: instead of standard error.
        environment: instead of the process's own.

    Raises:
        ConfigurationError: an unknown level, or a file that cannot be written; it names the variable.
    """
    variables = os.environ if environment is None else environment
    number = _level(level, variables)
    path = file or variables.get("SYNC_LOG_FILE", "").strip() or None
    console = logging.StreamHandler(stream)
    console.addFilter(_dagster_prints_it_not)
    handlers: list[logging.Handler] = [console]
    if path is not None:
        handlers.append(_file_handler(Path(path)))
    _install(number, handlers)


def _dagster_prints_it_not(_: logging.LogRecord) -> bool:
    """Whether the console would lack the line without us: in a run Dagster prints what it captures (`python_logs`)."""
    return not any(type(handler).__name__ == "DagsterLogHandler" for handler in logging.getLogger(ROOT).handlers)


def ensure_configured() -> None:
    """`configure`, unless this process has done so: a step of a run may be in a command that has."""
    if not any(isinstance(handler.formatter, _LineFormatter) for handler in logging.getLogger(ROOT).handlers):
        configure()


def hush_clients() -> None:
    """Keep what clients of others say by themselves off standard error, where nobody has asked for it.

    A line for each of their own tries stands there else, above the one sentence that tells of the outage. Whoever
    gives their loggers (or the root) a handler gets it all the same.
    """
    for name in _CLIENTS:
        logging.getLogger(name).addHandler(logging.NullHandler())


def _install(level: int, handlers: list[logging.Handler]) -> None:
    if not isinstance(logging.getLogRecordFactory(), _RecordFactory):
        logging.setLogRecordFactory(_RecordFactory(logging.getLogRecordFactory()))
    logger = logging.getLogger(ROOT)
    for old in [handler for handler in logger.handlers if isinstance(handler.formatter, _LineFormatter)]:
        logger.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.setFormatter(_LineFormatter(_FORMAT, datefmt="%Y-%m-%dT%H:%M:%S"))
        logger.addHandler(handler)
    logger.setLevel(level)


def _level(given: str | None, variables: Mapping[str, str]) -> int:
    places = (("level", given), *((name, variables.get(name)) for name in ("SYNC_LOG_LEVEL", "LOG_LEVEL")))
    place, text = next(((place, text.strip()) for place, text in places if text and text.strip()), ("", "INFO"))
    if text.upper() not in _LEVELS:
        raise ConfigurationError(f"{place} is {text!r}.", remedy=f"Set one of {', '.join(_LEVELS)}.")
    return getattr(logging, text.upper())


def _file_handler(path: Path) -> logging.Handler:
    try:
        return _SharedFileHandler(path)
    except OSError as error:
        raise ConfigurationError(
            f"The log file {path} cannot be written: {error.strerror}.", remedy="Correct SYNC_LOG_FILE."
        ) from None


class _RecordFactory:
    """Makes our loggers' records: with their place, without secrets, whoever handles them afterwards.

    A filter on a logger is passed by what its children log, and one on our handlers by Dagster's. The
    exception goes as text, since a handler that wrote it out by itself would write the secret too.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __call__(self, name: str | None, *args: Any, **options: Any) -> logging.LogRecord:
        record = self._inner(name, *args, **options)
        if name and (name == ROOT or name.startswith(f"{ROOT}.")):  # makeLogRecord has no name
            _clean(record)
        return record


def _clean(record: logging.LogRecord) -> None:
    # One attribute: `extra=` refuses names that a record has already, and "table" is likely to be one.
    record.sync_context = _context.get()
    record.msg, record.args = redact(_message(record)), ()
    if record.exc_info and record.exc_info[0] is not None:
        record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        record.exc_info = None


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # the wrong number of arguments must not lose the line, nor stop a sync
        return f"{record.msg} {record.args!r} ({type(error).__name__} in the call that logs this)"


class _LineFormatter(logging.Formatter):
    """One line a record, in UTC; an exception's text follows below it."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        context = getattr(record, "sync_context", {})
        pairs = [f"{field}={context[field]}" for field in _FIELDS if field in context]
        record.place = f" [{' '.join(pairs)}]" if pairs else ""
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        # A record's own text may hold line breaks, and could forge a line of the log.
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")


class _SharedFileHandler(RotatingFileHandler):
    """A rotating file that several processes write: Dagster has a daemon, a server and a process a run.

    Whoever rotates holds a lock; the others find at their next line that the file has another inode.
    """

    def __init__(self, path: Path) -> None:
        self._rotation = FileLock(f"{path}.lock", mode=_OWNER_ONLY)
        super().__init__(path, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8", errors="backslashreplace")

    def _open(self) -> Any:
        stream = open(  # noqa: SIM115
            self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=_private
        )
        os.fchmod(stream.fileno(), _OWNER_ONLY)  # the file may be older, with other rights
        return stream

    def emit(self, record: logging.LogRecord) -> None:
        self._follow()
        super().emit(record)

    def doRollover(self) -> None:
        with self._rotation:
            if not self._follow():
                super().doRollover()

    def _follow(self) -> bool:
        """Open the file that has the name now; whether it is another than the one that was open."""
        if self.stream is None or _inode(self.baseFilename) == os.fstat(self.stream.fileno()).st_ino:
            return False
        self.stream.close()
        self.stream = self._open()
        return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, _OWNER_ONLY)


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return None
