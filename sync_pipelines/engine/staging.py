"""Targets that look at some records while they write others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Protocol, runtime_checkable

import pyarrow as pa

from sync_pipelines.engine.model import BatchResult


class Staged(Protocol):
    """Mapped records that a target has looked at."""

    def write(self) -> Iterator[BatchResult]:
        """Write them, a transaction at each step; lazy as `engine.model.Target.upsert` is.

        What is no longer as it was when it was looked at is looked at again.
        """
        ...


@runtime_checkable
class Staging(Protocol):
    """A target that can be asked to look at records, in another thread, while it writes others."""

    def stage(
        self,
        rows: pa.RecordBatch,
        *,
        size: int,
        doubted: Collection[str],
        before_write: Callable[[], object],
        check: Callable[[], object],
    ) -> Staged:
        """Make ready what `engine.model.Target.upsert` would do with these; nothing is written to the target.

        Args:
            rows: mapped, each key once; none of them is among those that are being written.
            size: the most records of a transaction.
            doubted: keys of those that somebody was about to write before, and may have written or not.
            before_write: called before anything is written; where nothing is to be written it is not.
            check: called before the ledger is told of what is about to be written: the lock must be held still.
        """
        ...
