"""Starting, watching and cancelling syncs from Python, on real systems and a real Dagster instance."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from types import SimpleNamespace

import dagster as dg
import pytest

from sync_pipelines import client, launch
from sync_pipelines.engine.errors import ConfigurationError, MigrationDueError, NotConfiguredError
from sync_pipelines_tests.cli.runs import heartbeat, order, sensor_state, slow_writes
from sync_pipelines_tests.cli.shop import ARTICLE, AUTHOR, Shop


@pytest.mark.slow
def test_a_waiting_run_syncs_and_stands_in_dagster_with_its_job(shop: Shop):
    shop.put("a", "b")
    run_id = client.trigger("shop", table="article", wait=True)
    found = client.status(run_id)
    assert (found.state, found.sync, found.table, found.mode, found.trigger) == (
        "completed",
        "shop",
        "article",
        "incremental",
        "cli",
    )
    assert found.created_at <= found.started_at <= found.ended_at
    assert shop.stored() == {"a", "b"}
    with shop.instance as instance:
        run = instance.get_run_by_id(run_id)
    assert run.job_name == "shop_incremental"
    assert run.remote_job_origin.location_name == "sync_pipelines"
    assert run.tags["sync/table"] == ARTICLE
    assert run.tags["dagster/partition"] == f"{time.strftime('%Y-%m', time.gmtime())}-01"
    assert shop.last_run().run_id == run_id


@pytest.mark.slow
def test_the_run_turns_its_partition_green_and_its_check_is_recorded(shop: Shop):
    shop.put("a")
    run_id = client.trigger(ARTICLE, wait=True)
    with shop.instance as instance:
        partitions = instance.get_materialized_partitions(dg.AssetKey(["shop", "article"]))
        assert len(partitions) == 1
    with shop.ledger as ledger:
        assert ledger.last_proof("shop", "article").run_id == run_id


@pytest.mark.slow
def test_a_whole_sync_is_one_run_a_table(shop: Shop):
    shop.put("a")
    shop.put("z", table="Author")
    run_ids = client.trigger("shop", wait=True)
    assert isinstance(run_ids, list)
    found = client.status(run_ids)
    assert [(run.table, run.state) for run in found] == [("article", "completed"), ("author", "completed")]
    assert shop.stored("author") == {"z"}


@pytest.mark.slow
def test_full_reads_everything_and_rebuild_builds_anew(shop: Shop):
    shop.put("a")
    client.trigger(ARTICLE, wait=True)
    assert client.status(client.trigger(ARTICLE, full=True, wait=True)).mode == "full"
    assert shop.last_run().counts.unchanged == 1
    rebuilt = client.trigger(ARTICLE, rebuild=True, wait=True)
    assert client.status(rebuilt).mode == "rebuild"
    assert client.status(rebuilt).job == "shop_full"
    assert shop.last_run().counts.upserted == 1


@pytest.mark.slow
def test_keys_sync_just_these_records(shop: Shop):
    shop.put("a", "b")
    client.trigger(ARTICLE, wait=True)
    shop.put("a", "b", body="changed")
    run_id = client.trigger("shop", table="article", keys=["a"], wait=True)
    assert client.status(run_id).mode == "records"
    assert shop.last_run().counts.upserted == 1


@pytest.mark.slow
def test_a_failed_run_is_told_with_its_sentence_and_not_raised(shop: Shop):
    shop.put("a")
    client.trigger(ARTICLE, wait=True)
    shop.execute("""TRUNCATE "Article" """)
    found = client.status(client.trigger(ARTICLE, wait=True))
    assert found.state == "failed"
    assert found.error.startswith("shop/article: 1 of the target's 1 records would be deleted")
    assert "Traceback" not in found.error
    assert shop.last_run().status == "failed"
    allowed = client.trigger(ARTICLE, allow_mass_delete=True, wait=True)
    assert client.status(allowed).state == "completed"
    assert shop.stored() == set()


def test_the_error_of_a_run_is_our_own_sentence_in_a_chain_of_causes():
    from dagster._utils.error import SerializableErrorInfo

    from sync_pipelines.run_status import _sentence

    def error(message: str, name: str, cause=None) -> SerializableErrorInfo:
        return SerializableErrorInfo(message, [], name, cause)

    driver = error("psycopg2.OperationalError: server closed the connection\n", "OperationalError")
    ours = error("sync_pipelines.engine.errors.TransientError: shop/article: db is gone.\n", "TransientError", driver)
    tried = error("Exceeded max_retries of 3\n", "RetryRequestedFromPolicy", ours)
    assert _sentence(SimpleNamespace(user_failure_data=None, error=tried)) == "shop/article: db is gone."
    foreign = error("x.StepError: a step failed\n", "StepError", driver)
    assert _sentence(SimpleNamespace(user_failure_data=None, error=foreign)) == "server closed the connection"


@pytest.mark.slow
def test_a_failed_table_leaves_the_next_one_its_turn(shop: Shop):
    shop.put("a")
    client.trigger(ARTICLE, wait=True)
    shop.execute("""TRUNCATE "Article" """)
    shop.put("z", table="Author")
    assert [run.state for run in client.status(client.trigger("shop", wait=True))] == ["failed", "completed"]


@pytest.mark.slow
def test_tags_of_the_caller_stand_on_the_run(shop: Shop):
    run_id = client.trigger(ARTICLE, wait=True, tags={"team": "search"})
    with shop.instance as instance:
        assert instance.get_run_by_id(run_id).tags["team"] == "search"


@pytest.mark.slow
def test_progress_is_told_while_a_run_goes_on(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    slow_writes(monkeypatch, seconds=3.0)
    shop.put("a")
    told = []
    client.trigger(ARTICLE, wait=True, on_progress=told.append)
    assert {progress.table for progress in told} == {ARTICLE}
    assert any(progress.counts and progress.counts.read == 1 for progress in told)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"sync": "shpo"}, "Did you mean shop?"),
        ({"sync": "shop", "table": "articel"}, "Did you mean shop/article?"),
        ({"sync": "shop", "table": "zzz"}, "There are: shop/article, shop/author."),
        ({"sync": "shop", "keys": ["a"]}, "Name it: shop/article or shop/author."),
        ({"sync": ARTICLE, "keys": []}, "names no record"),
        ({"sync": ARTICLE, "keys": "ab"}, "keys is no list of texts. Give a list, such as keys=['ab']."),
        ({"sync": ARTICLE, "keys": [5]}, "keys is no list of texts"),
        ({"sync": ARTICLE, "full": True, "rebuild": True}, "exclude each other"),
        ({"sync": ARTICLE, "full": True, "keys": ["a"]}, "exclude each other"),
    ],
)
def test_names_and_arguments_that_cannot_be_are_refused_before_a_run_exists(settled: Shop, arguments, sentence):
    before = client.recent()
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        client.trigger(**arguments)
    assert client.recent() == before


def test_the_client_is_there_after_the_package_alone_was_imported():
    program = "import sys, sync_pipelines; assert 'dagster' not in sys.modules; print(sync_pipelines.client.trigger)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "function trigger" in done.stdout, done.stderr


def test_without_dagster_home_the_sentence_names_the_variable(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DAGSTER_HOME")
    with pytest.raises(ConfigurationError, match="DAGSTER_HOME is not set"):
        client.trigger("shop")
    monkeypatch.setenv("DAGSTER_HOME", "relative")
    with pytest.raises(ConfigurationError, match="'relative', which is no folder"):
        client.active()


def test_a_sync_that_is_not_configured_is_refused_with_the_variable(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CHROMA_URL")
    with pytest.raises(NotConfiguredError, match="CHROMA_URL"):
        client.trigger("shop")


@pytest.mark.parametrize("damage", ["DROP SCHEMA sync CASCADE", "DELETE FROM sync.alembic_version_ledger"])
def test_a_schema_that_is_missing_or_old_is_refused_before_a_run_exists(shop: Shop, damage: str):
    shop.execute(damage)
    with pytest.raises(MigrationDueError, match="db upgrade"):
        client.trigger(ARTICLE)
    with shop.instance as instance:
        assert instance.get_runs() == []


def test_a_run_that_does_not_exist_has_no_status(shop: Shop):
    with pytest.raises(ConfigurationError, match="There is no run 'nobody'"):
        client.status("nobody")


@pytest.mark.slow
def test_with_a_daemon_alive_a_run_is_queued_and_can_be_cancelled(shop: Shop):
    heartbeat(shop)
    shop.put("a")
    run_id = client.trigger(ARTICLE)
    assert client.status(run_id).state == "queued"
    assert [run.run_id for run in client.active("shop")] == [run_id]
    assert client.active(AUTHOR) == []
    with shop.instance as instance:
        run = instance.get_run_by_id(run_id)
        assert run.status == dg.DagsterRunStatus.QUEUED
        assert launch.OWN_PROCESS not in run.tags
    assert client.cancel(run_id).state == "cancelled"
    assert client.active() == []


@pytest.mark.slow
def test_the_queue_is_left_alone_when_the_daemon_has_been_silent(shop: Shop):
    heartbeat(shop, age=launch.HEARTBEAT_SECONDS + 5)
    with shop.instance as instance:
        assert not launch.can_queue(instance)
    heartbeat(shop)
    with shop.instance as instance:
        assert launch.can_queue(instance)


def test_a_run_takes_the_name_under_which_a_daemon_knows_this_project(shop: Shop):
    """`dagster dev -w workspace.yaml` calls the code location otherwise than `dagster dev` does."""
    sensor_state(shop, location="elsewhere")
    with shop.instance as instance:
        run = launch.create(instance, order(shop), own_process=False)
        assert run.remote_job_origin.location_name == "elsewhere"
