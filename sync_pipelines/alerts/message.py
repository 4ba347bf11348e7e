"""The words of a message, and the same as fields for a program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sync_pipelines.alerts.incidents import Cause, Notice
from sync_pipelines.engine.errors import redact
from sync_pipelines.resources.environment import value
from sync_pipelines.status import age

DEFAULT_UI = "http://127.0.0.1:3000"
_DIFFERENCES = ("missing", "stale", "extra")


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a receiver gets."""

    title: str
    body: str
    fields: dict[str, Any]


def message(notice: Notice, *, ui: str, now: datetime) -> Message:
    """The message of a notice; whatever stands in it, no secret does.

    Args:
        ui: where Dagster's webserver is, for links.
    """
    body = redact("\n".join(_lines(notice, ui, now=now)))
    return Message(title=redact(_title(notice)), body=body, fields=_fields(notice, ui))


def ui_url(environment: Mapping[str, str] | None = None) -> str:
    """Where the links lead: SYNC_UI_URL, DAGSTER_WEBSERVER_URL, else the sandbox's address."""
    named = value("SYNC_UI_URL", environment) or value("DAGSTER_WEBSERVER_URL", environment)
    return (named or DEFAULT_UI).rstrip("/")


def run_link(run_id: str, ui: str) -> str:
    return f"{ui}/runs/{run_id}"


def shown_keys(table: str, samples: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Difference and key as they may be shown. The one place where keys get into a message."""
    return [(difference, redact(key)) for difference, key in samples]


def _title(notice: Notice) -> str:
    if notice.kind == "test":
        return "[TEST] sync_pipelines can reach you"
    if notice.kind == "recovered":
        return f"[OK] {notice.table} " + ("is no longer watched" if notice.note else "is good again")
    worst = _name(notice.causes[0].name) if notice.causes else "not good"
    more = f" and {len(notice.causes) - 1} more" if len(notice.causes) > 1 else ""
    word = {"escalated": ", now an error", "reminder": ", still"}.get(notice.kind, "")
    return f"[{notice.severity.upper()}{word}] {notice.table}: {worst}{more}"


def _name(name: str) -> str:
    kind, _, what = name.partition(":")
    return {"check": f"check {what} failed", "run": f"run {what} failed"}.get(kind, "lag")


def _lines(notice: Notice, ui: str, *, now: datetime) -> Iterator[str]:
    if notice.kind == "test":
        yield "A test message of `sync-pipelines alerts test`; nothing is wrong."
    elif notice.kind == "recovered":
        yield from _recovery(notice)
    else:
        for cause in notice.causes:
            yield from _cause_lines(notice.table, cause, ui)
        if notice.ended:
            yield f"Good again by now: {', '.join(_plain_name(name) for name in notice.ended)}."
        yield f"Since {_moment(notice.started)} ({age((now - notice.started).total_seconds())})."
    yield f"alert_id: {notice.alert_id}"


def _recovery(notice: Notice) -> Iterator[str]:
    over = dict.fromkeys([*notice.ended, *(cause.name for cause in notice.causes)])
    took = age((notice.created - notice.started).total_seconds())
    if notice.note:
        yield f"Its incident is closed: {notice.note}"
    else:
        yield f"Good again: {', '.join(_plain_name(name) for name in over)}."
    yield f"From {_moment(notice.started)} to {_moment(notice.created)} ({took})."


def _cause_lines(table: str, cause: Cause, ui: str) -> Iterator[str]:
    yield f"{_plain_name(cause.name)} ({cause.severity}): {cause.summary}"
    if cause.numbers:
        yield "  " + ", ".join(f"{name} {number}" for name, number in _ordered(cause.numbers))
    for difference, keys in _grouped(shown_keys(table, cause.samples)).items():
        yield f"  {difference or 'keys'}: {', '.join(keys)}"
    if cause.run_id:
        yield f"  {run_link(cause.run_id, ui)}"


def _plain_name(name: str) -> str:
    return name.replace(":", " ")


def _ordered(numbers: Mapping[str, int | float]) -> list[tuple[str, int | float]]:
    """The differences first."""
    return sorted(numbers.items(), key=lambda it: _DIFFERENCES.index(it[0]) if it[0] in _DIFFERENCES else 3)


def _grouped(keys: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for difference, key in keys:
        found.setdefault(difference, []).append(key)
    return found


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _fields(notice: Notice, ui: str) -> dict[str, Any]:
    """For plain webhooks: what a program would otherwise have to read out of the text."""
    return {
        "alert_id": notice.alert_id,
        "incident_id": notice.incident_id,
        "kind": notice.kind,
        "table": notice.table,
        "sync": notice.table.partition("/")[0],
        "severity": notice.severity,
        "started": notice.started.isoformat(),
        "created": notice.created.isoformat(),
        "causes": [_cause_fields(notice.table, cause, ui) for cause in notice.causes],
    }


def _cause_fields(table: str, cause: Cause, ui: str) -> dict[str, Any]:
    return {
        "name": cause.name,
        "severity": cause.severity,
        "since": cause.since.isoformat(),
        "summary": redact(cause.summary),
        "run_id": cause.run_id,
        "run_url": run_link(cause.run_id, ui) if cause.run_id else None,
        "numbers": cause.numbers,
        "samples": [{"difference": kind, "key": key} for kind, key in shown_keys(table, cause.samples)],
    }
