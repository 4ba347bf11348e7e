"""The ground under the ledger's books: one bounded pool, one way to try again, one way to fail."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

import sqlalchemy as sa
import tenacity
from sqlalchemy import event
from sqlalchemy.util import LRUCache

from sync_pipelines.engine.database import make_engine, place, with_connect_timeout
from sync_pipelines.engine.errors import RunError, TransientError, redact
from sync_pipelines.engine.ledger.tables import REVISION, tables_of
from sync_pipelines.engine.pg_errors import classified

T = TypeVar("T")

REASON_CHARACTERS = 2_000
ERROR_CHARACTERS = 4_000

_COMPILED: LRUCache[Any, Any] = LRUCache(500)
"""Statements as text, for every ledger of this process: a run opens several, and each would compile its own."""

_NOW = sa.select(sa.func.clock_timestamp())

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")

# Nothing of the ledger may wait for ever behind somebody's lock; a migration is the only one that takes long.
_LOCK_TIMEOUT = "SET lock_timeout = '30s'"


class Store:
    """The ledger's database.

    Args:
        url: `SYNC_DATABASE_URL`, in any form of a PostgreSQL URL.
        schema: where the tables stand.
        pool_max: the most connections at once; none is opened before the first question.
        attempts: how often one transaction is tried while the database is out of reach; 8 wait 20 s in all.
        give_up_after: seconds after which no further try begins, however few there were.
        connect_seconds: how long one try waits for an address that does not answer; what the URL says wins.
        sleep, clock: for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str = "sync",
        pool_max: int = 10,
        attempts: int = 8,
        give_up_after: float = 60.0,
        connect_seconds: int | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url, self.schema = url, schema
        self._tables = tables_of(schema)
        self._place = place(url)
        given = url if connect_seconds is None else with_connect_timeout(url, connect_seconds)
        self._engine = make_engine(given, pool_max=pool_max, application_name="sync-pipelines ledger")
        self._engine.update_execution_options(compiled_cache=_COMPILED)
        event.listen(self._engine, "connect", _on_connect)
        self._clock = clock
        self._checked = False
        self._retrying = tenacity.Retrying(
            # A lost or busy lock is transient for a run, but asking the ledger again does not bring it back.
            retry=tenacity.retry_if_exception(lambda error: type(error) is TransientError),
            stop=tenacity.stop_after_attempt(attempts) | tenacity.stop_after_delay(give_up_after),
            wait=tenacity.wait_exponential(multiplier=0.2, max=8.0) + tenacity.wait_random(0.0, 0.1),
            sleep=sleep,
            reraise=True,
        )

    def check(self) -> None:
        """Insist that the tables are those of this version; asked once, then remembered.

        Raises:
            MigrationDueError: they are missing or older; the sentence names the remedy.
        """
        if not self._checked and not self._is_current():
            from sync_pipelines import migrations

            found = self._transaction(lambda connection: migrations.revision_of(connection, "ledger", self.schema))
            migrations.require(found, url=self.url, branch="ledger", schema=self.schema)
        self._checked = True

    def now(self) -> datetime:
        """The time of the ledger's database, by which its books are kept, whatever this machine's clock says."""
        return utc(self._transaction(lambda connection: connection.execute(_NOW).scalar_one()))

    def _is_current(self) -> bool:
        """Whether the tables are at `REVISION`, asked without Alembic: importing it and all revisions takes 0.4 s."""
        noted = sa.select(sa.column("version_num")).select_from(sa.table("alembic_version_ledger", schema=self.schema))
        try:
            return self._transaction(lambda connection: connection.execute(noted).scalars().all()) == [REVISION]
        except RunError:  # no such table, or no right to it: Alembic says what is the matter
            return False

    def dispose(self) -> None:
        """Close every connection; the next question opens new ones."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.dispose()

    def _transaction(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in one transaction, again after an outage: it may run twice, so it must bear that.

        Raises:
            TransientError: the database stayed out of reach.
            MigrationDueError: a table or column is not there.
            RunError: the database refuses for a reason that waiting does not mend.
        """
        return self._retrying(self._once, work)

    def _once(self, work: Callable[[sa.Connection], T]) -> T:
        with (
            classified(database=self._place, sync_schema=self.schema, only_ours=True),
            self._engine.begin() as connection,
        ):
            return work(connection)


def storable(text: str, limit: int) -> str:
    """`text` without secrets, in at most `limit` characters, all of which PostgreSQL can hold.

    Redacted before it is cut: half a secret matches no pattern.
    """
    clean = _UNSTORABLE.sub(lambda match: f"\\u{ord(match.group()):04x}", redact(text))
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def utc(moment: datetime) -> datetime:
    """A timestamptz as the driver gives it, in the session's zone, as UTC."""
    return moment.astimezone(UTC)


def utc_or_none(moment: datetime | None) -> datetime | None:
    """`utc` of a column that may be null."""
    return None if moment is None else utc(moment)


def _on_connect(connection, _record) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_TIMEOUT)
    connection.commit()
