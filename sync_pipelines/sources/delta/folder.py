"""A Delta table below DELTA_URI, read by delta-rs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.errors import ConfigurationError, RunError, TransientError
from sync_pipelines.engine.model import SourceIdentity, Watermark
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.sources.delta.log import FEED, Commit, LostError, commit_id, commits
from sync_pipelines.sources.delta.moment import Conforming, Moment
from sync_pipelines.targets.delta.settings import DeltaSettings
from sync_pipelines.targets.delta.store import DeltaStore, name_of
from sync_pipelines.targets.delta.writing import value_literal
from sync_pipelines.targets.retries import RetryPolicy

_PHYSICAL = "delta.columnMapping.physicalName"

if TYPE_CHECKING:
    from deltalake import DeltaTable


class FolderTable:
    """A table that may not be there yet. Nothing is opened before it is asked.

    Args:
        settings: the root. name: the table's below it. spec: the table as a source.
    """

    def __init__(self, settings: DeltaSettings, name: str, spec: TableSpec) -> None:
        self.name, self.place, self._spec = name, f"below {settings.uri!r}", spec
        self._store = DeltaStore(settings, name, sync=spec.sync, table=spec.name, retry=RetryPolicy())

    def is_there(self) -> bool:
        """Whether somebody has made the table."""
        return self._store.open() is not None

    def resting(self) -> str | None:
        """Why it is not asked unless a run needs it: never."""
        return None

    def now(self, conforming: Callable[[pa.Schema], Conforming]) -> FolderMoment:
        """The table at the version of now, by a handle of its own."""
        from deltalake import DeltaTable

        options = dict(self._store.settings.options) or None
        table = self._store.attempt("open table", lambda: DeltaTable(self._store.uri, storage_options=options))
        return FolderMoment(table, self._store, self._spec, conforming)


class FolderMoment(Moment):
    """A table at one version.

    Args:
        table: a handle that nobody brings up to date. store: reads it and says what errors mean. Others: `Moment`'s.
    """

    rereadable = True

    def __init__(
        self, table: DeltaTable, store: DeltaStore, spec: TableSpec, conforming: Callable[[pa.Schema], Conforming]
    ) -> None:
        super().__init__(table.version(), spec, conforming)
        self.table, self.store = table, store

    @cached_property
    def schema(self) -> pa.Schema:
        return self.store.schema_of(self.table)

    @property
    def comment(self) -> str | None:
        return self.table.metadata().description

    @cached_property
    def identity(self) -> SourceIdentity:
        number = str(self.table.metadata().id)
        return SourceIdentity(system_identifier=number, timeline=0, database=self.store.uri, table_oid=0)

    @cached_property
    def feed(self) -> bool:
        return self.table.metadata().configuration.get(FEED, "").lower() == "true"

    def count(self) -> int:
        """Rows, by the statistics of the files."""
        with self.store.errors("count table"):
            actions = pa.table(self.table.get_add_actions(flatten=True))
            vectors = "deletionVectors" in (self.table.protocol().reader_features or ())
        if not actions.num_rows:
            return 0
        numbers = actions.column("num_records")
        if numbers.null_count or vectors:
            return sum(batch.num_rows for batch in self.scan([self.spec.key[0]]))
        return int(pc.call_function("sum", [numbers]).as_py())

    def scan(self, columns: Sequence[str], predicate: str | None = None) -> Iterator[pa.RecordBatch]:
        if variants := sorted(self._variants & set(columns)):
            raise ConfigurationError(
                f"the Delta table has a VARIANT in {', '.join(map(repr, variants))}, which delta-rs cannot read.",
                sync=self.spec.sync,
                table=self.spec.name,
                remedy="Leave it out by naming the others in `columns`, or set source.engine: databricks.",
            )
        return self.store.scan(self.table, list(columns), predicate)

    @cached_property
    def _variants(self) -> set[str]:
        """The columns that are or hold a VARIANT, of which delta-rs gives the bytes in which it is stored."""
        fields = json.loads(self.table.schema().to_json())["fields"]
        return {item["name"] for item in fields if _holds_variant(item["type"])}

    def name(self, column: str) -> str:
        return name_of(column)

    def literal(self, value: Any, kind: pa.DataType) -> str:
        return value_literal(value, kind)

    def commits(self, after: int) -> list[Commit]:
        with self.store.errors("read the log of table"):
            return list(commits(self._filesystem, after + 1, self.version))

    def commit_id(self, version: int) -> str | None:
        with self.store.errors("read the log of table"):
            return commit_id(self._filesystem, version)

    @cached_property
    def _in_files(self) -> dict[str, str]:
        """The columns' names in the table's files, where column mapping gives them others than the table's own."""
        found = {item.name: item.metadata.get(_PHYSICAL) for item in self.table.schema().fields}
        return {name: str(physical) for name, physical in found.items() if physical}

    def touched(self, after: Watermark, made: Sequence[Commit]) -> Iterator[pa.Array]:
        if not any(commit.data for commit in made):
            return
        # delta-rs reads no feed of a table with column mapping
        feed = bool(after.position.get("feed")) and self.feed and not self._in_files
        if feed and all(commit.feed is not False for commit in made):
            yield from self._by_feed(int(after.position["version"]))
        else:
            yield from self._by_files(made)

    def _by_feed(self, after: int) -> Iterator[pa.Array]:
        names = list(self.spec.key)
        quoted = [name_of(name) for name in names]  # or they are taken as lower case, and a dot as a struct's field
        try:
            with self.store.errors("read the change feed of table"):
                found = self.table.load_cdf(starting_version=after + 1, ending_version=self.version, columns=quoted)
                reader = pa.RecordBatchReader.from_stream(found)
                for batch in reader:
                    yield self.named(self.as_read(batch, names))
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
        written = [self._in_files.get(name, name) for name in names]
        for path in dict.fromkeys(path for commit in made for path in commit.files):
            try:
                with self.store.errors("read a file of table"), self._opened(path) as file:
                    for batch in parquet.ParquetFile(file).iter_batches(columns=written):
                        yield self.named(self.as_read(batch, names, written))
            except TransientError:
                raise
            except RunError as error:
                raise LostError(f"a file of an older version cannot be read: {error.message}") from None

    def _opened(self, path: str) -> Any:
        try:
            return self._filesystem.open_input_file(path)
        except FileNotFoundError:
            raise LostError("files of older versions are gone (VACUUM)") from None

    @cached_property
    def _filesystem(self) -> Any:
        import pyarrow.fs as fs
        from deltalake.fs import DeltaStorageHandler

        return fs.PyFileSystem(DeltaStorageHandler(self.store.uri, dict(self.store.settings.options) or None))


def _holds_variant(kind: Any) -> bool:
    """Whether a type of Delta's schema is one or holds one."""
    if isinstance(kind, str):
        return kind == "variant"
    parts = [kind[part] for part in ("elementType", "keyType", "valueType") if part in kind]
    return any(map(_holds_variant, [*parts, *(item["type"] for item in kind.get("fields", ()))]))
