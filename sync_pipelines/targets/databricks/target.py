"""Databricks as a target: a table of rows, kept equal to its source by a SQL warehouse. Nothing is imported before it
is used."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.model import (
    FINGERPRINT,
    FINGERPRINTS_SCHEMA,
    KEY,
    BatchResult,
    Counts,
    Deletion,
    Digest,
    Doubt,
    PlannedWrites,
    bucket_of,
)
from sync_pipelines.engine.usage import Spent
from sync_pipelines.targets.databricks import statements
from sync_pipelines.targets.databricks.detail import detail_of, is_clustered
from sync_pipelines.targets.databricks.errors import MissingTableError
from sync_pipelines.targets.databricks.rewritten import Rewritten
from sync_pipelines.targets.databricks.settings import WarehouseSettings
from sync_pipelines.targets.databricks.staging import Staging
from sync_pipelines.targets.databricks.statements import Relation
from sync_pipelines.targets.databricks.types import plain_schema
from sync_pipelines.targets.databricks.warehouse import Parameter, Warehouse, listed
from sync_pipelines.targets.databricks.writing import Writer
from sync_pipelines.targets.lake.contention import contend
from sync_pipelines.targets.lake.groups import groups
from sync_pipelines.targets.lake.retention import check_retention
from sync_pipelines.targets.lake.table import (
    REBUILD_SUFFIX,
    Held,
    LakeTarget,
    before_and_after,
    is_stranger,
    named,
    of_buckets,
    stranger_key,
)

_STAMP = "sync_pipelines.stamp"
_KEYS_AT_ONCE = 10_000
_MOMENT = 2.0


class DatabricksTarget(LakeTarget):
    """One table through a SQL warehouse.

    Args:
        settings: the warehouse, and where its tables stand. name: the table's (`WarehouseSettings.table`).
        cluster_by: columns of the liquid clustering that the table is made with. warehouse: given by tests.
        The rest is `LakeTarget`'s.
    """

    engine = "databricks"
    writer: type[Writer] = Writer
    """What brings groups of records into the table."""
    unproven: Collection[str] = ()
    """Columns of the table that are none of its records' values."""

    def __init__(
        self,
        *,
        settings: WarehouseSettings,
        name: str,
        cluster_by: Sequence[str] = (),
        warehouse: Warehouse | None = None,
        **table: Any,
    ) -> None:
        super().__init__(name=name, **table)
        self.warehouse = warehouse or Warehouse(settings, place=self._place)
        self.table = settings.table(name)
        self.rewritten = Rewritten(self.warehouse, self.table)
        self._cluster_by = tuple(cluster_by)
        self._beside: DatabricksTarget | None = None
        self._clock = time.monotonic
        self._seen: tuple[float, dict[str, Any] | None] | None = None

    @property
    def spent(self) -> Spent:
        """The warehouse's time, and the files that were rewritten, as far as `add_up` has looked."""
        return Spent(warehouse_seconds=self.warehouse.spent.seconds, files_rewritten=self.rewritten.told)

    def add_up(self) -> None:
        """Look how many files were rewritten; by one statement, and by none where nothing was written."""
        self.rewritten.add_up()

    def _commit(self, statement: str, doing: str, **parameters: Parameter) -> None:
        """Run a statement that changes the table, planned anew where another writer was quicker."""
        self._seen = None
        contend(lambda: self.warehouse.run(statement, doing=f"{doing} {self.table}", **parameters))
        self._seen = None

    @cached_property
    def staging(self) -> Staging:
        return Staging(self.warehouse, self.table)

    # What it is

    def _detail(self) -> dict[str, Any] | None:
        """What DESCRIBE DETAIL says; None where there is no such table. A run asks many times in a row, and each
        statement costs a warehouse's time: an answer serves for a moment, or until we write."""
        if self._seen is None or self._clock() - self._seen[0] > _MOMENT:
            self._seen = (self._clock(), detail_of(self.warehouse, self.table))
            self.rewritten.looked(self._seen[1])
        return self._seen[1]

    def identity(self) -> str | None:
        """The table's id, which one that was dropped and made anew does not share."""
        detail = self._detail()
        return None if detail is None else str(detail["id"])

    def held(self) -> Held | None:
        """The table as it is now, or None."""
        detail = self._detail()
        if detail is None:
            return None
        return Held(columns=self._columns(detail), properties=detail["properties"])

    def _columns(self, detail: dict[str, Any]) -> pa.Schema:
        if "columns" not in detail:
            detail["columns"] = self._asked_columns()
        return detail["columns"]

    def _asked_columns(self) -> pa.Schema:
        found = self.warehouse.columns(
            f"SELECT * FROM {self.table.sql} LIMIT 0", doing=f"look at the columns of {self.table}"
        )
        return plain_schema(found)

    def create(self) -> None:
        """Make the table, with the comments of the source."""
        statement = statements.create_table(
            self.table,
            self.shape.schema,
            comment=self.shape.comment,
            properties=self.configuration(),
            cluster_by=self._cluster_by,
        )
        self._commit(statement, "create table")

    def note_configuration(self) -> None:
        """Say among the table's properties whose it is, and what its key is."""
        self._commit(statements.set_properties(self.table, self.own_configuration()), "note the sync in table")

    def add_columns(self, columns: pa.Schema) -> None:
        """Add columns to the table, by one commit."""
        self._commit(statements.add_columns(self.table, columns), "add columns to table")

    def prepare(self) -> None:
        """As every engine's; a table is clustered as the layout says, and what a run that died has staged goes."""
        super().prepare()
        if self._cluster_by and not is_clustered(self._detail(), self._cluster_by):
            self._commit(statements.cluster(self.table, self._cluster_by), "cluster table")
        self.staging.sweep()

    def stamp(self) -> str | None:
        """What the last confirmed run has left among the table's properties."""
        detail = self._detail()
        return None if detail is None else detail["properties"].get(_STAMP)

    def set_stamp(self, text: str) -> None:
        """Leave a text among the table's properties, in the place of the one before."""
        self._commit(statements.set_properties(self.table, {_STAMP: text}), "note the run in table")

    def stamp_of(self, text: str) -> str:
        """The text itself."""
        return text

    def holdings(self) -> dict[str, Any]:
        """What the table says of itself; nothing before the first sync."""
        detail = self._detail()
        if detail is None:
            return {}
        return {"table": str(self.table), "files": detail["numFiles"], "bytes": detail["sizeInBytes"]}

    def optimize(self, *, z_order: Sequence[str] = ()) -> dict[str, Any]:
        """Put small files together, cluster what is clustered, or order by `z_order`; no row changes."""
        before = self._files()
        self._commit(statements.optimize(self.table, () if is_clustered(self._detail()) else z_order), "optimize")
        return before_and_after(before, self._files())

    def _files(self) -> tuple[int, int]:
        detail = self._detail() or {"numFiles": 0, "sizeInBytes": 0}
        return detail["numFiles"], detail["sizeInBytes"]

    def vacuum(self, *, hours: int, allow_short: bool = False) -> int | None:
        """Remove the files that no version of the last `hours` needs; a warehouse does not say how many.

        Raises:
            ConfigurationError: fewer than 168 hours, which a warehouse refuses whatever is allowed here.
        """
        check_retention(hours, allow_short=False, otherwise="; a SQL warehouse takes no word for less")
        self._commit(f"VACUUM {self.table.sql} RETAIN {int(hours)} HOURS", "vacuum")
        return None

    # What it holds

    @property
    def now(self) -> Relation:
        """The rows that all questions are asked of."""
        return self.table

    def _stream(self, statement: str, doing: str, **parameters: Parameter) -> Iterator[pa.RecordBatch]:
        """Rows of a query; none where there is no such table."""
        try:
            yield from self.warehouse.stream(statement, doing=f"{doing} {self.table}", **parameters)
        except MissingTableError:
            return

    def count(self) -> int:
        """Rows in the table, those of strangers included."""
        found = self._stream(f"SELECT count(*) AS records FROM {self.now.sql}", "count table")
        return sum(row["records"] for batch in found for row in batch.to_pylist())

    def digests(self) -> dict[int, Digest]:
        """Added up by the warehouse; rows without a key here."""
        found: dict[int, Digest] = {}
        strangers = False
        for batch in self._stream(statements.digests(self.now), "add up table"):
            for row in batch.to_pylist():
                if row["bucket"] is None:
                    strangers = True
                else:
                    found[row["bucket"]] = Digest(row["records"], int(row["total"]))
        for batch in map(named, self._keyless() if strangers else ()):
            for key in batch.column(0).to_pylist():
                found[bucket_of(key)] = found.get(bucket_of(key), Digest()).add(key, None)
        return found

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        """Each row's key and fingerprint; a row without `_key` by a name made of its key columns."""
        if buckets is not None and not buckets:
            return
        strangers = False
        for batch in self._stream(statements.of_buckets(self.now, buckets), "list table"):
            keys = batch.column(KEY)
            strangers = strangers or bool(keys.null_count)
            yield (batch.filter(keys.is_valid()) if keys.null_count else batch).cast(FINGERPRINTS_SCHEMA)
        for batch in self._keyless() if strangers else ():
            yield from of_buckets(named(batch), None if buckets is None else set(buckets))

    def _keyless(self) -> Iterator[pa.RecordBatch]:
        """Key, fingerprint and key columns of the rows that no sync wrote."""
        held = self.held()
        if held is None:
            return
        columns = [KEY, FINGERPRINT, *held.key_columns]
        schema = pa.schema([held.columns.field(name) for name in columns])
        statement = f"SELECT {statements.names(columns)} FROM {self.now.sql} WHERE {KEY} IS NULL"
        for batch in self._stream(statement, "list table"):
            yield batch.cast(schema)

    def _strangers(self) -> dict[str, list[tuple[str, Any, pa.DataType]]]:
        """The rows without `_key`: their name → the key columns that find them, with value and type."""
        found = {}
        for batch in self._keyless():
            fields = list(batch.schema)[2:]
            for row in batch.to_pylist():
                values = {item.name: row[item.name] for item in fields}
                found[stranger_key(values)] = [(item.name, row[item.name], item.type) for item in fields]
        return found

    def existing(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that the table holds."""
        plain = [key for key in keys if not is_stranger(key)]
        held = {key for batch in self._rows_of(plain, [KEY]) for key in batch.column(KEY).to_pylist()}
        held |= self._strangers().keys() if len(plain) < len(keys) else set()
        return [key for key in dict.fromkeys(keys) if key in held]

    def _rows_of(self, keys: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            page = listed(keys[start : start + _KEYS_AT_ONCE])
            yield from self._stream(self._of_keys(columns), "read table", keys=page)

    def _of_keys(self, columns: Sequence[str]) -> str:
        return statements.of_keys(self.table, columns)

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The stored rows of these keys, in the table's own types."""
        held = self.held()
        if held is None:
            return
        columns = pa.schema([item for item in held.columns if item.name not in self.unproven])
        for batch in self._rows_of([key for key in keys if not is_stranger(key)], columns.names):
            yield batch.cast(columns)
        if asked := {key for key in keys if is_stranger(key)}:
            there = sorted(asked & self._strangers().keys())
            yield pa.RecordBatch.from_pydict({KEY: there, FINGERPRINT: [None] * len(there)}, schema=FINGERPRINTS_SCHEMA)

    # What is done to it

    def upsert(
        self,
        batches: Iterable[pa.RecordBatch],
        *,
        doubt: Doubt | None = None,
        before_write: Callable[[], object] = lambda: None,
    ) -> Iterator[BatchResult]:
        """Write batches of mapped rows (`lake.mapping`); a result for each commit, which has many batches."""
        writer = self.writer(
            warehouse=self.warehouse,
            table=self.table,
            staging=self.staging,
            shape=self.shape,
            layout=self._layout,
            doubt=doubt,
            before_write=before_write,
        )
        for group in groups(iter(batches)):
            self.require_columns(group.rows.schema)
            done = writer.write(group)
            self._seen = None
            yield done

    def delete(self, keys: Sequence[str]) -> Deletion:
        """Delete these records; a table refuses none."""
        there = self.existing(keys)
        if plain := [key for key in there if not is_stranger(key)]:
            self._commit(statements.delete_keys(self.table), "delete from table", keys=listed(plain))
        if len(plain) < len(there):
            known = self._strangers()
            for key in filter(is_stranger, there):
                self._delete_stranger(known.get(key))
        return Deletion(deleted=len(there))

    def _delete_stranger(self, columns: list[tuple[str, Any, pa.DataType]] | None) -> None:
        if columns is None:  # somebody was quicker
            return
        conditions, given = [f"{KEY} IS NULL"], {}
        for number, (name, value, kind) in enumerate(columns):
            term, given[f"v{number}"] = statements.bound(f"v{number}", value, kind)
            conditions.append(f"{statements.names([name])} <=> {term}")
        statement = f"DELETE FROM {self.table.sql} WHERE {' AND '.join(conditions)}"
        self._commit(statement, "delete from table", **given)

    def plan(self, batches: Iterable[pa.RecordBatch], *, rebuild: bool = False) -> PlannedWrites:
        """What `upsert` of these batches would do; writes nothing."""
        counts = Counts()
        for group in groups(iter(batches)):
            same = group.unchanged(() if rebuild else self._rows_of(group.keys, [KEY, FINGERPRINT]))
            counts += Counts(unchanged=same, upserted=group.rows.num_rows - same)
        return PlannedWrites(counts=counts)

    def begin_rebuild(self) -> DatabricksTarget:
        """A target over `<name>__rebuild`, beside the old state, which goes on serving; a rest of before goes."""
        beside = copy.copy(self)
        beside.table = self.table.beside(REBUILD_SUFFIX)
        beside.name = str(beside.table)
        beside.__dict__.pop("staging", None)
        beside.rewritten = Rewritten(beside.warehouse, beside.table)
        beside._seen = None
        beside._drop()
        beside.prepare()
        self._beside = beside
        return beside

    def _drop(self) -> None:
        self._commit(f"DROP TABLE IF EXISTS {self.table.sql}", "drop table")

    def swap(self) -> None:
        """Put the rebuilt rows in the old ones' place by ONE commit: readers see the one state or the other.

        The table stays what it is, with its history, grants, row filters and masks: it is never dropped.
        """
        beside = self._beside
        assert beside is not None, "swap follows begin_rebuild"
        held = self.held()
        if held is not None and held.columns.equals(pa.schema([(f.name, f.type) for f in self.shape.schema])):
            self._overwrite(beside)
        else:
            self._replace(beside)
        beside._drop()
        self._beside = None

    def _overwrite(self, beside: DatabricksTarget) -> None:
        columns = statements.names(self.shape.schema.names)
        statement = f"INSERT OVERWRITE {self.table.sql} ({columns}) SELECT {columns} FROM {beside.table.sql}"
        self._commit(statement, "overwrite table")
        self.note_configuration()

    def _replace(self, beside: DatabricksTarget) -> None:
        statement = statements.replace_table(
            self.table,
            f"SELECT {statements.names(self.shape.schema.names)} FROM {beside.table.sql}",
            comment=self.shape.comment,
            properties=self.configuration(),
            cluster_by=self._cluster_by,
        )
        self._commit(statement, "replace table")
