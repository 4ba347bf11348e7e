"""Faults on demand: what an API on the internet does now and then, when a test wants it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

STATUSES = ("400", "401", "403", "404", "422", "429", "500", "502", "503", "504")
WIRE = ("slow", "drip", "cut", "drop", "html", "text")
SHAPES = ("wrong_types", "strings", "old_checkin", "wrapped", "flat", "missing", "extra")
KINDS = (*STATUSES, *WIRE, *SHAPES)
"""A status; trouble on the wire; another shape of the body.

`slow`: the answer begins after `seconds`. `drip`: it comes in pieces over `seconds`. `cut`: half of it. `drop`: none.
`html`, `text`: 200 with a page, or with words. `wrong_types`, `missing`, `extra`: `fields` are replaced, left out or
added. `strings`: numbers as strings. `old_checkin`, `wrapped`, `flat`: the shapes that are known of Cupid.
"""

_NONSENSE = {"latitude": "north", "rooms": "none", "average_score": "great"}


@dataclass
class Fault:
    """One fault and whom it meets.

    Args:
        kind: one of `KINDS`.
        key: of the record; None: any.
        endpoint: property, reviews or lang; None: any.
        every: of the requests that fit, each n-th.
        times: how many it meets; None: all.
        retry_after: sent with it: seconds, `date:2` for the date in two seconds, or any text.
        seconds: how long `slow` and `drip` take.
        fields: what the shapes speak of.
    """

    kind: str
    key: str | None = None
    endpoint: str | None = None
    every: int = 1
    times: int | None = None
    retry_after: str | None = None
    seconds: float = 1.0
    fields: Mapping[str, Any] = field(default_factory=dict)
    asked: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is none of {', '.join(KINDS)}")
        self.key = None if self.key is None else str(self.key)

    def meets(self, endpoint: str, key: str) -> bool:
        """Whether this request meets it; one use of it is spent then."""
        if self.times == 0 or self.key not in (None, key) or self.endpoint not in (None, endpoint):
            return False
        self.asked += 1
        if self.asked % self.every:
            return False
        self.times = None if self.times is None else self.times - 1
        return True

    @property
    def status(self) -> int:
        """The status that is answered: 200 where the fault is another one."""
        return int(self.kind) if self.kind in STATUSES else 200

    def headers(self) -> dict[str, str]:
        """The headers that are sent with it."""
        if self.retry_after is None:
            return {}
        if self.retry_after.startswith("date:"):
            moment = datetime.now(UTC) + timedelta(seconds=float(self.retry_after[5:]))
            return {"Retry-After": format_datetime(moment, usegmt=True)}
        return {"Retry-After": self.retry_after}

    def shaped(self, document: Any) -> Any:
        """The body in the shape that the fault wants."""
        if isinstance(document, list):
            return [self.shaped(one) for one in document]
        if set(document) == {"data"} and self.kind not in ("wrapped", "flat"):
            return {"data": self.shaped(document["data"])}
        return _SHAPED[self.kind](dict(document), self.fields)


class Faults:
    """The faults that wait for their requests; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let the next requests that fit meet this fault; of several the oldest."""
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._waiting.clear()

    def meet(self, endpoint: str, key: str) -> Fault | None:
        """The fault that meets this request, if any."""
        with self._lock:
            return next((fault for fault in self._waiting if fault.meets(endpoint, key)), None)


def _wrong(document: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    nonsense = fields or {name: value for name, value in _NONSENSE.items() if name in document}
    return {**document, **nonsense}


def _strings(document: dict[str, Any], _fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _string(value) for name, value in document.items()}


def _string(value: Any) -> Any:
    if isinstance(value, dict):
        return _strings(value, {})
    if isinstance(value, list):
        return [_string(one) for one in value]
    return json.dumps(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _old_checkin(document: dict[str, Any], _fields: Mapping[str, Any]) -> dict[str, Any]:
    checkin = document.pop("checkin", None) or {}
    return {
        **document,
        **{name: checkin[name] for name in ("checkin_start", "checkin_end", "checkout") if name in checkin},
    }


def _wrapped(document: dict[str, Any], _fields: Mapping[str, Any]) -> dict[str, Any]:
    return document if "data" in document else {"data": document}


def _flat(document: dict[str, Any], _fields: Mapping[str, Any]) -> dict[str, Any]:
    return document.get("data", document)


def _missing(document: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in fields}


def _extra(document: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**document, **fields}


_SHAPED = {
    "wrong_types": _wrong,
    "strings": _strings,
    "old_checkin": _old_checkin,
    "wrapped": _wrapped,
    "flat": _flat,
    "missing": _missing,
    "extra": _extra,
}
