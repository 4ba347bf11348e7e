"""Named places of a run that writes to a Delta table, or from one into PostgreSQL; as `boundaries`, which see.

| name | when |
|---|---|
| `reading` | the source is about to be asked for its changes |
| `opened` | the changes are read, nothing is written |
| `staged` | a batch lies in a temporary table of PostgreSQL; rows lie in a Volume (first keys, then whole rows) |
| `committing`, `committed` | around each commit that writes rows |
| `deleting`, `deleted` | around each delete |
| `before confirm` | all is written; the target and the lock are asked once more |
| `closing`, `confirmed` | around the transaction that closes the books and moves the watermark |
| `comparing` | a proof reads values back from the target |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sync_pipelines_tests.faults.boundaries import Reach, around


def bend(reach: Reach, put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Call `reach` at every boundary of this process's runs; `put` is setattr, or a monkeypatch's."""
    from sync_pipelines.engine.ledger.ledger import Ledger
    from sync_pipelines.engine.run import Run
    from sync_pipelines.sources.delta.source import DeltaSource
    from sync_pipelines.sources.postgres.source import PostgresSource
    from sync_pipelines.targets.databricks.staging import Staging
    from sync_pipelines.targets.databricks.target import DatabricksTarget
    from sync_pipelines.targets.databricks.writing import Writer as WarehouseWriter
    from sync_pipelines.targets.delta.store import DeltaStore
    from sync_pipelines.targets.delta.target import DeltaTarget
    from sync_pipelines.targets.delta.writing import Writer as DeltaWriter
    from sync_pipelines.targets.postgres.target import PostgresTarget
    from sync_pipelines.targets.postgres.writing import Writer as RowWriter

    def named(owner: Any, method: str, before: str | None, after: str | None) -> None:
        put(owner, method, around(before, after, reach)(getattr(owner, method)))

    for source in (DeltaSource, PostgresSource):
        named(source, "changes", "reading", None)
    named(DeltaSource, "changes_meanwhile", "reading", None)
    for target in (DeltaTarget, DatabricksTarget, PostgresTarget):
        named(target, "values", "comparing", None)
    for target in (DatabricksTarget, PostgresTarget):
        named(target, "delete", "deleting", "deleted")
    named(DeltaWriter, "_delete", "deleting", "deleted")
    named(DeltaWriter, "_commit", "committing", "committed")
    named(DeltaStore, "commit_files", "committing", "committed")
    named(WarehouseWriter, "_merge", "committing", "committed")
    named(Staging, "put", None, "staged")
    named(RowWriter, "_stage", None, "staged")
    named(RowWriter, "_note_bases", None, "committing")
    named(RowWriter, "write", None, "committed")
    named(Run, "write", "opened", None)
    named(Run, "_confirm", "before confirm", None)
    named(Ledger, "finish", "closing", "confirmed")
