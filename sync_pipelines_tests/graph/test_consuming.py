"""The long-running consumer: woken by what is published, beside others, reported, ended cleanly."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from sync_pipelines import run_consumer
from sync_pipelines.automation import read_facts
from sync_pipelines.decide import Skip, decide
from sync_pipelines.definitions import default_resources
from sync_pipelines.engine import consuming
from sync_pipelines.sources.postgres.connection import normalise_url
from sync_pipelines.sources.postgres.ear import Ear
from sync_pipelines_tests.dagster.homes import fresh_home
from sync_pipelines_tests.graph.app import Application, concepts, prerequisites
from sync_pipelines_tests.graph.house import Academy

pytestmark = pytest.mark.slow


@pytest.fixture
def app(academy: Academy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Application:
    """The application, the documents of its two tables, and a first sync."""
    monkeypatch.setattr("sync_pipelines.definitions.load", lambda: (None, (prerequisites(), concepts())))
    monkeypatch.setenv("DAGSTER_HOME", str(fresh_home(tmp_path / "dagster")))
    academy.add("c0")
    academy.require(("c0", "c0"))
    for table in (concepts(), prerequisites()):
        academy.sync(table)
    return Application(academy.url)


@contextmanager
def consumer(app: Application, *, number: int = 1, **how: Any) -> Iterator[None]:
    """Consumers in threads of this process; how long they poll is so long that only a notification wakes them."""
    stop, errors = threading.Event(), []

    def work() -> None:
        try:
            run_consumer(stop=stop, **{"poll_interval": 60.0, **how})
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        app.run("SELECT pg_notify('sync_event_log', 'sync')")
        for thread in threads:
            thread.join(60)
    assert not errors
    assert not any(thread.is_alive() for thread in threads)


def until(holds: Callable[[], object], *, seconds: float = 45.0) -> float:
    """How long it took until this held; by default less than a consumer's own poll takes."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, "it did not come about in time"
        time.sleep(0.02)
    return time.monotonic() - began


def completed(app: Application) -> bool:
    return {status for *_, status in app.events()} == {"COMPLETED"}


def test_what_is_published_wakes_it_long_before_it_would_look_by_itself(academy: Academy, app: Application) -> None:
    with consumer(app):
        app.create("c1")
        until(lambda: completed(app))
        for number in range(5):
            app.update("c1", difficulty=number)
            app.require((f"c{number % 2}", f"c{(number + 1) % 2}")) if number < 2 else None
            until(lambda: completed(app))
    assert academy.arrows() == [("c0", "c0"), ("c0", "c1"), ("c1", "c0")]
    assert all(academy.prove(table, "deep").equal for table in (concepts(), prerequisites()))


def test_an_event_behind_an_open_transaction_arrives_when_that_ends_though_nobody_notifies(
    academy: Academy, app: Application
) -> None:
    with consumer(app):
        app.create("c1")
        until(lambda: completed(app))
        with app.transaction() as other:
            other.execute("SELECT pg_current_xact_id()")
            app.create("c2")
            time.sleep(0.3)
            assert app.statuses("c2") == ["PENDING"]
        until(lambda: completed(app))
    assert academy.titles() == ["c0", "c1", "c2"]


def test_while_it_runs_the_sensor_asks_for_nothing(academy: Academy, app: Application) -> None:
    resources = SimpleNamespace(**default_resources())
    with dg.DagsterInstance.ephemeral() as instance, consumer(app):
        until(lambda: concepts().not_watched(resources))
        app.create("c1")
        decided = decide(read_facts(concepts(), resources, instance))
    assert isinstance(decided, Skip)
    assert "sync-pipelines consume learning" in decided.reason
    until(lambda: concepts().not_watched(resources) is None)  # the server ends the session after the client has left
    with consumer(app, sync="learning/concept"):
        until(lambda: concepts().not_watched(resources))
        assert prerequisites().not_watched(resources) is None


def test_two_at_once_beside_full_runs_bring_everything_in_order(academy: Academy, app: Application) -> None:
    names = [f"c{number}" for number in range(1, 31)]
    with consumer(app, number=2, batch_size=5):
        for name in names:
            app.create(name)
            app.update(name, title=f"{name} 2")
        academy.sync(concepts(), mode="full")
        for name in names:
            app.update(name, title=f"{name} 3")
            app.require(("c0", name))
        until(lambda: completed(app), seconds=180)
    assert sorted(academy.titles()) == sorted(["c0", *(f"{name} 3" for name in names)])
    assert all(academy.prove(table, "deep").equal for table in (concepts(), prerequisites()))


def test_a_relationship_that_a_repair_put_aside_arrives_after_its_node_without_an_event(
    academy: Academy, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "BOUT_SECONDS", 1.0)
    academy.require(("c0", "c1"))
    academy.repair(prerequisites())
    assert "waits for its" in str(academy.quarantined(prerequisites()))
    with consumer(app, poll_interval=0.5):
        app.create("c1")
        until(lambda: academy.arrows() == [("c0", "c0"), ("c0", "c1")])
    assert not academy.quarantined(prerequisites())


def test_it_reports_a_materialization_a_minute_and_asset_with_its_lag(academy: Academy, app: Application) -> None:
    with consumer(app, batch_size=1):
        for number in range(1, 5):
            app.create(f"c{number}")
            until(lambda: completed(app))
    with dg.DagsterInstance.get() as instance:
        found = [
            instance.fetch_materializations(table.asset_key, limit=10).records
            for table in (concepts(), prerequisites())
        ]
    assert [len(records) for records in found] == [1, 0]
    metadata = found[0][0].asset_materialization.metadata
    assert (metadata["events"].value, metadata["lag_seconds"].value) == (4, 0.0)
    assert len(metadata["correlation_ids"].value) == 4
    run = academy.bind(concepts()).ledger.logs("learning", "concept", limit=1)[0]
    assert (run.status, run.trigger, run.counts.upserted) == ("completed", "consumer", 4)


def test_it_listens_also_where_the_process_has_more_than_a_thousand_files_open() -> None:
    heard, told = os.pipe()
    high = fcntl.fcntl(heard, fcntl.F_DUPFD, 1500)
    try:
        os.write(told, b"!")
        began = time.monotonic()
        Ear((), wake=high).wait(30)
        assert time.monotonic() - began < 20, "it was not heard: the wait came to its own end"
    finally:
        for number in (heard, told, high):
            os.close(number)


def test_a_database_that_is_away_is_looked_for_again_long_before_the_next_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing would be heard of what is published after it is back."""
    monkeypatch.setattr("sync_pipelines.sources.postgres.ear._AWAY_SECONDS", 0.1, raising=False)
    heard, told = os.pipe()
    try:
        began = time.monotonic()
        Ear([normalise_url("postgresql://postgres@127.0.0.1:1/nowhere")], wake=heard).wait(20)
        assert time.monotonic() - began < 10
    finally:
        os.close(heard)
        os.close(told)
