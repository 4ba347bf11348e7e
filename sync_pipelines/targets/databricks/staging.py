"""Rows on their way to a warehouse: Parquet files in a Volume, removed after use, those of a crashed run too."""

from __future__ import annotations

import hashlib
import io
import tempfile
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from sync_pipelines.targets.databricks.errors import databricks_errors
from sync_pipelines.targets.databricks.settings import TableName, quoted
from sync_pipelines.targets.databricks.warehouse import Warehouse

_IN_MEMORY = 16 * 1024 * 1024
_ROW_GROUP = 20_000


@dataclass(frozen=True)
class Staging:
    """A folder of a Volume for one table's files. Whoever holds the table's lock is alone in it."""

    warehouse: Warehouse
    table: TableName

    @property
    def folder(self) -> str:
        """Named by the table; the hash keeps tables apart whose names differ in what a path cannot hold."""
        name = str(self.table)
        safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
        mark = hashlib.sha256(name.encode()).hexdigest()[:8]
        return f"{self.warehouse.settings.volume}/sync_pipelines/{safe}-{mark}"

    @contextmanager
    def staged(self, rows: pa.Table | pa.RecordBatchReader) -> Generator[str]:
        """Rows as a relation for a statement (``parquet.`/Volumes/…` ``), as long as the block lasts."""
        path = f"{self.folder}/{uuid.uuid4().hex}.parquet"
        try:
            self.put(path, rows)
            yield f"parquet.{quoted(path)}"
        finally:
            self._remove(path)

    @contextmanager
    def gathered(self) -> Generator[StagedFolder]:
        """A folder for rows that come one after the other, as long as the block lasts."""
        folder = StagedFolder(self, f"{self.folder}/{uuid.uuid4().hex}")
        try:
            yield folder
        finally:
            self.remove_folder(folder.path)

    def sweep(self) -> int:
        """Remove what a run left that died; how many files. The caller holds the table's lock."""
        return self._clear(self.folder)

    def remove_folder(self, path: str) -> int:
        """Remove a folder below this one with all that is in it; how many files."""
        from databricks.sdk.errors import NotFound

        files = self._clear(path)
        with databricks_errors("remove a staged folder", self.warehouse.place), suppress(NotFound):
            self.warehouse.client.files.delete_directory(path)
        return files

    def upload(self, path: str, content: bytes) -> None:
        """Put a small file there."""
        with databricks_errors("stage a file", self.warehouse.place):
            self.warehouse.client.files.upload(path, io.BytesIO(content), overwrite=True)

    def _clear(self, folder: str) -> int:
        files = 0
        for path, is_folder in list(self._entries(folder)):
            if is_folder:
                files += self.remove_folder(path)
            else:
                self._remove(path)
                files += 1
        return files

    def put(self, path: str, rows: pa.Table | pa.RecordBatchReader) -> None:
        """Put rows there as one Parquet file."""
        # a file, not a buffer: the SDK sends a stream that can seek anew where the front answers 429
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
            _write(rows if isinstance(rows, pa.RecordBatchReader) else rows.to_reader(_ROW_GROUP), file)
            file.seek(0)
            with databricks_errors("stage rows", self.warehouse.place):
                self.warehouse.client.files.upload(path, file, overwrite=True)

    def _remove(self, path: str) -> None:
        from databricks.sdk.errors import NotFound

        # not there: it was not uploaded, or a try whose answer was lost has removed it
        with databricks_errors("remove a staged file", self.warehouse.place), suppress(NotFound):
            self.warehouse.client.files.delete(path)

    def _files(self) -> Iterator[str]:
        return (path for path, _ in self._entries(self.folder))

    def _entries(self, folder: str) -> Iterator[tuple[str, bool]]:
        """What lies in a folder: its path, and whether it is a folder itself."""
        from databricks.sdk.errors import NotFound

        with databricks_errors("list staged files", self.warehouse.place):
            try:
                found = self.warehouse.client.files.list_directory_contents(folder)
                yield from [(str(item.path), bool(item.is_directory)) for item in found]
            except NotFound:
                return


@dataclass
class StagedFolder:
    """Parquet files of a folder, which a statement reads as one relation."""

    staging: Staging
    path: str
    files: int = 0

    @property
    def sql(self) -> str:
        """The rows in a statement."""
        return f"parquet.{quoted(self.path)}"

    def add(self, rows: pa.Table | pa.RecordBatchReader) -> None:
        """One more file of rows."""
        self.staging.put(f"{self.path}/{self.files:06d}.parquet", rows)
        self.files += 1


def _write(rows: pa.RecordBatchReader, file: IO[bytes]) -> None:
    """Rows as Parquet, a row group for each batch: nothing else is held."""
    with pq.ParquetWriter(file, rows.schema, compression="zstd") as writer:
        for batch in rows:
            writer.write_batch(batch, row_group_size=_ROW_GROUP)
