"""One version of a Delta table: everything that a run asks is answered from it, whichever engine reads it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.batches import pages
from sync_pipelines.engine.key_index import KeyIndex
from sync_pipelines.engine.model import FINGERPRINT, FINGERPRINTS_SCHEMA, KEY, Digest, SourceIdentity, Watermark
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.sources.delta.doubles import Doubles
from sync_pipelines.sources.delta.log import Commit, LostError
from sync_pipelines.sources.postgres.changes import is_null_key

_BATCH_ROWS, _BATCH_BYTES = 5000, 8 * 1024 * 1024


class Conforming(Protocol):
    """How rows of the table become rows as the target would hold them (`targets.postgres.conform`)."""

    @property
    def schema(self) -> pa.Schema: ...
    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def shape(self) -> str: ...
    def conform(self, batch: pa.RecordBatch) -> pa.RecordBatch: ...
    def compared(self, batch: pa.RecordBatch, *, lasting: bool) -> pa.RecordBatch: ...
    def keys(self, batch: pa.RecordBatch) -> pa.Array: ...
    def spelled(self, columns: Mapping[str, Sequence[str | None]]) -> tuple[pa.Array, dict[int, str]]: ...


class Moment(ABC):
    """A table at one version.

    Args:
        version: which. spec: the table as a source. conforming: brings rows with these columns to the target's types;
            asked when rows are read.
    """

    list_keys = 500
    """So many keys are asked for by one predicate, which skips files by their statistics."""
    predicates = 1
    """So many predicates are asked one after the other; for more keys all rows are read."""
    otherwise: set[str]
    """Keys of which a row is spelled in a way of its own (a uuid in capitals), or of which there are several: what
    PostgreSQL takes for one key may stand in two rows, and no predicate finds both. A source keeps one set for all its
    versions."""
    rereadable = False
    """Whether its rows may be read twice rather than be spooled: it costs little, and nobody pays for it."""

    def __init__(self, version: int, spec: TableSpec, conforming: Callable[[pa.Schema], Conforming]) -> None:
        self.version, self.spec = version, spec
        self._conforming = conforming
        self.taken_at = datetime.now(UTC)
        self.otherwise = set()

    @cached_property
    def conforming(self) -> Conforming:
        return self._conforming(self.schema)

    # What an engine brings

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """The table's columns in Arrow's plain types."""

    @property
    @abstractmethod
    def comment(self) -> str | None:
        """What the table says it is."""

    @property
    @abstractmethod
    def identity(self) -> SourceIdentity:
        """The table's id and place: the id is new where it was dropped and made anew."""

    @property
    @abstractmethod
    def feed(self) -> bool:
        """Whether commits write a change feed now."""

    @abstractmethod
    def count(self) -> int:
        """Rows at this version."""

    @abstractmethod
    def scan(self, columns: Sequence[str], predicate: str | None = None) -> Iterator[pa.RecordBatch]:
        """These columns of the rows that a predicate chooses, in `schema`'s types."""

    @abstractmethod
    def name(self, column: str) -> str:
        """A column in a predicate."""

    @abstractmethod
    def literal(self, value: Any, kind: pa.DataType) -> str:
        """A value of a column's type in a predicate."""

    @abstractmethod
    def commits(self, after: int) -> list[Commit]:
        """The commits after a version, up to this one.

        Raises:
            LostError: they cannot be told any more.
        """

    @abstractmethod
    def commit_id(self, version: int) -> str | None:
        """What tells this version's commit from another one of the same number; None where the log no longer holds it.

        A copy of the files keeps the table's id and counts on from its own last version.
        """

    @abstractmethod
    def touched(self, after: Watermark, made: Sequence[Commit]) -> Iterator[pa.Array]:
        """Keys that commits have touched, perhaps several times, and perhaps some that they have not changed.

        Raises:
            LostError: what says so is gone (VACUUM).
        """

    # What all of them do alike

    def watermark(self) -> Watermark:
        """The watermark that this version leads to."""
        return Watermark(
            capture="version",
            position={
                "version": self.version,
                "feed": self.feed,
                "shape": self.conforming.shape,
                **({} if (commit := self.commit_id(self.version)) is None else {"commit": commit}),
            },
            source=self.identity,
            key=self.spec.key,
            mapping=self.spec.mapping_hash,
            taken_at=self.taken_at,
        )

    def name_of_state(self) -> str:
        """Version and commit, for the mark of a run that has read it."""
        return f"{self.version}:{self.commit_id(self.version) or ''}"

    def went_through(self, state: str) -> bool:
        """Whether the table has had the version that `name_of_state` gave, and this one goes on from it."""
        version, _, commit = state.partition(":")
        return int(version) <= self.version and (self.commit_id(int(version)) or "") == commit

    def digests(self) -> Mapping[int, Digest] | None:
        """None: fingerprints are made here, so they are added up where they are compared."""
        return None

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        """Keys and fingerprints of all rows that can be named."""
        del buckets  # both sides are listed whole
        doubles = Doubles()
        for batch in self.rows():
            doubles.add(batch.column(KEY))
            chosen = [not is_null_key(key, parts=len(self.spec.key)) for key in batch.column(KEY).to_pylist()]
            yield batch.select([KEY, FINGERPRINT]).filter(pa.array(chosen, pa.bool_())).cast(FINGERPRINTS_SCHEMA)
        self.otherwise.update(doubles.among(self.all_keys))

    def rows(self, predicate: str | None = None) -> Iterator[pa.RecordBatch]:
        """Conformed rows."""
        for batch in self.scanned(self.conforming.columns, predicate):
            yield self.conforming.conform(batch)

    def all_keys(self) -> Iterator[pa.Array]:
        """The keys of all rows."""
        for batch in self.scanned(self.spec.key):
            yield self.conforming.keys(batch)

    def scanned(self, columns: Sequence[str], predicate: str | None = None) -> Iterator[pa.RecordBatch]:
        """As `scan`, in batches of a size that may be held several times."""
        yield from pages(self.scan(list(columns), predicate), rows=_BATCH_ROWS, most_bytes=_BATCH_BYTES)

    def rows_of(self, wanted: pa.Array) -> Iterator[pa.RecordBatch]:
        """Conformed rows of these keys; those that are not there are left out."""
        if len(wanted) > self.list_keys * self.predicates:
            yield from self.among(KeyIndex(wanted), None)
            return
        lost = [key for key in wanted.to_pylist() if key in self.otherwise]
        plain = without(wanted, [pa.array(lost, pa.string())]) if lost else wanted
        for start in range(0, len(plain), self.list_keys):
            page, found = plain.slice(start, self.list_keys), []
            predicate = self._predicate(page.to_pylist())
            for batch in self.among(KeyIndex(page), predicate):
                found.append(batch.column(KEY))
                yield batch
            if predicate is not None and self._loose:
                lost += without(page, found).to_pylist()
        if lost and (there := self._spelled_otherwise(lost)):
            yield from self.among(KeyIndex(pa.array(there, pa.string())), None)

    def named(self, batch: pa.RecordBatch) -> pa.Array:
        """The keys of rows that were touched, of which the batch has the key's columns."""
        keys = self.conforming.keys(batch)
        if self._loose and len(self.otherwise) <= self.list_keys * self.predicates:  # of more keys all rows are read
            self.otherwise.update(keys.filter(self._spells_otherwise(batch, keys)).to_pylist())
        return keys

    def _spells_otherwise(self, batch: pa.RecordBatch, keys: pa.Array) -> pa.Array:
        """Whether a text among a row's key is not as the key has it."""
        parts = [keys]
        if len(self.spec.key) > 1:
            rows = [json.loads(key) for key in keys.to_pylist()]
            parts = [pa.array([row[place] for row in rows], pa.string()) for place in range(len(self.spec.key))]
        found = np.zeros(len(keys), bool)
        for name, part in zip(self.spec.key, parts, strict=True):
            if pa.types.is_string(batch.column(name).type):
                differs = pc.call_function("not_equal", [batch.column(name), part])
                found |= pc.call_function("coalesce", [differs, pa.scalar(False)]).to_numpy(zero_copy_only=False)
        return pa.array(found)

    def among(self, wanted: KeyIndex, predicate: str | None) -> Iterator[pa.RecordBatch]:
        """Conformed rows of these keys, of those that a predicate chooses."""
        for batch in self.scanned(self.conforming.columns, predicate):
            rows = batch.filter(wanted.holds(self.conforming.keys(batch)))
            if rows.num_rows:
                yield self.conforming.conform(rows)

    @property
    def _loose(self) -> bool:
        """Whether a key may be spelled here in another way than in PostgreSQL (a uuid in capitals)."""
        kinds = [(self.schema.field(name).type, self.conforming.schema.field(name)) for name in self.spec.key]
        return any(pa.types.is_string(kind) or kind != item.type for kind, item in kinds)

    def _spelled_otherwise(self, keys: Sequence[str]) -> list[str]:
        wanted = KeyIndex(pa.array(keys, pa.string()))
        held: set[str] = set()
        for found in self.all_keys():
            held.update(found.filter(wanted.holds(found)).to_pylist())
        return [key for key in keys if key in held]

    def there(self, keys: Sequence[str]) -> set[str]:
        """Those of these keys that the table holds."""
        return {key for batch in self.rows_of(pa.array(keys, pa.string())) for key in batch.column(KEY).to_pylist()}

    def _predicate(self, keys: Sequence[str]) -> str | None:
        """A condition that files can be skipped by; None where all rows must be looked at."""
        parts = len(self.spec.key)
        if any(is_null_key(key, parts=parts) for key in keys):
            return None
        columns = [(name, self.schema.field(name).type) for name in self.spec.key]
        values = [
            [_raw(text, kind) for text, (_, kind) in zip(_split(key, parts), columns, strict=True)] for key in keys
        ]
        if not keys or any(value is None for row in values for value in row):
            return None
        if parts == 1:
            name, kind = columns[0]
            return f"{self.name(name)} IN ({', '.join(self.literal(row[0], kind) for row in values)})"
        each = (
            " AND ".join(
                f"{self.name(name)} = {self.literal(value, kind)}"
                for value, (name, kind) in zip(row, columns, strict=True)
            )
            for row in values
        )
        return " OR ".join(f"({one})" for one in each)

    def as_read(
        self, batch: pa.RecordBatch, names: Sequence[str], written: Sequence[str] | None = None
    ) -> pa.RecordBatch:
        """A batch of an older version in the table's plain types of now.

        Args:
            names: the columns. written: their names in the batch, where these differ.

        Raises:
            LostError: the older version had no such column, or of a type that does not become the one of now.
        """
        try:
            found = [batch.column(name) for name in (written or names)]
            columns = [column.cast(self.schema.field(name).type) for name, column in zip(names, found, strict=True)]
        except (KeyError, pa.ArrowException) as error:
            raise LostError(f"an older version had another {', '.join(names)} ({type(error).__name__})") from None
        return pa.RecordBatch.from_arrays(columns, names=list(names))


def without(keys: pa.Array, others: Sequence[pa.Array]) -> pa.Array:
    """Those of `keys` that none of `others` holds; as Arrow has them, a million take 40 MB."""
    if not others:
        return keys
    return keys.filter(pc.call_function("invert", [_is_in(keys, pa.concat_arrays(others))]))


def _is_in(keys: pa.Array, wanted: pa.Array) -> pa.Array:
    return pc.call_function("is_in", [keys], pc.SetLookupOptions(wanted))


def _split(key: str, parts: int) -> list[str]:
    return [key] if parts == 1 else json.loads(key)


def _raw(text: str, kind: pa.DataType) -> Any:
    """A key's text as a value of the table's column; None where it is none, or has no literal."""
    try:
        if pa.types.is_string(kind):
            return text
        if pa.types.is_integer(kind):
            return int(text)
        if pa.types.is_decimal(kind):
            return Decimal(text)
        if pa.types.is_date(kind):
            return date.fromisoformat(text)
        if pa.types.is_timestamp(kind):
            found = datetime.fromisoformat(text)
            return found if kind.tz is None or found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, InvalidOperation):
        return None
    return None
