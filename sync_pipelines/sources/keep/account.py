"""A live account as an origin of notes, through gkeepapi (the extra `keep`), imported when it is first asked."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from sync_pipelines.engine import secrets
from sync_pipelines.engine.errors import ConfigurationError, RecordError, RunError, TransientError
from sync_pipelines.engine.model import Pending
from sync_pipelines.engine.patience import patience
from sync_pipelines.sources.keep import account_note
from sync_pipelines.sources.keep.mirror import Mirror, mirror_from
from sync_pipelines.sources.keep.model import UNAVAILABLE, ContractError
from sync_pipelines.sources.keep.raw import Raw
from sync_pipelines.sources.keep.state import States

if TYPE_CHECKING:
    from types import ModuleType

    from sync_pipelines.sources.keep import wire

T = TypeVar("T")

KIND = "account"
_TRIES = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_BLOCK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Login:
    """Who asks Keep, and where.

    Args:
        sync, user: for sentences. api_url, auth_url, media_url: Google's where None.
        timeout: seconds that one answer may take.
        deadline: seconds that one look may take with all its waiting: Google can ask for a pause for ever.
    """

    sync: str
    user: str
    email: str
    master_token: str = field(repr=False)
    api_url: str | None = None
    auth_url: str | None = None
    media_url: str | None = None
    timeout: float = 60.0
    deadline: float = 300.0

    def __post_init__(self) -> None:
        secrets.know(self.master_token)
        if "@" not in self.email:
            raise ConfigurationError(f"{self.email!r} is no e-mail address of an account.", sync=self.sync)
        if not 0 < self.timeout <= self.deadline:
            raise ValueError("the time-out of one answer must be above 0 and not above the deadline of all")


class Client:
    """Asks Keep, and waits where Keep asks for it, until the deadline."""

    def __init__(
        self,
        login: Login,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.login, self._sleep, self._clock = login, sleep, clock
        self._api: wire.Api | None = None
        self._media: wire.Media | None = None

    def check(self) -> None:
        """Insist that Google takes the master token.

        Raises:
            RunError: it does not. TransientError: Google does not answer.
        """
        ends = self._clock() + self.login.deadline
        self._patiently(lambda: self._connect(ends), ends)

    def read(self, mirror: Mirror) -> Mirror:
        """What the mirror knows and what has changed since; another mirror where Keep wants all to be read again.

        Raises:
            RunError: the master token is no longer one. TransientError: Keep did not answer before the deadline.
        """
        ends = self._clock() + self.login.deadline
        at = time.time_ns() // 1_000_000
        mirror.begin(at=at)
        more = True
        while more:
            version = mirror.version
            page = self._patiently(lambda version=version: self._connect(ends).page(version), ends)
            if page.get("forceFullResync"):
                mirror = Mirror()
                mirror.begin(at=at)
                page = self._patiently(lambda: self._connect(ends).page(None), ends)
                if page.get("forceFullResync"):
                    raise TransientError("Google Keep asks for all to be read again, again.", sync=self.login.sync)
            mirror.take(page)
            more = bool(page.get("truncated"))
        return mirror

    @contextmanager
    def open(self, note: dict[str, Any], blob: dict[str, Any]) -> Generator[BinaryIO]:
        """An attachment's bytes as they come.

        Raises:
            RecordError: Google has no such file. TransientError: an outage.
            RunError: the master token is no longer one.
        """
        ends = self._clock() + self.login.deadline
        self._patiently(lambda: self._connect(ends), ends)
        assert self._media is not None
        try:
            with self._media.open(note, blob) as file:
                yield cast("BinaryIO", file)
        except imported().Refused as error:
            raise self._refused(str(error)) from None

    def hashed(self, note: dict[str, Any], blob: dict[str, Any]) -> tuple[int, str]:
        """The size and SHA-256 of an attachment's bytes; `(0, UNAVAILABLE)` where Google has none."""
        ends = self._clock() + self.login.deadline
        try:
            return self._patiently(lambda: self._hashed(note, blob), ends)
        except RecordError:
            return 0, UNAVAILABLE

    def _hashed(self, note: dict[str, Any], blob: dict[str, Any]) -> tuple[int, str]:
        told, size = hashlib.sha256(), 0
        with self.open(note, blob) as file:
            while block := file.read(_BLOCK):
                told.update(block)
                size += len(block)
        return size, told.hexdigest()

    def _connect(self, ends: float) -> wire.Api:
        """The client of gkeepapi, with an access token; made once."""
        if self._api is None:
            found, login = imported(), self.login
            auth = found.Auth(
                login.email, login.master_token, url=login.auth_url or found.AUTH_URL, seconds=login.timeout
            )
            secrets.know(auth.refresh())
            api_url, media_url = login.api_url or found.API_URL, login.media_url or found.MEDIA_URL
            self._media = found.Media(auth, url=media_url, seconds=login.timeout)
            self._api = found.Api(auth, url=api_url, seconds=login.timeout, clock=self._clock)
        self._api.ends_at = ends
        return self._api

    def _patiently(self, ask: Callable[[], T], ends: float) -> T:
        """What `ask` answers, again after an outage, until the deadline, or for as long as who asks has patience."""
        pause, gives_up = _FIRST_PAUSE, min(ends, self._clock() + patience(inf))
        while True:
            try:
                return ask()
            except imported().Refused as error:
                raise self._refused(str(error)) from None
            except TransientError as error:
                wanted = max(error.retry_after or 0.0, pause)
                if self._clock() + wanted >= gives_up:
                    raise self._out_of_time(error) from None
                self._sleep(wanted)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _refused(self, why: str) -> RunError:
        return RunError(
            f"Google does not take the master token of user {self.login.user!r} ({why}).",
            sync=self.login.sync,
            remedy=f"Get a new one and give it with `sync-pipelines users rotate {self.login.user}`.",
        )

    def _out_of_time(self, error: TransientError) -> TransientError:
        return TransientError(
            f"the account of user {self.login.user!r} could not be read within {patience(self.login.deadline):.0f} s: "
            f"{error.message}",
            sync=self.login.sync,
            retry_after=error.retry_after,
            remedy="It is tried again with the next run.",
        )


def imported() -> ModuleType:
    """The module that needs gkeepapi.

    Raises:
        ConfigurationError: the extra is not installed.
    """
    try:
        from sync_pipelines.sources.keep import wire
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("gkeepapi", "gpsoauth"):
            raise
        raise ConfigurationError(
            "To read a Google account, gkeepapi is needed, which is not installed.",
            remedy='Install it: pip install "sync-pipelines[keep]".',
        ) from None
    return wire


class AccountOrigin:
    """An account, and what is remembered of it, so that a look asks for what has changed alone.

    Args:
        every: how long an account is taken for unchanged by who asks whether a run is due.
    """

    tells_changes = True

    def __init__(self, client: Client, states: States, *, every: timedelta = timedelta(hours=1)) -> None:
        self.client, self._states, self.every = client, states, every
        self._last: Mirror | None = None

    def look(self, *, anew: bool = False) -> AccountLook:
        """Ask for what has changed, and remember it.

        Raises:
            RunError: the token is no longer one. TransientError: Keep does not answer, or others remember all the time.
        """
        for _ in range(_TRIES):
            kept, mark = self._states.load()
            mirror = mirror_from(kept)
            found = Mirror(media=_had(mirror)) if anew else mirror
            if (read := self._looked(found, mark)) is not None:
                self._last = read
                return AccountLook(read, self.client)
        raise TransientError("Other processes read the same account all the time.", sync=self.client.login.sync)

    def _looked(self, mirror: Mirror, mark: str | None) -> Mirror | None:
        """The mirror as it is now; None where another process has kept one meanwhile."""
        version = mirror.version
        found = self.client.read(mirror)
        try:
            self._hash(found)
        finally:
            # also where an attachment could not be had: what was read and hashed need not be asked for again
            found.end()
            kept = (version == found.version and not found.fresh) or self._states.keep(found.as_dict(), was=mark)
        return found if kept else None

    def _hash(self, mirror: Mirror) -> None:
        for key in mirror.notes():
            for blob in mirror.children(key):
                if blob.get("type") == "BLOB" and _mark(blob) not in mirror.media:
                    mirror.media[_mark(blob)] = self.client.hashed(mirror.nodes[key], blob)
                    mirror.fresh = True

    def known(self) -> AccountLook:
        return AccountLook(mirror_from(self._states.load()[0]), self.client)

    def whole(self, since: Mapping[str, Any]) -> str | None:
        return None

    def warnings(self, since: Mapping[str, Any]) -> list[str]:
        return []

    def lasting(self, since: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
        """With what an export had (`ExportOrigin`), from which the user came and to which they may go back."""
        return {**now, **{name: since[name] for name in ("parts",) if name in since}}

    def close(self) -> None:
        self._last = None

    def why_all(self, since: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
        if since.get("kind") != KIND:
            return "the notes come from an account now"
        if since.get("mirror") != now["mirror"] or int(since.get("look", 0)) > now["look"]:
            return "what was remembered of the account is not what was read last"
        return None

    def pending(self, since: Mapping[str, Any], taken_at: datetime) -> Pending:
        if since.get("kind") != KIND:
            return Pending(full_reason="the notes come from an account now")
        due = taken_at + self.every
        return Pending(changes=1, oldest=due) if due <= datetime.now(UTC) else Pending()

    @contextmanager
    def open(self, where: Any) -> Generator[BinaryIO]:
        """An attachment's bytes, asked of Google.

        Raises:
            RecordError: it has none.
        """
        mirror = self._last = self._last or self.known().mirror
        note, blob = mirror.nodes.get(where[0]), mirror.nodes.get(where[1])
        if note is None or blob is None:
            raise RecordError("The account has this attachment no more.", sync=self.client.login.sync)
        with self.client.open(note, blob) as file:
            yield file


def _had(mirror: Mirror) -> dict[str, tuple[int, str]]:
    """The attachments that Google had; a full look asks anew for those that it did not give."""
    return {mark: told for mark, told in mirror.media.items() if told[1] != UNAVAILABLE}


def _mark(blob: Mapping[str, Any]) -> str:
    """An attachment's node and what it says of its bytes: a drawing is drawn over without a new id."""
    told = json.dumps(blob.get("blob"), sort_keys=True)
    return f"{blob['id']}/{hashlib.blake2b(told.encode('utf-8', 'surrogatepass'), digest_size=6).hexdigest()}"


@dataclass(frozen=True)
class AccountLook:
    """An account in one state."""

    mirror: Mirror
    client: Client

    @property
    def position(self) -> dict[str, Any]:
        return {"kind": KIND, "mirror": self.mirror.id, "look": self.mirror.look}

    def notes(self, after: Mapping[str, Any] | None) -> Iterator[Raw]:
        """Notes that changed after a position of the same mirror; all of them for None."""
        for key in self.mirror.notes(after=-1 if after is None else int(after["look"])):
            yield self._raw(key)

    def has_node(self, node: str) -> bool:
        return node in self.mirror.nodes

    def _raw(self, key: str) -> Raw:
        node, children = self.mirror.nodes[key], self.mirror.children(key)
        media = lambda blob: self.mirror.media.get(_mark(blob))  # noqa: E731
        try:
            note = account_note.parse(node, children, self.mirror.labels, media)
        except (ContractError, KeyError, TypeError, AttributeError) as error:
            why = error if isinstance(error, ContractError) else "its nodes have another form than Keep's have"
            return Raw(problem=f"node {key}: {why}.", created=account_note.created_of(node), node=key)
        blobs = [child for child in children if child.get("type") == "BLOB"]
        files = {account_note.name_of(child): (key, child["id"]) for child in blobs}
        return Raw(note=note, created=note.created_usec, node=key, files=files)
