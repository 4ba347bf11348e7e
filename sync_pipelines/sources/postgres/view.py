"""One snapshot of a table as a side of a proof."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress

import pyarrow as pa

from sync_pipelines.engine.events import record_key
from sync_pipelines.engine.model import FINGERPRINTS_SCHEMA, KEY, Digest, Pending, Watermark
from sync_pipelines.engine.sql import identifier
from sync_pipelines.sources.postgres.changes import existing
from sync_pipelines.sources.postgres.events import ENTITIES, open_entities
from sync_pipelines.sources.postgres.reading import Reading
from sync_pipelines.sources.postgres.sql import keys_query

PENDING_LIMIT = 10_000
_KEY = pa.schema([pa.field(KEY, pa.string(), nullable=False)])
_KEYS_A_STATEMENT = 5000


class SnapshotView:
    """What one snapshot holds (`engine.model.Listing`), and what of it is still unread.

    All methods share one connection: a stream must be read to its end, or closed, before the next question.
    Rows whose key holds a NULL are no records: they are in quarantine, and neither counted nor listed.
    """

    def __init__(self, reading: Reading, guard: Callable[[], AbstractContextManager[None]]) -> None:
        self._reading, self._guard = reading, guard

    def count(self) -> int:
        with self._guard():
            return self._reading.session.all(self._reading.sql.count())[0]["records"]

    def digests(self) -> Mapping[int, Digest]:
        """Count and sum a bucket, added up by the server."""
        with self._guard():
            rows = self._reading.session.all(self._reading.sql.digests(utf8=self._reading.utf8))
        return {row["bucket"]: Digest(row["records"], int(row["total"])) for row in rows}

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        with self._guard():
            query = self._reading.sql.fingerprints(buckets, utf8=self._reading.utf8)
        yield from self._stream(query, FINGERPRINTS_SCHEMA)

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of these keys, as `changes` reads them; keys that are not there are left out."""
        with self._guard():
            sql = self._reading.sql
        for start in range(0, len(keys), _KEYS_A_STATEMENT):
            query = sql.by_keys(keys_query(keys[start : start + _KEYS_A_STATEMENT]))
            yield from existing(self._stream(query, sql.found_schema), sql.schema)

    def pending(self, since: Watermark | None, *, limit: int = PENDING_LIMIT) -> Pending:
        """What the next run would read, by the same predicate."""
        with self._guard():
            return self._reading.pending(since, limit)

    def pending_keys(self, since: Watermark | None) -> Iterator[list[str]]:
        """Keys that were touched after the watermark, in batches; none where nothing tells of them.

        Also where the next run reads everything: what the log names is on its way all the same.
        """
        with self._guard():
            query = self._pending_keys_sql(since)
        if query is not None and self._reading.kind == "outbox":
            yield from self._pending_entities(query)
        elif query is not None:
            for batch in self._stream(query, _KEY):
                yield batch.column(0).to_pylist()

    def _pending_keys_sql(self, since: Watermark | None) -> str | None:
        reading = self._reading
        if since is None or not reading.continues(since):
            return None
        if reading.kind == "outbox":
            return open_entities(reading.sync_schema, reading.spec.entity_type)
        if reading.kind == "trigger":
            return f"SELECT DISTINCT l.key AS {identifier(KEY)} {reading.log(since)} AND l.key IS NOT NULL"
        sql = reading.sql
        return f"SELECT {sql.key} AS {identifier(KEY)} FROM {sql.info.sql} AS t WHERE {reading.news(since)}"

    def _pending_entities(self, query: str) -> Iterator[list[str]]:
        """The keys of what events are on their way for; of an event that names no record there is nothing to prove."""
        for batch in self._stream(query, ENTITIES):
            found: list[str] = []
            for row in batch.to_pylist():
                ends = None if None in (row["start_id"], row["end_id"]) else (row["start_id"], row["end_id"])
                with suppress(ValueError):
                    found.append(record_key(row["entity_id"], ends, self._reading.spec))
            yield found

    def _stream(self, query: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self._guard():
            yield from self._reading.session.stream(query, schema)
