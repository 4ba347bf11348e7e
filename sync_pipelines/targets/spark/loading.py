"""What a Spark job is told to do, as its extras say it (`job`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.export import Shared
from sync_pipelines.engine.model import FINGERPRINT, KEY, Doubt
from sync_pipelines.targets.databricks import statements
from sync_pipelines.targets.databricks.settings import TableName
from sync_pipelines.targets.spark.conversion import LEFT, left, staged_columns, taken
from sync_pipelines.targets.spark.settings import JobSettings
from sync_pipelines.targets.spark.staged import StagedRows


@dataclass(frozen=True, kw_only=True)
class Work:
    """One table's way into Delta.

    Args:
        settings: the job's. shared: the snapshot. source, stored: its columns, and those of the table.
        table: where they go; stamped: whether it says when a row was written. doubt: see `Target.upsert`.
        staged: where the rows are staged.
    """

    settings: JobSettings
    shared: Shared
    source: pa.Schema
    stored: pa.Schema
    table: TableName
    stamped: bool
    doubt: Doubt | None
    staged: StagedRows

    def extras(self) -> dict[str, Any]:
        """All that the job must know, without a secret."""
        columns = staged_columns(self.source, self.stored)
        return {
            "reader": self.settings.reader(self.shared.url, self.shared.prepare),
            "secret": self.settings.secret(self.shared.url),
            "queries": list(self.shared.queries),
            "connections": self.settings.connections,
            "left": left(columns),
            "left_column": LEFT,
            "staged": self.staged.path,
            "quiet": self.settings.quiet,
            "steps": self._steps(taken(self.staged.sql, columns)),
        }

    def _steps(self, rows: str) -> Sequence[dict[str, str | None]]:
        """As `databricks.writing` does it: copies of a record go first, and what is equal is not written."""
        doubled = statements.doubled(self.table, rows)
        same = statements.same_values([FINGERPRINT, *self.stored.names]) if self.doubt else statements.same_print()
        merge = statements.merge(
            self.table, rows, [KEY, FINGERPRINT, *self.stored.names], same=same, pruning="", stamped=self.stamped
        )
        return [
            {
                "doing": f"delete records that table {self.table} holds more than once",
                "unless_empty": f"{doubled} LIMIT 1",
                "statement": statements.delete_found(self.table, doubled),
            },
            {
                "doing": f"write table {self.table}",
                "unless_empty": statements.differing(self.table, rows, same=same),
                "statement": merge,
            },
        ]
