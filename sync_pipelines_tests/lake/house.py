"""A table in PostgreSQL, a folder of Delta tables, and runs between them without Dagster."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from sync_pipelines import migrations
from sync_pipelines.components.base import SyncComponent
from sync_pipelines.components.delta_to_postgres import DeltaToPostgres
from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines.engine import run as engine
from sync_pipelines.engine.model import Counts, Scope
from sync_pipelines.engine.proof import Proof, prove_and_record
from sync_pipelines.engine.run import Binding
from sync_pipelines.engine.usage import Usage
from sync_pipelines.sources.postgres.capture import install
from sync_pipelines.targets.databricks.target import DatabricksTarget
from sync_pipelines_tests.dagster.resources import made_resources
from sync_pipelines_tests.lake.opened import InFolder, InWarehouse, Opened
from sync_pipelines_tests.sql import execute


def document(**more: Any) -> PostgresToDelta:
    """A table of the shop."""
    source = {"connection": "shop", "table": "item", "key": ["id"], "changed_at": None}
    return PostgresToDelta.model_validate({"sync": "shop", "source": source, "target": {"table": "shop/item"}, **more})


def by_spark(**more: Any) -> PostgresToDelta:
    """The same, whose full reads a Spark job makes, however few rows there are."""
    spark = {"rows": 1, "connections": 2, "poll_seconds": 0.2, **more.pop("spark", {})}
    return document(target={"table": "shop/item", "engine": "spark"}, spark=spark, **more)


@dataclass
class House:
    """One database and one folder, which the environment names."""

    url: str

    @property
    def resources(self) -> SimpleNamespace:
        return made_resources()

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return execute(self.url, statement, *values)

    def migrate(self) -> None:
        for branch in ("capture", "ledger"):
            migrations.upgrade(self.url, branch=branch)

    def capture(self, table: SyncComponent) -> None:
        install(self.url, table.spec, schema="sync")

    def bind(self, table: SyncComponent, **more: Any) -> Binding:
        return table.bind(self.resources, **more)

    def sync(
        self, table: SyncComponent, *, mode: str = "incremental", keys: tuple[str, ...] | None = None, **more: Any
    ) -> Counts:
        """One run, as the asset and the IO manager make it."""
        scope = Scope(full=mode != "incremental", stored=mode == "reparse", keys=keys)
        request = engine.Request(mode=mode, scope=scope, trigger="manual", run_id=str(uuid.uuid4()))
        return engine.write(engine.open_run(self.bind(table, **more), request))

    def used(self, table: SyncComponent) -> Usage:
        """What the last run used, as the ledger has it."""
        return self.bind(table).ledger.logs(table.sync, table.table_name, limit=1)[0].usage

    def prove(self, table: SyncComponent, kind: Any = "quick") -> Proof:
        return prove_and_record(self.bind(table), kind)

    def stored_schema(self, table: PostgresToDelta) -> Any:
        """The Delta table's columns in Arrow's plain types."""
        held = self.bind(table).target.held()
        assert held is not None
        return held.columns

    def opened(self, table: PostgresToDelta) -> Opened:
        """The far side of a table, beside the sync."""
        target = self.bind(table).target
        if isinstance(target, DatabricksTarget):
            return InWarehouse(target.warehouse, target.table)
        return InFolder(target.store.uri)

    def rows(self, table: PostgresToDelta) -> list[dict[str, Any]]:
        """What stands in the Delta table, by key."""
        return sorted(self.opened(table).rows(), key=lambda row: row["_key"] or "")


def back(**more: Any) -> DeltaToPostgres:
    """A Delta table of the shop, on its way into PostgreSQL."""
    source = {"table": "shop/review", "key": ["id"], **more.pop("source", {})}
    target = {"connection": "shop", "table": "review"}
    return DeltaToPostgres.model_validate({"sync": "shop", "source": source, "target": target, **more})


@dataclass
class Lake:
    """The Delta table `shop/review` of a house, as something else than a sync writes it."""

    house: House
    name: str = "shop/review"

    @property
    def place(self) -> str:
        return self.house.resources.delta.settings().table(self.name)

    @property
    def table(self) -> DeltaTable:
        return DeltaTable(self.place)

    def write(self, rows: list[dict[str, Any]] | pa.Table, *, mode: Any = "append", feed: bool = True) -> None:
        """Append or overwrite by one commit; the table is made where it is not there."""
        if isinstance(rows, list):
            rows = pa.Table.from_pylist(rows, schema=pa.schema(self.table.schema().to_arrow()) if self.there else None)
        properties = None if self.there else {"delta.enableChangeDataFeed": str(feed).lower()}
        write_deltalake(self.place, rows, mode=mode, configuration=properties)

    @property
    def there(self) -> bool:
        return DeltaTable.is_deltatable(self.place)

    def rows(self) -> list[dict[str, Any]]:
        return InFolder(self.place).rows()

    def merge(self, rows: pa.Table) -> None:
        merging = self.table.merge(rows, "t.id = s.id", source_alias="s", target_alias="t")
        merging.when_matched_update_all().when_not_matched_insert_all().execute()
