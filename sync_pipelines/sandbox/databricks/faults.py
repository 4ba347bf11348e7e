"""Faults on demand, and a log of what was asked: what the real Databricks does now and then, when a test wants it."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

from sync_pipelines.sandbox.databricks.web import Answer, Request, Route, bad_value, route

KINDS = ("429", "503", "drop", "drop_before", "hang", "fail", "expired_link")

_STATEMENTS = ("execute", "poll", "chunk", "cancel")
_GROUPS = {"statements": _STATEMENTS, "files": ("files", "directories")}

_ONLY = {"fail": "execute", "expired_link": "link"}
"""Faults that mean something for one kind of request alone."""

_KEPT = 50_000
"""Requests that the log holds; older ones are forgotten."""


class Faults:
    """The faults that wait for their request, and the requests that came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[dict[str, Any]] = []
        self._log: deque[tuple[str, str, str]] = deque(maxlen=_KEPT)

    def routes(self) -> Sequence[Route]:
        """Return the routes of the control endpoint."""
        return (
            route("control", "POST", "/faults", self._add),
            route("control", "DELETE", "/faults", self._clear),
            route("control", "GET", "/faults/log", self._tell),
        )

    def meet(self, kind: str, subject: str) -> dict[str, Any] | None:
        """Log a request and return the fault that meets it, one use of it spent.

        Args:
            kind: the route's name.
            subject: the text that stands for the request: the statement, or the path.
        """
        if kind == "control":
            return None
        with self._lock:
            fault = next((one for one in self._waiting if _fits(one, kind, subject)), None)
            self._log.append((kind, subject, fault["kind"] if fault else ""))
            if fault is not None:
                fault["times"] -= 1
                self._waiting = [one for one in self._waiting if one["times"] > 0]
            return fault

    def _add(self, request: Request) -> Answer:
        fault = dict(request.document)
        if fault.get("kind") not in KINDS:
            raise bad_value(f"kind must be one of {', '.join(KINDS)}.")
        fault["times"] = int(fault.get("times", 1))
        with self._lock:
            self._waiting.append(fault)
        return Answer(document={})

    def _clear(self, request: Request) -> Answer:
        text = request.query.get("text", "")
        with self._lock:
            self._waiting = [one for one in self._waiting if text not in one.get("text", "")]
        return Answer(document={})

    def _tell(self, request: Request) -> Answer:
        text = request.query.get("text", "")
        with self._lock:
            seen = [(kind, fault) for kind, subject, fault in self._log if text in subject]
        requests = Counter(kind for kind, _ in seen)
        return Answer(document={"requests": requests, "faults": Counter(fault for _, fault in seen if fault)})


def _fits(fault: dict[str, Any], kind: str, subject: str) -> bool:
    match = fault.get("match", _ONLY.get(fault["kind"], ""))
    if _ONLY.get(fault["kind"], kind) != kind or fault.get("text", "") not in subject:
        return False
    names = _GROUPS.get(match, (match,))
    # `match` names kinds of requests, or is a text of the statement itself, such as MERGE.
    return not match or kind in names or (kind == "execute" and match in subject)
