"""Failed runs that need no other run to be good again, since what they did not do was proven by somebody else.

Asked at every tick of what is open, not taken from what is new: a proof may be read before the failure that it
answers, which settles for some seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from sync_pipelines.alerts.incidents import Cause, Open, Seen
from sync_pipelines.alerts.runs import checks_of_kind

Passed = Callable[[str, str], datetime | None]
"""Table and check → when its newest evaluation was made, if that one proves it good."""


def observed(incidents: Open, tables_of: Callable[[str], Sequence[str]], passed: Passed) -> Iterator[Seen]:
    """The causes that are over, as of the moment of the oldest of what proves that.

    A failure keeps its cause for as long as anything of the proof is older than it.

    Args:
        tables_of: the tables of an incident's subject, a table or a sync; none proves nothing.
    """
    for subject, incident in incidents.items():
        for cause in incident.causes.values():
            at = _proven(cause, tables_of(subject), passed)
            if at is not None and cause.latest is not None and at > cause.latest:
                yield Seen(table=subject, name=cause.name, at=at)


def _proven(cause: Cause, tables: Sequence[str], passed: Passed) -> datetime | None:
    what, _, kind = cause.name.partition(":")
    checks = checks_of_kind(kind) if what == "run" else ()
    moments = [passed(table, check) for table in tables for check in checks]
    known = [moment for moment in moments if moment is not None]
    return min(known) if known and len(known) == len(moments) else None
