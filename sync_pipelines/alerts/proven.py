"""Failed runs that need no other run to be good again, since what they did not do was proven by somebody else.

Asked at every tick of what is open, not taken from what is new: a proof may be read before the failure that it
answers, which settles for some seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sync_pipelines.alerts.incidents import Cause, Open, Seen
from sync_pipelines.alerts.runs import DEEP, MENDS, checks_of_kind

if TYPE_CHECKING:
    from sync_pipelines.status import Facts

Passed = Callable[[str, str], datetime | None]
"""Table and check → when its newest evaluation was made, if that one proves it good."""


def whole_at(facts: Facts) -> datetime | None:
    """When the proof began that says now what a full sync would: the whole table's content is equal, nothing waits.

    None where a newer proof found something, a change waits, or a run is under way, whose own end will tell.
    """
    proof = facts.content or facts.proof
    if proof is None or facts.problem or facts.running or facts.pending is None or facts.pending:
        return None
    compared = proof.kind in ("quick", "deep") and not proof.scope
    return proof.started_at if compared and proof.equal and not proof.pending else None


def observed(
    incidents: Open, tables_of: Callable[[str], Sequence[str]], passed: Passed, whole: Mapping[str, datetime]
) -> Iterator[Seen]:
    """The causes that are over, as of the moment of the oldest of what proves that.

    A failure keeps its cause for as long as anything of the proof is older than it.

    Args:
        tables_of: the tables of an incident's subject, a table or a sync; none proves nothing.
        whole: table → `whole_at`, where there is one: it ends what the success of a full sync ends.
    """
    for subject, incident in incidents.items():
        for cause in incident.causes.values():
            at = _oldest(_proofs(cause, tables_of(subject), passed, whole))
            if at is not None and cause.latest is not None and at > cause.latest:
                yield Seen(table=subject, name=cause.name, at=at)


def _proofs(
    cause: Cause, tables: Sequence[str], passed: Passed, whole: Mapping[str, datetime]
) -> list[datetime | None]:
    """All that must be newer than the failure."""
    what, _, kind = cause.name.partition(":")
    if what == "run" and kind == "repair":
        # it may have been to mend values that a proof of fingerprints does not see
        return [passed(table, DEEP) for table in tables]
    if what == "run" and kind in MENDS["full"]:
        return [whole.get(table) for table in tables]
    checks = checks_of_kind(kind) if what == "run" else ()
    return [passed(table, check) for table in tables for check in checks]


def _oldest(moments: Sequence[datetime | None]) -> datetime | None:
    """None, too, where one of them is not there."""
    known = [moment for moment in moments if moment is not None]
    return min(known) if known and len(known) == len(moments) else None
