"""How runs that Python started end: cancelled, interrupted, or dead; on real systems and a real Dagster instance."""

from __future__ import annotations

import os
import signal
import time

import dagster as dg
import pytest

from sync_pipelines import client, launch
from sync_pipelines_tests.cli.runs import heartbeat, order, slow_writes
from sync_pipelines_tests.cli.shop import ARTICLE, Shop


@pytest.mark.slow
def test_ctrl_c_cancels_the_run_and_leaves_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    slow_writes(monkeypatch, seconds=60.0)
    shop.put("a")
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        client.trigger(ARTICLE, wait=True, on_progress=_interrupt_when_writing)
    assert time.monotonic() - started < 40
    _is_cancelled(shop)
    assert [*temporary.rglob("*.arrow"), *temporary.rglob("changes-*")] == []


@pytest.mark.slow
def test_after_ctrl_c_no_further_table_begins(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    slow_writes(monkeypatch, seconds=60.0)
    shop.put("a")
    with pytest.raises(KeyboardInterrupt):
        client.trigger("shop", wait=True, on_progress=_interrupt_when_writing)
    assert len(client.recent()) == 1


@pytest.mark.slow
def test_sigterm_cancels_like_ctrl_c(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    slow_writes(monkeypatch, seconds=60.0)
    shop.put("a")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        client.trigger(ARTICLE, wait=True, on_progress=_Once(lambda _: os.kill(os.getpid(), signal.SIGTERM)))
    _is_cancelled(shop)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.slow
def test_a_waiting_run_that_is_cancelled_from_elsewhere_just_ends(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    slow_writes(monkeypatch, seconds=60.0)
    shop.put("a")
    run_id = client.trigger(ARTICLE, wait=True, on_progress=_Once(lambda progress: client.cancel(progress.run_id)))
    assert client.status(run_id).state == "cancelled"
    _is_cancelled(shop)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_another_run_is_waited_for_takes_the_run_out_of_the_queue(shop: Shop, number: signal.Signals):
    with shop.instance as instance:
        holder = launch.create(instance, order(shop), own_process=False)
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
        holder = launch.create(instance, order(shop), own_process=False)
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
        dead = launch.create(instance, order(shop), own_process=True)
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
        dead = launch.create(instance, order(shop), own_process=False)
        instance.report_run_canceling(dead)
        storage = instance.event_log_storage
        storage.initialize_concurrency_limit_to_default("shop__article")
        storage.claim_concurrency_slot("shop__article", dead.run_id, "shop__article", 0)
        ledger.begin("shop", "article", mode="incremental", trigger="sensor", run_id=dead.run_id)
    heartbeat(shop)
    run_id = client.trigger(ARTICLE)
    assert client.status([dead.run_id, run_id])[0].state == "failed"
    assert client.status(run_id).state == "queued"
    assert shop.slots() == []


@pytest.mark.slow
@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_run_that_could_not_close_its_books_keeps_the_cause_that_dagster_has(shop: Shop, end: str):
    with shop.instance as instance, shop.ledger as ledger:
        lost = launch.create(instance, order(shop), own_process=False)
        ledger.begin("shop", "article", mode="incremental", trigger="sensor", run_id=lost.run_id)
        if end == "failed":
            instance.report_run_failed(lost, "PostgreSQL db:5432: Connection refused.")
        else:
            instance.report_run_canceled(lost)
    assert client.active() == []
    last = shop.last_run()
    assert last.status == end
    assert ("Connection refused" if end == "failed" else "interrupted") in last.error
    assert "killed" not in last.error


@pytest.mark.slow
def test_a_run_whose_process_lives_is_not_closed(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    from sync_pipelines.engine.locks import RunLock

    monkeypatch.setattr("sync_pipelines.dead_runs._BIRTH_SECONDS", 0.0)
    with shop.instance as instance:
        run = launch.create(instance, order(shop), own_process=True)
    with RunLock(shop.url, run.run_id):
        assert [found.run_id for found in client.active()] == [run.run_id]
    assert client.active() == []


@pytest.mark.slow
def test_a_copy_of_a_killed_run_that_the_daemon_executes_is_not_taken_for_dead(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sync_pipelines.dead_runs._BIRTH_SECONDS", 0.0)
    with shop.instance as instance:
        killed = launch.create(instance, order(shop), own_process=True)
        copied = {**killed.tags, "dagster/parent_run_id": killed.run_id, "dagster/root_run_id": killed.run_id}
        old = {**copied, launch.OWN_PROCESS: "true"}
        ids = {"parent_run_id": killed.run_id, "root_run_id": killed.run_id}
        job, started = launch.job_definition(killed.job_name), dg.DagsterRunStatus.STARTED
        retries = [instance.create_run_for_job(job, status=started, tags=tags, **ids).run_id for tags in (copied, old)]
    assert {run.run_id for run in client.active()} == {*retries}
    assert client.status(killed.run_id).state == "failed"


@pytest.mark.slow
def test_cancelling_a_run_whose_process_is_gone_closes_its_books(shop: Shop):
    with shop.instance as instance, shop.ledger as ledger:
        run = launch.create(instance, order(shop), own_process=True)
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
