"""Tables of an academy in PostgreSQL, a graph, and runs between them without Dagster."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from neo4j import GraphDatabase

from sync_pipelines.components.base import SyncComponent
from sync_pipelines.components.outbox_to_neo4j import OutboxToNeo4j
from sync_pipelines.engine import run as engine
from sync_pipelines.engine.model import Counts, Scope
from sync_pipelines.engine.proof import Proof, prove_and_record
from sync_pipelines.engine.repair import Repair, Wanted, repair
from sync_pipelines.engine.run import Binding
from sync_pipelines.sandbox.graph.server import GraphServer
from sync_pipelines.sources.postgres.capture import install
from sync_pipelines_tests.dagster.resources import made_resources
from sync_pipelines_tests.sql import execute

DDL = """
CREATE TABLE concept (
    id text PRIMARY KEY, title text, difficulty int, tags text[], updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE prerequisite (
    concept_id text, requires_id text, weight float8, updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (concept_id, requires_id))
"""


def concept(**more: Any) -> OutboxToNeo4j:
    """The nodes of the label Concept."""
    source = {"connection": "learning", "table": "concept", "key": ["id"], "changed_at": "updated_at"}
    target = {"label": "Concept"}
    return OutboxToNeo4j.model_validate({"sync": "learning", "source": source, "target": target, **more})


def prerequisite(**more: Any) -> OutboxToNeo4j:
    """The relationships of the type PREREQUISITE_OF, between two concepts."""
    source = {"connection": "learning", "table": "prerequisite", "key": ["concept_id", "requires_id"]}
    ends = {name: {"label": "Concept", "key": f"{key}_id"} for name, key in (("start", "requires"), ("end", "concept"))}
    target = {"relationship": "PREREQUISITE_OF", **ends}
    return OutboxToNeo4j.model_validate({"sync": "learning", "source": source, "target": target, **more})


@dataclass
class Academy:
    """One database and one graph, which the environment names."""

    url: str
    server: GraphServer

    @property
    def resources(self) -> SimpleNamespace:
        return made_resources()

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return execute(self.url, statement, *values)

    def cypher(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a statement, as somebody else than the sync gives it to the graph."""
        login = (self.server.user, self.server.password)
        with GraphDatabase.driver(self.server.uri, auth=login, telemetry_disabled=True) as driver:
            found = driver.execute_query(statement, parameters, database_=self.server.database)  # ty: ignore
        return [dict(record) for record in found.records]

    def capture(self, *tables: SyncComponent) -> None:
        for table in tables:
            install(self.url, table.spec, schema="sync")

    def bind(self, table: SyncComponent, **more: Any) -> Binding:
        return table.bind(self.resources, **more)

    def sync(
        self,
        table: SyncComponent,
        *,
        mode: str = "incremental",
        keys: tuple[str, ...] | None = None,
        allow: bool = False,
        **more: Any,
    ) -> Counts:
        """One run, as the asset and the IO manager make it."""
        scope = Scope(full=mode != "incremental", keys=keys)
        request = engine.Request(
            mode=mode, scope=scope, trigger="manual", run_id=str(uuid.uuid4()), allow_mass_delete=allow
        )
        return engine.write(engine.open_run(self.bind(table, **more), request))

    def reason(self, table: SyncComponent) -> str:
        """Why the last run read what it read."""
        return self.bind(table).ledger.logs(table.sync, table.table_name, limit=1)[0].reason or ""

    def prove(self, table: SyncComponent, kind: Any = "quick") -> Proof:
        return prove_and_record(self.bind(table), kind)

    def repair(self, table: SyncComponent, *, deep: bool = False) -> Repair:
        request = engine.Request(mode="repair", scope=Scope(), trigger="manual", run_id=str(uuid.uuid4()))
        return repair(self.bind(table), request, Wanted(deep=deep))

    def quarantined(self, table: SyncComponent) -> dict[str, str]:
        """Why each record of a table is in quarantine."""
        found = self.bind(table).ledger.list_quarantine(table.sync, table.table_name, limit=None)
        return {record.key: record.reason for record in found}

    def node(self, key: str, label: str = "Concept") -> dict[str, Any] | None:
        """A node's properties without the sync's own."""
        found = self.cypher(f"MATCH (n:`{label}` {{sync_key: $key}}) RETURN properties(n) AS p", key=key)
        assert len(found) <= 1
        return {name: value for name, value in found[0]["p"].items() if not name.startswith("sync_")} if found else None

    def titles(self) -> list[str]:
        return [row["t"] for row in self.cypher("MATCH (n:Concept) RETURN n.title AS t ORDER BY t")]

    def arrows(self) -> list[tuple[str, str]]:
        """The relationships, each by the keys of its nodes."""
        text = "MATCH (a)-[r:PREREQUISITE_OF]->(b) RETURN a.sync_key AS a, b.sync_key AS b"
        return sorted((row["a"], row["b"]) for row in self.cypher(text))

    def add(self, *ids: str) -> None:
        """Concepts whose title is their id."""
        for name in ids:
            self.execute("INSERT INTO concept (id, title) VALUES (%s, %s)", name, name)

    def require(self, *pairs: tuple[str, str]) -> None:
        """Prerequisites: the first of each pair is required by the second."""
        for required, name in pairs:
            self.execute("INSERT INTO prerequisite (requires_id, concept_id) VALUES (%s, %s)", required, name)
