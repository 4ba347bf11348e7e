"""PostgreSQL as a source: a table's changes, and the questions of a proof."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.errors import SyncError, TransientError
from sync_pipelines.engine.events import RowsNow
from sync_pipelines.engine.keys import NamedKey
from sync_pipelines.engine.model import ChangeSet, Digest, FullRead, Pending, Scope, SourceIdentity, Watermark
from sync_pipelines.engine.naming import spelled_among
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.engine.spool import KeyWriter, Spool
from sync_pipelines.sources.postgres import cursor as cursor
from sync_pipelines.sources.postgres.capture import install, remove
from sync_pipelines.sources.postgres.catalog import Place, TableInfo, find_table, identity
from sync_pipelines.sources.postgres.changes import SMALL, plan, read_changes, read_meanwhile
from sync_pipelines.sources.postgres.connection import (
    NormalisedUrl,
    Session,
    bulk_transaction,
    normalise_url,
    plain_session,
    small_transaction,
)
from sync_pipelines.sources.postgres.declared import refused
from sync_pipelines.sources.postgres.errors import InvalidKeyError, reading
from sync_pipelines.sources.postgres.events import PostgresOutbox
from sync_pipelines.sources.postgres.exporting import SnapshotExport, can_be_shared, exported_changes, has_rows
from sync_pipelines.sources.postgres.few import few_rows
from sync_pipelines.sources.postgres.marks import Marker
from sync_pipelines.sources.postgres.named import spelled
from sync_pipelines.sources.postgres.readers import confirm_reader
from sync_pipelines.sources.postgres.reading import Reading
from sync_pipelines.sources.postgres.sql import TableSql, keys_query
from sync_pipelines.sources.postgres.status import CaptureStatus, capture_status
from sync_pipelines.sources.postgres.view import PENDING_LIMIT, SnapshotView

__all__ = ["NormalisedUrl", "PostgresSource", "normalise_url"]

_log = logging.getLogger(__name__)

_FEW = 50


class PostgresSource:
    """A table in PostgreSQL. Nothing connects before the first question.

    Every method raises the classes of `engine.errors`: TransientError where the database may answer later,
    RunError (and CaptureMissingError) with a remedy where it will not.

    Args:
        url: any spelling that `normalise_url` takes.
        spec: the table.
        sync_schema: the schema of the capture branch in this database.
        pool_max: the most pooled connections of this process to the database (bulk reading uses one more).
        spool: the folder of temporary files; by default one of this user's below TMPDIR.
    """

    def __init__(
        self,
        url: str,
        spec: TableSpec,
        *,
        sync_schema: str = "sync",
        pool_max: int = 10,
        spool: Path | None = None,
    ) -> None:
        self.spec = spec
        self.sync_schema = sync_schema
        self._url = normalise_url(url)
        self._pool_max = pool_max
        self._spool = spool

    @property
    def url(self) -> NormalisedUrl:
        """The connection; `url.safe` is for messages."""
        return self._url

    def inspect(self) -> TableInfo:
        """Columns, key, partitions.

        Raises:
            RunError: no such table or column (the nearest name is offered), no unique index over the key.
        """
        with self._guard(), self._small() as found:
            return found.info

    def described(self) -> tuple[pa.Schema, str | None]:
        """The schema of this source's batches, whose fields say their PostgreSQL type, and the table's comment."""
        with self._guard(), self._small() as found:
            return found.sql.schema, found.info.comment

    def identity(self) -> SourceIdentity:
        """Which server, timeline, database and table a watermark of now would speak of."""
        with self._guard(), self._small() as found:
            return identity(found.session, found.place)

    def changes(self, scope: Scope, *, since: Watermark | None) -> ChangeSet:
        """Read what a run needs, from one snapshot, into temporary files; see `engine.model.Scope`.

        Args:
            since: the last confirmed watermark, or None for a first run.
        """
        self.__dict__.pop("_known_sql", None)
        try:
            return self._changes(scope, since, casts=True)
        except InvalidKeyError:
            if scope.keys is None and not scope.also:
                raise
        return self._changes(scope, since, casts=False)

    def changes_meanwhile(self, scope: Scope, *, since: Watermark | None) -> ChangeSet:
        """As `changes`; rows of a whole table are still read when this returns, until the change set is closed."""
        if scope.keys is not None or not (scope.full or since is None):
            return self.changes(scope, since=since)
        return read_meanwhile(self._guarded_bulk, scope, since, folder=self._spool)

    @contextmanager
    def _guarded_bulk(self) -> Generator[Reading]:
        with self._guard(), self._bulk() as found:
            yield found

    def _changes(self, scope: Scope, since: Watermark | None, *, casts: bool) -> ChangeSet:
        if (not scope.full and since is not None) or scope.keys is not None:
            with self._guard(), self._small(lock=True) as found:
                decided = plan(found, scope, since)
                if not decided.bulk:
                    return read_changes(found, scope, since, decided, folder=self._spool, casts=casts)
        with self._guard(), self._bulk() as found:
            # Decided anew: this is another snapshot than the one that was found to be too large.
            decided = plan(found, scope, since)
            return read_changes(found, scope, since, decided, folder=self._spool, casts=casts)

    def exported(self, scope: Scope, *, since: Watermark | None, least_rows: int) -> ChangeSet | None:
        """A full read whose rows others read: its snapshot stays open until the export is released.

        Returns:
            None where not the whole table is read, where it has fewer rows, or where others cannot read it safely.
        """
        if scope.keys is not None or not (scope.full or since is None or self._reads_all(scope, since)):
            return None
        with ExitStack() as stack, self._guard():
            found = stack.enter_context(self._bulk())
            decided = plan(found, scope, since)
            if not (decided.full and can_be_shared(found) and has_rows(found, least_rows)):
                return None
            kept = ExitStack()
            export = SnapshotExport(found, guard=self._guard, close=kept.close, url=self._url, folder=self._spool)
            changes = exported_changes(found, decided, since, export)
            kept.push(stack.pop_all())
            return changes

    def _reads_all(self, scope: Scope, since: Watermark) -> bool:
        with self._guard(), self._small() as found:
            return plan(found, scope, since).full

    @contextmanager
    def at_snapshot(self) -> Generator[SnapshotView]:
        """Everything that is asked of the result is answered from one snapshot, taken now."""
        with ExitStack() as stack:
            with self._guard():
                found = stack.enter_context(self._bulk())
            # not within the guard: what fails in the caller's block may be the target, and is not this source's
            yield SnapshotView(found, self._guard)
            with self._guard():
                stack.close()

    def count(self) -> int:
        """Records in the table; rows whose key holds a NULL are none."""
        with self._guard(), self._small() as found:
            return SnapshotView(found, self._guard).count()

    def digests(self) -> Mapping[int, Digest]:
        """Count and sum a bucket."""
        with self._guard(), self._small() as found:
            return SnapshotView(found, self._guard).digests()

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        """Keys and fingerprints, streamed."""
        with self.at_snapshot() as view:
            yield from view.fingerprints(buckets=buckets)

    def rows_now(self, keys: Sequence[str]) -> RowsNow:
        """The rows of a few keys as `changes` gives them, held in memory.

        What the table is like is asked once a run, by `changes`: a consumer asks for rows many times a second.
        """
        with suppress(InvalidKeyError):
            if len(keys) <= SMALL and (found := self._few_rows(keys)) is not None:
                return found
        asked, left = keys[:_FEW], keys[_FEW:]
        with self.changes(Scope(keys=tuple(asked)), since=None) as read:
            return RowsNow(list(read.upserts), [key for page in read.deletes for key in page], list(left))

    def _few_rows(self, keys: Sequence[str]) -> RowsNow | None:
        """None where a key may hold a NULL, which takes other questions."""
        with self._guard():
            place, sql = self._known_sql
            if sql.info.key_can_be_null:
                return None
            return few_rows(self._url, place, sql, keys, pool_max=self._pool_max)

    @cached_property
    def _known_sql(self) -> tuple[Place, TableSql]:
        with self._small() as found:
            return found.place, found.sql

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of these keys, in the batches' full schema; keys that are not there are left out."""
        with self.changes(Scope(keys=tuple(keys)), since=None) as found:
            yield from found.upserts

    def named(self, keys: Sequence[str]) -> dict[str, NamedKey]:
        """The keys that somebody has named, each as this table spells it.

        Raises:
            ConfigurationError: one is no value of the key columns' types.
        """
        return spelled(self.spec, keys, self._named)

    def _named(self, keys: Sequence[str]) -> dict[str, NamedKey]:
        with self._guard():
            _, sql = self._known_sql
            with small_transaction(self._url, pool_max=self._pool_max) as session:
                rows = session.all(sql.named(keys_query(keys)))
        return {row["given"]: NamedKey(row["held"] if row["found"] else row["spelled"], row["found"]) for row in rows}

    def refused(self, values: Mapping[str, Any]) -> list[str]:
        """Those of these columns that cannot hold the value given for them, of JSON, as the table is declared."""
        with self._guard():
            _, sql = self._known_sql
            return refused(self._url, sql.info.columns, values, pool_max=self._pool_max)

    def pending(self, since: Watermark | None, *, limit: int = PENDING_LIMIT) -> Pending:
        """What the next run would read. `changes` counts distinct keys among the first `limit` log lines."""
        with self._guard(), self._small() as found:
            return found.pending(since, limit)

    def pending_keys(self, since: Watermark | None) -> Iterator[list[str]]:
        """Keys that were touched after the watermark, in batches.

        Spooled: whoever is given them asks the source again meanwhile, and there may be one connection for all.
        """
        with closing(Spool(self._spool)) as spool:
            with KeyWriter(spool, "pending") as keys, self._guard(), self._small() as found:
                for batch in SnapshotView(found, self._guard).pending_keys(since):
                    keys.write(batch)
            spooled = keys.keys()
            for batch in spooled:
                # a log has keys as the table spells them, an event as the application does
                yield batch if self.spec.capture != "outbox" else list(spelled_among(self.named, batch).values())

    def full_read(self, since: Watermark | None) -> FullRead | None:
        """Why the next run will read everything, and what waits for it; None where it will not."""
        with self._guard(), self._small() as found:
            return found.full_read(since)

    def resting(self) -> str | None:
        """A database is always asked."""
        return None

    def capture_warnings(self) -> list[str]:
        """What an operator should know of this table's capture; `status` shows it."""
        with self._guard(), self._small() as found:
            return found.warnings()

    def capture_status(self) -> CaptureStatus:
        """How the table is captured, who reads the log, and why a run would stop."""
        with self._guard(), self._small() as found:
            return capture_status(found)

    def install_capture(self, *, dry_run: bool = False) -> list[str]:
        """Make the triggers that are missing; see `capture.install`."""
        return install(self._url, self.spec, schema=self.sync_schema, dry_run=dry_run)

    def remove_capture(self, *, dry_run: bool = False) -> list[str]:
        """Take this sync off the table's readers; see `capture.remove`."""
        return remove(self._url, self.spec, schema=self.sync_schema, dry_run=dry_run)

    def mark(self, watermark: Watermark) -> Watermark:
        """Leave a mark of the run in the capture schema, and give the watermark with it, for the ledger.

        By it a copy of the database's files from before this run is recognised. Where the role may not leave one, the
        run goes on without.

        Raises:
            TransientError: the source was restored while this run read it, or does not answer: a watermark with an
                older mark would pass for that of a copy of the files.
        """
        try:
            with self._guard():
                return self._marker.leave(watermark)
        except TransientError:
            raise
        except SyncError as error:
            _log.warning("This run is not marked in the source, so that a restore would not be noticed: %s", error)
            return watermark

    def note(self, since: Watermark, run: str, *, before: str | None) -> bool:
        """Leave the id of a run before it writes to its target, so that a copy of the files from before is recognised.

        Args:
            since: the confirmed watermark. before: the run whose mark the target bears until this one's stands there.

        Returns:
            Whether it stands; no where the role may leave none, or the source does not know the watermark's run.

        Raises:
            TransientError: the source does not answer.
        """
        try:
            with self._guard():
                return self._marker.note(since, run, before=before)
        except TransientError:
            raise
        except SyncError as error:
            _log.warning("This run is not noted in the source, so that a restore would not be noticed: %s", error)
            return False

    def knows(self, since: Watermark, run: str) -> bool:
        """Whether `note` has left this run's id in what is now the source; True where it could leave none."""
        with self._guard():
            return self._marker.knows(since, run)

    def last_read(self) -> str | None:
        """None: runs are noted here."""
        return None

    def went_through(self, read: str) -> bool:
        """No run's mark says what it has read here."""
        return False

    @property
    def _marker(self) -> Marker:
        return Marker(url=self._url, schema=self.sync_schema, spec=self.spec, pool_max=self._pool_max)

    def confirmed(self, watermark: Watermark) -> bool:
        """Note in the capture schema how far this sync has read, so that the log can be purged below.

        Best effort: False where the role may not, the database is read-only or out of reach, or the capture is
        gone. The ledger's watermark counts, which is confirmed by then: the run has not failed.
        """
        try:
            with self._guard():
                return confirm_reader(
                    self._url, watermark, schema=self.sync_schema, reader=self.spec.path, pool_max=self._pool_max
                )
        except SyncError as error:
            _log.warning("How far this sync has read is not noted in the source, which keeps its log: %s", error)
            return False

    @property
    def outbox(self) -> PostgresOutbox | None:
        """The events that say what changed; None where something else does."""
        if self.spec.capture != "outbox":
            return None
        return PostgresOutbox(
            self._url, self.spec, schema=self.sync_schema, pool_max=self._pool_max, rows=self.rows_now
        )

    def _guard(self) -> AbstractContextManager[None]:
        return reading(self._url, sync=self.spec.sync, table=self.spec.name, sync_schema=self.sync_schema)

    def _look(self) -> tuple[Place, cursor.Bound | None]:
        """Where the table is; and the bound of a cursor, which must be older than the reading snapshot."""
        with plain_session(self._url, pool_max=self._pool_max) as session:
            place = find_table(session, self.spec, schema=self.spec.schema or self._url.schema)
            if self.spec.capture in ("trigger", "outbox"):
                return place, None
            return place, cursor.look(session, self.spec.lookback_seconds)

    @contextmanager
    def _small(self, *, lock: bool = False) -> Generator[Reading]:
        def transaction(locks: Sequence[str]) -> AbstractContextManager[Session]:
            return small_transaction(self._url, pool_max=self._pool_max, locks=locks if lock else ())

        with self._reading(transaction) as found:
            yield found

    @contextmanager
    def _bulk(self) -> Generator[Reading]:
        def transaction(locks: Sequence[str]) -> AbstractContextManager[Session]:
            return bulk_transaction(self._url, locks=locks)

        with self._reading(transaction) as found:
            yield found

    @contextmanager
    def _reading(self, transaction: Callable[[Sequence[str]], AbstractContextManager[Session]]) -> Generator[Reading]:
        place, bound = self._look()
        with transaction([place.sql] if place.lockable else []) as session:
            yield Reading(session, self.spec, place, self.sync_schema, bound)
