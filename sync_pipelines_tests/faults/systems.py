"""The systems that a sync talks to, each behind a proxy of its own, and the faults that each can have.

A new target brings a class like these to the matrix: a method a fault, and in `words` what the sentence of a run
that fails by it must say. A fault lasts until `heal`; resets are over when they have struck.
"""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import psycopg2
from psycopg2 import sql

from sync_pipelines.engine.spool import Spool
from sync_pipelines.sandbox.chroma import ChromaServer
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines_tests.faults.proxy import LOOPBACK, Proxy

FAULTS: Mapping[str, str] = {
    "refused": "refuse",
    "reset in a request": "reset_request",
    "reset in an answer": "reset_answer",
    "resets until given up": "reset_often",
    "time-out": "stall",
    "killed server": "kill",
    "disk full": "fill_disk",
    "lock time-out": "lock",
    "read-only": "forbid_writes",
}
"""The columns of the matrix, beside the killed run: name → the method of a system that makes it."""

CONFLICT = "commit conflict"
COMMITS: Mapping[str, str] = {CONFLICT: "commit_first", "answer to a commit lost": "lose_answer"}
"""Columns of lines whose target commits: somebody else is quicker; it is done, and the answer does not come."""

TRIES = 2
"""Of a call to Chroma, to a provider or to the ledger within these tests."""

_IN_THE_MIDDLE = 100
"""Bytes after which a connection is reset: less than a request's head, and than an answer's."""


class System(Protocol):
    """What the matrix asks of a system; a fault that it cannot have has no method."""

    words: Mapping[str, str]

    def heal(self) -> None: ...


@dataclass
class Proxied:
    """The faults of the network, which are the same for all."""

    proxy: Proxy
    words: ClassVar[Mapping[str, str]] = {}

    def refuse(self) -> None:
        self.proxy.refuse()

    def reset_request(self) -> None:
        self.proxy.reset_after(_IN_THE_MIDDLE, "request")

    def reset_answer(self) -> None:
        self.proxy.reset_after(_IN_THE_MIDDLE, "response")

    def reset_often(self) -> None:
        """An outage that outlasts the tries of one call, and is over soon after the step is tried again.

        One more than the tries: a writer's look at its next batch, which is tried once, may take one of them.
        """
        self.proxy.reset_after(_IN_THE_MIDDLE, "request", times=TRIES + 1)

    def heal(self) -> None:
        self.proxy.heal()


@dataclass
class Hanging(Proxied):
    """One whose clients keep their connections."""

    def stall(self) -> None:
        """A server that hangs: connections are cut, new ones are taken and not answered."""
        self.proxy.refuse()
        self.proxy.heal()
        self.proxy.stall()


@dataclass
class ProviderSystem(Proxied):
    """An embedding provider."""

    words: ClassVar[Mapping[str, str]] = {"": r"embedding with \w+ failed: \w*(Connect|Read|Timeout|Protocol)"}

    def stall(self) -> None:
        self.proxy.stall()


@dataclass
class ReceiverSystem(Proxied):
    """Whoever takes alerts."""

    words: ClassVar[Mapping[str, str]] = {"": r"SYNC_ALERT_URLS \(.*\) did not take the message"}

    def stall(self) -> None:
        self.proxy.stall()


@dataclass
class ChromaSystem(Proxied):
    """Chroma's server. Its SQLite has one writer: whoever locks the file makes every request hang."""

    server: ChromaServer
    words: ClassVar[Mapping[str, str]] = {
        "": "Chroma does not answer .* Is the server running",
        "disk full": "disk I/O error.*Free space",
    }
    _undo: ExitStack = field(default_factory=ExitStack)

    def stall(self) -> None:
        self.proxy.stall()

    def kill(self) -> None:
        self.server.kill()
        self._undo.callback(self.server.start)

    def fill_disk(self) -> None:
        """No file may grow: SQLite's write fails as on a full disk. The server does not recover by itself."""
        process = self.server.process
        assert process is not None
        limit = resource.RLIMIT_FSIZE
        _, hard = before = resource.prlimit(process.pid, limit)
        resource.prlimit(process.pid, limit, (4096, hard))
        self._undo.callback(self.server.restart)
        self._undo.callback(resource.prlimit, process.pid, limit, before)

    def lock(self) -> None:
        connection = sqlite3.connect(self.server.data / "chroma.sqlite3", isolation_level=None, timeout=20)
        connection.execute("BEGIN EXCLUSIVE")
        self._undo.callback(connection.close)

    def heal(self) -> None:
        self._undo.close()
        super().heal()


@dataclass
class PostgresSystem(Hanging):
    """A database behind its proxy. `url` is the server's own address, for the test's hands.

    Args:
        tables: as SQL, those that a fault locks or fails to write.
    """

    server: PostgresServer
    url: str
    tables: tuple[str, ...]
    words: ClassVar[Mapping[str, str]] = {
        "": r"PostgreSQL|The lock .* was lost",
        "disk full": r"no room left.*\[53100\].*Free or add space",
        "lock time-out": r"lock timeout.*\[55P03\]",
        "read-only": r"read-only transaction.*\[25006\].*point .* to the primary",
    }
    _undo: ExitStack = field(default_factory=ExitStack)

    def kill(self) -> None:
        self.server.kill()
        self._undo.callback(self.server.start)

    def lock(self) -> None:
        """Held for ten seconds at most: nothing ends a run that waits within libpq, no time-out of a test either."""
        connection = psycopg2.connect(self._address, options="-c idle_in_transaction_session_timeout=10s")
        connection.cursor().execute(f"LOCK TABLE {', '.join(self.tables)} IN ACCESS EXCLUSIVE MODE")
        self._undo.callback(connection.close)

    def forbid_writes(self) -> None:
        """As after a failover to a standby that serves under the same name: sessions end, new ones are read-only."""
        self._set_read_only(True)
        self._undo.callback(self._set_read_only, False)

    def fill_disk(self) -> None:
        """Every write to the tables fails with the server's own SQLSTATE for a full disk."""
        self._execute(
            """CREATE FUNCTION public.no_room() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'no room left' USING ERRCODE = 'disk_full'; END $$"""
        )
        for table in self.tables:
            self._execute(
                f"CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION public.no_room()"
            )
        self._undo.callback(self._execute, "DROP FUNCTION public.no_room CASCADE")

    def heal(self) -> None:
        self._undo.close()
        super().heal()

    @property
    def _address(self) -> str:
        return self.url.replace("+psycopg2", "")

    def _set_read_only(self, whether: bool) -> None:
        name = sql.Identifier(self.url.rpartition("/")[2])
        setting = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
        self._execute(setting.format(name, sql.Literal("on" if whether else "off")))
        self._execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    def _execute(self, statement: Any) -> None:
        connection = psycopg2.connect(self._address, options="-c default_transaction_read_only=off")
        try:
            connection.autocommit = True
            connection.cursor().execute(statement)
        finally:
            connection.close()


@dataclass
class DagsterSystem(PostgresSystem):
    """Dagster's own storage. What it raises is Dagster's to word, and is shown as the failure of a tick."""

    words: ClassVar[Mapping[str, str]] = {
        "": r"connection|too many retries|timeout expired",
        "disk full": "no room left",
        "lock time-out": "lock timeout",
        "read-only": "read-only transaction",
    }


@dataclass
class SourceSystem(PostgresSystem):
    """A source, which is only read; what fills up is the disk to which its changes are spooled."""

    words: ClassVar[Mapping[str, str]] = {
        **PostgresSystem.words,
        "disk full": r"a temporary file .* cannot be written: .*No space left on device.*Free space there",
    }

    def fill_disk(self) -> None:
        """Spooled files are the device that has no room."""
        made = Spool.path

        def path(self: Spool, name: str) -> Path:
            full = made(self, name)
            full.unlink()
            full.symlink_to("/dev/full")
            return full

        Spool.path = path  # type: ignore[method-assign]
        self._undo.callback(setattr, Spool, "path", made)


def to_server(url: str) -> Callable[[], tuple[str, int]]:
    """Host and port of a URL, for a proxy."""
    host, port = url.partition("://")[2].rpartition("@")[2].partition("/")[0].split(":")
    return lambda: (host, int(port))


def through(url: str, proxy: Proxy, **parameters: str) -> str:
    """`url` with the proxy's address in its server's place."""
    scheme, _, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    path = place.partition("/")[2]
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    address = f"{scheme}://{user}{at}{LOOPBACK}:{proxy.port}"
    return address + (f"/{path}" if path else "") + (f"?{query}" if query else "")
