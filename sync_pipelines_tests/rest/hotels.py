"""The sync `hotels` in a database of its own, beside a stand-in of Cupid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from sync_pipelines import migrations
from sync_pipelines.components.rest_to_postgres import RestToPostgres
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.model import Counts
from sync_pipelines.engine.proof import Proof
from sync_pipelines.sandbox.cupid.api import Cupid
from sync_pipelines_tests.lake.house import House

TABLES = ("properties", "reviews", "translations")


@cache
def documents() -> dict[str, RestToPostgres]:
    """The documents that ship, by table."""
    from sync_pipelines.definitions import load

    return {item.table_name: item for item in load()[1] if isinstance(item, RestToPostgres) and item.sync == "hotels"}


def migrate(url: str) -> None:
    """The ledger, and the tables of hotels."""
    migrations.upgrade(url, branch="ledger")
    migrations.upgrade(url, branch="hotels", schema="public")


@dataclass
class Hotels:
    """The documents, a database and an API."""

    house: House
    cupid: Cupid

    def ask_for(self, *ids: int | str) -> None:
        """Name hotels that are to be synced."""
        self.execute("INSERT INTO property_ids (hotel_id) SELECT unnest(%s::bigint[])", [int(key) for key in ids])

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.house.execute(statement, *values)

    def sync(self, table: str = "properties", **more: Any) -> Counts:
        return self.house.sync(documents()[table], **more)

    def prove(self, table: str = "properties", kind: str = "quick") -> Proof:
        return self.house.prove(documents()[table], kind)

    @property
    def ledger(self) -> Ledger:
        return self.house.bind(documents()["properties"]).ledger

    def quarantine(self, table: str = "properties") -> dict[str, str]:
        """Key → reason."""
        return {item.key: item.reason for item in self.ledger.list_quarantine("hotels", table, limit=None)}
