"""All rows of the table, listed by keys and prints."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from sync_pipelines.engine.batches import from_a_thread, pages
from sync_pipelines.engine.model import FINGERPRINT, FINGERPRINTS_SCHEMA, KEY, Digest, bucket_of
from sync_pipelines.sources.postgres.connection import bulk_transaction
from sync_pipelines.targets.postgres.layout import Prints

if TYPE_CHECKING:
    from sync_pipelines.targets.postgres.target import PostgresTarget

_ROWS, _BYTES = 5000, 8 * 1024 * 1024
"""Of one batch."""


class PrintedRows:
    """A listing of the table by prints of a kind."""

    def __init__(self, target: PostgresTarget, prints: Prints) -> None:
        self._target, self._prints = target, prints

    def count(self) -> int:
        return self._target.count()

    def digests(self) -> Mapping[int, Digest] | None:
        return None

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        return listed(self._target, self._prints, buckets=buckets)


def listed(
    target: PostgresTarget, prints: Prints, *, buckets: Collection[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """Keys and prints of the rows of some buckets, or of all; the server goes on while they are made."""
    layout, sql = target.layout, target.layout.sql
    with target.errors(), bulk_transaction(target.table.url) as session:
        rows = pages(session.stream(sql.rows(sql.has_key), sql.schema), rows=_ROWS, most_bytes=_BYTES)
        with from_a_thread(rows) as batches:
            for batch in batches:
                found, strange = layout.canonical(batch, prints)
                columns = [
                    pa.concat_arrays([found.column(KEY), pa.array(strange, pa.string())]),
                    pa.concat_arrays([found.column(FINGERPRINT), pa.nulls(len(strange), pa.string())]),
                ]
                yield _in(pa.RecordBatch.from_arrays(columns, schema=FINGERPRINTS_SCHEMA), buckets)


def _in(batch: pa.RecordBatch, buckets: Collection[int] | None) -> pa.RecordBatch:
    if buckets is None:
        return batch
    wanted = set(buckets)
    return batch.filter(pa.array([bucket_of(key) in wanted for key in batch.column(KEY).to_pylist()], pa.bool_()))
