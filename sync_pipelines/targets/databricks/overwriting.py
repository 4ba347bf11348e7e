"""A table of a warehouse whose content each whole run replaces by one INSERT OVERWRITE."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pyarrow as pa

from sync_pipelines.engine.model import FINGERPRINT, KEY
from sync_pipelines.engine.overwriting import KeySet
from sync_pipelines.targets.databricks import statements
from sync_pipelines.targets.databricks.staging import StagedFolder
from sync_pipelines.targets.databricks.target import DatabricksTarget
from sync_pipelines.targets.lake.contention import ConflictError, contend
from sync_pipelines.targets.lake.groups import groups
from sync_pipelines.targets.lake.table import is_stranger

_KEYS = pa.schema([(KEY, pa.string())])


class DatabricksOverwrite(DatabricksTarget):
    """See above: grants, row filters, masks, comments and the table's id stay. Single records and a repair are merged.

    Made as `DatabricksTarget` is.
    """

    @contextmanager
    def replacing(self) -> Generator[WarehouseReplacement]:
        """What gathers the new content in a folder of the Volume."""
        with self.staging.gathered() as folder:
            yield WarehouseReplacement(self, folder)

    def overwrite(self, rows: StagedFolder, columns: list[str], *, staying: str | None, keyless: bool) -> None:
        """Replace every row by ONE commit; see `statements.overwrite`."""
        statement = statements.overwrite(
            self.table, rows.sql, columns, stamped=self.shape.stamped, staying=staying, keyless=keyless
        )
        self._seen = None
        self.warehouse.run(statement, doing=f"overwrite table {self.table}")
        self._seen = None

    def version(self) -> int:
        """The number of the last commit."""
        (last,) = self.warehouse.rows(f"DESCRIBE HISTORY {self.table.sql} LIMIT 1", doing=f"look at {self.table}")
        return int(last["version"] or 0)

    def in_order(self, rows: pa.Table) -> pa.Table:
        """Rows sorted as the layout says."""
        return rows.sort_by(self._layout.sort_by) if self._layout.sort_by else rows


class WarehouseReplacement:
    """A table's new content in files of a Volume; see `engine.overwriting.Replacement`."""

    def __init__(self, target: DatabricksOverwrite, folder: StagedFolder) -> None:
        self._target, self._folder = target, folder
        self._schema = pa.schema([(KEY, pa.string()), (FINGERPRINT, pa.string()), *target.shape.columns])
        self._bytes = 0

    def take(self, batches: Iterable[pa.RecordBatch]) -> Iterator[int]:
        """Put mapped rows aside, a file for each group; how many rows each has."""
        for group in groups(iter(batches)):
            self._target.require_columns(group.rows.schema)
            rows = self._target.in_order(group.rows)
            self._folder.add(rows)
            self._bytes += rows.nbytes
            yield rows.num_rows

    def commit(self, staying: Callable[[], KeySet]) -> int:
        """One commit: the new rows, and of the old ones those that stay, which never pass through this process."""
        if not self._folder.files:
            self._folder.add(self._schema.empty_table())
        contend(lambda: self._commit(staying))
        return self._bytes

    def _commit(self, look: Callable[[], KeySet]) -> None:
        seen = self._target.version()
        staying = look()
        if self._target.version() != seen:
            raise ConflictError(f"Databricks: the table {self._target.table} has changed since it was looked at.")
        with ExitStack() as stack:
            keys = stack.enter_context(self._staged(staying)) if len(staying) else None
            keyless = any(is_stranger(key) for page in staying for key in page)
            self._target.overwrite(self._folder, self._schema.names, staying=keys, keyless=keyless)

    def _staged(self, staying: KeySet) -> AbstractContextManager[str]:
        batches = (pa.record_batch([pa.array(page, pa.string())], schema=_KEYS) for page in staying)
        return self._target.staging.staged(pa.RecordBatchReader.from_batches(_KEYS, batches))
