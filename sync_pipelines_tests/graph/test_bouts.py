"""One table's consumer, step by step on a clock of its own: whose books are open, and whom it leaves its target to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

import pytest

from sync_pipelines.engine.consuming import _ALIVE_SECONDS, _BACK_SECONDS, BOUT_SECONDS, TableConsumer
from sync_pipelines.engine.dead import DIED
from sync_pipelines.engine.errors import LockLostError
from sync_pipelines.engine.locks import TargetLock
from sync_pipelines_tests.graph.app import Application, concepts
from sync_pipelines_tests.graph.house import Academy

# what Neo4j itself makes of it, its neighbours ask: nodes, types, relationships, proof, conflicts
pytestmark = pytest.mark.spare_where(graph="neo4j")


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def consumers(academy: Academy, clock: Clock) -> Iterator[list[TableConsumer]]:
    """Two consumers of the concepts, on one clock; what they have open is closed at the end."""
    made = [TableConsumer(binding=academy.bind(concepts()), clock=clock) for _ in range(2)]
    with ExitStack() as stack:
        for consumer in made:
            stack.callback(consumer.end)
        yield made


@pytest.fixture
def begun(app: Application, consumers: list[TableConsumer]) -> TableConsumer:
    """The first of them, which has brought c1; its books are open."""
    app.create("c1")
    consumers[0].step()
    return consumers[0]


def test_a_consumer_closes_the_books_of_one_that_was_killed_and_of_no_other(
    academy: Academy, app: Application, clock: Clock, consumers: list[TableConsumer]
) -> None:
    first, second = consumers
    ledger = academy.bind(concepts()).ledger
    app.create("c1")
    first.step()
    app.create("c2")
    second.step()
    living = [record.run_id for record in ledger.open_runs("learning", "concept")]
    assert len(living) == 2
    assert second._run is not None
    for held in (second._run.sign_of_life, second._run.lock):  # as a kill does: sessions end, the books stay open
        held.release()
    second._run = second._changes = second._drain = None
    third = TableConsumer(binding=academy.bind(concepts()), clock=clock)
    app.create("c3")
    third.step()
    third.end()
    assert [record.run_id for record in ledger.open_runs("learning", "concept")] == living[:1]
    dead = ledger.logs("learning", "concept", run_id=living[1])[0]
    assert (dead.status, dead.error) == ("failed", DIED.error)
    assert academy.titles() == ["c0", "c1", "c2", "c3"]


def test_a_consumer_leaves_its_target_to_one_that_waits_but_not_for_ever_to_one_that_never_comes(
    academy: Academy, app: Application, clock: Clock, begun: TableConsumer
) -> None:
    app.create("c2")
    binding = academy.bind(concepts())
    stopped = TargetLock(binding.lock_url, binding.lock_name)
    with ExitStack() as stack:
        stopped._announce(stack)  # its process is stopped before it takes the lock
        seen = []
        for seconds in (0.0, _BACK_SECONDS / 2, _BACK_SECONDS, 0.0):
            clock.now += seconds
            seen.append((begun.step(), begun.busy))
    assert seen == [(0, True), (0, True), (1, False), (0, True)]


def test_a_consumer_that_lost_its_sign_of_life_stops_before_its_books_are_closed_for_it(
    app: Application, clock: Clock, begun: TableConsumer
) -> None:
    assert begun._run is not None
    begun._run.sign_of_life.release()
    app.create("c2")
    clock.now += _ALIVE_SECONDS
    with pytest.raises(LockLostError):
        begun.step()
    assert app.statuses("c2") == ["PENDING"]


def test_the_watermark_of_a_bout_is_of_its_end_for_it_has_read_rows_until_then(
    academy: Academy, app: Application, begun: TableConsumer
) -> None:
    app.create("c2")
    (moment,) = academy.execute("SELECT clock_timestamp()")[0]
    begun.step()
    begun.end()
    found = academy.bind(concepts()).ledger.watermark("learning", "concept")
    assert found is not None
    assert found.taken_at > moment


def test_a_ledger_that_is_older_than_it_was_is_brought_forward_by_one_run(clock: Clock, begun: TableConsumer) -> None:
    begun.end()
    assert begun._seen is not None
    begun._seen += timedelta(days=1)  # the databases were restored
    for _ in range(3):
        clock.now += BOUT_SECONDS
        begun.step()
        begun.end()
    ledger = begun.binding.ledger
    assert len(ledger.logs("learning", "concept", limit=9)) == 3  # the first sync, that of c1, and one more


def test_a_graph_that_is_wiped_under_a_bout_is_filled_anew_by_the_next(
    academy: Academy, app: Application, begun: TableConsumer
) -> None:
    academy.cypher("MATCH (n) DETACH DELETE n")
    app.create("c2")
    begun.step()
    begun.end()
    assert academy.titles() == ["c2"]
    app.create("c3")
    begun.step()
    assert academy.titles() == ["c0", "c1", "c2", "c3"]
