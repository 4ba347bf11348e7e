"""PostgreSQL: sources by name, and the ledger."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field, PrivateAttr

from sync_pipelines.engine.errors import SyncError
from sync_pipelines.resources import environment

if TYPE_CHECKING:
    from sync_pipelines.engine.held import Held
    from sync_pipelines.engine.ledger.ledger import Ledger

_log = logging.getLogger(__name__)

_IMPATIENT_CONNECT_SECONDS = 5
"""Of an address that swallows packets; time for two lost ones (TCP sends again after 1 s and after 3 s)."""


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
    """The sync schema: `SYNC_DATABASE_URL`, else `DATABASE_URL`; `SYNC_SCHEMA` renames it.

    It also keeps the runs that are opened in a step. Dagster delays an interrupt that comes between the asset's
    return and the IO manager's start, and then calls neither; but it always tears resources down.
    """

    url: str | None = None
    schema_name: str | None = None
    patient: bool = Field(
        default=True, description="Wait out a restart of the database; commands answer at once instead."
    )
    _kept: list[Held] = PrivateAttr(default_factory=list)

    def keep(self, run: Held) -> None:
        """Close this run at the end of the Dagster run, unless somebody did before."""
        self._kept.append(run)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        error = sys.exc_info()[1]  # what ends the Dagster run, if not its end: it decides between failed and cancelled
        while self._kept:
            try:
                self._kept.pop().close(error)
            except SyncError as unclosed:
                _log.warning("A run's books could not be closed; the next run does it: %s", unclosed)

    def database_url(self) -> str:
        return self.url or environment.ledger_url()

    def sync_schema(self) -> str:
        if self.schema_name:
            return environment.schema_name(self.schema_name, name="schema_name of the ledger")
        return environment.sync_schema()

    def ledger(self, *, patient: bool | None = None) -> Ledger:
        """The ledger; it connects when it is first asked. `patient` is that of the resource if left out."""
        from sync_pipelines.engine.ledger.ledger import Ledger

        pool_max = environment.pool_max()
        if self.patient if patient is None else patient:
            return Ledger(self.database_url(), schema=self.sync_schema(), pool_max=pool_max)
        return Ledger(
            self.database_url(),
            schema=self.sync_schema(),
            pool_max=pool_max,
            attempts=1,
            connect_seconds=_IMPATIENT_CONNECT_SECONDS,
        )
