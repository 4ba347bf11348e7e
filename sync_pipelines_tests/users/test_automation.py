"""Schedules, the sensor and Dagster's partitions follow the users that the ledger knows."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from sync_pipelines.definitions import default_resources
from sync_pipelines_tests.dagster.project import article, definitions
from sync_pipelines_tests.users.diary import Desk

TWO = (article(), article(name="author", target={"collection": "author"}))


def test_schedules_and_the_sensor_skip_while_there_is_no_user_and_name_the_remedy(desk: Desk) -> None:
    for name in ("diary_incremental_schedule", "diary_full_schedule", "diary_check_schedule", "diary__entries_changes"):
        told = desk.tick(name).skip_message
        assert "it has no user (`sync-pipelines users add`)" in told, name


def test_a_tick_asks_for_one_run_a_user_and_mends_dagsters_partitions(desk: Desk) -> None:
    desk.add("ann", "bob")
    desk.instance.add_dynamic_partitions("diary_users", ["gone"])
    requests = desk.tick("diary_incremental_schedule").run_requests
    assert [(it.partition_key, it.tags["sync/table"], it.tags["sync/user"]) for it in requests] == [
        ("ann", "diary/entries:ann", "diary/ann"),
        ("bob", "diary/entries:bob", "diary/bob"),
    ]
    assert sorted(desk.instance.get_dynamic_partitions("diary_users")) == ["ann", "bob"]
    desk.remove("ann")
    full = desk.tick("diary_full_schedule").run_requests
    assert [(it.partition_key, it.run_config["ops"]["diary__entries"]["config"]["mode"]) for it in full] == [
        ("bob", "full")
    ]
    assert desk.instance.get_dynamic_partitions("diary_users") == ["bob"]


@pytest.mark.parametrize("name", ["diary_incremental_schedule", "diary__entries_changes"])
def test_the_partition_of_the_last_user_goes_with_the_next_tick_where_dagster_was_not_told(
    desk: Desk, name: str
) -> None:
    desk.instance.add_dynamic_partitions("diary_users", ["gone"])
    assert "it has no user" in desk.tick(name).skip_message
    assert desk.instance.get_dynamic_partitions("diary_users") == []


def test_a_scheduled_check_is_one_run_over_all_users(desk: Desk) -> None:
    desk.add("ann", "bob")
    (request,) = desk.tick("diary_check_schedule").run_requests
    assert request.tags["sync/proves"] == "diary/entries"
    names = [key.name for key in request.asset_check_keys]
    assert len(names) == len(set(names))
    assert {"count", "content", "backlog"} <= set(names)


@pytest.mark.slow
def test_the_sensor_asks_for_each_user_who_has_changes_and_leaves_out_who_cannot_be_asked(desk: Desk) -> None:
    desk.add("ann", "bob", "cat")
    desk.break_("cat")
    desk.materialize("ann")
    tick = desk.tick("diary__entries_changes")
    assert [it.partition_key for it in tick.run_requests] == ["bob"]
    desk.materialize("bob")
    again = desk.tick("diary__entries_changes", cursor=tick.cursor)
    assert "diary/entries:ann: nothing pending; diary/entries:bob: nothing pending; diary/entries:cat: " in (
        again.skip_message
    )
    desk.write("ann", "ann-9")
    assert [it.partition_key for it in desk.tick("diary__entries_changes", cursor=again.cursor).run_requests] == ["ann"]


def test_a_tick_over_several_tables_asks_for_a_run_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    project = definitions(*TWO)
    found: Any = project.resolve_schedule_def("shop_incremental_schedule")
    for table in TWO:
        monkeypatch.setattr(type(table), "not_configured", lambda *_: None)
    resources = {name: default_resources()[name] for name in found.required_resource_keys}
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_schedule_context(
            instance=instance, repository_def=project.get_repository_def(), resources=resources
        ) as context,
    ):
        requests = found.evaluate_tick(context).run_requests
    assert [request.tags["sync/table"] for request in requests] == ["shop/article", "shop/author"]
