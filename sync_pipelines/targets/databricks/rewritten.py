"""How many files a table's commits have put others in the place of, as its history tells."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sync_pipelines.engine.errors import SyncError
from sync_pipelines.targets.databricks.settings import TableName
from sync_pipelines.targets.databricks.warehouse import Warehouse

_log = logging.getLogger(__name__)
_OPERATIONS = {
    "MERGE": "MERGE",
    "DELETE": "DELETE",
    "INSERT": "WRITE",
    "CREATE": "CREATE OR REPLACE TABLE AS SELECT",
}
"""The first word of a statement that rewrites files, and what the history calls its commit."""
_REMOVED = ("numTargetFilesRemoved", "numRemovedFiles")
_BESIDE = 20
"""So many commits may stand between ours: stamps, columns, other writers'."""


@dataclass
class Rewritten:
    """The files that one target's commits have removed.

    Delta's history does not say which statement made a commit. Ours are those of our operations since the table was
    last looked at before we wrote; where more of them rewrote files than we have sent, somebody else's are among them,
    and nothing is told.

    Args:
        files: so far; None where it cannot be told.
    """

    warehouse: Warehouse
    table: TableName
    files: int | None = 0
    _since: datetime | None = None
    _known: Counter[str] = field(default_factory=Counter)

    def looked(self, detail: Mapping[str, Any] | None) -> None:
        """Note when the table was last changed, unless we have."""
        if not self._sent():
            self._since = None if detail is None else detail["lastModified"]

    def _sent(self) -> Counter[str]:
        """Our statements that may have rewritten files, by operation, since they were last added up."""
        sent = self.warehouse.spent.sent - self._known
        return Counter({operation: sent[word] for word, operation in _OPERATIONS.items() if sent[word]})

    @property
    def told(self) -> int | None:
        """Files so far; None while there are commits that were not added up."""
        return None if self._sent() else self.files

    def add_up(self) -> None:
        """Add what was committed since, by one statement; none where nothing was written. A failure is only logged:
        what the run has written is there."""
        if not (sent := self._sent()):
            return
        try:
            found = self._removed(sent)
        except SyncError as error:
            _log.warning("How many files of %s were rewritten is not known: %s", self.table, error)
            found = None
        self.files = None if found is None or self.files is None else self.files + found
        self._known = self.warehouse.spent.sent.copy()

    def _removed(self, sent: Counter[str]) -> int | None:
        limit = sent.total() + _BESIDE
        statement = f"DESCRIBE HISTORY {self.table.sql} LIMIT {limit}"
        batches = self.warehouse.stream(statement, doing=f"look at the commits of {self.table}")
        commits = [commit for batch in batches for commit in batch.to_pylist()]
        ours = commits if self._since is None else [row for row in commits if row["timestamp"] > self._since]
        if len(ours) == limit:  # there may be more
            return None
        return _total(ours, sent)


def _total(commits: Iterable[Mapping[str, Any]], sent: Counter[str]) -> int | None:
    removed = [(row["operation"], _files(dict(row["operationMetrics"] or {}))) for row in commits]
    rewriting = Counter(operation for operation, files in removed if files and operation in sent)
    if rewriting - sent:
        return None
    return sum(files for operation, files in removed if operation in sent)


def _files(metrics: Mapping[str, str]) -> int:
    return sum(int(metrics.get(name, 0)) for name in _REMOVED)
