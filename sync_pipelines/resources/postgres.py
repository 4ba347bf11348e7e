"""PostgreSQL: sources by name, and the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from sync_pipelines.resources import environment

if TYPE_CHECKING:
    from sync_pipelines.engine.ledger.ledger import Ledger


class PostgresResource(dg.ConfigurableResource):
    """The databases that syncs read. Fields that are left out come from the environment when a run starts."""

    url: str | None = None
    max_connections: int | None = None

    def connection_url(self, connection: str) -> str:
        """The URL of a named connection (`<NAME>_DATABASE_URL`, else `DATABASE_URL`)."""
        return self.url or environment.database_url(connection)

    def pool_max(self) -> int:
        return self.max_connections or environment.pool_max()

    def spool_folder(self) -> Path | None:
        """Where changes are spooled: `SYNC_SPOOL_DIR`, else None for the system's temporary folder."""
        named = environment.value("SYNC_SPOOL_DIR")
        return Path(named) if named else None


class LedgerResource(dg.ConfigurableResource):
    """The sync schema: `SYNC_DATABASE_URL`, else `DATABASE_URL`; `SYNC_SCHEMA` renames it."""

    url: str | None = None
    schema_name: str | None = None

    def database_url(self) -> str:
        return self.url or environment.ledger_url()

    def sync_schema(self) -> str:
        return self.schema_name or environment.sync_schema()

    def ledger(self) -> Ledger:
        """The ledger; it connects when it is first asked."""
        from sync_pipelines.engine.ledger.ledger import Ledger

        return Ledger(self.database_url(), schema=self.sync_schema(), pool_max=environment.pool_max())
