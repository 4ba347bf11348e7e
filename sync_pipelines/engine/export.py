"""A whole table that others read in one snapshot, and what a target makes of it without this process's help."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from sync_pipelines.engine.model import ChangeSet, Counts, Doubt, Listing, RecordStream, Scope, Watermark
from sync_pipelines.engine.urls import NormalisedUrl


class RowListing(Listing, Protocol):
    """What was read, asked like a store."""

    def among(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys` of which there is a row."""
        ...


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What somebody else needs to read a table as it is in a snapshot.

    Args:
        url: the database. queries: each row is in the result of one of them: `_key`, `_fingerprint`, `_problem`, then
            the columns as c0, c1, … in types that every driver gives unchanged.
        prepare: statements that open each connection's transaction, before its query.
    """

    url: NormalisedUrl = field(repr=False)
    queries: tuple[str, ...]
    prepare: str


class Export(ABC):
    """A `RecordStream` whose rows nobody has read yet: a snapshot stays open until `release`.

    Whoever iterates reads the rows through this process, in constant memory; a `Loader` has them read in parallel.
    """

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """The batches' columns, as of any record stream."""

    @abstractmethod
    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """All rows, read anew."""

    @property
    @abstractmethod
    def listing(self) -> RowListing:
        """The snapshot's keys and fingerprints; after `release` what it was given."""

    @abstractmethod
    def shared(self, *, pieces: int) -> Shared:
        """The snapshot for others, theirs until it is released; in so many queries at least, where there are rows."""

    @abstractmethod
    def rows_of(self, keys: Iterable[Sequence[str]]) -> RecordStream:
        """The rows of these keys in the same snapshot, spooled."""

    @abstractmethod
    def release(self, listing: RowListing) -> None:
        """Close the snapshot; from here on `listing` answers for it."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a target has taken of an export.

    Args:
        counts: of the rows that it has taken. listing: what the export held, rows that were not taken included.
        left: keys of rows that it has not taken, in batches: those that hold a value which may not fit.
        facts: what is worth telling of how it was done, for metadata.
        close: removes what was kept for `listing`.
    """

    counts: Counts
    listing: RowListing
    left: Callable[[], Iterator[list[str]]]
    facts: dict[str, Any] = field(default_factory=dict)
    close: Callable[[], None] = lambda: None


@runtime_checkable
class Loader(Protocol):
    """A target that reads a whole table by itself, if it has so many rows."""

    least_rows: int

    def load(self, export: Any, *, doubt: Doubt | None, alive: Callable[[], object]) -> Loaded:
        """Bring every row of an export that fits into the target.

        Args:
            doubt: see `Target.upsert`. alive: called again and again meanwhile; raises where the run must stop.
        """
        ...


@runtime_checkable
class Exporter(Protocol):
    """A source whose whole tables others can read."""

    def exported(self, scope: Scope, *, since: Watermark | None, least_rows: int) -> ChangeSet | None:
        """What a run needs whose upserts are an `Export`; None where it does not read a whole table of that size."""
        ...
