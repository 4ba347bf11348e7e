"""Chroma's address, token and headers, looked at before anything is sent: what is wrong names its setting.

Asked later, urllib, the codec of HTTP's headers and h11 say it each in words of its own, some as an outage.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from sync_pipelines.engine.errors import ConfigurationError

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?:[!-~](?:[ -~\t]*[!-~])?)?")
"""RFC 9110 §5; other bytes would be for HTTP to take, but httpx encodes ASCII alone."""

_URL_FORM = "Write http://host:8000."


def server(url: str, *, name: str = "CHROMA_URL") -> SplitResult:
    """The parts of a server's address; host and port can be read.

    Args:
        name: where it comes from (a variable), for the sentence.

    Raises:
        ConfigurationError: it is none; the text is not repeated, it may hold a password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigurationError(f"{name}: its host cannot be read.", remedy=_URL_FORM) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{name} is no http:// or https:// address.", remedy=_URL_FORM)
    if re.search(r"[\s\x00-\x20\x7f<>\"\\^`{|}]", parts.hostname) or not _is_name(parts.hostname):
        raise ConfigurationError(f"{name}: its host cannot be read.", remedy=_URL_FORM)
    if not _is_port(parts):
        raise ConfigurationError(f"{name}: its port is no number from 1 to 65535.", remedy=_URL_FORM)
    return parts


def _is_name(host: str) -> bool:
    """Whether DNS could look it up: no empty label, none of more than 63 letters; an IPv6 address has none."""
    try:
        return ":" in host or bool(host.encode("idna"))
    except UnicodeError:
        return False


def _is_port(parts: SplitResult) -> bool:
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def check_token(token: str | None, *, name: str = "CHROMA_TOKEN") -> None:
    """Refuse a token that cannot stand in a header.

    Raises:
        ConfigurationError: without the token.
    """
    if token is not None and not _HEADER_VALUE.fullmatch(token):
        raise ConfigurationError(
            f"{name} has a character that no HTTP header takes: only ASCII, without line breaks.",
            remedy="Copy the token anew.",
        )


def check_headers(headers: Iterable[tuple[str, str]], *, name: str = "CHROMA_HEADERS") -> None:
    """Refuse headers that HTTP does not take.

    Raises:
        ConfigurationError: with the header's place or name, never with its value.
    """
    for number, (header, value) in enumerate(headers, start=1):
        if not _HEADER_NAME.fullmatch(header):
            raise ConfigurationError(
                f"{name}: the name of header {number} has a character that HTTP does not take.",
                remedy="Write letters, digits and -.",
            )
        if not _HEADER_VALUE.fullmatch(value):
            raise ConfigurationError(
                f"{name}: the value of {header} has a character that no HTTP header takes: only ASCII, without line "
                "breaks, and no blank at either end.",
                remedy="Copy it anew.",
            )
