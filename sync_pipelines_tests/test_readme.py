"""What the README says is run: the queries that an operator asks of the ledger."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from sync_pipelines_tests.dagster.world import World

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
QUERIES = dict(re.findall(r"([^\n]+):\n```sql\n(.*?)```", README, re.S))


@pytest.fixture
def lived_in(world: World) -> World:
    """A table with a good run, a failed one, a quarantined record, a pending change and a proof."""
    for key in ("a", "b"):
        world.put(key)
    world.sync()
    world.execute("""ALTER TABLE "Article" ADD COLUMN weight float8""")
    world.prove()
    with world.resources.ledger.ledger() as ledger:
        failed = ledger.begin("knowledge", "article", mode="full", trigger="manual", run_id="r1")
        from sync_pipelines.engine.model import Counts, Rejection

        ledger.quarantine(failed, [Rejection(key="K", reason="NaN has no place", stage="map")], fingerprints={})
        ledger.finish(failed, status="failed", counts=Counts(), error="no route to host")
    world.put("c")
    publish_events(world)
    return world


def publish_events(world: World) -> None:
    """An event in each state, and an entity that is not where it should be."""
    from sync_pipelines.publisher import OutboxPublisher, SyncEvent

    states = ("PENDING", "FAILED", "BLOCKED", "COMPLETED")
    events = [SyncEvent(event_type="CONTENT_UPDATED", entity_type="concept", entity_id=state) for state in states]
    with closing(psycopg2.connect(world.url.replace("+psycopg2", ""))) as connection, connection:
        OutboxPublisher().publish_many(connection, events)
    world.execute(
        "UPDATE sync.sync_event_log SET status = entity_id, published_at = now(), "
        "completed_at = CASE entity_id WHEN 'COMPLETED' THEN now() END"
    )
    world.execute(
        "INSERT INTO sync.sync_status (sync_type, table_name, entity_type, entity_id, has_pending_changes) "
        "VALUES ('learning', 'concept', 'concept', 'FAILED', true)"
    )
    world.execute(
        "INSERT INTO sync.sync_conflicts (sync_type, table_name, record_key, reason, run_id, method, resolved_by) "
        "VALUES ('learning', 'concept', 'c1', 'both', 'r1', 'merge', 'ada')"
    )


def test_the_readme_answers_what_an_operator_asks():
    said = " ".join(QUERIES).lower()
    for asked in (
        "recent history",
        "failed syncs",
        "average duration",
        "pending",
        "quarantine",
        "failed events",
        "seconds by event type",
    ):
        assert asked in said


@pytest.mark.slow
def test_pending_work_is_counted_by_reader(lived_in: World):
    query = next(text for title, text in QUERIES.items() if title.startswith("Pending work"))
    [(reader, pending, oldest, _)] = lived_in.execute(query)
    assert (reader, pending, oldest is not None) == ("shop/article", 1, True)


@pytest.mark.slow
def test_every_query_of_the_readme_runs_and_finds_what_is_there(lived_in: World):
    for title, query in QUERIES.items():
        assert lived_in.execute(query), title
