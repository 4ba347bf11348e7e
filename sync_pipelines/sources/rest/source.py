"""A REST API as a source: what is due is fetched, what was fetched is kept, and a proof asks what is kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sync_pipelines.engine.ground import Forgetful
from sync_pipelines.engine.keys import NamedKey
from sync_pipelines.engine.model import (
    FINGERPRINT,
    FINGERPRINTS_SCHEMA,
    KEY,
    ChangeSet,
    Digest,
    FullRead,
    Pending,
    Scope,
    SourceIdentity,
    Watermark,
    bucket_of,
)
from sync_pipelines.engine.naming import normal_key
from sync_pipelines.engine.plan import Estimate
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.engine.spool import KeyWriter, Spool
from sync_pipelines.sources.rest import due as conditions
from sync_pipelines.sources.rest.asked import Asked, pages
from sync_pipelines.sources.rest.due import Checks
from sync_pipelines.sources.rest.endpoint import Endpoint, FetchSettings
from sync_pipelines.sources.rest.kept import Again, Kept, Sample, sample_anew
from sync_pipelines.sources.rest.stream import Fetched
from sync_pipelines.targets.rowsets.batch import STORED, Document, batch_of, derived
from sync_pipelines.targets.rowsets.reading import pages_of, payloads
from sync_pipelines.targets.rowsets.target import RowsetTarget

if TYPE_CHECKING:
    from sync_pipelines.sources.rest.client import RestClient

Connect = Callable[[FetchSettings, int | None], "AbstractContextManager[RestClient]"]
"""Settings, and how many requests may be sent → a client."""

_NEVER = "It was never fetched."
_MAPPING = "the mapping, or a column, changed"


@dataclass(frozen=True)
class Shape:
    """The columns that the documents' rows have, as `table.field`."""

    columns: Sequence[Any]


@dataclass(frozen=True)
class Field:
    """A column, or a field of the payloads; `pg_type` is what it holds."""

    name: str
    pg_type: str


class RestSource(Forgetful):
    """An endpoint whose documents are kept in a target's books; implements `engine.binding.Source`.

    Nothing connects before the first question; the API is asked by runs alone, and by a deep proof's sample.

    Args:
        store: the books and tables. asked: which keys; None where a list says it. settings: what holds now.
        connect: gives a client. api: its name, by which the day's requests are counted. spool: for temporary files.
    """

    def __init__(
        self,
        store: RowsetTarget,
        spec: TableSpec,
        *,
        endpoint: Endpoint,
        asked: Asked | None,
        settings: Callable[[], FetchSettings],
        connect: Connect,
        api: str,
        spool: Path | None = None,
    ) -> None:
        self.store, self.spec, self.endpoint = store, spec, endpoint
        self.asked, self.settings, self._connect, self._api, self._spool = asked, settings, connect, api, spool
        self.checks = Checks(store.books)
        self.stream: Fetched | None = None
        self._counted = 0

    def sent(self) -> tuple[str, int]:
        """The API's name, and how many requests were sent since this was last asked."""
        client = self.stream.client if self.stream else None
        sent = client.requests if client is not None else 0
        new, self._counted = sent - self._counted, sent
        return self._api, new

    # What a run asks

    def changes(self, scope: Scope, *, since: Watermark | None) -> ChangeSet:
        """What a run brings: see `engine.model.Scope`. Nothing is ever full, or deleted: absence is marked."""
        if scope.stored:
            return self._kept(scope, since)
        self._register()
        settings, spool, whole = self.settings(), Spool(self._spool), scope.keys is None
        try:
            with KeyWriter(spool, "due") as writer:
                for page in self._due(scope, settings):
                    writer.write(page)
            stored = Again(lambda: self._to_make_anew(scope, since))
            stream = self.stream = self.fetching(
                writer.keys() if writer.rows else None,
                settings,
                stored=stored,
                known=self.known_pages,
                told=self._told(),
            )
            return ChangeSet(
                upserts=stream,
                deletes=self._unasked(kept=False) if whole else (),
                watermark=self._watermark() if whole else None,
                reason=scope.reason,
                rows=writer.rows or int(self.asked is None),
                touched=writer.rows,
                ended=lambda: self._ended(stream, whole=whole),
                on_close=[spool.close],
            )
        except BaseException:
            spool.close()
            raise

    def _kept(self, scope: Scope, since: Watermark | None) -> ChangeSet:
        """What is kept of these keys, or of all, without a request: that of the last fetch stays its time."""
        watermark = None
        if scope.full and since is not None:
            watermark = replace(self._watermark(), taken_at=since.taken_at)
        some = scope.planned and self.asked is not None and not self._is_mapped_otherwise(since)
        stream = Kept(self, scope, due=(lambda: self._due(scope, self.settings())) if some else None)
        return ChangeSet(upserts=stream, deletes=(), watermark=watermark, reason=scope.reason, rows=self.store.count())

    def _ended(self, stream: Fetched, *, whole: bool) -> Mapping[str, Any]:
        """Count what was sent since the last batch, then tell of the fetching, or raise what cut it short."""
        self.count_sent()
        told = stream.ended()
        if self.asked is None or whole:
            with self.store.writing() as cursor:
                (self.checks.forget_unasked if self.asked else self.checks.forget_gone)(cursor)
        return told

    def _unasked(self, *, kept: bool) -> list[list[str]]:
        """Those leave the quarantine, by what is kept of them, or by that nothing is: no run asks for them again."""
        with self.store.cursor() as cursor:
            return list(pages(self.checks.unasked(cursor, kept=kept) if self.asked else ()))

    def count_sent(self) -> None:
        """Write down the requests that no batch has counted."""
        api, sent = self.sent()
        if sent:
            with self.store.writing() as cursor:
                cursor.execute(self.store.books.note_requests(), [api, sent])

    def _told(self) -> pa.Schema:
        columns = self.inspect().columns
        return pa.schema([pa.field(item.name, pa.string(), metadata={"pg_type": item.pg_type}) for item in columns])

    def _due(self, scope: Scope, settings: FetchSettings) -> Iterator[list[str]]:
        if self.asked is None:
            return
        if scope.keys is not None:
            yield from pages(scope.keys)
            return
        wanted = [conditions.FAILED, conditions.overdue(settings.interval)]
        if scope.full:
            wanted = ["true"]
        elif scope.window is not None:
            wanted.append(conditions.before(scope.window[0]))
        with self.store.cursor() as cursor:
            yield from self.checks.due(cursor, " OR ".join(wanted))

    def _to_make_anew(self, scope: Scope, since: Watermark | None) -> Iterator[Document]:
        """Documents whose rows are made from what is kept: those that waited, and all where the mapping changed."""
        unasked = self._unasked(kept=True) if scope.keys is None else ()
        for page in (*pages(scope.also), *unasked):
            yield from self.documents(page)
        if scope.keys is None and self._is_mapped_otherwise(since):
            for page in self.store.kept_keys():
                yield from self.documents(page)

    def _is_mapped_otherwise(self, since: Watermark | None) -> bool:
        return since is not None and (
            since.mapping != self.spec.mapping_hash or since.position.get("shape") != self._shape()
        )

    def _shape(self) -> str:
        return "; ".join(
            f"{table.rows.name}: " + ", ".join(f"{name} {column.pg_type}" for name, column in table.columns.items())
            for table in self.store.layout.tables
        )

    def _register(self) -> None:
        if self.asked is None:
            return
        with self.store.writing() as cursor:
            self.checks.register(cursor, self.asked.keys())

    def _allowance(self, settings: FetchSettings) -> int | None:
        if settings.budget is None:
            return None
        with self.store.cursor() as cursor:
            cursor.execute(self.store.books.requests(self._api))
            return max(settings.budget - cursor.fetchone()[0], 0)

    def _watermark(self) -> Watermark:
        now = datetime.now(UTC)
        return Watermark(
            capture="fetch",
            position={"fetched": now.isoformat(), "shape": self._shape()},
            source=SourceIdentity(system_identifier=self._api, timeline=0, database=self.endpoint.path, table_oid=0),
            key=self.spec.key,
            mapping=self.spec.mapping_hash,
            taken_at=now,
        )

    # What a proof asks

    @contextmanager
    def at_snapshot(self) -> Generator[RestSource]:
        """What is kept now; a proof looks again at what differs."""
        yield self

    def count(self) -> int:
        """Records that are asked for, or that were once and are kept."""
        with self.store.cursor() as cursor:
            return self.checks.count_known(cursor) + self._new(cursor)

    def digests(self) -> Mapping[int, Digest] | None:
        return None

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows that the kept payloads give."""
        for page in self.known_pages():
            chosen = [key for key in page if buckets is None or bucket_of(key) in buckets]
            for batch in self.values(chosen):
                yield batch.select([KEY, FINGERPRINT]).cast(FINGERPRINTS_SCHEMA)
        for page in self._unheard():
            found = {KEY: page, FINGERPRINT: [None] * len(page)}
            yield pa.RecordBatch.from_pydict(found, schema=FINGERPRINTS_SCHEMA)

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """What is kept of these keys; those that are asked for and were never fetched come with that as a problem."""
        with self.store.cursor() as cursor:
            there = self.checks.known_among(cursor, keys) if keys else []
        if there:
            yield batch_of(list(self.documents(there, never=True)), self.store.layout.rows)

    def never_fetched(self) -> Iterator[pa.RecordBatch]:
        """Keys that are asked for and that no run has heard of yet, with that as a problem."""
        for page in self._unheard():
            found = [Document(key=key, status=STORED, problem=_NEVER) for key in page]
            yield batch_of(found, self.store.layout.rows)

    def documents(self, keys: Sequence[str], *, never: bool = False) -> Iterator[Document]:
        """What is kept of these keys; `never`: and those of which nothing is."""
        with self.store.cursor() as cursor:
            held = payloads(cursor, self.store.books, keys)
        for key in keys:
            if key in held:
                kept = Document(key=key, status=STORED, payload=held[key].payload)
                yield derived(kept, self.endpoint.rows_of, self.store.layout.rows, self.store.documents.hidden)
            elif never:
                yield Document(key=key, status=STORED, problem=_NEVER)

    def known_pages(self) -> Iterator[list[str]]:
        """The keys that are asked for, or of which a payload is kept."""
        with self.store.cursor() as cursor:
            yield from pages_of(cursor, self.checks.known())

    def _new(self, cursor: Any) -> int:
        return sum(len(page) for page in self._unheard(cursor))

    def _unheard(self, cursor: Any = None) -> Iterator[list[str]]:
        """Keys that are asked for and that no run has heard of yet, in pages."""
        if self.asked is None:
            return
        with self.store.cursor() as own:
            for page in pages(self.asked.keys()):
                known = set(self.checks.known_among(cursor or own, page))
                if new := [key for key in page if key not in known]:
                    yield new

    def pending_keys(self, since: Watermark | None) -> Iterator[list[str]]:
        """Keys that the next run fetches."""
        if self.asked is None:
            return
        with self.store.cursor() as cursor:
            yield from self.checks.due(cursor, conditions.overdue(self.settings().interval))
        yield from self._unheard()

    def absent_among(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` of which the API has said that it has none."""
        with self.store.cursor() as cursor:
            return self.checks.absent_among(cursor, keys)

    def sample_anew(self) -> Sample:
        """Fetch some records anew; see `kept.sample_anew`."""
        return sample_anew(self)

    def fetching(self, keys: Iterable[Sequence[str]] | None, settings: FetchSettings, **more: Any) -> Fetched:
        """A stream that asks for these keys, by a client of its own, of which nothing is counted yet."""
        self._counted = 0
        with self.store.cursor() as cursor:
            spare = None if keys is None else self.checks.well(cursor)
        return Fetched(
            endpoint=self.endpoint,
            tables=self.store.layout.rows,
            misfit=self.store.layout.misfit,
            hidden=self.store.documents.hidden,
            connect=lambda: self._connect(settings, self._allowance(settings)),
            keys=keys,
            spare=spare,
            **more,
        )

    def estimate(self, scope: Scope, since: Watermark | None) -> Estimate:
        """How many requests a run would send, the budget of the day in mind, and how long that takes at the rate."""
        if scope.stored:
            return Estimate(requests=0, seconds=0.0)
        settings = self.settings()
        if self.asked is None:
            size = self.endpoint.pagination.size if self.endpoint.pagination else None
            requests = max(1, -(-self.store.count() // size) if size else 1)
        else:
            new = sum(map(len, self._unheard())) if scope.keys is None else 0
            requests = new + sum(map(len, self._due(scope, settings)))
        allowance = self._allowance(settings)
        requests = requests if allowance is None else min(requests, allowance)
        return Estimate(requests=requests, seconds=requests / settings.rate_limit)

    def full_read(self, since: Watermark | None) -> FullRead | None:
        """The next run makes all rows anew where the mapping changed."""
        if not self._is_mapped_otherwise(since):
            return None
        return FullRead(reason=_MAPPING, explains=frozenset({"stale"}))

    def named(self, keys: Sequence[str]) -> dict[str, NamedKey]:
        """The keys that somebody has named, each in its one spelling.

        Raises:
            ConfigurationError: one is no key of this table.
        """
        spelled = {key: normal_key(self.spec, key) for key in keys}
        self._register()
        with self.store.cursor() as cursor:
            there = set(self.checks.known_among(cursor, list(spelled.values())))
        return {key: NamedKey(text, text in there) for key, text in spelled.items()}

    # What a sensor and an operator ask

    def pending(self, since: Watermark | None, *, limit: int = 10_000) -> Pending:
        """What is due now."""
        if self._is_mapped_otherwise(since):
            return Pending(full_reason=_MAPPING)
        every, now = self.settings().interval, datetime.now(UTC)
        if self.asked is None:
            due = since is None or since.taken_at + every <= now
            return Pending(changes=int(due), oldest=since.taken_at + every if due and since is not None else None)
        with self.store.cursor() as cursor:
            found = self.checks.count_due(cursor, every)
            new = self.checks.new_among(cursor, self.asked.keys(), limit=limit - found.records)
        oldest = found.oldest or (now if found.records + new else None)
        return Pending(changes=min(found.records + new, limit), oldest=oldest)

    def next_due(self, since: Watermark | None) -> datetime:
        """When the oldest record is due (UTC); now, where none was fetched yet."""
        every, now = self.settings().interval, datetime.now(UTC)
        if self.asked is None:
            return now if since is None else since.taken_at + every
        with self.store.cursor() as cursor:
            oldest = self.checks.oldest(cursor)
        return now if oldest is None else oldest + every

    def resting(self) -> str | None:
        return None

    def capture_warnings(self) -> list[str]:
        return []

    def inspect(self) -> Shape:
        """The columns of the tables."""
        found = [
            Field(f"{table.rows.name}.{name}", column.pg_type)
            for table in self.store.layout.tables
            for name, column in table.columns.items()
        ]
        return Shape(found)
