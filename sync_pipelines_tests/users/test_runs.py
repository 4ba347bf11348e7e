"""Runs over partitions that are users."""

from __future__ import annotations

import pytest

from sync_pipelines_tests.users.diary import Desk


@pytest.mark.slow
def test_a_partitions_run_is_the_sync_of_that_user_alone(desk: Desk) -> None:
    desk.add("ann", "bob")
    result = desk.materialize("ann")
    assert result.success
    assert [run.counts.upserted for run in desk.runs("ann")] == [2]
    assert desk.runs("bob") == []
    (event,) = result.asset_materializations_for_node("diary__entries")
    assert event.partition == "ann"
    assert event.metadata["upserted"].value == 2
    desk.write("ann", "ann-0", "another day")
    desk.materialize("ann")
    assert desk.runs("ann")[0].counts.upserted == 1
    desk.materialize("ann", mode="full")
    assert [run.mode for run in desk.runs("ann")] == ["full", "incremental", "incremental"]


def test_a_run_without_a_partition_is_one_run_a_user_and_one_users_failure_stops_nobody(desk: Desk) -> None:
    desk.add("ann", "bob", "cat")
    desk.break_("bob")
    result = desk.materialize()
    assert not result.success
    assert {name: [run.status for run in desk.runs(name)] for name in ("ann", "bob", "cat")} == {
        "ann": ["completed"],
        "bob": ["failed"],
        "cat": ["completed"],
    }
    failed = result.failure_data_for_node("diary__entries")
    assert failed is not None
    assert failed.user_failure_data is not None
    told = str(failed.user_failure_data.description)
    assert told.startswith("1 of 3 users were not synced. diary/entries:bob: ")
    assert (desk.stored("ann"), desk.stored("cat")) == (2, 2)
