"""A run that fills an empty target: nothing is looked up, and all records are one commit, streamed.

Readers see the empty target or the whole of it. What comes after (the look whether the store holds what was written,
the settling of what the source lacks) is the same for all runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import pyarrow as pa

from sync_pipelines.engine.model import Counts, RecordStream, Rejection
from sync_pipelines.engine.overwriting import Mapped, key_set, settle_arrived

if TYPE_CHECKING:
    from sync_pipelines.engine.run import Run


@runtime_checkable
class Filling(Protocol):
    """A target that takes a whole stream by one commit while it holds nothing."""

    def may_fill(self) -> bool:
        """Whether it holds no record, and can take them so."""
        ...

    def fill(self, batches: Iterable[pa.RecordBatch], *, before_write: Callable[[], object]) -> Counts:
        """Write mapped records, each key once, by ONE commit; without any nothing is written.

        Args:
            batches: asked in another thread. before_write: called before anything is written.
        """
        ...


def fill(run: Run, upserts: RecordStream, target: Filling, *, mapped: Mapped, mark: Callable[[], object]) -> None:
    """Bring all records to an empty target; those that are refused go to quarantine, what arrives leaves it.

    Args:
        mark: called before the target is written to.
    """
    with key_set() as staying:

        def refused(rejected: Sequence[Rejection]) -> None:
            staying.add(item.key for item in rejected)

        with run.veil.errors(lambda: upserts), closing(mapped(upserts, refused=refused)) as batches:
            run.counts += target.fill(_noted(run, batches), before_write=mark)
        run.lock.check()
        settle_arrived(run, upserts, staying)


def _noted(run: Run, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        run.binding.ledger.progress(run.record, run.counts)
        yield batch
