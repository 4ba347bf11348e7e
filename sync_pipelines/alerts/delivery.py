"""Who gets a message, and sending it through apprise. The only place that reads the receivers' URLs."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from sync_pipelines.alerts.incidents import Notice
from sync_pipelines.alerts.message import message, ui_url
from sync_pipelines.alerts.outbox import Receiver
from sync_pipelines.engine.errors import redact
from sync_pipelines.resources.environment import value

DEFAULT = "default"
VARIABLE, OLDER_VARIABLE = "SYNC_ALERT_URLS", "NOTIFICATION_WEBHOOK_URL"
CONNECT_SECONDS, READ_SECONDS, SEND_SECONDS = 3, 5, 12

_PLAIN = ("json", "jsons", "form", "forms", "xml", "xmls", "http", "https", "mailto", "mailtos")
"""Schemes whose host is a host; in the others it may be a token."""


def variable(channel: str) -> str:
    """The variable that holds a channel's URLs."""
    return VARIABLE if channel == DEFAULT else f"{VARIABLE}_{channel.upper()}"


def channels(environment: Mapping[str, str]) -> list[str]:
    """The channels that have a receiver in this environment."""
    prefix = f"{VARIABLE}_"
    named = [name.removeprefix(prefix).lower() for name in environment if name.startswith(prefix)]
    return [channel for channel in (DEFAULT, *sorted(named)) if of_channel(channel, environment)]


def of_channel(channel: str, environment: Mapping[str, str]) -> list[Receiver]:
    """The receivers of one channel; none where its variable is not set."""
    names = [variable(channel), *([OLDER_VARIABLE] if channel == DEFAULT else [])]
    found: dict[str, str] = {}
    for name in names:
        for url in split_urls(value(name, environment) or ""):
            found.setdefault(url, name)
    return [Receiver(channel=channel, mark=_mark(url), url=url, variable=name) for url, name in found.items()]


def receivers(chosen: Sequence[str], environment: Mapping[str, str]) -> list[Receiver]:
    """The receivers of these channels, each once; those of the default channel where they have none."""
    found = [one for channel in chosen for one in of_channel(channel, environment)]
    return list({one.mark: one for one in found or of_channel(DEFAULT, environment)}.values())


def has_receivers(chosen: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether any of these channels has a receiver of its own."""
    return any(of_channel(channel, environment) for channel in chosen)


def split_urls(text: str) -> list[str]:
    """URLs parted by commas or spaces; a comma within one (several addresses of a mailto) stays."""
    return [part for part in re.split(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)", text.strip(" \t\r\n,")) if part]


def _mark(url: str) -> str:
    # 32 bits tell a few URLs apart and give nobody a way to find the URL
    return hashlib.sha256(url.encode()).hexdigest()[:8]


def send(receiver: Receiver, notice: Notice) -> str | None:
    """Send one message to one receiver: None when it was taken, else one sentence without the URL's secret."""
    service = _opened(receiver)
    return service if isinstance(service, str) else _notify(service, receiver, notice)


def unusable(environment: Mapping[str, str]) -> list[str]:
    """What `send` would say of each receiver that takes no message because of its URL; none is sent."""
    found = [one for channel in channels(environment) for one in of_channel(channel, environment)]
    return [problem for one in found if isinstance(problem := _opened(one), str)]


def _opened(receiver: Receiver) -> Any:
    """The apprise service, or the sentence that says why there is none."""
    try:
        service = _service(receiver.url)
    except Exception as error:  # a plug-in of apprise that cannot read its own URL
        return f"{described(receiver)} cannot be used ({type(error).__name__})."
    if service is None:
        return f"{described(receiver)} is no URL that apprise knows; see https://github.com/caronc/apprise/wiki."
    return service


def _notify(service: Any, receiver: Receiver, notice: Notice) -> str | None:
    import apprise

    made = message(notice, ui=ui_url(), now=datetime.now(UTC))
    if type(service).__name__ == "NotifyJSON":
        # fields for programs, and `text`, which the look-alikes of Slack's webhooks want; what the URL says wins
        extras = {"text": f"{made.title}\n{made.body}", **made.fields}
        service.payload_extras = {**extras, **service.payload_extras}
    sender = apprise.Apprise()
    sender.add(service)
    result = sender.notify(
        title=made.title, body=made.body, notify_type=_type(notice), body_format="text", timeout=SEND_SECONDS
    )
    if result:
        return None
    return f"{described(receiver)} did not take the message{_why(result, receiver.url)}."


def _type(notice: Notice) -> str:
    if notice.kind in ("recovered", "test"):
        return "success" if notice.kind == "recovered" else "info"
    return "failure" if notice.severity == "error" else "warning"


def _service(url: str) -> Any:
    """The apprise service of a URL. A web address that apprise does not know as Slack's, Discord's or another's is a
    plain webhook, which gets a POST of JSON."""
    import apprise

    _silence()
    # a POST that is sent elsewhere arrives there as a GET, without the message: a page for logins would say 200 to it
    asset = apprise.AppriseAsset(
        app_id="sync_pipelines", app_desc="sync_pipelines", secure_logging=True, http_redirects=False
    )
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is None and _scheme(url) in ("http", "https"):
        service = apprise.Apprise.instantiate(as_json_webhook(url), asset=asset)
    if service is not None:
        service.socket_connect_timeout = min(service.socket_connect_timeout, CONNECT_SECONDS)
        service.socket_read_timeout = min(service.socket_read_timeout, READ_SECONDS)
    return service


def as_json_webhook(url: str) -> str:
    """`https://host/path?a=b` as apprise spells a POST of JSON to it: `jsons://host/path?-a=b`."""
    parts = urlsplit(url)
    query = urlencode([(f"-{name}", text) for name, text in parse_qsl(parts.query, keep_blank_values=True)])
    scheme = "jsons" if parts.scheme.lower() == "https" else "json"
    path = quote(unquote(parts.path), safe="/") or "/"
    return f"{scheme}://{parts.netloc}{path}" + (f"?{query}" if query else "")


def _silence() -> None:
    """apprise's own log would repeat URLs; what it says of a failure is in its result."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def described(receiver: Receiver) -> str:
    """`SYNC_ALERT_URLS (jsons://hooks.example.com)`: which one it is, without what is secret in it."""
    scheme = _scheme(receiver.url)
    what = f"{scheme}://{_host(receiver.url) or '…'}" if scheme else "a value without scheme://"
    return f"{receiver.variable or variable(receiver.channel)} ({what})"


def _why(result: Any, url: str) -> str:
    """apprise's own words, without any part of the URL that could be a secret."""
    told = [str(entry.message) for entry in result.logs()]
    if not told:
        return ""
    text = redact(" ".join(told[-1].split()))[:300].rstrip(".")
    for part in sorted(_secrets(url), key=len, reverse=True):
        text = text.replace(part, "***")
    return f": {text}"


def _secrets(url: str) -> set[str]:
    pieces: Iterable[str] = re.split(r"[\s/?&=:@;,]+", url.partition("://")[2] or url)
    return {piece for raw in pieces for piece in (raw, unquote(raw)) if len(piece) >= 4} - {_host(url)}


def _scheme(url: str) -> str:
    """The scheme; empty where there is none, for what stands there then is host and token."""
    found = re.match(r"([a-z][a-z0-9+.-]*)://", url, re.I)
    return found[1].lower() if found else ""


def _host(url: str) -> str:
    """The host, where it surely is one: a second receiver whose scheme was forgotten hangs on to the first."""
    try:
        host = (urlsplit(url).hostname or "") if _scheme(url) in _PLAIN else ""
    except ValueError:
        return ""
    return host if re.fullmatch(r"[a-z0-9._:-]*", host) else ""
