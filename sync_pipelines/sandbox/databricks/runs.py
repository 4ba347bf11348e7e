"""Runs of jobs: each task is a Python script in a child process that works on the one Spark over Spark Connect."""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sync_pipelines.sandbox.databricks.session import Engine, in_background
from sync_pipelines.sandbox.folders import read_json
from sync_pipelines.sandbox.processes import LOOPBACK, POLITE, Launch, ProcessId, spawn, stop

_LOOK_SECONDS = 0.05

_INSIST_SECONDS, _INSIST_EVERY = 60.0, 0.5
"""How long, and how often, a cancelled run's work is looked for: on a loaded machine planning takes seconds."""


@dataclass
class Task:
    """One task of a run.

    Attributes:
        id: its own run id.
        key: its task_key.
        script: the /Volumes path of the script.
        parameters: the script's arguments.
        environment: variables of the task's cluster.
        state: PENDING, RUNNING or TERMINATED.
        result: SUCCESS, FAILED or CANCELED, once it has ended.
        error: the script's error, once it failed.
        trace: Python's trace of it.
    """

    id: int
    key: str
    script: str
    parameters: Sequence[str]
    environment: Mapping[str, str]
    state: str = "PENDING"
    result: str = ""
    error: str = ""
    trace: str = ""
    session: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Run:
    """One run.

    Attributes:
        id: its run id.
        name: what the submitter calls it.
        tasks: its tasks, which run one after the other.
        began_at: milliseconds since 1970.
        ended_at: the same, 0 while it runs.
        cancelled: set to end it.
    """

    id: int
    name: str
    tasks: Sequence[Task]
    began_at: int = field(default_factory=lambda: int(time.time() * 1000))
    ended_at: int = 0
    cancelled: threading.Event = field(default_factory=threading.Event)


class Runs:
    """Starts runs and ends them."""

    def __init__(
        self, engine: Engine, folder: Path, volumes: Path, connect_port: int, login: Mapping[str, str]
    ) -> None:
        """Begin with none.

        Args:
            engine: the Spark that jobs work on.
            folder: a folder for what tasks print.
            volumes: the folder that stands for /Volumes.
            connect_port: Spark's port for Spark Connect.
            login: variables by which a task's own SDK finds this workspace.
        """
        self._engine = engine
        self._folder = folder
        self._volumes = volumes
        self._connect_port = connect_port
        self._login = login

    def start(self, run: Run) -> None:
        """Run the tasks in a thread of their own."""
        in_background(self._work, run)

    def working(self, run: Run) -> int:
        """How many jobs Spark runs for it, also after its end."""
        return sum(len(self._engine.jobs_of(task.session)) for task in run.tasks)

    def log(self, task: Task) -> str:
        """Return what a task has printed."""
        file = self._file(task, "log")
        return file.read_text(errors="replace") if file.exists() else ""

    def _work(self, run: Run) -> None:
        for task in run.tasks:
            failed = any(one.result == "FAILED" for one in run.tasks)
            if failed or run.cancelled.is_set():
                task.state, task.result = "SKIPPED", "CANCELED"
                continue
            try:
                self._execute(task, run.cancelled)
            except Exception as error:
                task.error = f"{type(error).__name__}: {error}"
                task.state, task.result = "TERMINATED", "FAILED"
        run.ended_at = int(time.time() * 1000)

    def _execute(self, task: Task, cancelled: threading.Event) -> None:
        process = spawn(self._launch(task), record=lambda _: None)
        task.state = "RUNNING"
        self._wait(process, cancelled)
        self._engine.close_remote(task.session)
        if cancelled.is_set():
            in_background(self._insist, task.session)
        ending = read_json(self._file(task, "json"))
        if not ending and cancelled.is_set():
            task.result = "CANCELED"
        else:
            task.error = ending.get("error") or ("" if ending else "The task's process was killed.")
            task.trace = ending.get("trace", "")
            task.result = "FAILED" if task.error else "SUCCESS"
        task.state = "TERMINATED"

    def _insist(self, session: str) -> None:
        """What Spark was still planning begins its jobs after its session was closed, and would run for ever."""
        until = time.monotonic() + _INSIST_SECONDS
        while time.monotonic() < until:
            self._engine.cancel_remote(session)
            time.sleep(_INSIST_EVERY)

    def _wait(self, process: ProcessId, cancelled: threading.Event) -> None:
        while process.alive():
            if cancelled.wait(_LOOK_SECONDS):
                stop(process)

    def _launch(self, task: Task) -> Launch:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))}
        remote = f"sc://{LOOPBACK}:{self._connect_port}/;user_id=jobs;session_id={task.session}"
        program = [sys.executable, "-P", "-u", "-m", "sync_pipelines.sandbox.databricks.job"]
        return Launch(
            command=[*program, str(self._volumes), str(self._file(task, "json")), task.script, *task.parameters],
            log=self._file(task, "log"),
            environment={**ours, **self._login, **task.environment, "SPARK_REMOTE": remote, "TZ": "UTC"},
            folder=self._folder,
            escalation=POLITE,
        )

    def _file(self, task: Task, ending: str) -> Path:
        return self._folder / f"task-{task.id}.{ending}"
