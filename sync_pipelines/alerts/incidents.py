"""What is told, and when: pure decisions over what was observed. Nothing here asks or sends anything.

One incident a table, whatever its causes: it opens with the first and ends with the last of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

Severity = Literal["warn", "error"]
Kind = Literal["opened", "escalated", "reminder", "recovered", "test"]

RANK: Mapping[str | None, int] = {None: 0, "warn": 1, "error": 2}
NOTICE_CAUSES = 5
"""Causes that one message tells of, the worst first; a table has more only where everything is down."""


class Frozen(BaseModel):
    """A value that is stored as JSON; what an older version stored and this one does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Cause(Frozen):
    """Why a table is not good.

    Args:
        name: `check:count`, `run:incremental` or `lag`.
        since: the first time that it was seen; latest: the last, None in what an older version stored.
        summary: one sentence, without a secret.
        samples: difference and key, at most 20.
    """

    name: str
    severity: Severity
    since: datetime
    latest: datetime | None = None
    summary: str
    run_id: str | None = None
    numbers: dict[str, int | float] = {}
    samples: tuple[tuple[str, str], ...] = ()


class Incident(Frozen):
    """A table that is not good, from its first cause on.

    Args:
        told: the severity that was told; None until somebody could be told.
        ended: the causes that are over already, so that the last message can name them.
    """

    id: str
    table: str
    started: datetime
    causes: dict[str, Cause]
    ended: tuple[str, ...] = ()
    told: Severity | None = None
    told_at: datetime | None = None
    reminders: int = 0

    @property
    def severity(self) -> Severity:
        return max((cause.severity for cause in self.causes.values()), key=lambda it: RANK[it])


class Notice(Frozen):
    """One message, until every receiver has it.

    Args:
        alert_id: the same for the same message, however often it is sent.
        note: why it ended, where that is no recovery.
        delivered: marks of the receivers that have it; failures, next_try: for the pause between tries.
    """

    alert_id: str
    incident_id: str
    kind: Kind
    table: str
    severity: Severity
    created: datetime
    started: datetime
    causes: tuple[Cause, ...] = ()
    ended: tuple[str, ...] = ()
    note: str | None = None
    channels: tuple[str, ...] = ()
    delivered: tuple[str, ...] = ()
    failures: int = 0
    next_try: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The table's block `alerts`, and whether anybody can be told.

    Args:
        remind_after: None reminds of nothing.
        reachable: at least one of the channels has a receiver in this environment.
    """

    enabled: bool = True
    min_severity: Severity = "warn"
    channels: tuple[str, ...] = ()
    remind_after: timedelta | None = timedelta(hours=24)
    reachable: bool = True


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One thing that was observed of a table: a cause, or that the cause of this name is over."""

    table: str
    name: str
    at: datetime
    cause: Cause | None = None


Policies = Callable[[str], Policy]
Open = Mapping[str, Incident]


@dataclass(frozen=True)
class Advanced:
    """What follows: the incidents that are open now, how many each table ever had, the messages to send."""

    open: dict[str, Incident]
    numbers: dict[str, int]
    notices: list[Notice]


def advance(
    incidents: Open,
    numbers: Mapping[str, int],
    seen: Iterable[Seen],
    *,
    policies: Policies,
    now: datetime,
    unwatched: Mapping[str, str] | None = None,
) -> Advanced:
    """Take what was observed, in its order, and decide what is told.

    Args:
        numbers: how many incidents each table had; a part of the ids, so that no two are alike.
        unwatched: tables of which nothing will be observed any more, and why; their incidents end.
    """
    made = _Book(dict(incidents), dict(numbers), policies, now)
    for item in sorted(seen, key=lambda it: it.at):
        made.take(item)
    for table, why in (unwatched or {}).items():
        made.close(table, note=why)
    for table in list(made.open):
        made.tell(table)
    return Advanced(made.open, made.numbers, made.notices)


class _Book:
    """The incidents while one tick's observations are taken."""

    def __init__(self, incidents: dict[str, Incident], numbers: dict[str, int], policies: Policies, now: datetime):
        self.open, self.numbers, self.notices = incidents, numbers, list[Notice]()
        self._policies, self._now = policies, now

    def take(self, item: Seen) -> None:
        policy = self._policies(item.table)
        cause = item.cause
        if cause is None or not policy.enabled or RANK[cause.severity] < RANK[policy.min_severity]:
            self._over(item.table, item.name)
        else:
            self._add(item.table, cause, item.at)

    def _add(self, table: str, cause: Cause, at: datetime) -> None:
        incident = self.open.get(table) or self._begin(table, cause)
        before = incident.causes.get(cause.name)
        # since when stays that of the first failure: a check that fails every hour is one failure of days
        kept = cause.model_copy(update={"since": before.since if before else cause.since, "latest": at})
        self.open[table] = incident.model_copy(update={"causes": {**incident.causes, cause.name: kept}})

    def _begin(self, table: str, cause: Cause) -> Incident:
        number = self.numbers[table] = self.numbers.get(table, 0) + 1
        mark = stable_id(table, str(number), cause.since.isoformat())
        return Incident(id=mark, table=table, started=cause.since, causes={})

    def _over(self, table: str, name: str) -> None:
        incident = self.open.get(table)
        if incident is None or name not in incident.causes:
            return
        if len(incident.causes) == 1:
            self.close(table)
            return
        left = {key: cause for key, cause in incident.causes.items() if key != name}
        ended = tuple(dict.fromkeys([*incident.ended, name]))
        self.open[table] = incident.model_copy(update={"causes": left, "ended": ended})

    def close(self, table: str, *, note: str | None = None) -> None:
        """End the table's incident; one that came and went between two ticks is told as well."""
        if table not in self.open:
            return
        if note is None:
            self.tell(table)
        incident = self.open.pop(table)
        if incident.told is not None:
            self.notices.append(self._notice(incident, "recovered", note=note))

    def tell(self, table: str) -> None:
        """The message that is due for an open incident, if one is."""
        incident, policy = self.open[table], self._policies(table)
        kind = due(incident, policy, now=self._now)
        if kind is None:
            return
        told = incident.told if kind == "reminder" else incident.severity
        changed = {"told": told, "told_at": self._now, "reminders": incident.reminders + (kind == "reminder")}
        self.open[table] = incident.model_copy(update=changed)
        self.notices.append(self._notice(self.open[table], kind))

    def _notice(self, incident: Incident, kind: Kind, *, note: str | None = None) -> Notice:
        number = str(incident.reminders) if kind == "reminder" else ""
        causes = sorted(incident.causes.values(), key=lambda it: (-RANK[it.severity], it.since))
        return Notice(
            alert_id=stable_id(incident.id, kind, number),
            incident_id=incident.id,
            kind=kind,
            table=incident.table,
            severity=(incident.told if kind == "recovered" else None) or incident.severity,
            created=self._now,
            started=incident.started,
            causes=tuple(causes[:NOTICE_CAUSES]),
            ended=incident.ended,
            note=note,
            channels=self._policies(incident.table).channels,
        )


def due(incident: Incident, policy: Policy, *, now: datetime) -> Kind | None:
    """Which message an open incident needs now."""
    if not policy.reachable:
        return None
    if incident.told is None or incident.told_at is None:
        return "opened"
    if RANK[incident.severity] > RANK[incident.told]:
        return "escalated"
    if policy.remind_after is not None and now - incident.told_at >= policy.remind_after:
        return "reminder"
    return None


def newest_only(seen: Iterable[Seen]) -> Iterator[Seen]:
    """The last observation of each cause: how things are, not how they came to be (for the first tick)."""
    last: dict[tuple[str, str], Seen] = {}
    for item in sorted(seen, key=lambda it: it.at):
        last[item.table, item.name] = item
    return iter(last.values())


def stable_id(*parts: str) -> str:
    """16 hexadecimal digits that depend on these texts alone."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
