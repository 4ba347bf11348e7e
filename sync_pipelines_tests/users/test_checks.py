"""Checks speak of all users: one result, with a row for each of them."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from sync_pipelines.registry import tables
from sync_pipelines_tests.users.diary import Desk


def rows(check: Any) -> dict[str, tuple[bool, str]]:
    """User → whether they are good, and what was found."""
    found = (row.data for row in check.metadata["users"].records)
    return {str(row["user"]): (bool(row["passed"]), str(row["found"])) for row in found}


def by_name(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


@pytest.mark.slow
def test_after_a_users_run_the_others_last_proofs_stand_beside_the_new_one(desk: Desk) -> None:
    desk.add("ann", "bob", entries=3)
    desk.materialize("ann")
    content = by_name(desk.materialize("bob"))["content"]
    assert content.passed
    assert content.metadata["source_count"].value == 6
    assert {user: passed for user, (passed, _) in rows(content).items()} == {"ann": True, "bob": True}
    assert "Equal: 3 records in the source, 3 in the target" in rows(content)["ann"][1]
    with desk.resources.ledger.ledger() as ledger:
        assert len(ledger.proofs("diary", "entries:ann")) == 2  # count and content of the own run, none of bob's


@pytest.mark.slow
def test_one_users_difference_fails_the_check_and_is_named_with_the_user(desk: Desk) -> None:
    desk.add("ann", "bob")
    desk.materialize()
    desk.component.for_user("bob").bind(desk.resources).target.delete(["bob-1"])
    content = by_name(desk.job("check"))["content"]
    assert not content.passed
    assert content.severity == dg.AssetCheckSeverity.ERROR
    assert content.description.startswith("bob: Differs: 2 records in the source, 1 in the target; 1 missing")
    assert content.description.endswith("(1 of 2 users are good.)")
    samples = [row.data for row in content.metadata["samples"].records]
    assert [(row["user"], row["difference"], row["key"]) for row in samples] == [("bob", "missing", "bob-1")]
    # the difference stands while another user's run makes the check anew
    assert rows(by_name(desk.materialize("ann"))["content"])["bob"][0] is False


@pytest.mark.slow
def test_a_user_who_cannot_be_asked_is_not_good_and_hides_nobody(desk: Desk) -> None:
    desk.add("ann", "bob")
    desk.materialize()
    desk.break_("ann")
    result = desk.job("check")
    assert result.success
    content = by_name(result)["content"]
    assert {user: passed for user, (passed, _) in rows(content).items()} == {"ann": False, "bob": True}
    assert "diary/entries:ann" in rows(content)["ann"][1]


@pytest.mark.slow
def test_a_run_of_a_partition_makes_no_deep_check_and_the_deep_job_asks_everybody(desk: Desk) -> None:
    desk.add("ann", "bob")
    assert "deep" not in by_name(desk.materialize("ann"))
    desk.materialize("bob")
    deep = by_name(desk.job("check_deep"))["deep"]
    assert deep.passed
    assert sorted(rows(deep)) == ["ann", "bob"]


@pytest.mark.slow
def test_a_proof_made_by_a_command_is_shown_among_those_of_the_others(desk: Desk) -> None:
    from sync_pipelines.checks import report

    desk.add("ann", "bob")
    desk.materialize()
    ann = next(bound for bound in tables("diary") if bound.component.user == "ann")
    desk.component.for_user("ann").bind(desk.resources).target.delete(["ann-0"])
    report(desk.instance, ann.component, ann.prove(), "content")
    key = dg.AssetCheckKey(desk.component.asset_key, "content")
    (record,) = desk.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    shown = record.event.dagster_event.asset_check_evaluation_data
    assert not shown.passed
    assert {user: passed for user, (passed, _) in rows(shown).items()} == {"ann": False, "bob": True}


def test_nothing_is_proven_where_there_is_no_user(desk: Desk) -> None:
    for check in by_name(desk.job("check")).values():
        assert check.passed
        assert "it has no user" in check.metadata["skipped"].value
