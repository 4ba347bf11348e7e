"""A real PostgreSQL as a child process: as root or as a plain user, on a free port of 127.0.0.1."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import psycopg2
from psycopg2 import sql

from sync_pipelines.sandbox import guard, postgres_binaries
from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.folders import (
    NOBODY,
    PASSABLE,
    PRIVATE,
    insist_on_owner,
    make_folder,
    new_reachable_folder,
    passable,
    read_json,
    remove,
    write_json,
)
from sync_pipelines.sandbox.processes import LOOPBACK, ProcessId, children_of, command_line, stop, tail
from sync_pipelines.sandbox.server import Log, Server

SUPERUSER = "postgres"

_NOBODY = (NOBODY, NOBODY)
"""PostgreSQL refuses to run as root; then it runs as this user and group."""

_PLACE = "place.json"

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    # A socket's path has a limit of 107 bytes, which a folder deep in a checkout soon exceeds.
    "unix_socket_directories": "",
    "max_connections": "200",
    "wal_level": "logical",
    "max_prepared_transactions": "10",
    # The application's columns have no zone and mean UTC; their default is CURRENT_TIMESTAMP.
    "timezone": "UTC",
    "log_timezone": "UTC",
}

# Rows outlive a killed server, not a power cut; dropping a database goes from 80 to 10 ms. Not among them:
# synchronous_commit=off, with which a commit waits in the server's own memory, and a SIGKILL takes it along.
_FOR_TESTS = {"fsync": "off", "full_page_writes": "off"}


class PostgresServer(Server):
    """One PostgreSQL server; all its data lies under one folder."""

    name: ClassVar[str] = "PostgreSQL"
    # Fast, then immediate: SIGTERM would wait until the last client has gone by itself.
    escalation: ClassVar[guard.Escalation] = [
        (signal.SIGINT, 15.0),
        (signal.SIGQUIT, 10.0),
        (signal.SIGKILL, 5.0),
    ]
    # Backends of a killed postmaster need a moment to notice.
    busy_signs: ClassVar[tuple[str, ...]] = ("is still in use", "Address already in use")

    def __init__(self, folder: Path, *, durable: bool = True, detached: bool = False, log: Log | None = None) -> None:
        """Name a server; nothing is started.

        Args:
            folder: its own folder, made when missing.
            durable: False trades safety against a power cut for speed, for tests.
            detached: whether it is to live on when this process ends.
            log: takes lines of progress.
        """
        super().__init__(folder, detached=detached, log=log)
        self.durable = durable

    @property
    def data(self) -> Path:
        """The data folder; elsewhere than in ``folder`` when PostgreSQL's user could not reach it there."""
        return Path(read_json(self.folder / _PLACE).get("data") or self.folder / "data")

    def url(self, database: str = "app") -> str:
        """Return the SQLAlchemy URL of a database of this server.

        Args:
            database: its name, as it is.
        """
        return f"postgresql+psycopg2://{SUPERUSER}@{LOOPBACK}:{self.port}/{quote(database, safe='')}"

    def kill(self) -> None:
        """End the postmaster and all its backends with SIGKILL, and return when none of them is left."""
        postmaster = self.process
        if postmaster is None:
            return
        backends = children_of(postmaster.pid)
        # The postmaster first: it would answer the death of a backend with a recovery of its own.
        for process in (postmaster, *backends):
            stop(process, [(signal.SIGKILL, 10.0)])

    def has_database(self, name: str) -> bool:
        """Return whether there is a database of this name."""
        with self._cursor() as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
            return cursor.rowcount == 1

    def create_database(self, name: str, template: str | None = None) -> None:
        """Create a database.

        Args:
            name: its name; any characters.
            template: the database to copy, to which nobody may be connected; by default an empty one.
        """
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._execute(statement.format(sql.Identifier(name), sql.Identifier(template or "template0")))

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, and end the connections to it."""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def seal_database(self, name: str) -> None:
        """End all connections to a database and let in nobody, so that it can be copied as a template."""
        self._execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        with self._cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", (name,))

    def destroy(self) -> None:
        """Stop the server and remove its folder, and the data where they had to lie elsewhere."""
        self.stop()
        if self.data.parent != self.folder and self.data.parent.exists():
            insist_on_owner(self.data.parent)
            remove(self.data.parent)
        remove(self.folder)

    def _execute(self, statement: sql.Composed) -> None:
        with self._cursor() as cursor:
            cursor.execute(statement)

    @contextmanager
    def _cursor(self, *, seconds: int = 10) -> Generator[Any]:
        connection = psycopg2.connect(
            host=LOOPBACK,
            port=self.port,
            user=SUPERUSER,
            dbname="postgres",
            connect_timeout=seconds,
            # What a user's PGSSLMODE or PGOPTIONS ask for is meant for other servers than this one.
            sslmode="disable",
            options="",
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def _answers(self) -> bool:
        try:
            with self._cursor(seconds=2) as cursor:
                cursor.execute("SELECT current_setting('data_directory')")
                # Another server may have taken the port between our look at it and our start.
                return Path(cursor.fetchone()[0]) == self.data
        except psycopg2.Error:
            return False

    def _user(self) -> tuple[int, int] | None:
        return _NOBODY if os.geteuid() == 0 else None

    def _binaries(self) -> Path:
        found = postgres_binaries.find()
        user = self._user()
        return found if user is None else postgres_binaries.reachable(found, user[0])

    def _command(self, port: int) -> list[str]:
        settings = {**_SETTINGS, **({} if self.durable else _FOR_TESTS)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self._binaries() / "postgres"), "-D", str(self.data), "-p", str(port), *options]

    def _environment(self) -> dict[str, str]:
        # Not ours: PGDATA, PGPORT, PGOPTIONS and the like are the user's settings for other servers.
        return {"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC"}

    def _prepare(self) -> None:
        self._find_a_place()
        if not (self.data / "PG_VERSION").exists():
            self._initialize()
        self._insist_on_rights()
        self._clear_stale_lock()

    def _find_a_place(self) -> None:
        """Note a place for the data outside the folder when PostgreSQL's user could not reach them inside."""
        user = self._user()
        if user is None or (self.folder / "data").exists() or passable(self.folder, user[0]):
            return
        if self.data.parent != self.folder and self.data.parent.exists():
            insist_on_owner(self.data.parent)
            return
        data = new_reachable_folder(user[0]) / "data"
        write_json(self.folder / _PLACE, {"data": str(data)})
        self.log(f"User {user[0]} cannot reach {self.folder}; PostgreSQL's data lie in {data}.")

    def _insist_on_rights(self) -> None:
        owner = self.data.stat().st_uid
        expected = (self._user() or (os.geteuid(), 0))[0]
        if owner != expected:
            raise SandboxError(
                f"{self.data} belongs to user {owner}, and PostgreSQL would run as user {expected}; "
                "use another folder, or remove this one as the user who made it."
            )

    def _initialize(self) -> None:
        """Make the data folder beside, then rename it: a crash in the middle leaves nothing whole."""
        beside = self.data.with_name("data.new")
        remove(beside)
        make_folder(self.data.parent, PASSABLE)
        make_folder(beside, PRIVATE)
        user = self._user()
        if user is not None:
            _give(beside, user)
        self._run_initdb(beside, user)
        beside.rename(self.data)

    def _run_initdb(self, folder: Path, user: tuple[int, int] | None) -> None:
        command = [str(self._binaries() / "initdb"), "-D", str(folder), "-U", SUPERUSER, "-A", "trust"]
        uid, gid = user or (None, None)
        with self.log_file.open("ab") as log:
            done = subprocess.run(
                [*command, "-E", "UTF8", "--no-sync", *_locale()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                cwd=folder,
                check=False,
                user=uid,
                group=gid,
                extra_groups=None if user is None else [],
            )
        if done.returncode != 0:
            said = tail(self.log_file)
            raise SandboxError(f"PostgreSQL's data folder could not be made; the end of {self.log_file}:\n{said}")

    def _clear_stale_lock(self) -> None:
        """Remove the lock of a crashed server whose process number somebody else has now.

        PostgreSQL itself clears the lock of a number that is free, and refuses to start when it is taken,
        which is likely in a container, where numbers are small and come back.
        """
        lock = self.data / "postmaster.pid"
        if not lock.exists():
            return
        holder = int(lock.read_text().split("\n", 1)[0])
        if str(self.data) in command_line(holder):
            raise SandboxError(
                f"A PostgreSQL that this sandbox did not start uses {self.data}; stop process {holder} first."
            )
        if ProcessId.of(holder) is not None:
            lock.unlink()


def _give(folder: Path, user: tuple[int, int]) -> None:
    try:
        os.chown(folder, *user)
    except OSError as error:
        raise SandboxError(
            f"{folder} cannot be given to user {user[0]}, as whom PostgreSQL runs: {error.strerror}; "
            "use a folder on a local disk."
        ) from error


def _locale() -> list[str]:
    # macOS has no C.UTF-8 of its own; PostgreSQL's built-in provider has.
    if sys.platform == "linux":
        return ["--locale=C.UTF-8"]
    return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
