"""One writer a target, and who is alive; with real connections and real processes."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from sync_pipelines.engine.errors import LockBusyError, LockLostError, TransientError
from sync_pipelines.engine.locks import RunLock, TargetLock, alive_runs, lock_key, run_is_alive
from sync_pipelines_tests.dagster.deployment import wait_for
from sync_pipelines_tests.engine.ledger_helpers import losing_an_answer, row, rows

NAME = "chroma:knowledge_reference"


def is_free(url: str) -> bool:
    """Whether nobody holds the lock; the server frees it a moment after its session has ended."""
    until = time.monotonic() + 10
    while TargetLock(url, NAME).holder() is not None and time.monotonic() < until:
        time.sleep(0.05)
    return TargetLock(url, NAME).holder() is None


@pytest.fixture
def url(ledger_url: str) -> str:
    """Locks stand in the ledger's database."""
    return ledger_url


def test_a_name_has_the_same_key_everywhere_and_for_ever():
    # Two versions of the package that run side by side must agree: these numbers never change.
    assert lock_key("target:chroma:knowledge_reference") == -2407200798989096186
    assert -(2**63) <= lock_key("x") < 2**63
    assert lock_key("target:a") != lock_key("run:a")


def test_a_target_has_one_writer_at_a_time(url):
    with TargetLock(url, NAME) as first:
        first.check()
        assert not TargetLock(url, NAME).try_acquire()
    second = TargetLock(url, NAME)
    assert second.try_acquire()
    second.release()


def test_two_targets_have_two_writers(url):
    with TargetLock(url, NAME), TargetLock(url, "another") as other:
        other.check()


def test_a_writer_that_waits_gets_the_lock_when_it_is_given_back(url):
    first, second = TargetLock(url, NAME), TargetLock(url, NAME)
    first.acquire()
    threading.Timer(0.3, first.release).start()
    second.acquire(10, poll_s=0.05)
    second.check()
    second.release()


def test_who_waits_for_a_lock_is_known_to_its_holder_as_long_as_it_waits(url):
    second, seen = TargetLock(url, NAME), []
    with TargetLock(url, NAME) as first:
        assert not first.is_awaited()
        with pytest.raises(LockBusyError):
            second.acquire(
                0.5, poll_s=0.5, sleep=lambda _: seen.append(first.is_awaited()), clock=iter((0, 0, 1)).__next__
            )
        assert seen == [True]
        # the server frees what a closed session held a moment later
        wait_for("nobody waits any more", lambda: not first.is_awaited(), seconds=10)


def test_a_writer_that_waits_in_vain_learns_who_holds_the_lock(url):
    with TargetLock(url, NAME, run_id="12345678-abcd") as holder:
        waiting = TargetLock(url, NAME, run_id="second")
        with pytest.raises(LockBusyError) as caught:
            waiting.acquire(0.2, poll_s=0.05)
        pid, name, since = row(
            url,
            "SELECT pid, application_name, to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"
            " FROM pg_stat_activity WHERE application_name LIKE '%run 12345678'",
        )
        for part in (NAME, str(pid), name, since):
            assert part in str(caught.value)
        assert NAME in name
        holder.check()


def test_the_pauses_of_a_writer_that_waits_grow_and_end_with_its_time(url):
    now, pauses = [0.0], []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    with TargetLock(url, NAME), pytest.raises(LockBusyError):
        TargetLock(url, NAME).acquire(20, poll_s=0.25, sleep=sleep, clock=lambda: now[0])
    assert sum(pauses) == pytest.approx(20)
    assert pauses[0] == 0.25
    assert max(pauses) == 2.0


def test_a_holder_of_whom_this_role_may_see_little_is_named_all_the_same(url):
    rows(url, "DROP ROLE IF EXISTS plain_locker; CREATE ROLE plain_locker LOGIN")
    with TargetLock(url, NAME):
        other = TargetLock(url.replace("postgres@", "plain_locker@"), NAME)
        assert other.holder().since is None
        with pytest.raises(LockBusyError, match=f"session [0-9]+, 'sync {NAME}'"):
            other.acquire(0)


def test_nobody_holds_a_free_lock(url):
    assert is_free(url)


def end_sessions(url: str, name: str) -> None:
    rows(
        url, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE %s", f"%{name}%"
    )


def test_a_lock_whose_session_was_ended_is_noticed_as_lost(url):
    lock = TargetLock(url, NAME)
    lock.acquire()
    end_sessions(url, NAME)
    with TargetLock(url, NAME), pytest.raises(LockLostError, match=NAME):
        lock.check()
    with pytest.raises(LockLostError):
        lock.check()
    lock.give_way()  # as the consumer does however its turn ends
    wait_for("the lock is free again", lock.retake, seconds=10)
    lock.release()


def test_a_lock_that_a_pooler_gave_away_is_noticed_as_lost(url):
    """The connection answers, and the lock is held, by somebody else."""
    lock = TargetLock(url, NAME)
    lock.acquire()
    with lock._connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock_all()")
    with TargetLock(url, NAME), pytest.raises(LockLostError, match="does not hold it"):
        lock.check()


def test_a_lock_that_was_never_taken_is_not_held(url):
    with pytest.raises(LockLostError):
        TargetLock(url, NAME).check()


def test_another_databases_lock_of_the_same_name_is_another_lock(url, empty_database_url):
    with TargetLock(url, NAME), TargetLock(empty_database_url, NAME) as other, RunLock(url, "run-1"):
        other.check()
        assert not run_is_alive(empty_database_url, "run-1")


def test_giving_back_twice_is_no_error(url):
    lock = TargetLock(url, NAME)
    lock.acquire()
    lock.release()
    lock.release()
    assert is_free(url)


def test_a_failure_of_the_writer_gives_the_lock_back(url):
    with pytest.raises(ZeroDivisionError), TargetLock(url, NAME):
        raise ZeroDivisionError
    assert is_free(url)


def test_taking_a_held_lock_again_is_a_fault_of_the_caller(url):
    with TargetLock(url, NAME) as lock, pytest.raises(RuntimeError):
        lock.try_acquire()


def test_a_lock_whose_answer_got_lost_is_taken_all_the_same(url):
    """The server frees the first session's lock when the line breaks; the next try gets it."""
    with losing_an_answer(url, to=b"pg_try_advisory_lock") as proxy, TargetLock(proxy, NAME) as lock:
        lock.check()


def test_a_database_out_of_reach_is_tried_until_the_time_is_over(unused_port_url):
    with pytest.raises(TransientError) as caught:
        TargetLock(unused_port_url, NAME).acquire(0.2, poll_s=0.05)
    assert not isinstance(caught.value, LockBusyError)
    assert "hunter2" not in str(caught.value)


def test_a_roles_time_outs_do_not_end_the_session_of_a_lock(url):
    rows(url, "DROP ROLE IF EXISTS hasty; CREATE ROLE hasty LOGIN; ALTER ROLE hasty SET idle_session_timeout = '100ms'")
    with TargetLock(url.replace("postgres@", "hasty@"), NAME) as lock:
        time.sleep(0.4)
        lock.check()


def test_looking_whether_a_lock_is_held_is_cheap(url):
    with TargetLock(url, NAME) as lock:
        # the quickest of many, which a loaded machine does not slow down; a connection of its own takes 5 ms and more
        assert min(_seconds(lock.check) for _ in range(100)) < 0.003


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def test_every_step_of_a_run_holds_its_lock_and_the_last_one_frees_it(url):
    first, second = RunLock(url, "run-1"), RunLock(url, "run-1")
    first.acquire()
    second.acquire()
    assert run_is_alive(url, "run-1")
    first.release()
    assert run_is_alive(url, "run-1")
    second.release()
    assert not run_is_alive(url, "run-1")


def test_the_runs_that_are_alive_are_found_among_many(url):
    with RunLock(url, "run-1"), RunLock(url, "run-3"):
        assert alive_runs(url, [f"run-{number}" for number in range(5)]) == {"run-1", "run-3"}
    assert alive_runs(url, []) == set()


HOLDING = """
import sys, time
from sync_pipelines.engine.locks import RunLock, TargetLock
url, name, run_id = sys.argv[1:]
with RunLock(url, run_id), TargetLock(url, name, run_id=run_id):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_killed_process_frees_its_target_and_is_dead_at_once(url):
    process = subprocess.Popen([sys.executable, "-c", HOLDING, url, NAME, "run-1"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert run_is_alive(url, "run-1")
        assert not TargetLock(url, NAME).try_acquire()
        process.send_signal(signal.SIGKILL)
        process.wait()
        successor = TargetLock(url, NAME)
        successor.acquire(5, poll_s=0.02)
        successor.release()
        assert not run_is_alive(url, "run-1")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_stopped_process_keeps_its_lock(url):
    """Held up is not dead: a paused process goes on writing when it wakes."""
    process = subprocess.Popen([sys.executable, "-c", HOLDING, url, NAME, "run-1"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        assert run_is_alive(url, "run-1")
        assert not TargetLock(url, NAME).try_acquire()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
