"""What is asked of an API, and what it answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

from sync_pipelines.engine.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Call:
    """One GET request of one record.

    Args:
        key: names the record to whoever asked, and to people.
        path: below the API's address, its values escaped (`path_of`).
        params: the query.
    """

    key: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of one call.

    Args:
        status: `found`; `absent`, the API has no such record (404, 410); `failed`, it answers others, but not this one.
        body: the parsed JSON of what was found.
        reason: why it failed, one sentence without a secret.
        http_status: None where no whole answer came.
        lasting: the request itself is refused (400, 403, 422, …): another try does not mend it.
        at: when the answer was there.
    """

    key: str
    status: Literal["found", "absent", "failed"]
    body: Any = None
    reason: str = ""
    http_status: int | None = None
    lasting: bool = False
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A whole answer as it came over the wire.

    Args:
        headers: names in lower case.
        seconds: from sending the request to the last byte.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    seconds: float


def path_of(template: str, **values: object) -> str:
    """A path with its values in their places, escaped: a key may hold a slash or a question mark.

    Args:
        template: such as `property/{hotel_id}/lang/{lang}`.

    Raises:
        ConfigurationError: the template names a value that is not there.
    """
    try:
        return template.format_map({name: _segment(str(value)) for name, value in values.items()})
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigurationError(
            f"The path {template!r} cannot be filled: {error}.",
            remedy=f"It may name {', '.join(f'{{{name}}}' for name in values) or 'nothing'}.",
        ) from None


def _segment(value: str) -> str:
    # a key of dots alone would climb up the path
    return value.replace(".", "%2E") if value.strip(".") == "" else quote(value, safe="")
