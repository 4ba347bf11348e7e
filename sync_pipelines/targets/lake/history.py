"""A Delta table as a history: rows are appended, one for each state that a record was seen in, and none is changed.

`_version` counts a record's states from 1; the newest one is what the record is now, and `_deleted` there says that it
is gone. All questions of a sync (how many, which fingerprints, which values) are answered from the newest states. What
is here is the same for every engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.model import BatchResult, Counts, Rejection
from sync_pipelines.targets.lake.groups import Group
from sync_pipelines.targets.lake.shape import VERSION
from sync_pipelines.targets.lake.table import LakeTarget

LAST = 2**63 - 1
"""The version that none follows: `_version` is a BIGINT."""


class History(LakeTarget):
    """What a history refuses; its engine's target stands behind it in the list of bases."""

    def may_fill(self) -> bool:
        """No: each row needs its record's version."""
        return False

    def begin_rebuild(self) -> NoReturn:
        """A history is not built anew: what a record was before stands nowhere else.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(
            f"the Delta table {self.name!r} is a history (target.mode: append), which a rebuild would forget.",
            remedy=f"{self.remedy()}.",
            **self._place,
        )

    def remedy(self) -> str:
        """Another table: this one keeps what it holds."""
        return "Name another table in target.table, where a new history begins; this one stays as it is"


def due(group: Group, newest: Mapping[str, int]) -> tuple[pa.Table, BatchResult]:
    """The rows of a group that are to be appended, each with its `_version`, and what becomes of the whole group.

    Args:
        newest: for each record whose newest state is another one, or is there twice, that one's version; 0 for none.
    """
    full = [key for key, version in newest.items() if version >= LAST]
    following = {key: version + 1 for key, version in newest.items() if version < LAST}
    rows = group.rows.filter(pa.array([key in following for key in group.keys], pa.bool_()))
    counts = Counts(
        unchanged=group.rows.num_rows - len(newest),
        upserted=rows.num_rows,
        quarantined=len(full),
        bytes=rows.nbytes,
    )
    versions = pa.array([following[key] for key in group.keys if key in following], pa.int64())
    return rows.append_column(VERSION, versions), BatchResult(
        counts=counts, keys=group.keys, rejected=ended(full, stage="write")
    )


def ended(keys: Sequence[str], *, stage: str) -> list[Rejection]:
    """Records that can have no newer state."""
    reason = (
        f"the history holds {VERSION} {LAST} of it, which nothing follows: remove that row, which no sync has written"
    )
    return [Rejection(key=key, reason=reason, stage=stage) for key in sorted(keys)]
