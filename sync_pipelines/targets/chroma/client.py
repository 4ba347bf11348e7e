"""The connection to Chroma: a server (`url`) or a folder (`path`) that one process at a time may open."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

from sync_pipelines.engine.errors import ConfigurationError, RecordError, RunError, TargetBusyError
from sync_pipelines.targets.chroma.address import server
from sync_pipelines.targets.chroma.errors import CollectionGoneError, classify
from sync_pipelines.targets.chroma.sessions import sessions_for
from sync_pipelines.targets.retries import RetryPolicy

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

Result = TypeVar("Result")

REQUEST_SECONDS = 120.0
"""Chroma's client waits for ever; a full page of upserts takes a few seconds on a busy server."""

_LOCK_NAME = ".sync_pipelines.lock"


class Settings(Protocol):
    """How to reach Chroma; exactly one of `url` and `path` is set."""

    @property
    def url(self) -> str | None: ...
    @property
    def path(self) -> str | None: ...
    @property
    def token(self) -> str | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, str]]: ...
    @property
    def tenant(self) -> str | None: ...
    @property
    def database(self) -> str | None: ...


@dataclass(frozen=True, kw_only=True)
class ChromaAddress:
    """`Settings` for code that has no Dagster; `repr` shows no secret."""

    url: str | None = None
    path: str | None = None
    token: str | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    tenant: str | None = None
    database: str | None = None


class ChromaConnection:
    """A client that connects when it is first asked, and the one place where its errors are read.

    The client is shared by every target of a process that has the same settings; a folder's lock is freed
    when the last of them is gone.
    """

    def __init__(self, settings: Settings) -> None:
        if bool(settings.url) == bool(settings.path):
            raise ConfigurationError(
                "Chroma needs one of CHROMA_URL and CHROMA_PATH.", remedy="Set one: a server or a folder."
            )
        self._settings = settings
        self._client: ClientAPI | None = None
        self._opening = threading.Lock()

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that no message may show."""
        found = [self._settings.token or "", *(value for _, value in self._settings.headers)]
        if self._settings.url:
            with suppress(ConfigurationError):  # an address that is none is repeated by nobody
                found.append(server(self._settings.url).password or "")
        return tuple(text for text in found if text)

    @property
    def client(self) -> ClientAPI:
        """The client, connected. Raises chromadb's own errors: ask through `call`."""
        with self._opening:
            if self._client is None:
                self._client = self._open_server() if self._settings.url else self._open_folder()
            return self._client

    def call(
        self,
        action: Callable[[ClientAPI], Result],
        *,
        doing: str,
        place: dict[str, str | None],
        retry: RetryPolicy,
        writing: bool = False,
    ) -> Result:
        """What `action(client)` gives; transient errors are tried again.

        Args:
            doing: what is tried, for the error's sentence.
            place: sync and table, for the same.
            writing: whether a refusal speaks of a record; else it is the run's.

        Raises:
            TransientError, RecordError (only when writing), RunError.
        """

        def attempt() -> Result:
            client = self._opened(place)
            try:
                return action(client)
            except Exception as error:
                ours = classify(error, doing=doing, place=place, secrets=self.secrets)
                if isinstance(ours, RecordError) and not writing:
                    ours = RunError(ours.message, **place)
                raise ours from None

        return retry.call(attempt)

    def _opened(self, place: dict[str, str | None]) -> ClientAPI:
        try:
            return self.client
        except Exception as error:
            ours = classify(error, doing="connect", place=place, secrets=self.secrets)
            if isinstance(ours, CollectionGoneError):
                remedy = "Check CHROMA_TENANT and CHROMA_DATABASE."
                ours = ConfigurationError(ours.message, remedy=remedy, **place)
            if isinstance(ours, RecordError):
                ours = RunError(ours.message, **place)
            raise ours from None

    def _open_server(self) -> ClientAPI:
        settings = self._settings
        parts = server(settings.url or "")
        host = parts.hostname or ""
        asked = _settings(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host=_without_userinfo(settings.url or ""),
            chroma_server_http_port=parts.port or (443 if parts.scheme == "https" else 80),
            chroma_server_ssl_enabled=parts.scheme == "https",
            chroma_server_headers=self._headers(host),
            **_verification(parts.scheme),
        )
        with sessions_for(host):
            client = _bounded_client(asked, **self._names())
        weakref.finalize(self, client.close)
        return client

    def _headers(self, host: str) -> dict[str, str]:
        headers = dict(self._settings.headers)
        if self._settings.token:
            if host.endswith(".trychroma.com"):
                headers.setdefault("X-Chroma-Token", self._settings.token)
            else:
                headers.setdefault("Authorization", f"Bearer {self._settings.token}")
        return headers

    def _names(self) -> dict[str, Any]:
        named = {"tenant": self._settings.tenant, "database": self._settings.database}
        return {name: value for name, value in named.items() if value}

    def _open_folder(self) -> ClientAPI:
        folder = Path(self._settings.path or "").expanduser().absolute()
        lock = _lock_folder(folder)
        try:
            import chromadb

            client = chromadb.PersistentClient(path=str(folder), settings=_settings(), **self._names())
        except BaseException:
            lock.release()
            raise
        weakref.finalize(self, _close_folder, client, lock)
        return client


def _bounded_client(settings: Any, **names: str) -> Any:
    """What `chromadb.HttpClient` makes, bounded before its first request.

    Its constructor asks the server for the tenant and the database, without a time-out: one that takes
    connections and answers none would hold a run, its locks and every `status` for ever.
    """
    from chromadb.api.client import Client

    class Bounded(Client):
        def get_user_identity(self) -> Any:  # what the constructor asks first
            _bound(getattr(self._server, "_session", None))
            return super().get_user_identity()

        def _validate_tenant_database(self, tenant: str, database: str) -> None:
            # asked through an HTTP session of its own
            admin: Any = self._admin_client
            _bound(getattr(admin._server, "_session", None))
            super()._validate_tenant_database(tenant=tenant, database=database)

    return Bounded(settings=settings, **names)


def _bound(session: Any) -> None:
    """Bound the time and the memory of requests; Chroma's client gives no other way to its HTTP session.

    Without a time-out a server that hangs would hold a run for ever. And httpx ties each response to its
    stream in a cycle, so that every page that was read stays in memory, twice, until the garbage collector
    comes by: 2 kB a record, without end in sight in a process with a large heap.
    """
    import httpx

    if session is None:
        return
    session.timeout = REQUEST_SECONDS
    send = session.send

    def send_and_untie(request: httpx.Request, **options: Any) -> httpx.Response:
        response = send(request, **options)
        if response.is_closed:  # read whole
            response.stream = httpx.ByteStream(b"")
        return response

    session.send = send_and_untie


def _settings(**fields: Any) -> Any:
    """Chroma's settings, quiet, from no `.env`; what is given here wins over variables that Chroma reads."""
    return _read_settings().model_copy(update=fields)


@lru_cache(maxsize=1)
def _read_settings() -> Any:
    """Read once a process: each reading takes 3 to 10 ms, and a single record is to take 100."""
    from chromadb.config import Settings as ChromaSettings

    return ChromaSettings(
        _env_file=None,
        anonymized_telemetry=False,
        chroma_client_auth_provider=None,
        chroma_client_auth_credentials=None,
        chroma_api_impl="chromadb.api.rust.RustBindingsAPI",
    )


def _verification(scheme: str) -> dict[str, Any]:
    """Without TLS there is nothing to verify: reading the authorities' certificates twice costs 50 ms."""
    return {} if scheme == "https" else {"chroma_server_ssl_verify": False}


def _without_userinfo(url: str) -> str:
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=place).geturl().rstrip("/")


def _lock_folder(folder: Path) -> Any:
    """The folder, for us alone: rights for its owner, and a lock that ends with the process.

    Raises:
        TargetBusyError: another process has it open.
    """
    from filelock import FileLock, Timeout

    _make_folder(folder)
    lock = FileLock(folder / _LOCK_NAME, mode=0o600, thread_local=False, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise TargetBusyError(
            f"another process has the Chroma folder {folder} open (CHROMA_PATH), which serves one at a time.",
            remedy=f"Wait for it, or start a server for many (chroma run --path {folder}) and set CHROMA_URL.",
        ) from None
    return lock


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    except OSError as error:
        raise ConfigurationError(
            f"Chroma cannot have the folder {folder}: {error.strerror}.", remedy="Correct CHROMA_PATH."
        ) from None


def _close_folder(client: Any, lock: Any) -> None:
    try:
        client.close()
    finally:
        lock.release()


_open: weakref.WeakValueDictionary[tuple[Any, ...], ChromaConnection] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def connect(settings: Settings) -> ChromaConnection:
    """The process's connection for these settings; nothing is asked of Chroma yet.

    Raises:
        ConfigurationError: when not exactly one of url and path is set.
    """
    identity = (
        os.getpid(),
        settings.url,
        settings.path,
        settings.token,
        tuple(settings.headers),
        settings.tenant,
        settings.database,
    )
    with _opening:
        connection = _open.get(identity)
        if connection is None:
            connection = _open[identity] = ChromaConnection(settings)
        return connection
