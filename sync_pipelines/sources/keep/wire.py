"""gkeepapi's low-level client, which asks for changes and sends none, with what it lacks: time-outs and an end.

`gkeepapi.Keep` would write to the account what it takes for changed, fails as a whole for one odd node, forgets who
shares a note when its state is dumped, and waits out a 429 for ever (`API.send`); `KeepAPI.changes` underneath has
none of that but the last, and the 429 never reaches its loop: `_send` raises first.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, Any, cast

import gkeepapi
import gpsoauth
import requests
from gkeepapi import exception
from gkeepapi import node as nodes

from sync_pipelines.engine.errors import RecordError, RunError, TransientError
from sync_pipelines.targets.retries import retry_after_seconds

AUTH_URL = gpsoauth.AUTH_URL
API_URL = gkeepapi.KeepAPI.API_URL
MEDIA_URL = gkeepapi.MediaAPI.API_URL

_SCOPES = gkeepapi.Keep.OAUTH_SCOPES
_NO_REFUSALS = ("None", "Unknown", "NetworkError", "ServiceUnavailable")
"""What gpsoauth makes of an answer that says nothing of the token: it looks at no status (`None`: a 503, say)."""

_BLOCK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where Google's services are; a stand-in's in tests."""

    api: str = API_URL
    auth: str = AUTH_URL
    media: str = MEDIA_URL


class Refused(Exception):
    """Google does not take the master token any more."""


class Auth(gkeepapi.APIAuth):
    """Asks for an access token with the master token, within a time.

    Args:
        seconds: how long an answer may take. gpsoauth sets no time-out, so that it waits in a thread that is left.
    """

    def __init__(self, email: str, master_token: str, *, url: str, seconds: float) -> None:
        super().__init__(_SCOPES)
        self.setEmail(email)
        self.setMasterToken(master_token)
        # an id of 16 hex digits by which Google knows a device: the same on whichever machine a run is
        self.setDeviceId(hashlib.sha256(f"sync_pipelines:{email}".encode()).hexdigest()[:16])
        self._url, self._seconds = url, seconds

    def refresh(self) -> str:
        """Get a new access token.

        Raises:
            Refused: the master token is no longer one. TransientError: Google does not answer.
        """
        try:
            return within(self._seconds, self._asked, "Google's sign-in")
        except exception.LoginException as error:
            if str(error) in _NO_REFUSALS:
                raise TransientError("Google's sign-in is out of order.") from None
            raise Refused(str(error)) from None
        except KeyError:
            raise TransientError("Google's sign-in gives no access token.") from None

    def _asked(self) -> str:
        vars(gpsoauth)["AUTH_URL"] = self._url  # which it reads from its module; one address a process
        with outage("Google's sign-in"):
            return super().refresh()


class Api(gkeepapi.KeepAPI):
    """`changes`, where an outage is ours to wait for.

    Args:
        seconds: how long one answer may take, and how long gpsoauth's. ends_at: the time of `clock` after which
            nothing is asked any more: the end of gkeepapi's own loop, should a 429 come in the body alone.
    """

    def __init__(self, auth: Auth, *, url: str, seconds: float, clock: Callable[[], float]) -> None:
        super().__init__(auth)
        self._base_url, self._seconds, self._clock = _ended(url), seconds, clock
        self.requests, self.ends_at = 0, float("inf")

    def _send(self, **request: Any) -> requests.Response:
        if self._clock() >= self.ends_at:
            raise TransientError("Google Keep asked for one pause after another.")
        self.requests += 1
        with outage("Google Keep"):
            answer = super()._send(**_timed(request, self._seconds))
        _raise_for(answer, "Google Keep")
        if answer.status_code == HTTPStatus.FORBIDDEN:
            raise Refused("Forbidden")
        return answer

    def page(self, version: str | None) -> dict[str, Any]:
        """Changes after a version; `truncated` where there are more.

        Raises:
            Refused: the token is no longer one. TransientError: an outage, or Google asks for a pause.
            RunError: Google refuses for another reason.
        """
        try:
            return _changes(self.changes(target_version=version))
        except exception.LoginException as error:
            raise Refused(str(error)) from None
        except exception.APIException as error:
            if error.code == HTTPStatus.UNAUTHORIZED:
                raise Refused("Unauthorized") from None
            raise RunError(f"Google Keep refuses with status {error.code}.") from None
        except requests.exceptions.JSONDecodeError:
            raise TransientError("Google Keep's answer is no JSON (a page of something in between?).") from None


def _changes(answer: Any) -> dict[str, Any]:
    """An answer of Keep's, which says up to which version it tells; without that it would pass for an empty account."""
    if not isinstance(answer, dict) or not isinstance(answer.get("toVersion"), str):
        raise TransientError("Google Keep's answer tells of no version (JSON of something in between?).")
    return answer


class Media(gkeepapi.MediaAPI):
    """Bytes of attachments."""

    def __init__(self, auth: Auth, *, url: str, seconds: float) -> None:
        super().__init__(auth)
        self._base_url, self._seconds = _ended(url), seconds

    def _send(self, **request: Any) -> requests.Response:
        """As gkeepapi's, which asks for no new token here, and takes whatever holds no link for a file that is away."""
        answer = self._asked(**request)
        if answer.status_code == HTTPStatus.UNAUTHORIZED and self._auth is not None:
            self._auth.refresh()
            answer = self._asked(**request)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            raise Refused("Unauthorized")
        return answer

    def _asked(self, **request: Any) -> requests.Response:
        with outage("Google Keep's media"):
            answer = super()._send(**_timed(request, self._seconds))
        _raise_for(answer, "Google Keep's media")
        return answer

    @contextmanager
    def open(self, note: dict[str, Any], blob: dict[str, Any]) -> Generator[IO[bytes]]:
        """An attachment's bytes as they come.

        Raises:
            RecordError: Google has no such file. TransientError: an outage.
        """
        link = self._link(note, blob)
        with outage("Google Keep's media"), self._session.get(link, stream=True, timeout=self._seconds) as answer:
            _raise_for(answer, "Google Keep's media")
            if not answer.ok:
                raise RecordError(f"Google Keep's media answer {answer.status_code} for an attachment.")
            yield cast("IO[bytes]", _Body(answer))

    def _link(self, note: dict[str, Any], blob: dict[str, Any]) -> str:
        parent, child = nodes.from_json(note), nodes.from_json(blob)
        if parent is None or not isinstance(child, nodes.Blob) or not (parent.server_id and child.server_id):
            raise RecordError("Google Keep has no link to an attachment.")
        parent.append(child, False)
        try:
            return self.get(child)
        except KeyError:
            raise RecordError("Google Keep gives no link to an attachment.") from None


class _Body:
    """The body of an answer as a file that is read once."""

    def __init__(self, answer: requests.Response) -> None:
        self._answer, self._left = answer.iter_content(_BLOCK), b""

    def read(self, size: int = -1) -> bytes:
        """So many bytes, fewer at the end; all of them without a size."""
        blocks, held = [self._left], len(self._left)
        while size < 0 or held < size:
            block = next(self._answer, b"")
            if not block:
                break
            blocks.append(block)
            held += len(block)
        whole = b"".join(blocks)
        end = len(whole) if size < 0 else size
        self._left = whole[end:]
        return whole[:end]


@contextmanager
def outage(system: str) -> Generator[None]:
    """What requests raises where nothing answers becomes ours, without the address, which can hold a token."""
    try:
        yield
    except requests.exceptions.JSONDecodeError:
        raise
    except requests.exceptions.Timeout:
        raise TransientError(f"{system} does not answer in time.") from None
    except requests.exceptions.RequestException as error:
        raise TransientError(f"{system} cannot be reached ({type(error).__name__}).") from None


def _timed(request: dict[str, Any], seconds: float) -> dict[str, Any]:
    return {"timeout": seconds, **request}


def _raise_for(answer: requests.Response, system: str) -> None:
    if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        raise TransientError(
            f"{system} asks for a pause (429).", retry_after=retry_after_seconds(answer.headers.get("Retry-After"))
        )
    if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise TransientError(
            f"{system} answers {answer.status_code}.",
            retry_after=retry_after_seconds(answer.headers.get("Retry-After")),
        )


def within(seconds: float, ask: Callable[[], str], system: str) -> str:
    """What `ask` answers, if it does within so many seconds.

    Raises:
        TransientError: it did not.
    """
    answers: list[str] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(ask())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="keep-sign-in", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TransientError(f"{system} does not answer in time.")
    return answers[0]


def _ended(url: str) -> str:
    return url if url.endswith("/") else f"{url}/"
