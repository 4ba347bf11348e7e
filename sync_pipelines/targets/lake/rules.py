"""Records that break a rule which the table itself has (NOT NULL, CHECK, a generated column): refused alone."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from sync_pipelines.engine.batches import joined
from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.model import KEY, BatchResult, Counts, Rejection
from sync_pipelines.targets.lake.groups import Group

_MOST = 20
"""So many records of a group are looked for; where more break a rule, it is the rule that does not fit the source."""


class BrokenRuleError(RunError):
    """The table takes none of some rows, since one of them breaks a rule of its own; the message quotes no value."""


def written_alone(group: Group, write: Callable[[Group], BatchResult]) -> BatchResult:
    """What `write` gives for a group; of one that breaks a rule what it gives for halves of it, again and again.

    Args:
        write: writes a group by one commit, or raises.

    Raises:
        BrokenRuleError: too many of them break one.
    """
    return joined(_parts(group.rows, write, []))


def _parts(rows: pa.Table, write: Callable[[Group], BatchResult], refused: list[Rejection]) -> list[BatchResult]:
    try:
        return [write(Group(rows))]
    except BrokenRuleError as error:
        if rows.num_rows > 1:
            half = rows.num_rows // 2
            return [*_parts(rows.slice(0, half), write, refused), *_parts(rows.slice(half), write, refused)]
        if len(refused) == _MOST:
            raise
        refused.append(Rejection(key=rows.column(KEY)[0].as_py(), reason=error.message, stage="write"))
        return [BatchResult(counts=Counts(quarantined=1), rejected=refused[-1:], keys=[refused[-1].key])]
