"""The engine's nouns: what a run reads, brings and leaves behind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import pyarrow as pa

# Columns of a source's batches. Records are named by ONE text: the key's, or json_build_array(col::text, …)::text.
KEY = "_key"
FINGERPRINT = "_fingerprint"
CHANGED_AT = "_changed_at"
PROBLEM = "_problem"
SYSTEM_FIELDS = (
    pa.field(KEY, pa.string(), nullable=False),
    pa.field(FINGERPRINT, pa.string(), nullable=False),
    pa.field(CHANGED_AT, pa.timestamp("us", tz="UTC")),
    pa.field(PROBLEM, pa.string()),
)
"""`_key`, `_fingerprint`, `_changed_at` (UTC, null where unknown) and `_problem` (why the row cannot be read)."""

DOUBLED = "two rows of the source have this key"
"""Why a source's rows of one key are refused, all of them: no order says which of them the target should hold."""

HELD_TWICE = "the target holds it more than once"
"""Why a record differs whatever its copies say: a lakehouse table has no unique index, and anybody can append to it."""

FINGERPRINTS_SCHEMA = pa.schema([pa.field(KEY, pa.string(), nullable=False), pa.field(FINGERPRINT, pa.string())])
"""What listings for a proof hold; a null fingerprint is a record that the sync did not write."""

BUCKETS = 4096
"""Keys fall into buckets by the first three hex digits of md5(key); SQL and Python must agree."""


def bucket_of(key: str) -> int:
    """The bucket, 0 to 4095, of a key: the same as `('x' || substr(md5(key), 1, 3))::bit(12)::int` in SQL."""
    return int(hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()[:3], 16)


def digest_of(key: str, fingerprint: str | None) -> int:
    """A record's share of its bucket's sum: the first 60 bits of md5(fingerprint || ':' || key)."""
    text = f"{fingerprint or ''}:{key}"
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)


@dataclass(frozen=True)
class Digest:
    """Count and sum of `digest_of` (unbounded integer) over one bucket of keys."""

    count: int = 0
    total: int = 0

    def add(self, key: str, fingerprint: str | None) -> Digest:
        return Digest(self.count + 1, self.total + digest_of(key, fingerprint))


@dataclass(frozen=True, kw_only=True)
class SourceIdentity:
    """Which database and table a watermark speaks of; when it differs the watermark means nothing.

    `database_oid` tells a database from a copy of it that took its name (CREATE DATABASE … TEMPLATE backup: the
    tables keep their oids); None in watermarks that were taken before it was asked for.
    """

    system_identifier: str
    timeline: int
    database: str
    table_oid: int
    database_oid: int | None = None


@dataclass(frozen=True, kw_only=True)
class Watermark:
    """What has been read and confirmed of one table.

    `position` is the capture's own: `{"snapshot": "10:20:10,15"}` for `trigger` and `outbox`, `{"changed_at": iso or
    null, "key": text, "bound": iso}` for `cursor`, `{"version": n}` for `version`, `{"fetched": iso}` for `fetch`, the
    state of the records' origin for `listing`. `target` is the target's identity then, so that one made anew is seen;
    `stamp` what the run has left in it (a restored ledger remembers an older one); `records` what it held then.
    """

    capture: Literal["trigger", "cursor", "version", "outbox", "fetch", "listing"]
    position: Mapping[str, Any]
    source: SourceIdentity
    key: tuple[str, ...]
    mapping: str
    taken_at: datetime
    target: str | None = None
    stamp: str | None = None
    records: int | None = None


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a run reads.

    `full`: one consistent snapshot of the whole table. `window`: what is pending, then the records whose
    change time lies in the half-open range (None is unlimited; `nulls` adds rows without a change time).
    `keys`: just these records, no watermark moves. None of them: what is pending (the incremental sync).
    `also`: read beside what is pending, since they wait for something in the target. `stored`: of a source that
    keeps what it has fetched, just that; `planned`: just that of what it would ask for."""

    full: bool = False
    window: tuple[datetime | None, datetime | None] | None = None
    nulls: bool = False
    keys: tuple[str, ...] | None = None
    also: tuple[str, ...] = ()
    stored: bool = False
    planned: bool = False
    reason: str = ""


class RecordStream(Protocol):
    """Arrow batches that can be read again: every `iter()` starts from the beginning."""

    @property
    def schema(self) -> pa.Schema: ...
    def __iter__(self) -> Iterator[pa.RecordBatch]: ...


class KeyStream(Protocol):
    """Batches of keys that can be read again."""

    def __iter__(self) -> Iterator[list[str]]: ...


@dataclass(kw_only=True)
class ChangeSet:
    """What one run brings to a target; a context manager that frees its files (and locks) at the end.

    Args:
        upserts: source rows with the system columns, in no order; rows with a `_problem` go to quarantine. A key
            that several rows have is a problem (`DOUBLED`) of each of them, which the source must find.
        deletes: keys that were touched and that the source no longer has. Empty for a full set: there, what
            the source lacks is found by comparing keys.
        watermark: what to confirm after the target has it all; None confirms nothing (`keys`, dry run).
        full: the upserts are the whole table. doubt: what of its equal fingerprints is believed, as of `Target.upsert`.
        reason: why it is full although nobody asked ("first run", "log purged", …), for the log.
        source_empty: the snapshot held no row. rows: upserts. touched: distinct keys that were read from the log.
        ended: asked when all is written: what is to be told of the reading. It raises what cut that short.
        run: the `engine.run.Run` that it belongs to.
    """

    upserts: RecordStream
    deletes: KeyStream
    watermark: Watermark | None
    full: bool = False
    doubt: Doubt | None = None
    reason: str = ""
    source_empty: bool = False
    rows: int = 0
    touched: int = 0
    ended: Callable[[], Mapping[str, Any]] = dict
    run: Any = None
    on_close: list[Callable[[], None]] = field(default_factory=list)

    def close(self) -> None:
        while self.on_close:
            self.on_close.pop()()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


WAITING, UNDELETED = RETRIED = ("wait", "delete")
"""The stages of a record that waits for another one (a foreign key), and of one that the target does not let go: each
run tries them again. Their own rows are as they should be: others must change."""
BY_TARGET = ("embed", "write")  # the stages of a record that the target, or its embedding, refuses as it is
UNFETCHED = "fetch"  # the stage of a record that the source did not give, though it gives others


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The row of another table that a record waits for: by which foreign key, its columns and what they hold."""

    constraint: str
    columns: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Child:
    """Rows that refer to a record, so that it cannot go: their table, as SQL names it, and the foreign key."""

    table: str
    constraint: str


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """A record that is not in the target what it is in the source, and why.

    `stage` is read, map, embed, write, `WAITING` or `UNDELETED`. `parent` is what one waits for to be written, `child`
    what another waits to be rid of before it can be deleted, where that is known.
    """

    key: str
    reason: str
    stage: str
    parent: Parent | None = None
    child: Child | None = None


@dataclass(kw_only=True)
class Counts:
    """What a run did, in records; embedding figures in texts, characters and the provider's tokens.
    `bytes` were written to the target, `bytes_read` came from the source, both as this process holds them.
    """

    read: int = 0
    upserted: int = 0
    metadata_only: int = 0
    unchanged: int = 0
    deleted: int = 0
    quarantined: int = 0
    embedded_texts: int = 0
    embedded_characters: int = 0
    embedded_tokens: int = 0
    bytes: int = 0
    bytes_read: int = 0

    def __iadd__(self, other: Counts) -> Self:
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))
        return self


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """What became of the batches that a target has taken since its last result.

    Args:
        keys: the records that this speaks of, rejected ones too; None for all that the target has taken.
        kept: records that were left as they are: key → why. disputes: of those, and conflicts that were decided
            otherwise (`engine.deciding.Dispute`).
    """

    counts: Counts
    rejected: Sequence[Rejection] = ()
    keys: Sequence[str] | None = None
    kept: Mapping[str, str] = field(default_factory=dict)
    disputes: Sequence[Any] = ()


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """What became of records that were to be deleted: how many went, and those that the store keeps."""

    deleted: int = 0
    refused: Sequence[Rejection] = ()


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What waits in the source: `changes`, which a run brings now, exact up to `limit`; `oldest`: the oldest one's time
    (UTC), also where that waits for more than a run; `full_reason`: why the next run will read everything; `lasting`: a
    run does not end that, somebody else must."""

    changes: int = 0
    oldest: datetime | None = None
    full_reason: str | None = None
    lasting: bool = False

    def __bool__(self) -> bool:
        return self.changes > 0 or self.full_reason is not None


@dataclass(frozen=True, kw_only=True)
class FullRead:
    """Why the next run will read everything, and the kinds of differences (`missing`, …) that wait for it therefore."""

    reason: str
    explains: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class PlannedWrites:
    """What a write would do; `seconds`: estimated, of embedding, None where unknown; `embeds`: whether texts are."""

    counts: Counts
    seconds: float | None = None
    embeds: bool = False


Doubt = Literal["values", "all"]


class Listing(Protocol):
    """A side of a proof: source and target answer the same questions."""

    def count(self) -> int:
        """How many records (never chunks) there are, asked of the store itself."""
        ...

    def digests(self) -> Mapping[int, Digest] | None:
        """Count and sum for each bucket, or None where the store cannot add up by itself."""
        ...

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        """Keys and fingerprints (`FINGERPRINTS_SCHEMA`), in no order, of these buckets or of all."""
        ...


class Underived:
    """A target that derives nothing from its records: what it stores is all that can differ, and all that is found."""

    def faults(self, keys: Sequence[str]) -> dict[str, str]:
        """None."""
        return {}

    def unsearchable(self, keys: Sequence[str]) -> dict[str, str]:
        """None: it has no search of its own beside its records."""
        return {}


class Target(Listing, Protocol):
    """Where records go. Every method raises the classes of `engine.errors` and nothing of its client's."""

    def identity(self) -> str | None:
        """A text that changes when the store is dropped and made anew; None where it does not exist yet."""
        ...

    def stamp(self) -> str | None:
        """What the last confirmed run has left in the store; None where none did. It outlives no new store."""
        ...

    def set_stamp(self, text: str) -> None:
        """Leave a text in the store, in the place of the one before; it is no record."""
        ...

    def stamp_of(self, text: str) -> str:
        """What `stamp` says after this text was left: not every store keeps a text."""
        ...

    def prepare(self) -> None:
        """Make the store if need be and check that what it holds was made the way that is asked now."""
        ...

    def upsert(
        self,
        batches: Iterable[pa.RecordBatch],
        *,
        doubt: Doubt | None = None,
        before_write: Callable[[], object] = ...,
    ) -> Iterator[BatchResult]:
        """Write batches of mapped records, skipping those whose stored fingerprint is the same.

        `before_write` is called before anything is written; where nothing is to be written it is not.

        With `doubt` no fingerprint is believed: "values" compares what is stored, "all" makes anew what the
        target derives, too (a repair).

        Lazy: nothing is written before the result is asked for. A record that the store refuses comes back
        in `rejected`; an outage raises `TransientError`.
        """
        ...

    def existing(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that the store holds."""
        ...

    def delete(self, keys: Sequence[str]) -> Deletion:
        """Delete these records. Keys that are not there are no error, and of those that are the store may refuse some
        (`UNDELETED`), which says nothing of the others."""
        ...

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The stored values of these records, as the target has them, with `_key` and `_fingerprint`."""
        ...

    def faults(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Those of `keys` of which something that the target derives (a vector) is broken, with why."""
        ...

    def unsearchable(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Those of a sample of `keys` that the target does not find as its users search, with why."""
        ...

    def holdings(self) -> dict[str, Any]:
        """What the store says of itself beside the number of records (chunks, files, a model, …), for `stats`."""
        ...

    def drift(self) -> list[str]:
        """What about the store is not as it is asked for now (another embedding, column, …), in words."""
        ...

    def plan(self, batches: Iterable[pa.RecordBatch], *, rebuild: bool = False) -> PlannedWrites:
        """What `upsert` (or a rebuild) would do with these batches; writes and embeds nothing."""
        ...
