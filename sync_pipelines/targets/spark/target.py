"""A Delta table on Databricks whose full reads a Spark job makes; everything else is the SQL warehouse's."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.errors import SyncError
from sync_pipelines.engine.export import Export, Loaded
from sync_pipelines.engine.model import FINGERPRINT, KEY, SYSTEM_FIELDS, Counts, Doubt
from sync_pipelines.targets.databricks.staging import Staging
from sync_pipelines.targets.databricks.target import DatabricksTarget
from sync_pipelines.targets.lake.table import REBUILD_SUFFIX
from sync_pipelines.targets.spark.launching import SCRIPT, Answer, Launcher
from sync_pipelines.targets.spark.loading import Work
from sync_pipelines.targets.spark.settings import JobSettings
from sync_pipelines.targets.spark.staged import StagedRows

_log = logging.getLogger(__name__)
_ROUNDS = 2
"""Pieces that each connection reads one after the other, at least: between them the job tells how far it is."""
_SYSTEM = {item.name for item in SYSTEM_FIELDS}


class SparkTarget(DatabricksTarget):
    """One table through a SQL warehouse, and through a Spark job where the whole source is read.

    Args:
        job: where the job runs, and from how many rows on. The rest is `DatabricksTarget`'s.
    """

    engine = "spark"

    def __init__(self, *, job: JobSettings, **table: Any) -> None:
        super().__init__(**table)
        self._job = job

    @property
    def least_rows(self) -> int:
        """Tables with fewer rows are read by this process."""
        return self._job.rows

    def prepare(self) -> None:
        """As every engine's; and what a rebuild that died has staged goes, too."""
        super().prepare()
        Staging(self.warehouse, self.table.beside(REBUILD_SUFFIX)).sweep()

    def load(self, export: Export, *, doubt: Doubt | None, alive: Callable[[], object]) -> Loaded:
        """Have a job read the table and merge it; see `job`. What it stages is kept until `close`.

        Args:
            alive: called before each look at the job.

        Raises:
            SyncError: the job failed; what it has staged goes.
        """
        names = [name for name in export.schema.names if name not in _SYSTEM]
        self.require_columns(pa.schema([(name, pa.null()) for name in (KEY, FINGERPRINT, *names)]))
        folder = f"{self.staging.folder}/{uuid.uuid4().hex}"
        try:
            return self._load(export, folder, doubt, alive)
        except BaseException:
            self._forget(folder)
            raise

    def _load(self, export: Export, folder: str, doubt: Doubt | None, alive: Callable[[], object]) -> Loaded:
        staged = StagedRows(self.warehouse, f"{folder}/rows")
        shared = export.shared(pieces=_ROUNDS * self._job.connections)
        work = Work(
            settings=self._job,
            shared=shared,
            source=export.schema,
            stored=self.shape.columns,
            table=self.table,
            stamped=self.shape.stamped,
            doubt=doubt,
            staged=staged,
        )
        answer = self._launch(work, folder, alive)
        self._seen = None
        return Loaded(
            counts=_counts(answer),
            listing=staged,
            left=staged.left,
            facts=_facts(answer, len(shared.queries)),
            close=lambda: self._forget(folder),
        )

    def _launch(self, work: Work, folder: str, alive: Callable[[], object]) -> Answer:
        script = f"{folder}/job.py"
        extras: dict[str, Any] = {**work.extras(), "wanted": script}
        self.staging.upload(script, SCRIPT.read_bytes())
        for step in extras["steps"]:
            self.warehouse.spent.note(step["statement"])
        launcher = Launcher(
            client=self.warehouse.client, settings=self._job, folder=folder, script=script, place=self._place
        )
        return launcher.run(extras, alive=alive)

    def _forget(self, folder: str) -> None:
        """Remove what a job has staged; where that fails the next run sweeps it, and this one's end says more."""
        try:
            self.staging.remove_folder(folder)
        except SyncError as error:
            _log.warning("What the Spark job has staged stays until the next run: %s", error)


def _counts(answer: Answer) -> Counts:
    told = answer.numbers
    read = told["rows"] - told["left"]
    return Counts(read=read, upserted=told["written"], unchanged=read - told["written"])


def _facts(answer: Answer, pieces: int) -> dict[str, Any]:
    told = answer.numbers
    return {
        "spark_rows": told["rows"],
        "spark_rows_left": told["left"],
        "spark_pieces": pieces,
        "spark_read_seconds": round(told["read_seconds"], 3),
        "spark_merge_seconds": round(told["merge_seconds"], 3),
        **({"spark_run": answer.url} if answer.url else {}),
    }
