"""One stand-in of Databricks for a whole run of pytest, and a schema of its own for each test."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from sync_pipelines.sandbox.databricks.server import DatabricksServer
from sync_pipelines.sandbox.processes import ProcessId

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.sql import StatementResponse

_numbers = count(1)


def shared_server(factory: pytest.TempPathFactory) -> DatabricksServer:
    """Start the server, or find the one that another worker of this run has started.

    It ends with the run: with pytest itself, or with xdist's controller, which is each worker's parent. No test may
    stop it, kill it, or stop its warehouse; who must makes a `DatabricksServer` in a folder of his own.
    """
    worker = "PYTEST_XDIST_WORKER" in os.environ
    base = factory.getbasetemp().parent if worker else factory.getbasetemp()
    run = ProcessId.of(os.getppid() if worker else os.getpid())
    assert run is not None
    server = DatabricksServer(base / "databricks", detached=True, lives_with=run)
    with FileLock(base / "databricks.lock"):
        server.start()
    return server


@dataclass
class Schema:
    """A schema of the catalog main with a Volume, for one test.

    Attributes:
        server: the stand-in.
        name: the schema's name, which stands in each of its statements and paths: faults are bound to it.
    """

    server: DatabricksServer
    name: str

    @classmethod
    def new(cls, server: DatabricksServer) -> Schema:
        """Make the schema and its Volume."""
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        schema = cls(server, f"test_{worker}_{next(_numbers)}_")
        schema.sql(f"CREATE SCHEMA main.{schema.name}", schema=None)
        from databricks.sdk.service.catalog import VolumeType

        schema.client.volumes.create("main", schema.name, "staging", VolumeType.MANAGED)
        return schema

    @property
    def volume(self) -> str:
        """The path of the Volume."""
        return f"/Volumes/main/{self.name}/staging"

    @cached_property
    def client(self) -> WorkspaceClient:
        """databricks-sdk's client, made by dagster-databricks."""
        from dagster_databricks import DatabricksClientResource

        return DatabricksClientResource(host=self.server.url, token=self.server.token).get_client().workspace_client

    def send(self, text: str, **options: Any) -> StatementResponse:
        """Send a statement whose names begin in this schema, and wait for it up to 50 seconds."""
        given = {"catalog": "main", "schema": self.name, "wait_timeout": "50s", "warehouse_id": self.server.warehouse}
        return self.client.statement_execution.execute_statement(statement=text, **{**given, **options})

    def sql(self, text: str, **options: Any) -> list[list[str | None]]:
        """Return the rows of a statement, each value as text; a failed one raises."""
        response = self.send(text, **options)
        deadline = time.monotonic() + 300  # on a loaded machine a statement may wait for its turn
        while _state(response) in ("PENDING", "RUNNING") and time.monotonic() < deadline:
            time.sleep(0.5)
            response = self.client.statement_execution.get_statement(str(response.statement_id))
        assert response.status is not None
        assert response.status.state is not None
        assert response.status.state.value == "SUCCEEDED", response.status
        return (response.result and response.result.data_array) or []

    def fault(self, kind: str, *, match: str = "", times: int = 1, **options: Any) -> None:
        """Make this schema's next requests meet a fault, as `DatabricksServer.fault` says."""
        self.server.fault(kind, match=match, text=self.name, times=times, **options)

    def seen(self) -> dict[str, int]:
        """How many requests of each kind named this schema."""
        return self.server.seen(self.name)["requests"]

    def drop(self) -> None:
        """Drop it with all its tables; nobody waits for that."""
        self.server.clear_faults(self.name)
        self.send(f"DROP SCHEMA main.{self.name} CASCADE", schema=None, wait_timeout="0s")


def _state(response: StatementResponse) -> str:
    state = response.status.state if response.status else None
    return state.value if state else ""
