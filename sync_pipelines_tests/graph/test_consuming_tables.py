"""The long-running consumer of tables whose triggers tell what changed, since their application cannot publish."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from sync_pipelines.automation import read_facts
from sync_pipelines.consumer import _Consumer
from sync_pipelines.decide import Skip, decide
from sync_pipelines.definitions import default_resources
from sync_pipelines.engine.consuming import _BACK_SECONDS, BOUT_SECONDS, Bout
from sync_pipelines.engine.consuming_log import LogConsumer
from sync_pipelines.engine.locks import TargetLock
from sync_pipelines.engine.model import Counts, Pending
from sync_pipelines_tests.dagster.homes import fresh_home
from sync_pipelines_tests.dagster.test_ground import restored_afterwards
from sync_pipelines_tests.graph.app import Application
from sync_pipelines_tests.graph.house import Academy, concept, prerequisite
from sync_pipelines_tests.graph.test_bouts import Clock
from sync_pipelines_tests.graph.test_consuming import consumer, until

pytestmark = pytest.mark.slow


@pytest.fixture
def app(academy: Academy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Application:
    """An application that publishes nothing; the documents of its two tables, whose triggers are there."""
    monkeypatch.setattr("sync_pipelines.definitions.load", lambda: (None, (prerequisite(), concept())))
    monkeypatch.setenv("DAGSTER_HOME", str(fresh_home(tmp_path / "dagster")))
    academy.capture(concept(), prerequisite())
    return Application(academy.url)


def test_what_triggers_have_logged_arrives_without_an_event_and_is_told_once_a_minute(
    academy: Academy, app: Application
) -> None:
    resources, began = SimpleNamespace(**default_resources()), time.monotonic()
    with consumer(app, poll_interval=0.2):
        academy.require(("c1", "c2"))
        academy.add("c1", "gone")
        until(lambda: academy.titles() == ["c1", "gone"])
        academy.add("c2")
        until(lambda: academy.arrows() == [("c1", "c2")])
        academy.execute("UPDATE concept SET title = 'first' WHERE id = 'c1'; DELETE FROM concept WHERE id = 'gone'")
        until(lambda: academy.titles() == ["c2", "first"])
        with dg.DagsterInstance.ephemeral() as instance:
            academy.add("c3")
            decided = decide(read_facts(concept(), resources, instance))
        assert isinstance(decided, Skip)
        assert "a consumer brings what changes (`sync-pipelines consume learning`)" in decided.reason
        # it knows no document that came after it began: that one's sensor does not rest
        assert concept(name="later", target={"label": "Later"}).not_watched(resources) is None
        until(lambda: "c3" in academy.titles())
        academy.execute("TRUNCATE prerequisite; INSERT INTO prerequisite (requires_id, concept_id) VALUES ('c2', 'c3')")
        until(lambda: academy.arrows() == [("c2", "c3")])
    assert all(academy.prove(table, "deep").equal for table in (concept(), prerequisite()))
    assert not academy.quarantined(prerequisite())
    with dg.DagsterInstance.get() as instance:
        found = instance.fetch_materializations(concept().asset_key, limit=10).records
    told = [record.asset_materialization.metadata for record in found if record.asset_materialization]
    # the first run at once, and all that a minute's others have brought together
    assert 2 <= len(told) <= 2 + (time.monotonic() - began) // BOUT_SECONDS
    assert [sum(data[name].value for data in told) for name in ("upserted", "deleted")] == [5, 1]
    assert {run.trigger for run in academy.bind(concept()).ledger.logs("learning", "concept", limit=9)} == {"consumer"}


def test_two_at_once_bring_each_change_once_also_where_another_writer_has_the_graph(
    academy: Academy, app: Application
) -> None:
    academy.sync(concept())
    other = TargetLock(academy.bind(concept()).lock_url, academy.bind(concept()).lock_name)
    other.acquire()
    with consumer(app, number=2, poll_interval=0.1):
        academy.add(*(f"c{number}" for number in range(20)))
        time.sleep(0.5)
        assert not academy.titles()
        other.release()
        until(lambda: len(academy.titles()) == 20)
    runs = academy.bind(concept()).ledger.logs("learning", "concept", limit=50)
    assert sum(run.counts.upserted for run in runs) == 20
    assert {run.status for run in runs} == {"completed"}


def _bout(**more: Any) -> Bout:
    given = {"run_id": "r", "counts": Counts(read=1), "events": 1, "seconds": 0.1, "lag": 0.0, "held": 1}
    return Bout(**{**given, **more})


def test_a_table_that_each_run_reads_whole_is_read_once_an_hour(academy: Academy) -> None:
    clock, binding = Clock(), academy.bind(concept())
    source: Any = SimpleNamespace(pending=lambda _: Pending(changes=3, full_reason="a partition", lasting=True))
    table = LogConsumer(binding=replace(binding, source=source), clock=clock)
    with binding.ledger:
        table.look(every=5.0)
        assert table._is_due()
        clock.now += 3.0  # an event of another table has woken it
        given: Any = {"urls": [], "lock": None, "waker": None}
        assert _Consumer(tables=[table], interval=5.0, **given)._rest() == 2.0
        table._tell(_bout(reason="a partition"))
        for clock.now, due in ((1009.0, False), (4590.0, False), (4604.0, True), (4605.0, False)):
            assert table._is_due() is due


@pytest.mark.spare_where(graph="neo4j")
def test_it_leaves_the_graph_to_one_that_waits_and_tells_what_it_has_brought_itself(academy: Academy) -> None:
    academy.capture(concept(), prerequisite())
    academy.require(("c1", "c2"))
    academy.add("c1")
    clock, told = Clock(), []
    table = LogConsumer(binding=academy.bind(prerequisite()), clock=clock, report=told.append)
    stopped = TargetLock(table.binding.lock_url, table.binding.lock_name)
    academy.sync(concept())
    with ExitStack() as stack:
        stopped._announce(stack)  # its process is stopped before it takes the lock
        seen = []
        for seconds in (0.0, _BACK_SECONDS / 2, _BACK_SECONDS):
            clock.now += seconds
            seen.append((table.step(), table.busy))
    assert seen == [(0, True), (0, True), (1, False)]
    academy.require(("c1", "c1"))
    clock.now += 60.0
    table.step()
    assert [bout.events for bout in told] == [0, 1]  # one waits for its node, which is no event


@pytest.mark.spare_where(graph="neo4j")
def test_a_ledger_that_was_restored_with_its_database_is_seen_though_nothing_is_pending(academy: Academy) -> None:
    academy.capture(concept())
    academy.add("c1")
    table = LogConsumer(binding=academy.bind(concept()))
    table.step()
    saved = ("public.concept", "sync.change_log", "sync.capture_marks")
    with restored_afterwards(academy, (*saved, "sync.sync_watermarks", "sync.sync_metadata", "sync.sync_logs")):
        academy.add("c2")
        table.step()
        assert academy.titles() == ["c1", "c2"]
    assert [table.step(), table.step()] == [1, 0]
    assert academy.titles() == ["c1"]
