"""The parts of the stand-in put together."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sync_pipelines.sandbox.databricks.faults import Faults
from sync_pipelines.sandbox.databricks.files_api import FilesApi, Volumes
from sync_pipelines.sandbox.databricks.front import Front
from sync_pipelines.sandbox.databricks.jobs_api import JobsApi
from sync_pipelines.sandbox.databricks.restart import adopt_tables
from sync_pipelines.sandbox.databricks.runs import Runs
from sync_pipelines.sandbox.databricks.secrets_api import SecretsApi
from sync_pipelines.sandbox.databricks.session import CATALOG, Engine, configuration
from sync_pipelines.sandbox.databricks.statements import Statements
from sync_pipelines.sandbox.databricks.statements_api import StatementsApi
from sync_pipelines.sandbox.databricks.unity import UnityApi
from sync_pipelines.sandbox.databricks.warehouses import Warehouses
from sync_pipelines.sandbox.databricks.web import Answer, route
from sync_pipelines.sandbox.processes import LOOPBACK, free_port

SCHEMA = "voyce"
VOLUME = "staging"


@dataclass
class StandIn:
    """The running parts.

    Attributes:
        engine: Spark.
        front: the HTTP server, which listens and does not serve yet.
    """

    engine: Engine
    front: Front

    def close(self) -> None:
        """End Spark's process."""
        self.front.server_close()
        self.engine.end()


def build(folder: Path, port: int, class_path: Sequence[Path]) -> StandIn:
    """Start Spark and make everything that listens.

    Args:
        folder: the server's folder; the file ``token`` in it holds the token.
        port: the port on 127.0.0.1.
        class_path: the jars and classes of :mod:`jars`.
    """
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    connect_port, url = free_port(), f"http://{LOOPBACK}:{port}"
    engine = Engine(configuration(folder, class_path, connect_port))
    adopt_tables(engine, folder / "warehouse")
    volumes, warehouses, faults = Volumes(folder / "volumes"), Warehouses(), Faults()
    engine.rows(f"CREATE SCHEMA IF NOT EXISTS {CATALOG}.{SCHEMA}")
    volumes.make(CATALOG, SCHEMA, VOLUME)
    statements = Statements(engine, scratch)
    token = (folder / "token").read_text().strip()
    # On Databricks the runtime logs a task in as the user that it runs as.
    login = {"DATABRICKS_HOST": url, "DATABRICKS_TOKEN": token}
    routes = [
        *faults.routes(),
        *StatementsApi(statements, warehouses, url).routes(),
        *FilesApi(volumes).routes(),
        *warehouses.routes(),
        *JobsApi(Runs(engine, scratch, volumes.root, connect_port, login), url).routes(),
        *SecretsApi().routes(),
        *UnityApi(engine, volumes).routes(),
        route("control", "GET", "/ready", lambda _: Answer(document={})),
    ]
    front = Front(port, token=token, routes=routes, faults=faults)
    return StandIn(engine, front)
