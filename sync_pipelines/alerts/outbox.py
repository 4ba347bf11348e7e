"""Messages that wait for their receivers: bounded, in order, each tried again after a growing pause."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sync_pipelines.alerts.incidents import Notice

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=15), timedelta(minutes=5)
KEEP = timedelta(days=7)
"""A message that a receiver refused for so long is given up: its URL is wrong, not down."""
LONGEST = 200
"""Messages that wait at most; a receiver that is down for a week must not fill Dagster's storage."""
FAILURES_A_TICK = 2
"""A receiver that is down costs two time-outs a tick; one message that it refuses does not block the rest."""


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """One URL of a channel. `mark` says which it is in what is stored, without the URL; `variable` holds it."""

    channel: str
    mark: str
    url: str
    variable: str = ""

    def __repr__(self) -> str:
        return f"Receiver({self.channel}, {self.mark})"


Send = Callable[[Receiver, Notice], str | None]
"""Sends one message; None when it was taken, else why not."""


@dataclass(frozen=True)
class Delivered:
    """What is left, what was sent, and why what failed did."""

    left: list[Notice]
    sent: int
    errors: list[str]


def pause_after(failures: int) -> timedelta:
    """15 s, doubled each time, five minutes at most, so that a receiver which is back is served soon."""
    return min(FIRST_PAUSE * 2 ** min(max(failures - 1, 0), 16), LONGEST_PAUSE)


def deliver(
    outbox: Sequence[Notice],
    receivers: Callable[[Notice], Sequence[Receiver]],
    send: Send,
    *,
    now: datetime,
    in_time: Callable[[], bool] = lambda: True,
    saved: Callable[[list[Notice]], None] = lambda _: None,
) -> Delivered:
    """Send what is due, the oldest first; the messages of one incident never overtake each other.

    Args:
        receivers: who should have a message, in this environment, now.
        in_time: False as soon as nothing more should be begun.
        saved: called with what is left after each message that was taken, so that no crash sends it twice.
    """
    work = _Delivery(list(outbox), receivers, send, now)
    for notice in outbox:
        work.take(notice, in_time, saved)
    return Delivered(work.left, work.sent, work.errors)


class _Delivery:
    def __init__(
        self, left: list[Notice], receivers: Callable[[Notice], Sequence[Receiver]], send: Send, now: datetime
    ):
        self.left, self.sent, self.errors = left, 0, list[str]()
        self._receivers, self._send, self._now = receivers, send, now
        self._failures: dict[str, int] = {}
        self._behind: set[tuple[str, str]] = set()

    def take(self, notice: Notice, in_time: Callable[[], bool], saved: Callable[[list[Notice]], None]) -> None:
        failed = False
        receivers = self._receivers(notice)
        for receiver in receivers:
            if receiver.mark in notice.delivered:
                continue
            place = (notice.incident_id, receiver.mark)
            if place in self._behind or self._must_wait(notice, receiver) or not in_time():
                self._behind.add(place)
                continue
            error = self._send(receiver, notice)
            if error is None:
                self.sent += 1
                notice = self._replace(notice, delivered=(*notice.delivered, receiver.mark))
                saved(self.left)
                continue
            failed = True
            self.errors.append(error)
            self._failures[receiver.mark] = self._failures.get(receiver.mark, 0) + 1
            self._behind.add(place)
        if failed:
            failures = notice.failures + 1
            self._replace(notice, failures=failures, next_try=self._now + pause_after(failures))
        elif receivers and all(receiver.mark in notice.delivered for receiver in receivers):
            self._drop(notice)

    def _must_wait(self, notice: Notice, receiver: Receiver) -> bool:
        early = notice.next_try is not None and self._now < notice.next_try
        return early or self._failures.get(receiver.mark, 0) >= FAILURES_A_TICK

    def _replace(self, notice: Notice, **changed: object) -> Notice:
        made = notice.model_copy(update=changed)
        self.left = [made if found.alert_id == notice.alert_id else found for found in self.left]
        return made

    def _drop(self, notice: Notice) -> None:
        self.left = [found for found in self.left if found.alert_id != notice.alert_id]


def bounded(outbox: Iterable[Notice], *, now: datetime) -> tuple[list[Notice], list[Notice]]:
    """What is kept and what is given up: too old, or too many (reminders first, then the oldest)."""
    kept = list({notice.alert_id: notice for notice in outbox}.values())
    given_up = [notice for notice in kept if now - notice.created > KEEP]
    kept = [notice for notice in kept if now - notice.created <= KEEP]
    surplus = len(kept) - LONGEST
    if surplus > 0:
        order = sorted(kept, key=lambda it: (it.kind != "reminder", it.created))
        given_up += order[:surplus]
        gone = {notice.alert_id for notice in order[:surplus]}
        kept = [notice for notice in kept if notice.alert_id not in gone]
    return kept, given_up
