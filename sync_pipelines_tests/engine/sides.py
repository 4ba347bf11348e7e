"""A side of a comparison that is held in a dict, for tests of logic."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import pyarrow as pa

from sync_pipelines.engine.model import FINGERPRINTS_SCHEMA, Digest, bucket_of


class Side:
    """`adds_up` is a store that can add up its buckets by itself; `listed` holds the keys it was asked for."""

    def __init__(self, rows: Mapping[str, str | None], *, adds_up: bool = False) -> None:
        self.rows, self.adds_up = dict(rows), adds_up
        self.listed: list[str] = []

    def count(self) -> int:
        return len(self.rows)

    def digests(self) -> dict[int, Digest] | None:
        if not self.adds_up:
            return None
        sums: dict[int, Digest] = {}
        for key, mark in self.rows.items():
            sums[bucket_of(key)] = sums.get(bucket_of(key), Digest()).add(key, mark)
        return sums

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        chosen = None if buckets is None else set(buckets)
        keys = [key for key in self.rows if chosen is None or bucket_of(key) in chosen]
        self.listed += keys
        for start in range(0, len(keys), 100):
            yield self._batch(keys[start : start + 100])

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        yield self._batch([key for key in keys if key in self.rows])

    def _batch(self, keys: list[str]) -> pa.RecordBatch:
        marks = [self.rows[key] for key in keys]
        return pa.RecordBatch.from_arrays(
            [pa.array(keys, pa.string()), pa.array(marks, pa.string())], schema=FINGERPRINTS_SCHEMA
        )
