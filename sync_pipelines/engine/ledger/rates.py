"""Rates that several processes share: a row each, which is locked while slots of time are taken from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from sync_pipelines.engine.ledger.store import Store
from sync_pipelines.engine.rates import Change, RateState
from sync_pipelines.engine.sql import qualified

T = TypeVar("T")

# The clock is read behind the lock: who waited for it must not begin in the past.
_LOCK = """
SELECT next_at, slowdown, slowed_at, clock_timestamp() AS now
FROM (SELECT * FROM {rates} WHERE rate_name = :name FOR UPDATE) AS mine
"""
_MAKE = "INSERT INTO {rates} (rate_name) VALUES (:name) ON CONFLICT DO NOTHING"
_KEEP = """
UPDATE {rates} SET next_at = :next_at, slowdown = :slowdown, slowed_at = :slowed_at, updated_at = :now
WHERE rate_name = :name
"""


class RateBook(Store):
    """Who may send when, to each API that is asked with one key."""

    def change_shared_rate(self, name: str, change: Change[T]) -> T:
        """Change the state of a rate while no other process does.

        The transaction may run twice after an outage: a block is lost then, and no slot is handed out twice.

        Args:
            name: names the API and the key, without telling either's secret.
        """
        return self._transaction(lambda connection: self._changed(connection, name, change))

    def _changed(self, connection: sa.Connection, name: str, change: Change[T]) -> T:
        row = self._locked(connection, name)
        state, given = change(_state(row), row.now.timestamp())
        values = {"next_at": _moment(state.next_at), "slowdown": state.slowdown, "slowed_at": _moment(state.slowed_at)}
        connection.execute(self._text(_KEEP), {**values, "now": row.now, "name": name})
        return given

    def _locked(self, connection: sa.Connection, name: str) -> Any:
        row = connection.execute(self._text(_LOCK), {"name": name}).one_or_none()
        if row is None:
            connection.execute(self._text(_MAKE), {"name": name})
            row = connection.execute(self._text(_LOCK), {"name": name}).one()
        return row

    def _text(self, statement: str) -> sa.TextClause:
        return sa.text(statement.format(rates=qualified(self.schema, "sync_rates").replace(":", "\\:")))


@dataclass(frozen=True)
class SharedRate:
    """One rate of a ledger, as `engine.rates.RateKeeper`."""

    book: RateBook
    name: str

    def change_rate(self, change: Change[T]) -> T:
        """Change the state while nobody else does.

        Raises:
            TransientError, RunError: the ledger's database is out of reach, or refuses.
        """
        return self.book.change_shared_rate(self.name, change)


def _state(row: Any) -> RateState:
    return RateState(next_at=row.next_at.timestamp(), slowdown=row.slowdown, slowed_at=row.slowed_at.timestamp())


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
