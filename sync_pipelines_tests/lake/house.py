"""A table in PostgreSQL, a folder of Delta tables, and runs between them without Dagster."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import psycopg2

from sync_pipelines import migrations
from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines.definitions import default_resources
from sync_pipelines.engine import run as engine
from sync_pipelines.engine.model import Counts, Scope
from sync_pipelines.engine.proof import Proof, prove_and_record
from sync_pipelines.engine.run import Binding
from sync_pipelines.sources.postgres.capture import install


def document(**more: Any) -> PostgresToDelta:
    """A table of the shop."""
    source = {"connection": "shop", "table": "item", "key": ["id"], "changed_at": None}
    return PostgresToDelta.model_validate({"sync": "shop", "source": source, "target": {"table": "shop/item"}, **more})


@dataclass
class House:
    """One database and one folder, which the environment names."""

    url: str

    @property
    def resources(self) -> SimpleNamespace:
        return SimpleNamespace(**default_resources())

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.url.replace("+psycopg2", ""))
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def migrate(self) -> None:
        for branch in ("capture", "ledger"):
            migrations.upgrade(self.url, branch=branch)

    def capture(self, table: PostgresToDelta) -> None:
        install(self.url, table.spec, schema="sync")

    def bind(self, table: PostgresToDelta, **more: Any) -> Binding:
        return table.bind(self.resources, **more)

    def sync(self, table: PostgresToDelta, *, mode: str = "incremental", **more: Any) -> Counts:
        """One run, as the asset and the IO manager make it."""
        scope = Scope(full=mode != "incremental")
        request = engine.Request(mode=mode, scope=scope, trigger="manual", run_id=str(uuid.uuid4()))
        return engine.write(engine.open_run(self.bind(table, **more), request))

    def prove(self, table: PostgresToDelta, kind: Any = "quick") -> Proof:
        return prove_and_record(self.bind(table), kind)

    def rows(self, table: PostgresToDelta) -> list[dict[str, Any]]:
        """What stands in the Delta table, by key."""
        import pyarrow as pa
        from deltalake import DeltaTable

        place = self.resources.delta.settings().table(table.target.table)
        found = pa.RecordBatchReader.from_stream(DeltaTable(place).scan()).read_all().to_pylist()
        return sorted(found, key=lambda row: row["_key"] or "")
