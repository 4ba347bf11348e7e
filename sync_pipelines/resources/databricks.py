"""Databricks: a workspace, a SQL warehouse and a schema (DATABRICKS_…)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from sync_pipelines.engine.errors import ConfigurationError, NotConfiguredError
from sync_pipelines.engine.secrets import know
from sync_pipelines.resources import environment

if TYPE_CHECKING:
    from sync_pipelines.targets.databricks.settings import WarehouseSettings
    from sync_pipelines.targets.spark.settings import JobSettings

_OLDER = {"DATABRICKS_HOST": "DATABRICKS_SERVER_HOSTNAME", "DATABRICKS_TOKEN": "DATABRICKS_ACCESS_TOKEN"}
"""Names of before, which count where the newer one is not set."""


class DatabricksResource(dg.ConfigurableResource):
    """Fields that are left out come from the environment when a run starts.

    DATABRICKS_HOST (a bare host name will do), DATABRICKS_TOKEN, DATABRICKS_HTTP_PATH (of the warehouse),
    DATABRICKS_CATALOG (main), DATABRICKS_SCHEMA (voyce) and DATABRICKS_VOLUME. Without a token the SDK looks for
    other credentials (DATABRICKS_CLIENT_ID, `~/.databrickscfg`).

    For Spark jobs: DATABRICKS_SCOPE, DATABRICKS_CLUSTER_ID (serverless without) and DATABRICKS_JDBC_CONNECTION.
    """

    host: str | None = None
    token: str | None = None
    http_path: str | None = None
    catalog: str | None = None
    schema_name: str | None = None
    volume: str | None = None
    secret_scope: str | None = None
    cluster_id: str | None = None
    jdbc_connection: str | None = None

    def configured(self) -> bool:
        """Whether a workspace is named at all."""
        return bool(self.host or _value("DATABRICKS_HOST"))

    def settings(self) -> WarehouseSettings:
        """The warehouse and where its tables stand.

        Raises:
            NotConfiguredError: DATABRICKS_HOST is not set. ConfigurationError: another variable is missing or wrong.
        """
        from sync_pipelines.targets.databricks.settings import WarehouseSettings, address, warehouse_of

        host, token = self.host or _value("DATABRICKS_HOST"), self.token or _value("DATABRICKS_TOKEN")
        if not host:
            raise NotConfiguredError(
                "Databricks is not configured: DATABRICKS_HOST is not set.",
                remedy="Set DATABRICKS_HOST, DATABRICKS_TOKEN and DATABRICKS_HTTP_PATH.",
            )
        if token:
            know(token)
        path = self.http_path or _value("DATABRICKS_HTTP_PATH")
        if not path:
            raise ConfigurationError(
                "Databricks: DATABRICKS_HTTP_PATH is not set.",
                remedy="Set it to the HTTP path of a SQL warehouse, like /sql/1.0/warehouses/1234abcd.",
            )
        catalog = self.catalog or _value("DATABRICKS_CATALOG") or "main"
        schema = self.schema_name or _value("DATABRICKS_SCHEMA") or "voyce"
        return WarehouseSettings(
            host=address(host),
            token=token,
            warehouse=warehouse_of(path),
            catalog=catalog,
            schema=schema,
            volume=_volume(self.volume or _value("DATABRICKS_VOLUME"), catalog, schema),
        )

    def job(self, connection: str) -> JobSettings:
        """Where Spark jobs run, and how they reach the source.

        Args:
            connection: the source's name, by which its password's secret is named.
        """
        from sync_pipelines.targets.spark.settings import JobSettings

        return JobSettings(
            connection=connection,
            scope=self.secret_scope or _value("DATABRICKS_SCOPE"),
            cluster=self.cluster_id or _value("DATABRICKS_CLUSTER_ID"),
            jdbc_connection=self.jdbc_connection or _value("DATABRICKS_JDBC_CONNECTION"),
        )


def _value(name: str) -> str | None:
    return environment.value(name) or (environment.value(_OLDER[name]) if name in _OLDER else None)


def _volume(text: str | None, catalog: str, schema: str) -> str:
    """A Volume's folder: `staging` and `/Volumes/main/voyce/staging` are the same one."""
    name = (text or "staging").strip().rstrip("/")
    if name.startswith("/Volumes/"):
        if len(name.split("/")) < 5:
            raise ConfigurationError(
                f"DATABRICKS_VOLUME: {name!r} names no Volume.", remedy="Write it like /Volumes/main/voyce/staging."
            )
        return name
    if "/" in name:
        raise ConfigurationError(
            f"DATABRICKS_VOLUME: {name!r} is neither a Volume's name nor a path.",
            remedy="Write it like staging or /Volumes/main/voyce/staging.",
        )
    return f"/Volumes/{catalog}/{schema}/{name}"
