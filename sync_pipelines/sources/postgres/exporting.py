"""A whole table for others to read: one exported snapshot, and the queries that share its rows out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from sync_pipelines.engine.export import Export, RowListing, Shared
from sync_pipelines.engine.model import KEY, ChangeSet, RecordStream, Watermark
from sync_pipelines.engine.spool import KeyWriter, RecordWriter, Spool
from sync_pipelines.engine.sql import literal
from sync_pipelines.engine.urls import NormalisedUrl
from sync_pipelines.sources.postgres.changes import KEYS_A_STATEMENT, Plan, Writer
from sync_pipelines.sources.postgres.connection import LOCK_TIMEOUT_MS, settings_sql
from sync_pipelines.sources.postgres.reading import Reading
from sync_pipelines.sources.postgres.sql import keys_query
from sync_pipelines.sources.postgres.view import SnapshotView

PIECE_BYTES = 1024 * 1024 * 1024
"""A query reads at most so much of the table's file: what is done again where it fails."""

Guard = Callable[[], AbstractContextManager[None]]


class SnapshotExport(Export):
    """A table in an open transaction.

    Args:
        reading: the transaction; `close` ends it. guard: makes PostgreSQL's errors the engine's.
        url: the database. folder: where spools are made.
    """

    def __init__(
        self, reading: Reading, *, guard: Guard, close: Callable[[], None], url: NormalisedUrl, folder: Path | None
    ) -> None:
        self._reading, self._guard, self._close = reading, guard, close
        self._url, self._folder = url, folder
        self._listing: RowListing = _SnapshotRows(reading, guard)
        self._spools: list[Spool] = []

    @cached_property
    def schema(self) -> pa.Schema:
        """The batches' columns."""
        return self._reading.sql.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with self._guard():
            yield from self._reading.session.stream(self._reading.sql.rows(), self.schema)

    @property
    def listing(self) -> RowListing:
        """The snapshot, or what has taken its place."""
        return self._listing

    def shared(self, *, pieces: int) -> Shared:
        """The snapshot for others; it is theirs as long as it is not released.

        Args:
            pieces: so many queries at least, where the table has as many pages.
        """
        with self._guard():
            name = self._reading.session.all("SELECT pg_catalog.pg_export_snapshot() AS name")[0]["name"]
            ranges = page_ranges(self._pages(), pieces=pieces, most=PIECE_BYTES // self._page_bytes)
            return Shared(
                url=self._url,
                queries=tuple(self._reading.sql.portable(condition) for condition in ranges),
                prepare=_prepare(name),
            )

    @cached_property
    def _page_bytes(self) -> int:
        return int(self._reading.session.all("SELECT pg_catalog.current_setting('block_size') AS size")[0]["size"])

    def _pages(self) -> int:
        """Pages of the largest file that the table, its partitions and its children have."""
        oids = ", ".join(str(relation.oid) for relation in self._reading.info.relations)
        query = f"SELECT max(pg_catalog.pg_relation_size(r.oid)) AS size FROM unnest(ARRAY[{oids}]::oid[]) AS r(oid)"
        return -(-int(self._reading.session.all(query)[0]["size"] or 0) // self._page_bytes)

    def rows_of(self, keys: Iterable[Sequence[str]]) -> RecordStream:
        """The rows of these keys, spooled."""
        spool = Spool(self._folder)
        self._spools.append(spool)
        with (
            RecordWriter(spool, "left", self.schema) as rows,
            KeyWriter(spool, "gone") as gone,
            self._guard(),
        ):
            writer = Writer(self._reading, rows, gone)
            for page in keys:
                for start in range(0, len(page), KEYS_A_STATEMENT):
                    writer.keys_of(keys_query(page[start : start + KEYS_A_STATEMENT]), len(page))
        return rows.records()

    def release(self, listing: RowListing) -> None:
        """End the transaction."""
        self._listing = listing
        with self._guard():
            self._close()

    def close(self) -> None:
        """End the transaction, if it still lasts, and remove the spools."""
        for spool in self._spools:
            spool.close()
        with suppress(Exception):  # it has written nothing, and what has ended the run says more
            self._close()


class _SnapshotRows(SnapshotView):
    """A snapshot's view; rows without a key, which no store holds, are none of its rows."""

    def among(self, keys: Sequence[str]) -> set[str]:
        return {key for batch in self.values(keys) for key in batch.column(KEY).to_pylist()}


def _prepare(snapshot: str) -> str:
    """The same transaction as ours: its snapshot and its settings.

    Without a limit to its wait for the table's lock, a TRUNCATE that waits for us would stop for ever both those who
    read our snapshot and us, who wait for them.
    """
    return (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; "
        f"SET TRANSACTION SNAPSHOT {literal(snapshot)}; SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}; {settings_sql()}"
    )


def page_ranges(pages: int, *, pieces: int, most: int) -> list[str]:
    """Conditions on `t` that share the rows out by the pages on which they lie.

    Each row of a snapshot lies on one page, whatever the key is and however its values are spread; PostgreSQL 14 and
    newer read just those pages. The last range has no end: what has grown meanwhile is not in the snapshot, but
    the files of other partitions may be longer than they were.

    Args:
        pages: of the largest file. pieces: so many ranges at least, if there are pages. most: pages a range.
    """
    step = max(1, min(most, -(-pages // pieces)))
    starts = list(range(0, max(pages, 1), step))
    found = []
    for number, start in enumerate(starts):
        end = f" AND t.ctid < '({start + step},0)'::pg_catalog.tid" if number + 1 < len(starts) else ""
        found.append(f"t.ctid >= '({start},0)'::pg_catalog.tid{end}")
    return found


def can_be_shared(reading: Reading) -> bool:
    """Whether others may read the table: we hold its lock (a TRUNCATE would empty their view of it, not ours), and
    its rows lie on pages."""
    return reading.place.lockable and all(relation.kind in ("r", "p") for relation in reading.info.relations)


def has_rows(reading: Reading, number: int) -> bool:
    """Whether the table has so many rows."""
    query = f"SELECT count(*) AS rows FROM (SELECT FROM {reading.info.sql} LIMIT {int(number)}) AS n"
    return reading.session.all(query)[0]["rows"] >= number


def exported_changes(reading: Reading, plan: Plan, since: Watermark | None, export: SnapshotExport) -> ChangeSet:
    """The change set of a full read whose rows others read."""
    reading.session.all("SELECT pg_catalog.set_config('idle_in_transaction_session_timeout', '0', true) AS set")
    return ChangeSet(
        upserts=export,
        deletes=(),
        watermark=reading.watermark(since),
        full=True,
        doubt=reading.doubt(since),
        reason=plan.reason,
        source_empty=reading.session.all(reading.sql.is_empty())[0]["empty"],
        rows=reading.session.all(reading.sql.count())[0]["records"],
        on_close=[export.close],
    )
