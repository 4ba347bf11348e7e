"""Commands and the client over a table with users."""

from __future__ import annotations

import pytest

from sync_pipelines import client
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.launch import dagster_instance
from sync_pipelines_tests.cli.test_commands import answer, invoke
from sync_pipelines_tests.users.diary import Desk


@pytest.mark.slow
def test_a_sync_is_a_run_a_user_and_tells_each_outcome(homely: Desk) -> None:
    homely.add("ann", "bob", entries=3)
    homely.break_("bob")
    runs = {run["table"]: run for run in answer("sync", "diary", code=1)["runs"]}
    assert {table: run["status"] for table, run in runs.items()} == {
        "entries:ann": "completed",
        "entries:bob": "failed",
    }
    ann, bob = runs["entries:ann"], runs["entries:bob"]
    assert ann["counts"]["upserted"] == 3
    assert ann["proof"] == {"equal": True, "missing": 0, "stale": 0, "extra": 0}
    with dagster_instance() as instance:
        run = instance.get_run_by_id(ann["run_id"])
        assert run is not None
        assert (run.tags["dagster/partition"], run.tags["sync/user"]) == ("ann", "diary/ann")
        assert "ann" in instance.get_dynamic_partitions("diary_users")
    job = answer("jobs", "status", ann["run_id"])
    assert (job["user"], job["total"], job["processed"], job["failed"]) == ("ann", 3, 3, 0)
    assert (job["completed_at"], job["error_message"]) == (job["ended_at"], None)
    assert job["created_at"] <= job["started_at"] <= job["completed_at"]
    assert answer("jobs", "status", bob["run_id"], code=1)["error_message"].startswith("diary/entries:bob: ")
    listed = answer("jobs", "list", "diary/entries:ann")["runs"]
    assert [one["run_id"] for one in listed] == [ann["run_id"]]


@pytest.mark.slow
def test_one_user_is_named_by_option_or_by_path(homely: Desk) -> None:
    homely.add("ann", "bob")
    assert [run["table"] for run in answer("sync", "diary", "--user", "ann")["runs"]] == ["entries:ann"]
    assert [run["table"] for run in answer("sync", "diary/entries:ann", "--full")["runs"]] == ["entries:ann"]
    assert [run.mode for run in homely.runs("ann")] == ["full", "incremental"]
    assert homely.runs("bob") == []
    assert "has no user 'zoe'. There are: ann, bob." in invoke("sync", "diary", "--user", "zoe").stderr
    assert list(answer("check", "diary/entries:ann")["tables"]) == ["diary/entries:ann"]
    assert len(answer("logs", "diary/entries:ann")["runs"]) == 2
    assert {run["table"] for run in answer("logs", "diary/entries")["runs"]} == {"entries:ann"}
    homely.component.for_user("ann").bind(homely.resources).target.delete(["ann-0"])
    (repaired,) = answer("repair", "diary/entries:ann")["runs"]
    assert (repaired["table"], repaired["repaired"], repaired["proof"]["equal"]) == ("entries:ann", 1, True)
    assert list(answer("stats", "diary/entries:ann")["tables"]) == ["diary/entries:ann"]


@pytest.mark.slow
def test_runs_of_a_user_who_was_removed_are_listed_still_and_name_them(homely: Desk) -> None:
    homely.add("ann", "bob")
    runs = {run["user"]: run["run_id"] for run in answer("sync", "diary")["runs"]}
    for gone, left in (("ann", ["ann", "bob"]), ("bob", ["ann", "bob"])):
        homely.remove(gone)
        listed = {run["run_id"]: (run["user"], run["table"]) for run in answer("jobs", "list")["runs"]}
        assert listed == {runs[user]: (user, f"entries:{user}") for user in left}
        job = answer("jobs", "status", runs[gone])
        assert (job["sync"], job["user"], job["table"]) == ("diary", gone, f"entries:{gone}")
        assert (job["total"], job["processed"]) == (2, 2)
    assert answer("jobs", "list", "diary")["runs"] == answer("jobs", "list", "diary/entries")["runs"] != []


@pytest.mark.slow
def test_the_client_gives_one_id_for_one_user_and_a_list_for_all(homely: Desk) -> None:
    homely.add("ann", "bob")
    one = client.trigger("diary", user="ann", wait=True)
    assert isinstance(one, str)
    assert client.status(one).user == "ann"
    assert isinstance(client.trigger("diary", table="entries:ann", wait=True), str)
    both = client.trigger("diary/entries", wait=True)
    assert [client.status(run_id).table for run_id in both] == ["entries:ann", "entries:bob"]
    with pytest.raises(ConfigurationError, match="has no user 'zoe'"):
        client.trigger("diary", user="zoe")
    assert client.active() == []


@pytest.mark.slow
def test_status_prints_the_users_below_their_table(homely: Desk) -> None:
    homely.add("ann", "bob")
    homely.materialize("ann")
    lines = invoke("status").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["diary/entries", "ann", "bob"]
    assert "diary/entries: bob: it was never synced" in lines


def test_commands_say_that_there_is_no_user_and_how_one_is_added(homely: Desk) -> None:
    result = invoke("sync", "diary")
    assert result.exit_code == 3
    assert "it has no user (`sync-pipelines users add`)" in result.stderr
    assert answer("status")["assets"]["diary/entries"]["configured"] is False
