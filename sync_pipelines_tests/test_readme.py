"""What the README says is run: the queries that an operator asks of the ledger."""

from __future__ import annotations

import re
from pathlib import Path

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
    return world


def test_the_readme_answers_what_an_operator_asks():
    said = " ".join(QUERIES).lower()
    for asked in ("recent history", "failed syncs", "average duration", "pending", "quarantine"):
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
