"""Running the job on Databricks by dagster-databricks' Pipes clients, and what it answers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sync_pipelines.engine.errors import RunError, SyncError
from sync_pipelines.targets.databricks.errors import databricks_errors
from sync_pipelines.targets.spark.errors import of_job
from sync_pipelines.targets.spark.settings import JobSettings

SCRIPT = Path(__file__).with_name("job.py")
ENVIRONMENT = "3"
"""The version of serverless' environment: Python 3.12."""


@dataclass(frozen=True)
class Answer:
    """What a job has reported, and the page of its run."""

    numbers: Mapping[str, Any]
    url: str | None


class _Jobs:
    """The Jobs API of a client, which knows the run that it has begun, and looks before each question whether ours
    may go on."""

    def __init__(self, jobs: Any, alive: Callable[[], object]) -> None:
        self._jobs, self._alive = jobs, alive
        self.run_id = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jobs, name)

    def submit(self, **options: Any) -> Any:
        submitted = self._jobs.submit(**options)
        self.run_id = submitted.bind()["run_id"]
        return submitted

    def get_run(self, run_id: int) -> Any:
        self._alive()
        return self._jobs.get_run(run_id)


class _Client:
    """A workspace's client with such jobs."""

    def __init__(self, client: Any, alive: Callable[[], object]) -> None:
        self._client = client
        self.jobs = _Jobs(client.jobs, alive)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """Runs the job.

    Args:
        client: databricks-sdk's. settings: where it runs. folder: of a Volume, for Pipes' files. script: the job's,
            in a Volume. place: sync and table.
    """

    client: Any
    settings: JobSettings
    folder: str
    script: str
    place: dict[str, Any]

    def run(self, extras: Mapping[str, Any], *, alive: Callable[[], object]) -> Answer:
        """Run the job to its end. Whatever ends the wait for it, it is cancelled.

        Args:
            extras: what it is told. alive: called before each look at it.

        Raises:
            SyncError: of the class that fits, with the address of the run's page.
        """
        from sync_pipelines.targets.spark.context import within_dagster

        return within_dagster(lambda context: self._run(context, extras, alive))

    def _run(self, context: Any, extras: Mapping[str, Any], alive: Callable[[], object]) -> Answer:
        from dagster._core.errors import DagsterPipesExecutionError

        client = _Client(self.client, alive)
        try:
            with databricks_errors("run a Spark job", self.place):
                done = self._pipes(client).run(
                    context=context, extras=dict(extras), task=self._task(), submit_args=self._submission()
                )
        except DagsterPipesExecutionError as error:
            raise self._failure(client.jobs.run_id) from error
        except BaseException:
            self._cancel(client.jobs.run_id)
            raise
        return self._answer(done, client.jobs.run_id)

    def _pipes(self, client: Any) -> Any:
        """The client for the compute that is named. Both of them use the Volume: DBFS is closed in newer workspaces."""
        from dagster_databricks import PipesDatabricksClient
        from dagster_databricks.pipes import (
            PipesDatabricksServerlessClient,
            PipesUnityCatalogVolumesContextInjector,
            PipesUnityCatalogVolumesMessageReader,
        )

        pause = self.settings.poll_seconds
        volume: dict[str, Any] = {"client": self.client, "volume_path": self.folder}
        common: dict[str, Any] = {
            "client": client,
            "context_injector": PipesUnityCatalogVolumesContextInjector(**volume),
            "message_reader": PipesUnityCatalogVolumesMessageReader(**volume, interval=pause),
            "poll_interval_seconds": pause,
        }
        if self.settings.serverless:
            return PipesDatabricksServerlessClient(volume_path=self.folder, **common)
        return PipesDatabricksClient(**common)

    def _task(self) -> Any:
        from databricks.sdk.service import jobs

        task = {"task_key": "sync", "spark_python_task": {"python_file": self.script}}
        return jobs.SubmitTask.from_dict({**task, **self._compute()})

    def _compute(self) -> dict[str, Any]:
        if self.settings.serverless:
            return {"environment_key": "default"}
        libraries = {"libraries": [{"pypi": {"package": _pipes_package()}}]}
        if self.settings.cluster:
            return {"existing_cluster_id": self.settings.cluster, **libraries}
        return {"new_cluster": dict(self.settings.new_cluster or {}), **libraries}

    def _submission(self) -> dict[str, Any]:
        from databricks.sdk.service import compute, jobs

        name = "/".join(filter(None, (self.place.get("sync"), self.place.get("table"))))
        # a submission whose answer was lost is sent again, and must not begin a second run
        common = {"run_name": f"sync_pipelines {name}", "idempotency_token": uuid.uuid4().hex}
        if not self.settings.serverless:
            return common
        spec = compute.Environment(environment_version=ENVIRONMENT, dependencies=[_pipes_package()])
        return {**common, "environments": [jobs.JobEnvironment("default", spec=spec)]}

    def _answer(self, done: Any, run_id: int) -> Answer:
        from dagster import DagsterExecutionInterruptedError
        from databricks.sdk.service import jobs

        with databricks_errors("look at a Spark job", self.place):
            run = self.client.jobs.get_run(run_id)
        if run.state.result_state is not jobs.RunResultState.SUCCESS:
            # dagster-databricks cancels the run when it is interrupted, and then goes on as if nothing had happened
            raise DagsterExecutionInterruptedError()
        messages = done.get_custom_messages()
        if not messages:
            raise RunError(
                f"the Spark job has ended without a word. The job's run: {run.run_page_url}",
                remedy="Can the job's user write into DATABRICKS_VOLUME?",
                **self.place,
            )
        return Answer(messages[-1], run.run_page_url)

    def _failure(self, run_id: int) -> SyncError:
        with databricks_errors("look at a Spark job", self.place):
            run = self.client.jobs.get_run(run_id)
            text = run.state.state_message or str(run.state.result_state)
            if run.tasks:
                text = self.client.jobs.get_run_output(run.tasks[0].run_id).error or text
        return of_job(text, url=run.run_page_url, doing="run the Spark job", place=self.place)

    def _cancel(self, run_id: int) -> None:
        if run_id:
            with databricks_errors("cancel a Spark job", self.place):
                self.client.jobs.cancel_run(run_id)


def _pipes_package() -> str:
    """dagster-pipes as it is installed here: the two sides of the protocol are of one version."""
    from importlib.metadata import version

    return f"dagster-pipes=={version('dagster-pipes')}"
