"""One way to a graph: a driver for each server and login, and statements in managed transactions."""

from __future__ import annotations

import atexit
from asyncio import CancelledError
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sync_pipelines.engine.patience import patience
from sync_pipelines.targets.neo4j.errors import graph_errors
from sync_pipelines.targets.neo4j.settings import GraphSettings

if TYPE_CHECKING:
    from typing import LiteralString

    from neo4j import Driver, ManagedTransaction, Session

Result = TypeVar("Result")

_PATIENCE = 30.0
"""Seconds for which the driver tries a transaction again: a leader that changes, a deadlock, a server that restarts."""

_CONNECT_SECONDS, _ACQUIRE_SECONDS = 10.0, 30.0
"""Seconds within which a server must have taken a connection, and have answered its first words."""

_PAGE = 2000
"""Records that are fetched at a time."""

_lock = Lock()


def driver_of(settings: GraphSettings) -> Driver:
    """The driver of a graph, which keeps its connections for the process; making one connects to nothing."""
    with _lock:
        return _driver(settings, patience(_PATIENCE))


@cache
def _driver(settings: GraphSettings, seconds: float) -> Driver:
    driver = connected(settings, patience=seconds)
    atexit.register(_close, driver)
    return driver


def _close(driver: Driver) -> None:
    with suppress(Exception):  # the process ends, and the server sees it
        driver.close()


def connected(settings: GraphSettings, *, patience: float) -> Driver:
    """A driver of the caller's own, who closes it.

    Args:
        patience: seconds for which a transaction is tried again; 0 for people who wait.
    """
    from neo4j import GraphDatabase

    with graph_errors("set up the driver", place=settings.place, sync=None, table=None):
        return GraphDatabase.driver(
            settings.uri,
            auth=(settings.user, settings.password) if settings.password else None,
            connection_timeout=_CONNECT_SECONDS,
            connection_acquisition_timeout=_ACQUIRE_SECONDS,
            max_transaction_retry_time=patience,
            # a deadlock is over at once: with the driver's own pause of a second a batch of 200 took 33 s, so 3.6 s
            initial_retry_delay=0.05,
            retry_delay_multiplier=1.5,
            liveness_check_timeout=30,
            # what the server has to say of a statement would be written to stderr as a warning
            notifications_min_severity="OFF",
            telemetry_disabled=True,
            user_agent="sync-pipelines",
        )


def run(transaction: ManagedTransaction, text: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a statement in a transaction; names in it are quoted (`names.quoted`), values are parameters."""
    return [dict(record) for record in transaction.run(cast("LiteralString", text), dict(parameters))]


def answer(
    transaction: ManagedTransaction, text: str, parameters: Mapping[str, Any]
) -> tuple[list[str], list[dict[str, Any]]]:
    """The names that a statement returns, which it has without rows, too, and its rows."""
    found = transaction.run(cast("LiteralString", text), dict(parameters))
    return list(found.keys()), [dict(record) for record in found]


class Graph:
    """A graph's statements; errors are the engine's.

    Args:
        settings: how to reach it. sync, table: for errors. quiet: the server's words are not repeated (`sensitive:`).
    """

    def __init__(self, settings: GraphSettings, *, sync: str | None, table: str | None, quiet: bool = False) -> None:
        self.settings, self._quiet = settings, quiet
        self.where: dict[str, Any] = {"sync": sync, "table": table}
        self.before_commit: Callable[[], object] = lambda: None
        """Called last in each transaction that writes; what it raises undoes that."""

    def read(self, doing: str, text: str, /, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a statement that reads, all of them."""
        with self._session(doing) as session:
            return session.execute_read(run, text, parameters)

    def answer(self, doing: str, text: str, parameters: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
        """The names and the rows of a statement that reads, all of them."""
        with self._session(doing) as session:
            return session.execute_read(answer, text, parameters)

    def write(self, doing: str, work: Callable[[ManagedTransaction], Result]) -> Result:
        """Do some work in one transaction, which the driver may begin anew: it must be repeatable."""

        def fenced(transaction: ManagedTransaction) -> Result:
            found = work(transaction)
            self.before_commit()
            return found

        with self._session(doing) as session:
            return session.execute_write(fenced)

    def execute(self, doing: str, text: str, /, **parameters: Any) -> None:
        """One statement that writes, or changes the schema, in a transaction of its own."""
        self.write(doing, lambda transaction: run(transaction, text, parameters))

    def stream(self, doing: str, text: str, /, **parameters: Any) -> Iterator[list[Mapping[str, Any]]]:
        """The rows of a statement in pages: of one page's size is what this process holds at a time."""
        page: list[Mapping[str, Any]] = []
        with self._session(doing) as session:
            for record in session.run(cast("LiteralString", text), parameters):
                page.append(dict(record))
                if len(page) == _PAGE:
                    yield page
                    page = []
        if page:
            yield page

    @contextmanager
    def _session(self, doing: str) -> Generator[Session]:
        settings = self.settings
        with (
            graph_errors(doing, place=settings.place, quiet=self._quiet, **self.where),
            _ended(driver_of(settings).session(database=settings.database, fetch_size=_PAGE)) as session,
        ):
            yield session


@contextmanager
def _ended(session: Session) -> Generator[Session]:
    """A session that is closed in good order, unless an interrupt (a run is cancelled, Ctrl-C) has struck the driver.

    What was sent or read of an exchange is then not known: to roll back would wait for an answer that never comes, with
    the lock held. The connection is dropped, as the driver does when a task is cancelled; the server rolls back.
    """
    try:
        yield session
    except (Exception, GeneratorExit):
        session.close()
        raise
    except BaseException:
        session.__exit__(CancelledError, CancelledError(), None)
        raise
    session.close()


def ask(settings: GraphSettings) -> str:
    """Whether the database answers now, without waiting for one that does not; what the server calls itself."""
    with (
        graph_errors("reach the database", place=settings.place, sync=None, table=None),
        connected(settings, patience=0) as driver,
        driver.session(database=settings.database) as session,
    ):
        return str(session.run("RETURN 1 AS one").consume().server.agent)
