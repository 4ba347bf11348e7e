"""One version of a Delta table: everything that a run asks is answered from it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.batches import resized
from sync_pipelines.engine.errors import RunError, TransientError
from sync_pipelines.engine.model import FINGERPRINT, FINGERPRINTS_SCHEMA, KEY, Digest, SourceIdentity, Watermark
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.sources.delta.log import FEED, Commit, LostError, commits
from sync_pipelines.sources.postgres.changes import is_null_key
from sync_pipelines.targets.delta.store import DeltaStore, name_of
from sync_pipelines.targets.delta.writing import value_literal

if TYPE_CHECKING:
    from deltalake import DeltaTable

_BATCH_ROWS = 10_000
_LIST = 500
"""So many keys are asked for by a predicate, which skips files by their statistics; for more all rows are read."""


class Conforming(Protocol):
    """How rows of the table become rows as the target would hold them (`targets.postgres.conform`)."""

    @property
    def schema(self) -> pa.Schema: ...
    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def shape(self) -> str: ...
    def conform(self, batch: pa.RecordBatch) -> pa.RecordBatch: ...
    def keys(self, batch: pa.RecordBatch) -> pa.Array: ...
    def spelled(self, columns: Mapping[str, Sequence[str | None]]) -> tuple[pa.Array, dict[int, str]]: ...


class Moment:
    """A table at one version.

    Args:
        table: a handle that nobody brings up to date. store: reads it and says what errors mean.
        conforming: asked when rows are read. spec: the table as a source.
    """

    def __init__(self, table: DeltaTable, store: DeltaStore, spec: TableSpec, conforming: Conforming) -> None:
        self.table, self.store, self.spec, self.conforming = table, store, spec, conforming
        self.version = table.version()
        self.taken_at = datetime.now(UTC)

    @cached_property
    def schema(self) -> pa.Schema:
        return self.store.schema_of(self.table)

    @cached_property
    def identity(self) -> SourceIdentity:
        """The table's id and place: the id is new where it was dropped and made anew."""
        number = str(self.table.metadata().id)
        return SourceIdentity(system_identifier=number, timeline=0, database=self.store.uri, table_oid=0)

    @cached_property
    def feed(self) -> bool:
        """Whether commits write a change feed now."""
        return self.table.metadata().configuration.get(FEED, "").lower() == "true"

    def watermark(self) -> Watermark:
        """The watermark that this version leads to."""
        return Watermark(
            capture="version",
            position={"version": self.version, "feed": self.feed, "shape": self.conforming.shape},
            source=self.identity,
            key=self.spec.key,
            mapping=self.spec.mapping_hash,
            taken_at=self.taken_at,
        )

    def count(self) -> int:
        """Rows, by the statistics of the files."""
        with self.store.errors("count table"):
            actions = pa.table(self.table.get_add_actions(flatten=True))
            vectors = "deletionVectors" in (self.table.protocol().reader_features or ())
        if not actions.num_rows:
            return 0
        numbers = actions.column("num_records")
        if numbers.null_count or vectors:
            return sum(batch.num_rows for batch in self.store.scan(self.table, [self.spec.key[0]]))
        return int(pc.call_function("sum", [numbers]).as_py())

    def digests(self) -> Mapping[int, Digest] | None:
        """None: fingerprints are made here, so they are added up where they are compared."""
        return None

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        """Keys and fingerprints of all rows that can be named."""
        del buckets  # both sides are listed whole
        for batch in self.rows():
            chosen = [not is_null_key(key, parts=len(self.spec.key)) for key in batch.column(KEY).to_pylist()]
            yield batch.select([KEY, FINGERPRINT]).filter(pa.array(chosen, pa.bool_())).cast(FINGERPRINTS_SCHEMA)

    def rows(self, predicate: str | None = None) -> Iterator[pa.RecordBatch]:
        """Conformed rows."""
        for batch in self._scan(self.conforming.columns, predicate):
            yield self.conforming.conform(batch)

    def _scan(self, columns: Sequence[str], predicate: str | None = None) -> Iterator[pa.RecordBatch]:
        yield from resized(self.store.scan(self.table, list(columns), predicate), _BATCH_ROWS)

    def rows_of(self, wanted: pa.Array) -> Iterator[pa.RecordBatch]:
        """Conformed rows of these keys; those that are not there are left out."""
        predicate = self._predicate(wanted.to_pylist()) if len(wanted) <= _LIST else None
        found: list[pa.Array] = []
        for batch in self._among(wanted, predicate):
            found.append(batch.column(KEY))
            yield batch
        lost = without(wanted, found).to_pylist() if predicate is not None else []
        if predicate is not None and lost and self._loose and (there := self._spelled_otherwise(lost)):
            yield from self._among(pa.array(there, pa.string()), None)

    def _among(self, wanted: pa.Array, predicate: str | None) -> Iterator[pa.RecordBatch]:
        for batch in self._scan(self.conforming.columns, predicate):
            rows = batch.filter(_is_in(self.conforming.keys(batch), wanted))
            if rows.num_rows:
                yield self.conforming.conform(rows)

    @property
    def _loose(self) -> bool:
        """Whether a key may be spelled here in another way than in PostgreSQL (a uuid in capitals)."""
        kinds = [(self.schema.field(name).type, self.conforming.schema.field(name)) for name in self.spec.key]
        return any(pa.types.is_string(kind) or kind != item.type for kind, item in kinds)

    def _spelled_otherwise(self, keys: Sequence[str]) -> list[str]:
        wanted = pa.array(keys, pa.string())
        held: set[str] = set()
        for batch in self._scan(self.spec.key):
            found = self.conforming.keys(batch)
            held.update(found.filter(_is_in(found, wanted)).to_pylist())
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
            return f"{name_of(name)} IN ({', '.join(value_literal(row[0], kind) for row in values)})"
        each = (
            " AND ".join(
                f"{name_of(name)} = {value_literal(value, kind)}"
                for value, (name, kind) in zip(row, columns, strict=True)
            )
            for row in values
        )
        return " OR ".join(f"({one})" for one in each)

    # What was touched since another version

    def commits(self, after: int) -> list[Commit]:
        """The commits after a version, up to this one.

        Raises:
            LostError: the log no longer has them all.
        """
        with self.store.errors("read the log of table"):
            return list(commits(self._filesystem, after + 1, self.version))

    def touched(self, after: Watermark, made: Sequence[Commit]) -> Iterator[pa.Array]:
        """Keys that commits have touched, perhaps several times, and perhaps some that they have not changed.

        Raises:
            LostError: files that say so are gone (VACUUM).
        """
        if not any(commit.data for commit in made):
            return
        feed = bool(after.position.get("feed")) and self.feed and all(commit.feed is not False for commit in made)
        if feed:
            yield from self._by_feed(int(after.position["version"]))
        else:
            yield from self._by_files(made)

    def _by_feed(self, after: int) -> Iterator[pa.Array]:
        names = list(self.spec.key)
        try:
            with self.store.errors("read the change feed of table"):
                found = self.table.load_cdf(starting_version=after + 1, ending_version=self.version, columns=names)
                reader = pa.RecordBatchReader.from_stream(found)
                for batch in reader:
                    yield self.conforming.keys(self._as_read(batch, names))
        except TransientError:
            raise
        except RunError as error:
            raise LostError(
                f"the change feed after version {after} cannot be read (VACUUM?): {error.message}"
            ) from None

    def _by_files(self, made: Sequence[Commit]) -> Iterator[pa.Array]:
        """The keys in all files that were added or removed: what was rewritten but not changed is compared, too."""
        import pyarrow.parquet as parquet

        names = list(self.spec.key)
        if set(names) & set(self.table.metadata().partition_columns):
            raise LostError("the key is a partition column, and the change feed is off")
        for path in dict.fromkeys(path for commit in made for path in commit.files):
            try:
                with self.store.errors("read a file of table"), self._opened(path) as file:
                    for batch in parquet.ParquetFile(file).iter_batches(columns=names):
                        yield self.conforming.keys(self._as_read(batch, names))
            except TransientError:
                raise
            except RunError as error:
                raise LostError(f"a file of an older version cannot be read: {error.message}") from None

    def _opened(self, path: str) -> Any:
        try:
            return self._filesystem.open_input_file(path)
        except FileNotFoundError:
            raise LostError("files of older versions are gone (VACUUM)") from None

    def _as_read(self, batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
        """A batch in the table's plain types of now."""
        columns = [batch.column(name).cast(self.schema.field(name).type) for name in names]
        return pa.RecordBatch.from_arrays(columns, names=list(names))

    @cached_property
    def _filesystem(self) -> Any:
        import pyarrow.fs as fs
        from deltalake.fs import DeltaStorageHandler

        return fs.PyFileSystem(DeltaStorageHandler(self.store.uri, dict(self.store.settings.options) or None))


def without(keys: pa.Array, others: Sequence[pa.Array]) -> pa.Array:
    """Those of `keys` that none of `others` holds; as Arrow has them, a million take 40 MB."""
    if not others:
        return keys
    return keys.filter(pc.call_function("invert", [_is_in(keys, pa.concat_arrays(others))]))


def _is_in(keys: pa.Array, wanted: pa.Array) -> pa.Array:
    return pc.call_function("is_in", [keys], pc.SetLookupOptions(wanted))


def _split(key: str, parts: int) -> list[str]:
    import json

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
