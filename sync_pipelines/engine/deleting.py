"""Deleting records of a target: what it does not let go stays alone, waits, and is tried again by later runs.

A foreign key of another table holds a record: that says nothing of the others, nor of the sync's mapping. The record
goes to quarantine (`UNDELETED`) and leaves it when it went, or when the source has it again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

import pyarrow as pa

from sync_pipelines.engine.compare import Comparison
from sync_pipelines.engine.errors import SyncError
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.model import KEY, Deletion, Rejection, Target
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.engine.veil import Veil


@dataclass
class Deletes:
    """What one run deletes.

    Args:
        spec, ledger: the table, and where it is written down what earlier runs were refused.
        refused: records that the target has refused to let go in this run, by key.
        known: records in quarantine that would have gone, had an earlier run not been refused them.
    """

    spec: TableSpec
    ledger: Ledger
    refused: dict[str, Rejection] = field(default_factory=dict)
    known: int = 0
    _went_since: bool = False

    @cached_property
    def _before(self) -> frozenset[str]:
        return frozenset(self.ledger.undeleted(self.spec.sync, self.spec.name))

    @cached_property
    def _open(self) -> frozenset[str]:
        """Those of them that nobody has dropped."""
        return self._before.intersection(self.ledger.retried(self.spec.sync, self.spec.name))

    def fresh(self, keys: Iterable[str]) -> list[str]:
        """Those of these keys that no earlier run was refused.

        The guard has let the others pass then, and the source has not had them since: counted once more, they would
        stop a run for good that once was allowed to delete many of them.
        """
        given = list(keys)
        self.known += len(self._open.intersection(given))
        return [key for key in given if key not in self._before]

    def fresh_among(self, differences: Comparison) -> int:
        """How many of the extra records no earlier run was refused."""
        if not self._before:
            return differences.count("extra")
        return sum(len(self.fresh(keys)) for keys in differences.keys("extra"))

    def delete(self, target: Target, keys: Sequence[str]) -> int:
        """Delete these records; how many went. What the target refuses is in `refused`."""
        done = deleted(target, keys, self.spec)
        self._went_since = bool(self.refused) and (self._went_since or done.deleted > 0)
        for key in keys if self.refused else ():
            self.refused.pop(key, None)
        self.refused.update({item.key: item for item in done.refused})
        return done.deleted

    def again(self, target: Target) -> int:
        """Try once more what was refused before others went: in a tree those may have held it. How many went."""
        return self.delete(target, list(self.refused)) if self._went_since else 0


def deleted(target: Target, keys: Sequence[str], spec: TableSpec) -> Deletion:
    """Delete records; neither an error nor a reason quotes a sensitive value of theirs."""
    with veiled(target, keys, spec):
        done = target.delete(keys)
    if not done.refused or not spec.sensitive:
        return done
    veil = Veil(spec)
    veil.cover_all(_rows(target, [item.key for item in done.refused]))
    return replace(done, refused=veil.rejections(done.refused))


@contextmanager
def veiled(target: Target, keys: Sequence[str], spec: TableSpec) -> Generator[None]:
    """No error of a deletion leaves the block with a sensitive value of these records.

    The source has them no more, so it is the target that knows their values; it is asked only when there is an error.
    """
    veil = Veil(spec)
    with veil.errors():
        try:
            yield
        except Exception:
            if spec.sensitive:
                veil.cover_all([_keys(keys)])
                with suppress(SyncError):  # the first error counts; a target that does not answer quotes no value
                    veil.cover_all(_rows(target, keys))
            raise


def _rows(target: Target, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
    yield _keys(keys)
    yield from target.values(keys)


def _keys(keys: Sequence[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({KEY: pa.array(keys, pa.string())})
