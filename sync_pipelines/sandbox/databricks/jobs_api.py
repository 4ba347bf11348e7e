"""The Jobs API 2.2: submit a run, look at it, fetch its output, cancel it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from sync_pipelines.sandbox.databricks.runs import Run, Runs, Task
from sync_pipelines.sandbox.databricks.web import Answer, Request, Route, bad_value, route

_API = "/api/2.[12]/jobs/runs"

_LOG_CHARACTERS = 5 * 1024 * 1024
"""The end of a task's log that its output holds."""


class JobsApi:
    """The routes of runs."""

    def __init__(self, runs: Runs, url: str) -> None:
        """Name what the routes work on.

        Args:
            runs: starts runs.
            url: the front's own address, for a run's page.
        """
        self._runs = runs
        self._url = url
        self._numbers = count(1)
        self._known: dict[int, Run] = {}
        self._by_token: dict[str, Run] = {}
        self._lock = threading.Lock()

    def routes(self) -> Sequence[Route]:
        """Return the routes."""
        return (
            route("jobs", "POST", f"{_API}/submit", self._submit, lambda request: str(request.document)),
            route("jobs", "GET", f"{_API}/get", self._get, self._subject),
            route("jobs", "GET", f"{_API}/get-output", self._get_output, self._subject),
            route("jobs", "POST", f"{_API}/cancel", self._cancel),
            route("control", "GET", "/runs/([0-9]+)/working", self._working),
        )

    def _working(self, request: Request) -> Answer:
        return Answer(document={"jobs": self._runs.working(self._known[int(request.parts[0])])})

    def _submit(self, request: Request) -> Answer:
        token = request.document.get("idempotency_token")
        with self._lock:
            run = self._by_token.get(token) if token else None
            if run is None:
                tasks = [self._task(task) for task in request.wanted("tasks")]
                run = Run(next(self._numbers), request.document.get("run_name", "Untitled"), tasks)
                self._known[run.id] = run
                self._runs.start(run)
            if token:
                self._by_token[token] = run
        return Answer(document={"run_id": run.id})

    def _task(self, given: Mapping[str, Any]) -> Task:
        script = given.get("spark_python_task")
        if script is None:
            raise bad_value(f"The stand-in runs spark_python_task alone; task {given.get('task_key')} has none.")
        place = str(script.get("python_file", ""))
        if not place.removeprefix("dbfs:").startswith("/Volumes/"):
            raise bad_value(f"python_file must lie in a Volume: {place}")
        cluster = given.get("new_cluster") or {}
        return Task(
            next(self._numbers),
            given.get("task_key", "main"),
            place,
            script.get("parameters") or [],
            cluster.get("spark_env_vars") or {},
        )

    def _find(self, number: Any) -> tuple[Run, Task | None]:
        """A run by its id, or by the id of one of its tasks, which is returned too."""
        for run in list(self._known.values()):
            if str(run.id) == str(number):
                return run, None
            for task in run.tasks:
                if str(task.id) == str(number):
                    return run, task
        raise bad_value(f"Run {number} does not exist.")

    def _subject(self, request: Request) -> str:
        run, _ = self._find(request.query.get("run_id"))
        return f"{run.name} {' '.join(task.script for task in run.tasks)}"

    def _get(self, request: Request) -> Answer:
        run, task = self._find(request.query.get("run_id"))
        return Answer(document=self._run_document(run) if task is None else _task_document(task))

    def _get_output(self, request: Request) -> Answer:
        _, task = self._find(request.query.get("run_id"))
        if task is None:
            raise bad_value(
                "Retrieving the output of runs with multiple tasks is not supported. "
                "Please retrieve the output of each individual task run instead."
            )
        logs = self._runs.log(task)
        output = {"metadata": _task_document(task), "logs": logs[-_LOG_CHARACTERS:]}
        output["logs_truncated"] = len(logs) > _LOG_CHARACTERS
        if task.error:
            output |= {"error": task.error, "error_trace": task.trace}
        return Answer(document=output)

    def _cancel(self, request: Request) -> Answer:
        run, _ = self._find(request.wanted("run_id"))
        run.cancelled.set()
        return Answer(document={})

    def _run_document(self, run: Run) -> dict[str, Any]:
        return {
            "job_id": run.id,
            "run_id": run.id,
            "run_name": run.name,
            "run_page_url": f"{self._url}/jobs/runs/{run.id}",
            "start_time": run.began_at,
            "end_time": run.ended_at,
            "state": _state_of(run),
            "tasks": [_task_document(task) for task in run.tasks],
        }


def _state_of(run: Run) -> dict[str, Any]:
    if not run.ended_at:
        working = any(task.state != "PENDING" for task in run.tasks)
        state = "TERMINATING" if run.cancelled.is_set() else "RUNNING" if working else "PENDING"
        return {"life_cycle_state": state, "state_message": "In run", "user_cancelled_or_timedout": False}
    failed = next((task for task in run.tasks if task.result == "FAILED"), None)
    if failed is not None:
        message = f"Task {failed.key} failed with message: {_FAILED}. This caused all downstream tasks to get skipped."
        return {"life_cycle_state": "INTERNAL_ERROR", "result_state": "FAILED", "state_message": message}
    cancelled = any(task.result == "CANCELED" for task in run.tasks)
    result, message = ("CANCELED", "Run cancelled.") if cancelled else ("SUCCESS", "")
    state = {"life_cycle_state": "TERMINATED", "result_state": result, "state_message": message}
    return {**state, "user_cancelled_or_timedout": cancelled}


_FAILED = "Workload failed, see run output for details"


def _task_document(task: Task) -> dict[str, Any]:
    state: dict[str, Any] = {"life_cycle_state": task.state, "state_message": _FAILED if task.error else ""}
    if task.result:
        state["result_state"] = task.result
    script = {"python_file": task.script, "parameters": list(task.parameters)}
    return {"run_id": task.id, "task_key": task.key, "state": state, "spark_python_task": script}
