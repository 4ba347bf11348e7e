"""A change set's records as one side of a comparison."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

import pyarrow as pa

from sync_pipelines.engine.compare import Comparison, compare
from sync_pipelines.engine.export import Export, RowListing
from sync_pipelines.engine.model import FINGERPRINT, FINGERPRINTS_SCHEMA, KEY, Digest, Listing, RecordStream
from sync_pipelines.engine.spool import columns_of


@runtime_checkable
class Listed(Protocol):
    """A target that is counted by listing all of it, which takes long, and that knows how often it was written to."""

    @property
    def writes(self) -> int:
        """How often this process has written to it, or tried."""
        ...


class StreamListing:
    """What a re-openable stream of records holds, asked like a store.

    A row that cannot be read (`_problem`) still counts: the source has it, so it is no reason to delete.
    """

    def __init__(self, stream: RecordStream) -> None:
        self._stream = stream

    def count(self) -> int:
        return sum(batch.num_rows for batch in columns_of(self._stream, [KEY]))

    def digests(self) -> Mapping[int, Digest] | None:
        return None

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        for batch in columns_of(self._stream, [KEY, FINGERPRINT]):
            yield pa.RecordBatch.from_arrays(batch.columns, schema=FINGERPRINTS_SCHEMA)

    def among(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys` that the stream holds."""
        wanted = set(keys)
        batches = columns_of(self._stream, [KEY])
        return {key for batch in batches for key in batch.column(KEY).to_pylist() if key in wanted}


def listing_of(stream: RecordStream) -> RowListing:
    """A stream's listing: of rows that were read, those themselves; of an export, what its snapshot says."""
    return stream.listing if isinstance(stream, Export) else StreamListing(stream)


def changed_since(stream: Listing, target: Listing) -> AbstractContextManager[Comparison]:
    """The differences between what a run read and what the target holds now."""
    return compare(stream, target)
