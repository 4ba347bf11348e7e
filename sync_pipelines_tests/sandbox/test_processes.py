"""Child processes: who lives, who dies with whom, and who is never hit by mistake."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sync_pipelines.sandbox import guard
from sync_pipelines.sandbox.processes import (
    LOOPBACK,
    Launch,
    ProcessId,
    free_port,
    port_is_free,
    spawn,
    stop,
    tail,
    wait_until,
)
from sync_pipelines_tests.sandbox.helpers import (
    comes_true,
    first_line,
    none_is_left,
    run_as_plain_user,
    run_python,
)

QUICK: guard.Escalation = [(signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)]


def launch(folder: Path, program: str, *, detached: bool = False) -> ProcessId:
    command = [sys.executable, "-c", program]
    return spawn(
        Launch(
            command=command,
            log=folder / "log",
            environment=dict(os.environ),
            folder=folder,
            detached=detached,
            escalation=QUICK,
        ),
        record=lambda _process: None,
    )


def test_a_free_port_can_be_listened_on_and_then_is_free_no_longer() -> None:
    port = free_port()
    with socket.create_server((LOOPBACK, port)):
        assert not port_is_free(port)
    assert port_is_free(port)


def test_a_process_with_another_start_time_is_never_signalled() -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        stop(ProcessId(stranger.pid, "a process of yesterday"))
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_dead_child_that_nobody_collected_counts_as_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    process = ProcessId.of(child.pid)
    assert process is not None
    os.kill(child.pid, signal.SIGKILL)
    assert none_is_left([process], seconds=5)
    child.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows a process by its first thread")
def test_a_process_whose_first_thread_has_ended_lives_while_another_runs(folder: Path) -> None:
    program = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""
    process = launch(folder, program)
    state = Path(f"/proc/{process.pid}/stat")
    assert comes_true(lambda: state.read_text().rpartition(")")[2].split()[0] == "Z", seconds=10)
    assert process.alive()
    stop(process)
    assert not process.alive()


def test_a_process_that_ignores_the_polite_signal_is_killed(folder: Path) -> None:
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    process = launch(folder, program)
    assert wait_until(lambda: "deaf" in tail(folder / "log"), process=process, seconds=10)
    stop(process, [(signal.SIGTERM, 0.3), (signal.SIGKILL, 5.0)])
    assert not process.alive()


def test_a_child_gets_the_default_of_sigint_though_its_parent_ignores_it(folder: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = launch(folder, "import signal; print(signal.getsignal(signal.SIGINT))")
    finally:
        signal.signal(signal.SIGINT, before)
    assert none_is_left([process], seconds=10)
    assert "default_int_handler" in tail(folder / "log")


def test_a_server_outlives_the_thread_that_started_it(folder: Path) -> None:
    started: list[ProcessId] = []
    starter = threading.Thread(target=lambda: started.append(launch(folder, "import time; time.sleep(60)")))
    starter.start()
    starter.join()
    time.sleep(3 * guard.LOOK_EVERY_SECONDS)
    assert started[0].alive()
    stop(started[0])


def test_a_server_that_is_not_on_record_yet_never_begins_when_its_parent_dies(folder: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from sync_pipelines.sandbox.processes import Launch, spawn
folder = Path(sys.argv[1])
def die(process):
    (folder / "pid").write_text(f"{process.pid} {process.started}")
    os.kill(os.getpid(), 9)
spawn(Launch(command=[sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"],
             log=folder / "log", environment={}, folder=folder, detached=True, escalation=[]), record=die)
"""
    run_python(program, folder).wait()
    pid, started = (folder / "pid").read_text().split()
    assert none_is_left([ProcessId(int(pid), started)], seconds=5)
    assert "begun" not in tail(folder / "log")


def test_the_portable_way_to_tell_processes_apart_agrees_with_proc() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    first = guard._started_by_ps(child.pid)
    assert first is not None
    assert guard._started_by_ps(child.pid) == first
    child.kill()
    assert comes_true(lambda: guard._started_by_ps(child.pid) is None, seconds=5)  # a zombie
    child.wait()
    assert guard._started_by_ps(child.pid) is None


def test_a_program_that_does_not_exist_leaves_its_reason_in_the_log(folder: Path) -> None:
    process = spawn(
        Launch(
            command=["/no/such/program"],
            log=folder / "log",
            environment={},
            folder=folder,
            escalation=QUICK,
        ),
        record=lambda _process: None,
    )
    assert not wait_until(lambda: False, process=process, seconds=5)
    assert "No such file" in tail(folder / "log")


def test_a_process_of_another_user_gives_a_sentence_and_is_left_alone() -> None:
    program = """
import json
from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.processes import ProcessId, stop
try:
    stop(ProcessId.of(1))
except SandboxError as error:
    print(json.dumps({"said": str(error)}))
"""
    with run_as_plain_user(program) as process:
        assert "belongs to another user" in first_line(process)["said"]
