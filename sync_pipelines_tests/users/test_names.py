"""Which parts of a table selectors, jobs and the status mean."""

from __future__ import annotations

import pytest

from sync_pipelines.engine.errors import ConfigurationError, NotConfiguredError, TransientError
from sync_pipelines.reconciling import ReconciliationJob
from sync_pipelines.registry import tables
from sync_pipelines.reporting import status_report
from sync_pipelines_tests.users.diary import Desk, diary


def paths(selector: str | None = None, **more: str) -> list[str]:
    return [bound.path for bound in tables(selector, **more)]


def test_a_selector_names_all_users_or_one(desk: Desk) -> None:
    desk.add("ann", "bob")
    both = ["diary/entries:ann", "diary/entries:bob"]
    assert paths() == paths("diary") == paths("diary/entries") == both
    assert paths("diary/entries:bob") == paths("diary", user="bob") == ["diary/entries:bob"]
    with pytest.raises(ConfigurationError, match=r"diary has no user 'anne'. Did you mean ann\?"):
        paths("diary/entries:anne")
    with pytest.raises(ConfigurationError, match=r"diary has no user 'zoe'. There are: ann, bob."):
        paths("diary", user="zoe")


def test_without_users_the_table_stands_for_itself_and_says_why_it_is_not_in_use(desk: Desk) -> None:
    (bound,) = tables("diary")
    assert (bound.path, bound.not_configured()) == (
        "diary/entries",
        "not configured: it has no user (`sync-pipelines users add`)",
    )
    with pytest.raises(NotConfiguredError, match="users add"):
        tables("diary/entries:ann")


def test_a_ledger_that_does_not_answer_is_told_as_that(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.add("ann")
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:nothing@127.0.0.1:9/none")
    (bound,) = tables("diary")
    assert bound.not_configured() is None
    with pytest.raises(TransientError):
        bound.binding()
    with pytest.raises(TransientError):
        tables("diary/entries:ann")
    status = status_report().assets["diary/entries"]
    assert status.healthy is False
    assert "127.0.0.1" in status.problems[0]


@pytest.mark.slow
def test_status_has_one_asset_the_sum_over_users_and_each_of_them_below(desk: Desk) -> None:
    assert "users add" in str(status_report().as_dict()["assets"]["diary/entries"]["reason"])
    desk.add("ann", "bob", entries=3)
    desk.materialize("ann")
    found = status_report().as_dict()["assets"]
    assert list(found) == ["diary/entries"]
    whole = found["diary/entries"]
    assert {name: one["healthy"] for name, one in whole["users"].items()} == {"ann": True, "bob": False}
    assert (whole["healthy"], whole["source_count"], whole["last_success"]) == (False, 3, None)
    assert "bob: it was never synced" in whole["problems"]
    assert set(whole["users"]["ann"]) == set(whole) - {"users"}
    desk.materialize("bob")
    whole = status_report().as_dict()["assets"]["diary/entries"]
    assert (whole["healthy"], whole["source_count"], whole["target_count"]) == (True, 6, 6)
    assert whole["last_success"] == min(one["last_success"] for one in whole["users"].values())
    only = status_report("diary/entries:bob").as_dict()["assets"]["diary/entries"]
    assert (list(only["users"]), only["source_count"]) == (["bob"], 3)


@pytest.mark.parametrize("name", ["", "Ann", "ann smith", "-ann", "ann:bob", "a" * 42, "añn"])
def test_what_cannot_be_a_partition_and_part_of_a_path_is_no_name_of_a_user(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is no name of a user"):
        diary().for_user(name)


def test_partitions_cannot_be_chosen_where_they_are_users() -> None:
    with pytest.raises(ValueError, match="a partition of this sync is a user"):
        diary(partitions={"every": "day"})


@pytest.mark.slow
def test_jobs_take_one_users_part_by_name_and_all_of_them_by_the_tables(desk: Desk) -> None:
    desk.add("ann", "bob", "cat")
    desk.materialize()
    for name in ("ann", "bob", "cat"):
        desk.component.for_user(name).bind(desk.resources).target.delete([f"{name}-0"])
    config = {"ops": {"diary_repair_tables": {"config": {"table": "entries:ann"}}}}
    assert desk.job("repair", config).success
    assert (desk.stored("ann"), desk.stored("bob")) == (2, 1)
    desk.break_("bob")
    whole = desk.job("repair")
    assert not whole.success
    assert desk.stored("cat") == 2
    failed = whole.failure_data_for_node("diary_repair_tables")
    assert failed is not None
    assert failed.user_failure_data is not None
    assert "1 of 3 could not be repaired. diary/entries:bob" in str(failed.user_failure_data.description)
    records = {"ops": {"diary_sync_records": {"config": {"table": "entries", "keys": ["ann-0"]}}}}
    assert not desk.job("records", records).success
    records["ops"]["diary_sync_records"]["config"]["table"] = "entries:ann"
    assert desk.job("records", records).success


@pytest.mark.slow
def test_a_reconciliation_from_python_takes_each_user_and_reports_them_apart(desk: Desk) -> None:
    desk.add("ann", "bob")
    desk.materialize()
    desk.component.for_user("bob").bind(desk.resources).target.delete(["bob-0"])
    found = ReconciliationJob(sync="diary").run_full_reconciliation()
    assert {path: one.repaired for path, one in found.types.items()} == {"diary/entries:ann": 0, "diary/entries:bob": 1}
    assert found.equal
    only = ReconciliationJob(sync="diary").run_full_reconciliation(["entries:ann"])
    assert list(only.types) == ["diary/entries:ann"]
