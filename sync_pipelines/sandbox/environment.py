"""The sandbox: PostgreSQL, Chroma, a graph, stand-ins and a DAGSTER_HOME in one folder, to bring up and down as one."""

import os
import re
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from sync_pipelines.env_file import CHECKOUT
from sync_pipelines.sandbox.chroma import ChromaServer
from sync_pipelines.sandbox.cupid.server import CupidServer
from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.folders import (
    PASSABLE,
    PRIVATE,
    make_folder,
    read_json,
    remove,
    temporary_folder,
    write_json,
)
from sync_pipelines.sandbox.graph.arcadedb import ArcadeServer
from sync_pipelines.sandbox.interrupts import undone
from sync_pipelines.sandbox.notion.server import NotionServer
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines.sandbox.server import Log, Server
from sync_pipelines.sandbox.states import APPLICATION_DATABASE, SandboxStatus, ServerStatus, status_of

FOLDER_VARIABLE = "SYNC_SANDBOX_DIR"

_FAR = re.compile(
    r"CHROMA_|DELTA_|DATABRICKS_|NEO4J_|CUPID_|NOTION_|KEEP_|SYNC_ENCRYPTION_KEYS$|DAGSTER_POSTGRES_URL$"
    r"|SYNC_ALERT_URLS|NOTIFICATION_WEBHOOK_URL$|SYNC_HEARTBEAT_URL$"
)
_FAR_OR_DATABASE = re.compile(rf"{_FAR.pattern}|POSTGRES_|(\w+_)?DATABASE_URL$")
GRAPH_VARIABLE = "SYNC_SANDBOX_GRAPH"
"""`false` leaves the graph out: its Java takes half a gigabyte."""

OWN_URL_VARIABLE = "SYNC_SANDBOX_DATABASE_URL"
"""`sandbox env` sets it beside DATABASE_URL: where the two are equal, DATABASE_URL is a sandbox's, maybe one
that is gone; where they differ, it is the user's own."""

Prepare = Callable[[str], None]
"""Makes the database of this URL ready for use; is called at each `up`."""

_SETTINGS = "dagster.yaml"
_STATE = "sandbox.json"
LAKE = "lake"
"""The folder of Delta tables."""

_LOCK = "sandbox.lock"
_LOCK_SECONDS = 180.0


class Sandbox:
    """PostgreSQL, Chroma, ArcadeDB, the stand-ins of Cupid and Notion, and DAGSTER_HOME under one folder."""

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str | None = None,
        detached: bool = True,
        durable: bool = True,
        graph: bool = True,
        hotels: bool = True,
        notes: bool = True,
        prepare: Prepare | None = None,
        log: Log | None = None,
    ) -> None:
        """Name a sandbox; nothing is started or made.

        Args:
            folder: its folder.
            database_url: a database of the user's own. Then no PostgreSQL is started, and nothing is ever
                created in that database.
            detached: whether the servers are to live on when this process ends.
            durable: False trades safety against a power cut for speed.
            graph: False leaves ArcadeDB out.
            hotels: False leaves the stand-in of Cupid out; notes: False that of Notion.
            prepare: makes the application's database ready at each `up`; by default
                :func:`prepare.prepare_database`.
            log: takes lines of progress.
        """
        self.folder = Path(folder).absolute()
        self.database_url = database_url
        self.prepare = prepare or _prepare
        self.log = log or (lambda _line: None)
        self.postgres = PostgresServer(self.folder / "postgres", durable=durable, detached=detached, log=self.log)
        self.chroma = ChromaServer(self.folder / "chroma", detached=detached, log=self.log)
        self.graph = ArcadeServer(self.folder / "graph", detached=detached, log=self.log) if graph else None
        self.cupid = CupidServer(self.folder / "cupid", detached=detached, log=self.log) if hotels else None
        self.notion = NotionServer(self.folder / "notion", detached=detached, log=self.log) if notes else None

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ, *, log: Log | None = None) -> Self:
        """Return the sandbox that these variables ask for.

        Args:
            environment: ``SYNC_SANDBOX_DIR`` names the folder, by default ``.sandbox`` in the current one;
                ``DATABASE_URL``, unless `sandbox env` set it, is a database of the user's own;
                ``SYNC_SANDBOX_GRAPH=false`` leaves the graph out.
            log: takes lines of progress.
        """
        folder = Path(environment.get(FOLDER_VARIABLE) or ".sandbox")
        given = environment.get("DATABASE_URL") or None
        own = given == environment.get(OWN_URL_VARIABLE)
        graph = (environment.get(GRAPH_VARIABLE) or "true").strip().lower() not in ("false", "0", "no", "off")
        return cls(folder, database_url=None if own else given, graph=graph, log=log)

    @classmethod
    @contextmanager
    def ephemeral(
        cls,
        *,
        durable: bool = False,
        graph: bool = True,
        hotels: bool = True,
        notes: bool = True,
        prepare: Prepare | None = None,
        log: Log | None = None,
    ) -> Generator[Self]:
        """Give a sandbox in a temporary folder, up and prepared, that ends with this process.

        However this process ends (a return, an error, Ctrl-C, SIGTERM, SIGKILL), no server is left. After a
        SIGKILL the folder is; the next ephemeral sandbox of the same user removes it. A DATABASE_URL in the
        environment plays no part.

        Args:
            durable, graph, hotels, notes, prepare: see :class:`Sandbox`.
            log: takes lines of progress.
        """
        with temporary_folder() as folder:
            options: dict[str, Any] = {
                "durable": durable,
                "graph": graph,
                "hotels": hotels,
                "notes": notes,
                "prepare": prepare,
                "log": log,
            }
            sandbox = cls(folder / "sandbox", detached=False, **options)
            try:
                sandbox.up()
                yield sandbox
            finally:
                sandbox.down()

    @property
    def dagster_home(self) -> Path:
        """The folder for DAGSTER_HOME."""
        return self.folder / "dagster_home"

    def up(self) -> None:
        """Bring up what is not up, and prepare the database. May be called at any time, by several at once.

        Cut off by Ctrl-C or SIGTERM, it stops the servers that it has started.

        Raises:
            SandboxError: when the folder is not a sandbox's, or a server does not start.
        """
        self._insist_on_a_sandbox()
        with self._locked():
            self._claim()
            missing = [server for server in self._needed() if not server.answers()]
            pool = ThreadPoolExecutor(4)
            with undone(lambda: _take_back(missing, pool)):
                # Side by side: Chroma spends its second importing, PostgreSQL its second in initdb.
                list(pool.map(lambda server: server.start(), self._needed()))
                self._prepare_dagster_home()
                if self.database_url is None:
                    self._prepare_database()
            pool.shutdown()

    def down(self) -> None:
        """Stop the servers; the data stay.

        Raises:
            SandboxError: when one cannot be stopped; the others are stopped all the same.
        """
        if not (self.folder / _STATE).exists():
            return
        with self._locked():
            self._stop_servers()

    def reset(self) -> None:
        """Stop the servers and remove the folder, and nothing outside it.

        Raises:
            SandboxError: when the folder is not a sandbox's.
        """
        self._insist_on_a_sandbox()
        if not self.folder.exists():
            return
        with self._locked():
            self._stop_servers()
            self.postgres.destroy()
            self._remove_folder()

    def status(self) -> SandboxStatus:
        """Ask each server now, and return how they are."""
        servers = (self._postgres_status(), *(status_of(server) for server in (self.chroma, *self._optional())))
        up = all(server.state in ("up", "yours") for server in servers)
        return SandboxStatus(folder=str(self.folder), up=up, servers=servers)

    def env(self) -> dict[str, str]:
        """Return the variables that point the project at this sandbox.

        Returns:
            DATABASE_URL (not when the user brought one: it stands in the environment already), CHROMA_URL, DELTA_URI,
            NEO4J_…, CUPID_…, NOTION_BASE_URL, SYNC_ENCRYPTION_KEYS, DAGSTER_HOME, and the marker by which a later call
            knows its own DATABASE_URL.

        Raises:
            SandboxError: when the sandbox has never been up.
        """
        variables = {
            "CHROMA_URL": self.chroma.url,
            "DELTA_URI": str(self.folder / LAKE),
            "DAGSTER_HOME": str(self.dagster_home),
            **{name: text for server in self._optional() for name, text in server.variables.items()},
        }
        if self.database_url is not None:
            return variables
        url = self.postgres.url(APPLICATION_DATABASE)
        return {"DATABASE_URL": url, OWN_URL_VARIABLE: url, **variables}

    def foreign(self, environment: Mapping[str, str] = os.environ) -> list[str]:
        """The variables that would lead a shell past this sandbox to other systems: `.env` may name production.

        Args:
            environment: that of the shell, what stands in `.env` among it.
        """
        ours = self.env()
        pattern = _FAR if self.database_url is not None else _FAR_OR_DATABASE
        return sorted(name for name, value in environment.items() if value and pattern.match(name) and name not in ours)

    def left_out(self, environment: Mapping[str, str] = os.environ) -> str | None:
        """The sentence that names the variables of `foreign`, for whoever does not hand them on; None for none."""
        names = ", ".join(self.foreign(environment))
        return f"Set to nothing, so that nothing but the sandbox is used: {names}." if names else None

    def __enter__(self) -> Self:
        """Bring it up."""
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        """Bring it down."""
        self.down()

    @contextmanager
    def _locked(self) -> Generator[None]:
        lock = FileLock(self.folder / _LOCK)
        try:
            self._acquire(lock)
        except Timeout:
            raise SandboxError(f"Another process has been busy with {self.folder} for {_LOCK_SECONDS:.0f} s.") from None
        except PermissionError:
            raise SandboxError(f"{self.folder} belongs to another user; use another folder.") from None
        try:
            yield
        finally:
            lock.release()

    def _acquire(self, lock: FileLock) -> None:
        make_folder(self.folder, PASSABLE)
        try:
            lock.acquire(timeout=_LOCK_SECONDS)
        except FileNotFoundError:
            # A reset that we waited for took the folder away, and the lock in it.
            make_folder(self.folder, PASSABLE)
            lock.acquire(timeout=_LOCK_SECONDS)

    def _insist_on_a_sandbox(self) -> None:
        """Refuse a folder that holds other things: `reset` would remove them."""
        if self.folder.exists() and not (self.folder / _STATE).exists() and self._strangers():
            raise SandboxError(
                f"{self.folder} holds other things than a sandbox; set {FOLDER_VARIABLE} to a folder of its own."
            )

    def _strangers(self) -> list[Path]:
        # Another process may be about to put the state file in its place.
        return [entry for entry in self._entries() if not entry.name.startswith(f".{_STATE}.")]

    def _entries(self) -> list[Path]:
        return [entry for entry in self.folder.iterdir() if entry.name != _LOCK]

    def _claim(self) -> None:
        if not read_json(self.folder / _STATE):
            write_json(self.folder / _STATE, {"format": 1, "created_at": datetime.now(UTC).isoformat()})

    def _needed(self) -> list[Server]:
        own = [self.postgres] if self.database_url is None else []
        return [*self._optional(), self.chroma, *own]  # Java first: it takes longest

    def _optional(self) -> list[ArcadeServer | CupidServer | NotionServer]:
        return [server for server in (self.graph, self.cupid, self.notion) if server is not None]

    def _stop_servers(self) -> None:
        """Stop what runs, also what is left out now."""
        graph = self.graph or ArcadeServer(self.folder / "graph")
        cupid = self.cupid or CupidServer(self.folder / "cupid")
        notion = self.notion or NotionServer(self.folder / "notion")
        with ExitStack() as stack:
            for server in (self.postgres, self.chroma, graph, cupid, notion):
                stack.callback(server.stop)

    def _prepare_dagster_home(self) -> None:
        make_folder(self.dagster_home, PRIVATE)
        # Dagster reads the settings of its instance from DAGSTER_HOME alone, not from the checkout.
        for folder in (Path.cwd(), CHECKOUT):
            if (folder / _SETTINGS).is_file():
                shutil.copyfile(folder / _SETTINGS, self.dagster_home / _SETTINGS)
                return

    def _prepare_database(self) -> None:
        if not self.postgres.has_database(APPLICATION_DATABASE):
            self.postgres.create_database(APPLICATION_DATABASE)
        self.prepare(self.postgres.url(APPLICATION_DATABASE))

    def _remove_folder(self) -> None:
        # The marker last but for the lock: a reset that is cut off can be taken up again. Whoever waits for
        # the lock sees that its file is gone and starts over.
        for entry in sorted(self._entries(), key=lambda entry: entry.name == _STATE):
            remove(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        (self.folder / _LOCK).unlink()
        with suppress(OSError):  # somebody may be making a new sandbox here already
            self.folder.rmdir()

    def _postgres_status(self) -> ServerStatus:
        if self.database_url is not None:
            return ServerStatus(name=self.postgres.name, state="yours", address="DATABASE_URL")
        return status_of(self.postgres)


def _take_back(servers: Sequence[Server], pool: ThreadPoolExecutor) -> None:
    """Stop servers that other threads may still be starting."""
    for wait in (False, True):
        pool.shutdown(wait=wait, cancel_futures=True)  # without waiting first: one may start all the same
        for server in servers:
            with suppress(SandboxError):
                server.stop()


def _prepare(url: str) -> None:
    from sync_pipelines.sandbox.prepare import prepare_database  # loads all definitions and migrations: 3 s

    prepare_database(url)
