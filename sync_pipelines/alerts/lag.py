"""How late each table is, asked in bounded time: a database that is down must not stop the alerts of others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sync_pipelines.alerts.incidents import Cause, Seen, Severity
from sync_pipelines.alerts.proven import whole_at
from sync_pipelines.alerts.texts import sentence
from sync_pipelines.status import Thresholds, age

if TYPE_CHECKING:
    from sync_pipelines.components.base import SyncComponent

NAME = "lag"
_log = logging.getLogger(__name__)
_under_way: dict[str, threading.Thread] = {}
"""One thread a sync at most, however long a database hangs."""


@dataclass(frozen=True, kw_only=True)
class Lateness:
    """One table's answer.

    Args:
        seconds: age of the oldest pending change; None where it is not known.
        problem: why it could not be asked.
        whole_at: see `proven.whole_at`, which has the same answers.
    """

    path: str
    thresholds: Thresholds
    seconds: float | None = None
    problem: str | None = None
    whole_at: datetime | None = None


def ask(components: Iterable[SyncComponent], resources: Any, *, now: datetime, within: float) -> list[Lateness]:
    """The lag of these tables; those that did not answer within so many seconds say so."""
    from sync_pipelines.reporting import thresholds

    by_sync: dict[str, list[SyncComponent]] = {}
    for component in components:
        by_sync.setdefault(component.sync, []).append(component)
    answers: dict[str, Lateness] = {}
    threads = [_start(sync, tables, resources, now, answers) for sync, tables in by_sync.items()]
    deadline = time.monotonic() + within
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    late = f"its source or ledger did not answer within {within:.0f} s"
    return [
        answers.get(table.path) or Lateness(path=table.path, thresholds=thresholds(table), problem=late)
        for tables in by_sync.values()
        for table in tables
    ]


def _start(
    sync: str, tables: list[SyncComponent], resources: Any, now: datetime, answers: dict[str, Lateness]
) -> threading.Thread:
    before = _under_way.get(sync)
    if before is not None and before.is_alive():
        return before
    thread = threading.Thread(target=_ask_all, args=(tables, resources, now, answers), daemon=True, name=f"lag-{sync}")
    _under_way[sync] = thread
    thread.start()
    return thread


def _ask_all(tables: list[SyncComponent], resources: Any, now: datetime, answers: dict[str, Lateness]) -> None:
    from sync_pipelines.registry import BoundTable
    from sync_pipelines.reporting import Ledgers, facts_of
    from sync_pipelines.status import lag_of

    ledgers = Ledgers()
    for table in tables:
        try:
            facts = facts_of(BoundTable(table, resources), live=False, now=now, ledgers=ledgers)
        except Exception:  # `facts_of` tells what it knows of; a thread's end would be silent
            _log.exception("the lag of %s could not be asked", table.path)
            continue
        answers[table.path] = Lateness(
            path=table.path,
            thresholds=facts.thresholds,
            seconds=lag_of(facts, now=now),
            problem=facts.problem,
            whole_at=whole_at(facts),
        )


def observed(
    found: Iterable[Lateness], unanswered: Mapping[str, datetime], *, now: datetime
) -> tuple[list[Seen], dict[str, datetime]]:
    """Lag beyond a threshold is a cause, and so is a lag that could not be asked for as long.

    Args:
        unanswered: tables that did not answer at the last tick, since when.
    """
    seen: list[Seen] = []
    silent: dict[str, datetime] = {}
    for one in found:
        if one.problem:
            since = silent[one.path] = unanswered.get(one.path, now)
            told = "The lag cannot be asked for {age}: " + one.problem
        elif one.seconds is None:
            continue
        else:
            since = now - timedelta(seconds=one.seconds)
            told = "The oldest pending change is {age} old."
        cause = _cause(one.thresholds, since, told, now=now)
        if cause or not one.problem:  # silence that is still short says nothing of the lag
            seen.append(Seen(table=one.path, name=NAME, at=now, cause=cause))
    return seen, silent


def _cause(limits: Thresholds, since: datetime, told: str, *, now: datetime) -> Cause | None:
    severity: Severity
    if now - since > limits.lag_error:
        severity = "error"
    elif now - since > limits.lag_warn:
        severity = "warn"
    else:
        return None
    seconds = (now - since).total_seconds()
    summary = sentence(told.replace("{age}", age(seconds), 1))
    return Cause(name=NAME, severity=severity, since=since, summary=summary, numbers={"lag_seconds": round(seconds)})
