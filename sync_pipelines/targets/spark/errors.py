"""What a failed Spark job says, in the engine's three classes."""

from __future__ import annotations

import re
from typing import Any

from sync_pipelines.engine.errors import ConfigurationError, RunError, SyncError, TransientError
from sync_pipelines.targets.databricks.errors import of_statement

_SECRET = re.compile(r"Secret does not exist|secret scope|Scope .* does not exist|RESOURCE_DOES_NOT_EXIST", re.I)
_LOGIN = re.compile(r"password authentication failed|no password was provided|no pg_hba\.conf entry", re.I)
_DRIVER = re.compile(r"ClassNotFoundException: org\.postgresql|No suitable driver|DATA_SOURCE_NOT_FOUND", re.I)
_SNAPSHOT = re.compile(
    r"invalid snapshot identifier|snapshot .* does not exist|could not import the requested snapshot"
)
_AWAY = re.compile(
    r"Connection (to \S+ )?refused|connection attempt failed|I/O error occurred while sending|terminating connection|"
    r"lock timeout|too many (clients|connections)|remaining connection slots|starting up|shutting down|UnknownHost",
    re.I,
)
_PIPES = re.compile(r"No module named 'dagster_pipes'")


def of_job(text: str, *, url: str | None, doing: str, place: dict[str, Any]) -> SyncError:
    """The error of a run that FAILED.

    Args:
        text: what it says. url: the run's page. doing: what it was to do. place: sync and table.
    """
    found = of_statement("", text, doing, place)
    kind, remedy = _kind(text, found)
    where = f" The job's run: {url}" if url else ""
    return kind(f"{found.message.rstrip('.')}.{where}", remedy=remedy, **place)


def _kind(text: str, found: SyncError) -> tuple[type[SyncError], str | None]:
    if _SECRET.search(text):
        return (
            ConfigurationError,
            "Put the password where DATABRICKS_SCOPE says, and let the job's user READ it.",
        )
    if _LOGIN.search(text):
        return ConfigurationError, "Check the secret's password, the user of the connection's URL and pg_hba.conf."
    if _DRIVER.search(text):
        return ConfigurationError, (
            "This compute has no PostgreSQL driver: name a cluster (DATABRICKS_CLUSTER_ID), or a JDBC connection of "
            "Unity Catalog (DATABRICKS_JDBC_CONNECTION)."
        )
    if _PIPES.search(text):
        return ConfigurationError, "Install the library dagster-pipes on the cluster."
    if _SNAPSHOT.search(text):
        return TransientError, "The job must reach the same server as this process, not its standby."
    if _AWAY.search(text):
        return TransientError, "Can the workspace reach PostgreSQL at the host of the connection's URL?"
    return (type(found), found.remedy) if type(found) is not RunError else (RunError, None)
