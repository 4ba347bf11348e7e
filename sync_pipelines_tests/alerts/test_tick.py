"""One evaluation of the sensor, without a daemon."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sync_pipelines.alerts import runs, state
from sync_pipelines.alerts.sensor import Project, Told, look, tick
from sync_pipelines_tests.alerts import project
from sync_pipelines_tests.alerts.project import KEY, order
from sync_pipelines_tests.alerts.receiver import Receiver
from sync_pipelines_tests.alerts.test_delivery import notice

OURS = Project(assets=(KEY,), checks=(), jobs=frozenset({"shop_incremental", "shop_full"}))


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("ORDERS", str(tmp_path / "orders.json"))
    monkeypatch.setenv("SYNC_ALERT_URLS", receiver.url)
    order()
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def first_look(instance: dg.DagsterInstance) -> state.State:
    return look(state.State(), [], None, instance, OURS, now=datetime.now(UTC))[0]


def fail_and_mend(instance: dg.DagsterInstance) -> None:
    order(run="fail")
    project.run(instance, "full")
    order()
    project.run(instance, "full")


def test_the_first_tick_tells_nothing_of_what_was_good_again_before_it(instance: dg.DagsterInstance):
    fail_and_mend(instance)
    found = first_look(instance)
    assert (found.open, found.outbox) == ({}, ())
    order(run="fail")
    project.run(instance, "full")
    assert [waiting.kind for waiting in first_look(instance).outbox] == ["opened"]


def test_the_first_tick_takes_no_failure_for_open_that_was_mended_longer_ago_than_it_reads(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runs, "PAGE", 2)
    fail_and_mend(instance)
    for _ in range(2):
        project.run(instance, "incremental")  # which says nothing of a full sync
    assert first_look(instance).open == {}


def test_what_waits_is_sent_though_nothing_can_be_read_and_the_tick_fails(
    instance: dg.DagsterInstance, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    def away(*_: Any, **__: Any) -> None:
        raise OSError("the event log is away")

    now = datetime.now(UTC)
    state.save(instance, state.State(position=0, outbox=(notice(created=now, started=now),)))
    monkeypatch.setattr(instance, "fetch_run_status_changes", away)
    told: Told = tick([], None, instance, OURS)
    assert isinstance(told.broken, OSError)
    assert receiver.kinds() == ["opened"]
    assert state.load(instance).outbox == ()
