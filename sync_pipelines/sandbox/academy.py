"""An academy: its tables (what can be learned, in which order, by which path, and by whom), and its application.

The application changes rows and publishes what it did in one transaction, as yours would.
"""

from __future__ import annotations

from typing import Any

from sync_pipelines.publisher import OutboxPublisher, relationship

CONCEPTS, PATHS, LEARNERS = "concept", "learning_path", "learner"
PREREQUISITES, STEPS, PROGRESS = "concept_prerequisite", "path_concept", "progress"

# Parents before their children. No foreign key has ON DELETE CASCADE but those of what is meaningless alone.
TABLES = {
    CONCEPTS: """
        CREATE TABLE IF NOT EXISTS concept (
            id text PRIMARY KEY,
            title text NOT NULL,
            summary text,
            field text NOT NULL,
            difficulty integer NOT NULL CHECK (difficulty BETWEEN 1 AND 5),
            hours double precision,
            tags text[],
            updated_at timestamptz NOT NULL DEFAULT now()
        )""",
    PATHS: """
        CREATE TABLE IF NOT EXISTS learning_path (
            id text PRIMARY KEY,
            title text NOT NULL,
            goal text,
            level text NOT NULL,
            updated_at timestamptz NOT NULL DEFAULT now()
        )""",
    LEARNERS: """
        CREATE TABLE IF NOT EXISTS learner (
            id uuid PRIMARY KEY,
            name text NOT NULL,
            joined_on date NOT NULL DEFAULT current_date,
            updated_at timestamptz NOT NULL DEFAULT now()
        )""",
    PREREQUISITES: """
        CREATE TABLE IF NOT EXISTS concept_prerequisite (
            concept_id text NOT NULL REFERENCES concept (id) ON DELETE CASCADE,
            requires_id text NOT NULL REFERENCES concept (id) ON DELETE CASCADE,
            strength double precision,
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (concept_id, requires_id)
        );
        CREATE INDEX IF NOT EXISTS concept_prerequisite_requires_id_idx ON concept_prerequisite (requires_id)""",
    STEPS: """
        CREATE TABLE IF NOT EXISTS path_concept (
            path_id text NOT NULL REFERENCES learning_path (id) ON DELETE CASCADE,
            concept_id text NOT NULL REFERENCES concept (id) ON DELETE CASCADE,
            position integer NOT NULL,
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (path_id, concept_id)
        );
        CREATE INDEX IF NOT EXISTS path_concept_concept_id_idx ON path_concept (concept_id)""",
    PROGRESS: """
        CREATE TABLE IF NOT EXISTS progress (
            learner_id uuid NOT NULL REFERENCES learner (id) ON DELETE CASCADE,
            concept_id text NOT NULL REFERENCES concept (id) ON DELETE CASCADE,
            mastery double precision NOT NULL CHECK (mastery BETWEEN 0 AND 1),
            studied_at timestamptz,
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (learner_id, concept_id)
        );
        CREATE INDEX IF NOT EXISTS progress_concept_id_idx ON progress (concept_id)""",
}

FILE = "academy.json"
"""The sample rows, by table."""


class Application:
    """Works on the tables in an open transaction.

    Args:
        cursor: psycopg2's. correlation_id: of all that is published by it.
    """

    def __init__(self, cursor: Any, correlation_id: str | None = None) -> None:
        self._cursor, self._publisher = cursor, OutboxPublisher()
        self._more: dict[str, Any] = {} if correlation_id is None else {"correlation_id": correlation_id}

    def add_concept(self, key: str, title: str, field: str, *, difficulty: int, hours: float) -> None:
        """A concept comes."""
        values = {"id": key, "title": title, "field": field, "difficulty": difficulty, "hours": hours}
        names = ", ".join(values)
        self._cursor.execute(
            f"INSERT INTO concept ({names}) VALUES ({', '.join(['%s'] * len(values))})", (*values.values(),)
        )
        self._publisher.publish_content_created(
            self._cursor, entity_id=key, entity_type="concept", payload=values, **self._more
        )

    def change_concept(self, key: str, **values: Any) -> None:
        """Some of its columns change."""
        for name, value in values.items():
            self._cursor.execute(f"UPDATE concept SET {name} = %s, updated_at = now() WHERE id = %s", (value, key))
        self._publisher.publish_content_updated(
            self._cursor, entity_id=key, entity_type="concept", payload=values, **self._more
        )

    def remove_concept(self, key: str) -> None:
        """A concept goes; its foreign keys take what refers to it along, as its node takes its relationships."""
        self._cursor.execute("DELETE FROM concept WHERE id = %s", (key,))
        self._publisher.publish_content_deleted(self._cursor, entity_id=key, entity_type="concept", **self._more)

    def require(self, required: str, key: str, *, strength: float = 1.0) -> None:
        """The first concept has to be known before the second."""
        self._cursor.execute(
            "INSERT INTO concept_prerequisite (requires_id, concept_id, strength) VALUES (%s, %s, %s)",
            (required, key, strength),
        )
        self._relate("prerequisite_of", ("concept", required), ("concept", key), {"strength": strength})

    def include(self, path: str, key: str, position: int) -> None:
        """A path gets one more concept."""
        self._cursor.execute(
            "INSERT INTO path_concept (path_id, concept_id, position) VALUES (%s, %s, %s)", (path, key, position)
        )
        self._relate("includes", ("learning_path", path), ("concept", key), {"position": position})

    def _relate(
        self, entity_type: str, start: tuple[str, str], end: tuple[str, str], properties: dict[str, Any]
    ) -> None:
        self._publisher.publish_relationship_created(
            self._cursor,
            entity_id=f"{start[1]}-{end[1]}",
            entity_type=entity_type,
            payload=relationship(start=start, end=end, type=entity_type.upper(), properties=properties),
            **self._more,
        )
