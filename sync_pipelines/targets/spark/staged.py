"""The rows that a job has staged in a Volume, asked like a store."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from sync_pipelines.engine.model import FINGERPRINTS_SCHEMA, KEY, Digest
from sync_pipelines.targets.databricks import statements
from sync_pipelines.targets.databricks.settings import quoted
from sync_pipelines.targets.databricks.warehouse import Parameter, Warehouse, listed
from sync_pipelines.targets.spark.conversion import LEFT

_KEYS_AT_ONCE = 10_000


@dataclass(frozen=True)
class StagedRows:
    """Parquet files of a job below `path`; a `RowListing`, added up by the warehouse."""

    warehouse: Warehouse
    path: str

    @property
    def sql(self) -> str:
        """The rows in a statement."""
        return f"parquet.{quoted(self.path)}"

    def _stream(self, statement: str, **parameters: Parameter) -> Iterator[pa.RecordBatch]:
        return self.warehouse.stream(statement, doing="list the staged rows", **parameters)

    def count(self) -> int:
        """Rows, those that were left included."""
        found = self._stream(f"SELECT count(*) AS records FROM {self.sql}")
        return sum(row["records"] for batch in found for row in batch.to_pylist())

    def digests(self) -> Mapping[int, Digest]:
        """Count and sum of each bucket."""
        rows = [row for batch in self._stream(statements.digests(self)) for row in batch.to_pylist()]
        return {row["bucket"]: Digest(row["records"], int(row["total"])) for row in rows}

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        """Keys and fingerprints, of these buckets or of all."""
        if buckets is not None and not buckets:
            return
        for batch in self._stream(statements.of_buckets(self, buckets)):
            yield batch.cast(FINGERPRINTS_SCHEMA)

    def among(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys` that are staged."""
        found: set[str] = set()
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            page = listed(keys[start : start + _KEYS_AT_ONCE])
            for batch in self._stream(statements.of_keys(self, [KEY]), keys=page):
                found.update(batch.column(0).to_pylist())
        return found

    def left(self) -> Iterator[list[str]]:
        """The keys of the rows that the job has left, each once a batch."""
        for batch in self._stream(f"SELECT DISTINCT {KEY} FROM {self.sql} WHERE {LEFT}"):
            yield batch.column(0).to_pylist()
