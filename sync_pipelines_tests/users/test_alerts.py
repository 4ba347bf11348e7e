"""Alerts of a table with users: an incident each, which another user's good run does not end."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipelines.alerts import runs, state
from sync_pipelines.alerts.sensor import Project, look
from sync_pipelines_tests.users.diary import Desk


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "SETTLED_SECONDS", 0.0)


def open_incidents(desk: Desk, before: state.State | None = None) -> state.State:
    """What is open after a tick of the alerts."""
    from datetime import UTC, datetime

    graph: Any = desk.project.get_repository_def().asset_graph
    keys = frozenset(graph.get_all_asset_keys())
    project = Project(assets=tuple(keys), checks=(), jobs=frozenset({"diary_incremental"}), by_user=keys)
    known = before or state.State(position=0)
    return look(known, [desk.component], desk.resources, desk.instance, project, now=datetime.now(UTC))[0]


@pytest.mark.slow
def test_a_failed_run_is_its_users_incident_until_a_run_of_that_user_is_good(desk: Desk) -> None:
    desk.add("ann", "bob")
    desk.break_("bob")
    desk.materialize("bob")
    failed = open_incidents(desk)
    assert list(failed.open) == ["diary/entries:bob"]
    assert list(failed.open["diary/entries:bob"].causes) == ["run:incremental"]
    desk.materialize("ann")
    assert list(open_incidents(desk, failed).open) == ["diary/entries:bob"]
    desk.execute("ALTER TABLE entry_bob RENAME COLUMN lost TO id")
    desk.materialize("bob")
    assert list(open_incidents(desk, failed).open) == []


@pytest.mark.slow
def test_the_incident_of_a_user_who_was_removed_is_closed(desk: Desk) -> None:
    desk.add("ann", "bob")
    desk.break_("bob")
    desk.materialize("bob")
    failed = open_incidents(desk)
    desk.remove("bob")
    assert list(open_incidents(desk, failed).open) == []
