"""Beside the matrix: a server that comes back, a restart in a run, a poison record. Nothing false is confirmed."""

from __future__ import annotations

import threading
import time

import pytest

from sync_pipelines.engine import run as engine
from sync_pipelines.engine.errors import TransientError
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.ledger.store import Store
from sync_pipelines.engine.model import Scope
from sync_pipelines.registry import BoundTable
from sync_pipelines.sandbox.chroma import ChromaServer
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.faults.boundaries import at, bend
from sync_pipelines_tests.faults.equality import assert_equal, items
from sync_pipelines_tests.faults.writers import fill
from sync_pipelines_tests.spare import spare


@pytest.fixture
def shop(world: World) -> World:
    """Fifty synced articles in batches of ten; then thirty come, ten change, five go."""
    world.component = article(runs={"batch_size": 10})
    fill(world, 50)
    world.sync()
    world.execute("""INSERT INTO "Article" SELECT 'n' || n, '{"en": "new"}', 'body of n' || n, 1
                     FROM generate_series(10, 39) n""")
    world.execute("""UPDATE "Article" SET body = 'changed ' || id WHERE id < 'k0010'""")
    world.execute("""DELETE FROM "Article" WHERE id BETWEEN 'k0045' AND 'k0050'""")
    return world


def texts(world: World) -> set[tuple[str, str]]:
    return {(key, document) for key, document, _, _ in items(world.collection)}


@pytest.mark.slow
def test_chroma_that_comes_back_in_time_is_waited_for_by_the_same_run(
    shop: World, chroma_server: ChromaServer, monkeypatch: pytest.MonkeyPatch
):
    def away_for_a_moment() -> None:
        chroma_server.kill()
        threading.Thread(target=lambda: (time.sleep(1), chroma_server.start())).start()

    bend(at("heads", 2, away_for_a_moment), monkeypatch.setattr)
    assert shop.sync().embedded_texts == 40
    assert len(shop.logs()) == 2
    assert_equal(shop)


@pytest.mark.slow
@pytest.mark.parametrize(
    "boundary",
    [*spare(("opened", 1), ("before delete", 1), ("confirmed", 1)), ("heads", 2), ("before confirm", 1)],
)
@pytest.mark.spare_where(boundary=("heads", 2))
def test_a_restart_of_postgres_in_a_run_never_confirms_what_is_not_written(
    shop: World, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, boundary: tuple[str, int]
):
    name, number = boundary
    bend(at(name, number, postgres_server.restart), monkeypatch.setattr)
    assert shop.sync().read in (0, 40)
    first = shop.logs()[-2]
    assert first.status == ("completed" if name == "confirmed" else "failed")
    assert first.status == "completed" or "was lost" in first.error
    assert sum(run.counts.embedded_texts for run in shop.logs()[:-1]) == 40
    assert_equal(shop)


@pytest.mark.slow
def test_a_killed_postgres_that_stays_away_fails_the_run_and_the_next_one_goes_on(
    shop: World, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
):
    before = shop.watermark()
    with monkeypatch.context() as patch:
        patch.setitem(Store.__init__.__kwdefaults__, "attempts", 2)
        bend(at("heads", 2, postgres_server.kill), patch.setattr)
        result = shop.materialize(raises=False)
    assert not result.success
    stored = texts(shop)
    postgres_server.start()
    assert shop.watermark() == before
    assert shop.sync().embedded_texts == len(texts(shop) - stored)
    assert {run.status for run in shop.logs()[1:-1]} == {"failed"}
    assert_equal(shop)


@pytest.mark.slow
@pytest.mark.parametrize("boundary", ["embedded", "progress"])
def test_a_run_that_fails_leaves_no_thread_while_its_error_is_held(
    shop: World, monkeypatch: pytest.MonkeyPatch, boundary: str
):
    """A generator that waits for a thread may not be left to the garbage collector.

    It collected one within `Thread.start` of the next try, which holds the lock that joining the old thread needs:
    the process hung for ever, and all the locks of its run with it.
    """

    def fail(*_: object, **__: object) -> None:
        raise TransientError("away")

    if boundary == "progress":
        monkeypatch.setattr(Ledger, "progress", fail)
    else:
        bend(at(boundary, 2, fail), monkeypatch.setattr)
    binding = BoundTable(shop.component, shop.resources).binding()
    request = engine.Request(mode="incremental", scope=Scope(), trigger="test", run_id="fails")
    with pytest.raises(TransientError, match="away") as caught:
        engine.write(engine.open_run(binding, request))
    assert caught.traceback
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")] == []


POISON = {
    "endless": """UPDATE "Article" SET "updatedAt" = 'infinity' WHERE id = 'endless'""",
    "nan": """UPDATE "Article" SET price = 'NaN' WHERE id = 'nan'""",
    "nul": """UPDATE "Article" SET raw = '{"en": "a \\u0000 inside"}' WHERE id = 'nul'""",
}


@pytest.mark.parametrize("mode", ["incremental", pytest.param("full", marks=pytest.mark.slow)])
@pytest.mark.spare_where(mode="full")
def test_poison_in_the_middle_of_a_batch_stops_itself_alone(world: World, mode: str):
    world.execute("""ALTER TABLE "Article" ADD price double precision, ADD raw json""")
    world.component = article(text=["title", "body", "raw"], metadata=["stock", "price"], runs={"batch_size": 10})
    world.sync()
    fill(world, 24)
    for key, poison in POISON.items():
        world.put(key)
        world.execute(poison)
    counts = world.sync(mode=mode)
    assert (counts.upserted, counts.quarantined, counts.deleted) == (24, 3, 0)
    assert len(world.stored()) == 24
    with world.resources.ledger.ledger() as ledger:
        reasons = {record.key: record.reason for record in ledger.list_quarantine("shop", "article")}
    assert reasons.keys() == POISON.keys()
    assert "infinite" in reasons["endless"]
    assert "'price': nan" in reasons["nan"]
    assert "NUL" in reasons["nul"]
    proof = world.prove()
    assert (proof.equal, proof.quarantined, proof.source_count) == (True, 3, 27)
    world.execute("""UPDATE "Article" SET "updatedAt" = now(), price = 1, raw = '{}' WHERE id IN ('nan', 'nul')""")
    world.execute("""DELETE FROM "Article" WHERE id = 'endless'""")
    assert world.sync(mode=mode).upserted == 2
    assert world.prove().quarantined == 0
    assert world.prove().equal
