"""Which Databricks workspace, warehouse and schema, and how to reach them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from sync_pipelines.engine.errors import ConfigurationError

_PATH = re.compile(r"/?sql/(?:protocolv1/o/\d+/|1\.0/(?:endpoints|warehouses)/)(?P<id>[\w-]+)/?")
_SCHEME = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class WarehouseSettings:
    """A SQL warehouse and the schema in which tables stand. `repr` shows no secret.

    Args:
        host: the workspace's address; None: as the environment says. token: a personal access
            token; None: whatever else the SDK finds (`DATABRICKS_CLIENT_ID`, `~/.databrickscfg`, a cloud's own login).
        warehouse: the warehouse's id. catalog, schema: where a table stands whose name has no other.
        volume: the folder of a Volume for staged files (`/Volumes/main/voyce/staging`).
    """

    host: str | None
    token: str | None = field(default=None, repr=False)
    warehouse: str
    catalog: str = "main"
    schema: str = "voyce"
    volume: str

    def client(self) -> Any:
        """A client of the workspace, from dagster-databricks; it connects when it is first asked."""
        from dagster_databricks import DatabricksClientResource
        from databricks.sdk.core import DefaultCredentials

        from sync_pipelines.targets.databricks.profile import login_of

        resource = (
            DatabricksClientResource(host=self.host, token=self.token)
            if self.token
            else DatabricksClientResource(host=self.host, credentials_strategy=DefaultCredentials())
        )
        try:
            return resource.get_client().workspace_client
        except ValueError as error:
            if not self.token and self.host and (login := login_of(self.host)):
                found: Any = login
                resource = DatabricksClientResource(host=self.host, credentials_strategy=found)
                return resource.get_client().workspace_client
            raise ConfigurationError(
                f"Databricks: there are no credentials that fit: {error}.",
                remedy="Set DATABRICKS_HOST and DATABRICKS_TOKEN, or write a profile [DEFAULT] of that host in "
                "~/.databrickscfg.",
            ) from error

    def table(self, name: str) -> TableName:
        """A table's full name: `a/b` is table b; `b`, `schema.b` and `catalog.schema.b` are what they say.

        Raises:
            ConfigurationError: the name has more parts.
        """
        parts = name.rpartition("/")[2].split(".")
        if len(parts) > 3 or not all(parts):
            raise ConfigurationError(f"target.table: {name!r} is no table of Databricks.")
        return TableName(*[self.catalog, self.schema][: 3 - len(parts)], *parts)


@dataclass(frozen=True)
class TableName:
    """Catalog, schema and table, as they are written without quotes."""

    catalog: str
    schema: str
    table: str

    def __str__(self) -> str:
        return ".".join((self.catalog, self.schema, self.table))

    @property
    def sql(self) -> str:
        """The name in a statement."""
        return ".".join(map(quoted, (self.catalog, self.schema, self.table)))

    def beside(self, suffix: str) -> TableName:
        """The table of the same schema whose name ends with a suffix, too."""
        return replace(self, table=self.table + suffix)


def quoted(name: str) -> str:
    """An identifier in a statement."""
    return "`" + name.replace("`", "``") + "`"


def address(host: str) -> str:
    """A workspace's address: `https://` is added where a bare host name is given."""
    bare = host.strip().rstrip("/")
    return bare if _SCHEME.match(bare) else f"https://{bare}"


def warehouse_of(path: str) -> str:
    """The warehouse's id in an HTTP path (`/sql/1.0/warehouses/abc`), or an id as it is.

    Raises:
        ConfigurationError: it is neither.
    """
    if found := _PATH.fullmatch(path.strip()):
        return found["id"]
    if re.fullmatch(r"[\w-]+", path.strip()):
        return path.strip()
    raise ConfigurationError(
        f"DATABRICKS_HTTP_PATH: {path!r} names no warehouse.", remedy="Write it like /sql/1.0/warehouses/1234abcd."
    )
