"""Reading a large change set while it is written: a version stays as it is, so its rows need not be spooled.

What must be known before the first row is written (which keys are gone, which several rows have) is read before, from
the key's columns alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa

from sync_pipelines.engine.batches import from_a_thread
from sync_pipelines.engine.key_index import KeyIndex
from sync_pipelines.engine.model import FINGERPRINT, FINGERPRINTS_SCHEMA, KEY, ChangeSet, Digest
from sync_pipelines.engine.spool import KeyWriter, RecordWriter, Spool, SpooledKeys, SpooledRecords
from sync_pipelines.sources.delta.doubles import Doubles, marked
from sync_pipelines.sources.delta.moment import Moment

_PAGE = 10_000


class VersionRows:
    """The rows of one version, or those of some keys, as a `RecordStream`: every `iter()` reads them anew.

    They are read and conformed in a thread of their own, while whoever takes them waits for his server. What a
    comparison asks of them is kept by the first `iter()` that comes to its end.

    Args:
        moment: the version. spool: takes keys and fingerprints. wanted: the keys; all rows if None.
        doubled: gives the keys that several rows have, which is a problem of each; asked before the first row.
    """

    def __init__(
        self, moment: Moment, spool: Spool, *, wanted: KeyIndex | None, doubled: Callable[[], Collection[str]]
    ) -> None:
        self._moment, self._spool = moment, spool
        self._wanted, self._doubled = wanted, doubled
        self._prints: SpooledRecords | None = None

    @property
    def schema(self) -> pa.Schema:
        return self._moment.conforming.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with from_a_thread(self._rows()) as batches:
            yield from batches if self._prints is not None else self._kept(batches)

    def _rows(self) -> Iterator[pa.RecordBatch]:
        doubled = self._doubled()
        self._moment.otherwise.update(doubled)
        for batch in self._moment.rows() if self._wanted is None else self._of(self._wanted):
            yield marked(batch, doubled) if doubled else batch

    def _of(self, wanted: KeyIndex) -> Iterator[pa.RecordBatch]:
        few = len(wanted) <= self._moment.list_keys
        return self._moment.rows_of(wanted.keys) if few else self._moment.among(wanted, None)

    def _kept(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with RecordWriter(self._spool, f"prints-{next(_numbers)}", FINGERPRINTS_SCHEMA) as file:
            for batch in batches:
                columns = [batch.column(KEY), batch.column(FINGERPRINT)]
                file.write(pa.RecordBatch.from_arrays(columns, schema=FINGERPRINTS_SCHEMA))
                yield batch
        self._prints = file.records()

    def only(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """These columns, of keys and fingerprints."""
        if self._prints is None and list(names) == [KEY] and self._wanted is None:
            yield from (pa.RecordBatch.from_arrays([keys], names=[KEY]) for keys in self._moment.all_keys())
            return
        if self._prints is None:
            for _ in self:
                pass
        assert self._prints is not None
        yield from self._prints.only(names)

    def compared(self, *, lasting: bool) -> ComparedRows:
        """All rows of the version, for a comparison before anything is written; see `engine.first_look`."""
        return ComparedRows(self._moment, lasting=lasting)

    def of(self, keys: pa.Array) -> VersionRows:
        """The rows of these keys."""
        return VersionRows(self._moment, self._spool, wanted=KeyIndex(keys), doubled=self._doubled)


_numbers = count()


class ComparedRows:
    """A version's rows as a listing whose prints cost little; `bytes` says how much has been read."""

    def __init__(self, moment: Moment, *, lasting: bool) -> None:
        self._moment, self._lasting, self.bytes = moment, lasting, 0

    def count(self) -> int:
        return self._moment.count()

    def digests(self) -> Mapping[int, Digest] | None:
        return None

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        del buckets
        conforming = self._moment.conforming
        with from_a_thread(self._moment.scanned(conforming.columns)) as batches:
            for batch in batches:
                self.bytes += batch.nbytes
                yield conforming.compared(batch, lasting=self._lasting)


def read_on(moment: Moment, touched: pa.Array | None, *, reason: str, folder: Path | None) -> ChangeSet:
    """What a run brings, of which only the keys have been read.

    Args:
        touched: the keys that may have changed; None for the whole table. reason: why it is the whole one.
        folder: where the spool is made.
    """
    with ExitStack() as stack:
        spool = Spool(folder)
        stack.callback(spool.close)
        wanted = None if touched is None else KeyIndex(touched)
        number, doubled, lost = _look_over(moment, wanted)
        changes = ChangeSet(
            upserts=VersionRows(moment, spool, wanted=wanted, doubled=doubled),
            deletes=_spooled(spool, lost),
            watermark=moment.watermark(),
            full=touched is None,
            reason=reason,
            source_empty=moment.count() == 0,
            rows=number,
            touched=0 if touched is None else len(touched),
            on_close=[spool.close],
        )
        stack.pop_all()
        return changes


def _look_over(moment: Moment, wanted: KeyIndex | None) -> tuple[int, Callable[[], Collection[str]], pa.Array]:
    """How many rows there are to read, what gives the keys that several have, and the keys that none has."""
    if wanted is None:
        return moment.count(), cache(lambda: _doubled(moment)), pa.array([], pa.string())
    held = np.zeros(len(wanted), np.int64)
    for keys in moment.all_keys():
        places = wanted.places(keys)
        np.add.at(held, places[places >= 0], 1)
    doubled = set(wanted.keys.filter(pa.array(held > 1)).to_pylist())
    return int(held.sum()), lambda: doubled, wanted.keys.filter(pa.array(held == 0))


def _doubled(moment: Moment) -> set[str]:
    doubles = Doubles()
    for keys in moment.all_keys():
        doubles.add(keys)
    return doubles.among(moment.all_keys)


def _spooled(spool: Spool, keys: pa.Array) -> SpooledKeys:
    with KeyWriter(spool, "deletes") as file:
        for start in range(0, len(keys), _PAGE):
            file.write(keys.slice(start, _PAGE).to_pylist())
    return file.keys()
