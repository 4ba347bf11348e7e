"""Starting, watching and cancelling syncs from Python, on real systems and a real Dagster instance."""

from __future__ import annotations

import os
import re
import signal
import time
from types import SimpleNamespace

import dagster as dg
import pytest

from sync_pipelines import client, launch
from sync_pipelines.engine.errors import ConfigurationError, MigrationDueError, NotConfiguredError
from sync_pipelines_tests.cli.shop import ARTICLE, AUTHOR, Shop


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
    _slow_writes(monkeypatch, seconds=3.0)
    shop.put("a")
    told = []
    client.trigger(ARTICLE, wait=True, on_progress=told.append)
    assert {progress.table for progress in told} == {ARTICLE}
    assert any(progress.counts and progress.counts.read == 1 for progress in told)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"sync": "shpo"}, "Did you mean shop?"),
        ({"sync": "shop", "table": "articel"}, "Did you mean shop/article?"),
        ({"sync": "shop", "keys": ["a"]}, "Name it: shop/article or shop/author."),
        ({"sync": ARTICLE, "keys": []}, "names no record"),
        ({"sync": ARTICLE, "full": True, "rebuild": True}, "exclude each other"),
        ({"sync": ARTICLE, "full": True, "keys": ["a"]}, "exclude each other"),
    ],
)
def test_names_and_arguments_that_cannot_be_are_refused_before_a_run_exists(settled: Shop, arguments, sentence):
    before = client.recent()
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        client.trigger(**arguments)
    assert client.recent() == before


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
    _heartbeat(shop)
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


def test_the_queue_is_left_alone_when_the_daemon_has_been_silent(shop: Shop):
    _heartbeat(shop, age=launch.HEARTBEAT_SECONDS + 5)
    with shop.instance as instance:
        assert not launch.can_queue(instance)
    _heartbeat(shop)
    with shop.instance as instance:
        assert launch.can_queue(instance)


def test_a_run_takes_the_name_under_which_a_daemon_knows_this_project(shop: Shop):
    """`dagster dev -w workspace.yaml` calls the code location otherwise than `dagster dev` does."""
    _sensor_state(shop, location="elsewhere")
    with shop.instance as instance:
        run = launch.create(instance, _order(shop), own_process=False)
        assert run.remote_job_origin.location_name == "elsewhere"


def test_ctrl_c_cancels_the_run_and_leaves_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    _slow_writes(monkeypatch, seconds=60.0)
    shop.put("a")
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        client.trigger(ARTICLE, wait=True, on_progress=_interrupt_when_writing)
    assert time.monotonic() - started < 40
    _is_cancelled(shop)
    assert [*temporary.rglob("*.arrow"), *temporary.rglob("changes-*")] == []


@pytest.mark.slow
def test_after_ctrl_c_no_further_table_begins(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    _slow_writes(monkeypatch, seconds=60.0)
    shop.put("a")
    with pytest.raises(KeyboardInterrupt):
        client.trigger("shop", wait=True, on_progress=_interrupt_when_writing)
    assert len(client.recent()) == 1


@pytest.mark.slow
def test_sigterm_cancels_like_ctrl_c(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    _slow_writes(monkeypatch, seconds=60.0)
    shop.put("a")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        client.trigger(ARTICLE, wait=True, on_progress=_Once(lambda _: os.kill(os.getpid(), signal.SIGTERM)))
    _is_cancelled(shop)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.slow
def test_a_waiting_run_that_is_cancelled_from_elsewhere_just_ends(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    _slow_writes(monkeypatch, seconds=60.0)
    shop.put("a")
    run_id = client.trigger(ARTICLE, wait=True, on_progress=_Once(lambda progress: client.cancel(progress.run_id)))
    assert client.status(run_id).state == "cancelled"
    _is_cancelled(shop)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_another_run_is_waited_for_takes_the_run_out_of_the_queue(shop: Shop, number: signal.Signals):
    with shop.instance as instance:
        holder = launch.create(instance, _order(shop), own_process=False)
        instance.event_log_storage.initialize_concurrency_limit_to_default("shop__article")
        instance.event_log_storage.claim_concurrency_slot("shop__article", holder.run_id, "shop__article", 0)
    told = []

    def listen(progress):
        told.append(progress)
        if len(told) == 2:
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        client.trigger(ARTICLE, wait=True, on_progress=listen)
    assert (told[-1].phase, told[-1].holder) == ("waiting", holder.run_id)
    assert shop.slots() == [holder.run_id]
    newest = client.recent(limit=1)[0]
    assert (newest.state, newest.run_id != holder.run_id) == ("cancelled", True)
    assert shop.locks() == 0


@pytest.mark.slow
def test_a_run_that_waits_goes_on_when_the_other_one_ends(shop: Shop):
    shop.put("a")
    with shop.instance as instance:
        holder = launch.create(instance, _order(shop), own_process=False)
        storage = instance.event_log_storage
        storage.initialize_concurrency_limit_to_default("shop__article")
        storage.claim_concurrency_slot("shop__article", holder.run_id, "shop__article", 0)
        free = _Once(lambda _: storage.free_concurrency_slots_for_run(holder.run_id))
        run_id = client.trigger(ARTICLE, wait=True, on_progress=free)
    assert client.status(run_id).state == "completed"
    assert shop.slots() == []


@pytest.mark.slow
def test_a_process_that_died_before_its_first_step_is_closed_and_its_place_in_the_queue_is_free(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    with shop.instance as instance:
        dead = launch.create(instance, _order(shop), own_process=True)
        instance.event_log_storage.initialize_concurrency_limit_to_default("shop__article")
        instance.event_log_storage.claim_concurrency_slot("shop__article", dead.run_id, "shop__article", 0)
    assert [run.run_id for run in client.active()] == [dead.run_id]  # it may still be on its way
    monkeypatch.setattr("sync_pipelines.dead_runs._BIRTH_SECONDS", 0.0)
    assert client.active() == []
    assert client.status(dead.run_id).state == "failed"
    assert shop.slots() == []


@pytest.mark.slow
def test_a_run_that_died_while_it_wrote_does_not_hold_up_the_one_that_is_queued_next(shop: Shop):
    with shop.instance as instance, shop.ledger as ledger:
        dead = launch.create(instance, _order(shop), own_process=False)
        instance.report_run_canceling(dead)
        storage = instance.event_log_storage
        storage.initialize_concurrency_limit_to_default("shop__article")
        storage.claim_concurrency_slot("shop__article", dead.run_id, "shop__article", 0)
        ledger.begin("shop", "article", mode="incremental", trigger="sensor", run_id=dead.run_id)
    _heartbeat(shop)
    run_id = client.trigger(ARTICLE)
    assert client.status([dead.run_id, run_id])[0].state == "failed"
    assert client.status(run_id).state == "queued"
    assert shop.slots() == []


@pytest.mark.slow
def test_a_run_whose_process_lives_is_not_closed(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    from sync_pipelines.engine.locks import RunLock

    monkeypatch.setattr("sync_pipelines.dead_runs._BIRTH_SECONDS", 0.0)
    with shop.instance as instance:
        run = launch.create(instance, _order(shop), own_process=True)
    with RunLock(shop.url, run.run_id):
        assert [found.run_id for found in client.active()] == [run.run_id]
    assert client.active() == []


@pytest.mark.slow
def test_cancelling_a_run_whose_process_is_gone_closes_its_books(shop: Shop):
    with shop.instance as instance, shop.ledger as ledger:
        run = launch.create(instance, _order(shop), own_process=True)
        instance.report_run_canceling(run)
        ledger.begin("shop", "article", mode="incremental", trigger="cli", run_id=run.run_id)
    assert client.cancel(run.run_id).state == "cancelled"
    assert shop.last_run().status == "cancelled"


@pytest.mark.slow
def test_cancelling_what_has_ended_changes_nothing(shop: Shop):
    run_id = client.trigger(ARTICLE, wait=True)
    assert client.cancel(run_id).state == "completed"


def _is_cancelled(shop: Shop) -> None:
    record = shop.last_run()
    assert record.status == "cancelled"
    with shop.instance as instance:
        assert instance.get_run_by_id(record.run_id).status == dg.DagsterRunStatus.CANCELED
    with shop.ledger as ledger:
        assert ledger.open_runs() == []
        assert ledger.state("shop", "article").status == "cancelled"
    assert shop.locks() == 0
    assert shop.slots() == []


class _Once:
    """Does something the first time that a run is seen to have begun."""

    def __init__(self, action) -> None:
        self._action, self._done = action, False

    def __call__(self, progress) -> None:
        begun = progress.phase == "waiting" or (progress.counts is not None and progress.counts.read > 0)
        if begun and not self._done:
            self._done = True
            self._action(progress)


def _interrupt_when_writing(progress) -> None:
    if progress.counts is not None and progress.counts.read > 0:
        os.kill(os.getpid(), signal.SIGINT)


def _slow_writes(monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> None:
    """The target takes its first batch, and then takes long over the next word."""
    from sync_pipelines.engine.run import Run

    settle = Run._settle

    def slow(self, keys):
        settle(self, keys)
        self.binding.ledger.progress(self.record, self.counts)
        time.sleep(seconds)

    monkeypatch.setattr(Run, "_settle", slow)


def _order(shop: Shop) -> launch.Order:
    return launch.table_order(shop.bound().component, mode="incremental", tags={"sync/trigger": "cli"})


def _heartbeat(shop: Shop, *, age: float = 0.0) -> None:
    from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
    from dagster._daemon.types import DaemonHeartbeat

    kind = QueuedRunCoordinatorDaemon.daemon_type()
    with shop.instance as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age, kind, "test", []))


def _sensor_state(shop: Shop, *, location: str) -> None:
    from dagster._core.remote_origin import (
        ManagedGrpcPythonEnvCodeLocationOrigin,
        RemoteInstigatorOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    code = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="x"), location)
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(code, "__repository__"), "shop__article_changes")
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.DECLARED_IN_CODE)
    with shop.instance as instance:
        instance.add_instigator_state(state)
