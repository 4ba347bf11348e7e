"""Dates of requests: a day, or a moment with its offset, or a moment of a time zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sync_pipelines.sandbox.notion.given import Given

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def date_value(given: Given) -> dict[str, Any] | None:
    """A date of a property, as it is answered: moments with milliseconds and an offset."""
    if not given.filled:
        return None
    given.only("start", "end", "time_zone")
    start, end, zone = given.field("start"), given.field("end"), given.field("time_zone")
    return {
        "start": _shown(start),
        "end": _shown(end) if end.filled else None,
        "time_zone": _zone(zone) if zone.filled else None,
    }


def _zone(given: Given) -> str:
    try:
        return ZoneInfo(given.of(str)).key
    except (KeyError, ValueError, OSError) as error:
        raise given.wrong("should be a valid time zone") from error


def _shown(given: Given) -> str:
    text = given.of(str)
    if _DAY.fullmatch(text):
        moment(given)
        return text
    # Notion keeps hours and minutes, as its interface does, and answers with an offset, never with Z.
    return moment(given).replace(second=0, microsecond=0).isoformat(timespec="milliseconds")


def moment(given: Given) -> datetime:
    """A moment of a request; a day is its midnight, and what has no offset is in UTC."""
    try:
        found = datetime.fromisoformat(given.of(str))
    except ValueError as error:
        raise given.wrong("should be a valid ISO 8601 date string") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def is_day(text: str) -> bool:
    """Whether a text is a day without a time."""
    return bool(_DAY.fullmatch(text))


def parsed(text: str) -> datetime:
    """A moment that is kept."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
