"""The failure classes of DESIGN.md §4, and the words that an operator reads.

Every system's module maps its own errors to one of three classes, once: transient (retry, no record's
budget is touched), permanent for a record (quarantine it, go on), permanent for the run (stop with a
sentence that says what to do).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

from sync_pipelines.engine.secrets import hide_known, redact

__all__ = [
    "LONGEST_WAIT",
    "CaptureMissingError",
    "ConfigurationError",
    "LockBusyError",
    "LockLostError",
    "MassDeleteError",
    "MassRefusalError",
    "MigrationDueError",
    "NotConfiguredError",
    "RebuildDueError",
    "RecordError",
    "RunError",
    "SyncError",
    "TargetBusyError",
    "TargetChangedError",
    "TargetDamagedError",
    "TransientError",
    "UnknownRecordError",
    "redact",
]


LONGEST_WAIT = 900.0
"""Seconds that a run waits at most because a system asks for it (Retry-After); asked for more, it fails at once."""

_RUNS_NAMED = 10

_DOUBLE_STOP = re.compile(r"([?!…])\.(?=\s|$)")


def one_stop(text: str) -> str:
    """A sentence that ends once: what others say is put into ours, and may end with its own mark (`there?.`)."""
    return _DOUBLE_STOP.sub(r"\1", text)


class SyncError(Exception):
    """A failure that names where it happened and what to do next.

    Args:
        message: what happened, one sentence, without a secret.
        sync, table, key: where; left out of the text where unknown.
        remedy: what the reader should do next, one sentence.

    `started`: the ids of the runs that were started all the same, where several were asked for.
    """

    started: tuple[str, ...] = ()

    def __init__(
        self,
        message: str,
        *,
        sync: str | None = None,
        table: str | None = None,
        key: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.message = one_stop(redact(message))
        self.sync, self.table, self.key, self.remedy = sync, table, key, remedy
        # key and remedy too: a key is a user's value, and a remedy may hold an example in a secret's form
        super().__init__(hide_known(self._sentence()))

    def beside(self, started: Sequence[str]) -> Self:
        """This error, which names the runs that it kept from nothing.

        Args:
            started: their ids.
        """
        self.started = tuple(started)
        if started:
            named, more = started[:_RUNS_NAMED], len(started[_RUNS_NAMED:])
            rest = f" and {more} more (`sync-pipelines jobs list`)" if more else ""
            self.args = (f"{self} These runs were started all the same: {', '.join(named)}{rest}.",)
        return self

    def _sentence(self) -> str:
        place = "/".join(part for part in (self.sync, self.table) if part)
        where = f"{place}: " if place else ""
        key = f" (key {self.key!r})" if self.key is not None else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{where}{self.message}{key}{remedy}"


class TransientError(SyncError):
    """The system may answer later: retry with back-off.

    `retry_after` is what the system asked for, in seconds, or None. More than `LONGEST_WAIT` stands in the sentence:
    nobody waits for it.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, **where: str | None) -> None:
        self.retry_after = retry_after
        if retry_after is not None and self.asks_too_much:
            message += (
                f" It asks for a pause of {retry_after / 60:,.0f} min; a run waits {LONGEST_WAIT / 60:.0f} min at most."
            )
        super().__init__(message, **where)

    @property
    def asks_too_much(self) -> bool:
        """Whether the system is away for longer than a run waits."""
        return self.retry_after is not None and self.retry_after > LONGEST_WAIT


class RecordError(SyncError):
    """One record cannot be stored as it is: quarantine it, the rest goes on."""


class RunError(SyncError):
    """The run cannot go on; trying again without a change of something else is of no use."""


class ConfigurationError(RunError):
    """A setting is missing or wrong; the message names the variable or the YAML field."""


class NotConfiguredError(ConfigurationError):
    """The far system's variable is not set, so this sync is not in use here (no failure)."""


class MigrationDueError(RunError):
    """The `sync` schema is missing or older than this version of the package."""


class CaptureMissingError(RunError):
    """`capture: trigger` and the triggers are not (all) installed."""


class MassDeleteError(RunError):
    """The guard of DESIGN.md §2.5 stopped a deletion; nothing was deleted."""


class MassRefusalError(RunError):
    """More was refused than bad records explain: the mapping, a function or a column is broken."""


class UnknownRecordError(RunError):
    """A record was named that neither source nor target has."""


class TargetBusyError(RunError):
    """Another process has the target for itself (a folder of Chroma); how long is not known, so nobody waits."""


class TargetDamagedError(RunError):
    """What the target holds cannot be read any more: a file of it is gone or broken."""


class TargetChangedError(RunError):
    """The target was built with another embedding, chunking or key: `mode: rebuild` is due."""


class RebuildDueError(TargetChangedError):
    """The target does not fit the source any more, and its document allows to build it anew without being asked."""


class LockLostError(TransientError):
    """The connection that held the target's lock is gone: another writer may work on it now."""


class LockBusyError(TransientError):
    """Another writer holds the target's lock and did not give it back in time."""
