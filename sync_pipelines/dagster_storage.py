"""One dagster.yaml for both storages: SQLite by default, PostgreSQL where DAGSTER_POSTGRES_URL is set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

VARIABLE = "DAGSTER_POSTGRES_URL"
FALLBACK = ".dagster_home"


class SyncPipelinesStorage(DagsterStorage, ConfigurableClass):
    """A choice, not a storage: `from_config_value` returns the real one."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        """PostgreSQL's storage for the variable's URL, else SQLite's below DAGSTER_HOME.

        Raises:
            ConfigurationError: DAGSTER_HOME is a relative path, where SQLite is to stand.
        """
        if url := os.environ.get(VARIABLE, "").strip():
            return _postgres(url, inst_data)
        return DagsterSqliteStorage.from_local(_home(), inst_data)


def _postgres(url: str, inst_data: ConfigurableClassData | None) -> DagsterStorage:
    from dagster_postgres import DagsterPostgresStorage

    from sync_pipelines.engine.urls import normalise_url

    # SQLAlchemy 2.1 takes postgresql:// for psycopg 3, which is not installed
    return DagsterPostgresStorage(postgres_url=normalise_url(url, name=VARIABLE).sqlalchemy, inst_data=inst_data)


def _home() -> str:
    """DAGSTER_HOME; without one (`dg list defs` in a fresh checkout), a folder of the current directory.

    Every process of a command has the same current directory, so that they meet there; a temporary folder a
    process would part them.
    """
    from sync_pipelines.engine.errors import ConfigurationError

    home = os.environ.get("DAGSTER_HOME", "").strip() or os.path.abspath(FALLBACK)
    if not os.path.isabs(home):
        raise ConfigurationError(
            f"DAGSTER_HOME is {home!r}, not an absolute path.",
            remedy=f"Set it to an absolute path, or set {VARIABLE}.",
        )
    return home
