"""Durations as documents write them (`15m`) and as people read them."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """`30s`, `15m`, `2h` or `7d` in seconds.

    Raises:
        ValueError: for anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if not match:
        raise ValueError(f"{text!r} is no duration: write 30s, 15m, 2h or 7d")
    try:
        return timedelta(seconds=float(match[1]) * _UNITS[match[2]]).total_seconds()
    except OverflowError:
        raise ValueError(f"{text[:40]!r} is longer than any time that is counted") from None


def brief(span: timedelta) -> str:
    """6h, 90m or 20s: in the largest unit that needs no fraction."""
    whole = round(span.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= size and whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def age(span: float) -> str:
    """45s, 20m, 3h or 2d: whole units, rounded down, of the largest of which there are at least two; from seconds."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if span >= 2 * size:
            return f"{int(span // size)}{unit}"
    return f"{int(span)}s"
