"""What publishing costs an application in its transaction, with an outbox that holds many events already."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from statistics import median
from typing import Any

import psycopg2

from benchmarks.results import Result, figure, ratio
from benchmarks.stage import Stage
from benchmarks.timing import Way, in_turn, percentile, timed, times
from sync_pipelines.publisher import OutboxPublisher, SyncEvent
from sync_pipelines.sandbox.folders import temporary_folder
from sync_pipelines.sandbox.postgres import PostgresServer

NAME = "publishing"

_TRANSACTIONS = 300
_MANY = 1_000
_ENTITIES = 10_000
_PAYLOAD = {"title": "Fractions", "difficulty": 3, "tags": ["numbers", "school"], "summary": "Parts of a whole. " * 10}

_DDL = f"""
CREATE TABLE concept (id text PRIMARY KEY, title text NOT NULL, opened int NOT NULL DEFAULT 0);
INSERT INTO concept SELECT 'c' || n, 'Fractions' FROM generate_series(1, {_ENTITIES}) AS n
"""
_HELD = """
INSERT INTO sync.sync_event_log (event_id, correlation_id, event_type, entity_type, entity_id, payload, source_version)
SELECT gen_random_uuid(), gen_random_uuid(), 'CONTENT_UPDATED', 'lesson', mod(n, 100000), '{"title": "Fractions"}', n
FROM generate_series(1, %s) AS n
"""


@dataclass
class _Application:
    """Changes concepts one by one, each in a transaction of its own; `cost` is of each call of the publisher, in ms."""

    url: str
    held: int
    publisher: OutboxPublisher = field(default_factory=OutboxPublisher)
    cost: list[float] = field(default_factory=list)
    numbers: Any = field(default_factory=count)

    def make(self) -> None:
        from sync_pipelines import migrations

        migrations.upgrade(self.url, branch="capture")
        with self.connect() as connection, closing(connection.cursor()) as cursor:
            cursor.execute(_DDL)
            cursor.execute(_HELD, (self.held,))
            connection.commit()
            connection.autocommit = True
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")

    def connect(self) -> Any:
        return closing(psycopg2.connect(self.url.replace("+psycopg2", "")))

    def changes(self, *, publish: bool) -> Way:
        """Seconds of some transactions on one connection."""

        def measure() -> float:
            with self.connect() as connection:
                return timed(lambda: [self._change(connection, publish=publish) for _ in range(_TRANSACTIONS)])

        return measure

    def _change(self, connection: Any, *, publish: bool) -> None:
        key = f"c{1 + next(self.numbers) * 7919 % _ENTITIES}"
        with closing(connection.cursor()) as cursor:
            cursor.execute("UPDATE concept SET opened = opened + 1 WHERE id = %s", (key,))
        if publish:
            call = lambda: self.publisher.publish_content_updated(  # noqa: E731
                connection, entity_type="concept", entity_id=key, payload=_PAYLOAD
            )
            self.cost.append(timed(call) * 1_000)
        connection.commit()

    def many(self) -> float:
        """Milliseconds an event of `publish_many`."""
        events = [
            SyncEvent(event_type="CONTENT_UPDATED", entity_type="concept", entity_id=f"c{n}", payload=_PAYLOAD)
            for n in range(1, _MANY + 1)
        ]
        with self.connect() as connection:
            seconds = timed(lambda: self.publisher.publish_many(connection, events))
            connection.commit()
        return seconds * 1_000 / _MANY


def run(stage: Stage, *, quick: bool) -> Result:
    """On a server with fsync, as in production: what the call takes, and what the whole transaction does."""
    held, rounds = (100_000, 3) if quick else (1_000_000, 5)
    with temporary_folder() as folder, PostgresServer(folder / "durable") as server:
        server.create_database("outbox")
        application = _Application(server.url("outbox"), held)
        application.make()
        # the first of all reads the catalog
        application.changes(publish=True)()
        application.cost.clear()
        seconds = in_turn(rounds, application.changes(publish=True), application.changes(publish=False))
        many = median(application.many() for _ in range(rounds))
    each = [median(found) * 1_000 / _TRANSACTIONS for found in seconds]
    return Result(
        name=NAME,
        compares=f"transactions that change a row and publish it, against some that only change; {held:,} events wait",
        figures=(
            figure("a call of the publisher, median", median(application.cost), "ms", at_most=1.0),
            figure("a call of the publisher, 95th percentile", percentile(application.cost, 95), "ms"),
            ratio("a transaction, with / without publishing", times(*seconds)),
            figure("a transaction that publishes", each[0], "ms"),
            figure("a transaction that does not", each[1], "ms"),
            figure(f"publish_many of {_MANY:,} events, each", many, "ms"),
        ),
        notes=("psycopg2 over TCP on this machine; a payload of about 300 bytes; fsync on.",),
    )
