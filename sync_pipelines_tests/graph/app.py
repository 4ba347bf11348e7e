"""An application of the academy: each change and its event in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

from sync_pipelines.components.outbox_to_neo4j import OutboxToNeo4j
from sync_pipelines_tests.graph.house import concept, prerequisite


def concepts(**more: Any) -> OutboxToNeo4j:
    """The nodes of the label Concept, by events."""
    return concept(events="outbox", **more)


def prerequisites(**more: Any) -> OutboxToNeo4j:
    """The relationships of the type PREREQUISITE_OF, by events."""
    return prerequisite(events="outbox", **more)


class Application:
    """Works on the tables; each method is one transaction unless it is given an open one."""

    def __init__(self, url: str) -> None:
        self.url = url.replace("+psycopg2", "")

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        with closing(psycopg2.connect(self.url)) as connection, connection, connection.cursor() as cursor:
            yield cursor

    def create(self, *ids: str, title: str | None = None) -> None:
        with self.transaction() as cursor:
            for name in ids:
                cursor.execute("INSERT INTO concept (id, title) VALUES (%s, %s)", (name, title or name))
                publish(cursor, "CONTENT_CREATED", "concept", name, {"id": name, "title": title or name})

    def update(self, name: str, **values: Any) -> None:
        with self.transaction() as cursor:
            change(cursor, name, **values)

    def delete(self, *ids: str) -> None:
        with self.transaction() as cursor:
            for name in ids:
                cursor.execute("DELETE FROM concept WHERE id = %s", (name,))
                publish(cursor, "CONTENT_DELETED", "concept", name)

    def require(self, *pairs: tuple[str, str]) -> None:
        """The first of each pair is required by the second; the event is known by its ends."""
        with self.transaction() as cursor:
            for required, name in pairs:
                values = (required, name)
                cursor.execute("INSERT INTO prerequisite (requires_id, concept_id) VALUES (%s, %s)", values)
                ends = {"start": {"type": "concept", "id": required}, "end": {"type": "concept", "id": name}}
                payload = {"type": "PREREQUISITE_OF", "properties": {}, **ends}
                publish(cursor, "RELATIONSHIP_CREATED", "prerequisite_of", f"{required}-{name}", payload)

    def publish(self, event_type: str, name: str, payload: dict[str, Any] | None = None, **more: Any) -> None:
        """An event alone."""
        with self.transaction() as cursor:
            publish(cursor, event_type, "concept", name, payload, **more)

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.transaction() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def events(self, columns: str = "entity_id, source_version, status") -> list[tuple[Any, ...]]:
        return self.run(f"SELECT {columns} FROM sync.sync_event_log ORDER BY entity_type, entity_id, source_version")

    def statuses(self, name: str) -> list[str]:
        """Of one entity's events, by version."""
        return [status for entity, _, status in self.events() if entity == name]

    def again(self, name: str, version: int) -> None:
        """An event comes once more."""
        self.run(
            "UPDATE sync.sync_event_log SET status = 'PENDING', completed_at = NULL "
            "WHERE entity_id = %s AND source_version = %s",
            name,
            version,
        )


def change(cursor: Any, name: str, **values: Any) -> None:
    """Change a concept, and publish the change as a patch, in an open transaction."""
    for column, value in values.items():
        cursor.execute(f"UPDATE concept SET {column} = %s WHERE id = %s", (value, name))
    publish(cursor, "CONTENT_UPDATED", "concept", name, values)


def publish(
    cursor: Any, event_type: str, entity_type: str, name: str, payload: dict[str, Any] | None = None, **more: Any
) -> None:
    given = ", ".join(f"{argument} => %({argument})s" for argument in more)
    cursor.execute(
        f"SELECT sync.publish_event(%(type)s, %(entity)s, %(id)s, %(payload)s::jsonb{', ' + given if given else ''})",
        {"type": event_type, "entity": entity_type, "id": name, "payload": json.dumps(payload or {}), **more},
    )
