"""What an API's answers and its connection's errors mean (DESIGN.md §4, Failure classes); decided here alone."""

from __future__ import annotations

import json
import re
import ssl
from typing import Any

from sync_pipelines.engine.error_links import links_of
from sync_pipelines.engine.errors import ConfigurationError, RecordError, RunError, SyncError, TransientError, redact
from sync_pipelines.sources.rest.calls import Answer, Call, Reply
from sync_pipelines.sources.rest.settings import ClientSettings
from sync_pipelines.targets.retries import retry_after_seconds

_PASSING = frozenset({202, 408, 409, 421, 423, 425, 429})
"""Statuses below 500 that ask to come again later."""

_QUOTED = 200
"""Characters of an answer that stand in a sentence."""

_MARKUP = re.compile(r"<(?:script|style)\b.*?</(?:script|style)\s*>|<[^>]*>", re.I | re.S)


class KeyRefusedError(ConfigurationError):
    """The API does not take the key: no request of this run can succeed."""


class ApiDownError(TransientError):
    """The API answers nobody: what is left stays due, and the next run takes it up."""


class FaultError(TransientError):
    """A request failed in a way that may pass.

    `http_status` is None where no whole answer came.
    """

    def __init__(self, message: str, *, http_status: int | None = None, retry_after: float | None = None) -> None:
        self.http_status = http_status
        super().__init__(message, retry_after=retry_after)


class NoJsonError(ValueError):
    """A body is not what RFC 8259 calls JSON."""


def judge(reply: Reply, call: Call, settings: ClientSettings) -> Answer:
    """What an answer means for its record.

    Raises:
        FaultError: it may pass: 429, 5xx, a body that is no JSON (a proxy's page, half an answer).
        KeyRefusedError: 401.
    """
    status = reply.status
    if status == 200:
        return Answer(key=call.key, status="found", body=_parsed(reply, settings), http_status=status)
    if status in (404, 410):
        return Answer(
            key=call.key,
            status="absent",
            http_status=status,
            reason=f"the API knows no such record{_said(reply, settings)}",
        )
    if status == 401:
        raise key_refused(reply, settings)
    if status in _PASSING or status >= 500 or 200 < status < 300:
        after = retry_after_seconds(reply.headers.get("retry-after"))
        raise FaultError(f"the API answers {status}{_said(reply, settings)}", http_status=status, retry_after=after)
    return Answer(key=call.key, status="failed", http_status=status, reason=_refusal(reply, settings), lasting=True)


def key_refused(reply: Reply, settings: ClientSettings) -> KeyRefusedError:
    """The sentence for a key that is not taken."""
    return KeyRefusedError(
        f"{settings.host} refuses the key: it answers {reply.status}{_said(reply, settings)}. Nothing more is asked.",
        remedy=f"Set {settings.key_name} to a key that is valid for {settings.host}, and start the sync again.",
        **settings.where,
    )


def _refusal(reply: Reply, settings: ClientSettings) -> str:
    if 300 <= reply.status < 400:
        # not followed: the key would go wherever it leads
        return f"the API answers {reply.status}, a redirection, which is not followed; check {settings.url_name}"
    return f"the API answers {reply.status}{_said(reply, settings)}"


def _parsed(reply: Reply, settings: ClientSettings) -> Any:
    try:
        return parse_json(reply.content)
    except NoJsonError as error:
        kind = reply.headers.get("content-type", "no content type").partition(";")[0]
        said = _said(reply, settings)
        raise FaultError(f"the answer is no JSON ({kind}): {error}{said}", http_status=reply.status) from None


def parse_json(content: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        NoJsonError: it is none; so are NaN and Infinity, which Python would take.
    """
    try:
        return json.loads(content, parse_constant=_no_number)
    except RecursionError:
        raise NoJsonError("it is nested too deeply") from None
    except ValueError as error:
        raise NoJsonError(str(error) if content else "it is empty") from None


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _said(reply: Reply, settings: ClientSettings) -> str:
    """What the server says beside the status, in a few words: its page's text, its JSON's message.

    Nothing where fields are sensitive: half an answer quotes them, and so may a message.
    """
    if settings.quiet:
        return ""
    text = reply.content[:20_000].decode("utf-8", "replace")
    words = " ".join(_MARKUP.sub(" ", text).split())
    clean = redact("".join(letter for letter in words if letter.isprintable()))
    return f" ({clean[:_QUOTED]}{'…' if len(clean) > _QUOTED else ''})" if clean else ""


def of_transport(error: Exception, settings: ClientSettings) -> SyncError:
    """An error of httpx as one of ours."""
    import httpx

    text = redact(" ".join(str(error).split())) or type(error).__name__
    if any(isinstance(link, ssl.SSLCertVerificationError) for link in links_of(error)):
        message = f"The certificate of {settings.host} is not trusted: {text}."
        return ConfigurationError(message, remedy="Set SSL_CERT_FILE to the authority's.", **settings.where)
    if isinstance(error, httpx.TimeoutException):
        return FaultError(f"no answer within {settings.timeout:g} s ({type(error).__name__})")
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError | httpx.InvalidURL):
        return RunError(f"A request could not be made: {text}.", remedy=f"Check {settings.url_name}.", **settings.where)
    return FaultError(f"the connection failed: {text} ({type(error).__name__})")


def too_long(call: Call, settings: ClientSettings) -> RecordError:
    """The sentence for an answer that is not read to its end."""
    return RecordError(f"the answer is longer than {settings.max_bytes / 1e6:g} MB", key=call.key, **settings.where)
