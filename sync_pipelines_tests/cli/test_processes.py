"""Runs as processes: killed, interrupted, in the background, under a daemon, at a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from dagster._core.storage.tags import GRPC_INFO_TAG

from sync_pipelines import client, launch
from sync_pipelines.daemons import silent_daemons
from sync_pipelines.engine.database import connect
from sync_pipelines.sandbox import application
from sync_pipelines_tests.cli.shop import ARTICLE, Shop, command, environment, run
from sync_pipelines_tests.dagster.deployment import deployed
from sync_pipelines_tests.spare import spare

pytestmark = pytest.mark.slow

T = TypeVar("T")

SLOW = """
import time
from sync_pipelines.engine.run import Run
settle = Run.settle
def slow(self, keys):
    settle(self, keys)
    self.binding.ledger.progress(self.record, self.counts)
    time.sleep(120)
Run.settle = slow
"""
"""The target has taken the first batch; then the run takes long."""


def comes(what: str, look: Callable[[], T | None], *, seconds: float = 90.0) -> T:
    """What `look` finds as soon as it finds something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what}: nothing within {seconds:.0f} s")


def start(shop: Shop, *words: str, **options) -> subprocess.Popen[str]:
    """Start a slow run, and wait until it has written its first batch."""
    process = subprocess.Popen(
        command(*words, before=SLOW),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )
    with shop.ledger as ledger:
        comes("a batch", lambda: any(run.counts.read for run in ledger.open_runs()))
    return process


def is_cancelled(shop: Shop) -> None:
    """The ledger and Dagster say cancelled; lock and slot are free."""
    record = shop.last_run()
    assert record.status == "cancelled"
    assert client.status(record.run_id).state == "cancelled"
    assert shop.locks() == 0
    assert shop.slots() == []


def test_a_run_killed_by_sigkill_is_closed_by_the_next_which_ends_equal(shop: Shop):
    shop.put("a", "b")
    process = start(shop, "sync", ARTICLE)
    process.kill()
    process.communicate()
    killed = shop.last_run()
    assert killed.status == "running"
    assert shop.slots() == [killed.run_id]
    result = run("sync", ARTICLE, "--json")
    assert result.returncode == 0, result.stderr
    (after,) = json.loads(result.stdout)["runs"]
    assert after["status"] == "completed"
    assert after["counts"]["embedded_texts"] == 0  # what was stored is not embedded again
    assert shop.stored() == {"a", "b"}
    assert client.status(killed.run_id).state == "failed"
    with shop.ledger as ledger:
        assert [one.status for one in ledger.logs("shop", "article", run_id=killed.run_id)] == ["failed"]
    assert shop.slots() == []


@pytest.mark.parametrize("number", [*spare(signal.SIGINT), signal.SIGTERM])
def test_a_signal_cancels_the_run_cleanly_and_ends_with_130(shop: Shop, number: signal.Signals):
    shop.put("a")
    process = start(shop, "sync", "shop")
    os.killpg(process.pid, number)  # a terminal sends it to the whole group
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Interrupted." in said
    assert "Traceback" not in said
    is_cancelled(shop)
    with shop.instance as instance:
        assert len(instance.get_runs()) == 1  # the second table has not begun


@pytest.mark.exhaustive
def test_a_run_that_a_script_put_in_the_background_can_be_ended(shop: Shop):
    """A shell that is not interactive hands on an ignored SIGINT, which Dagster copies to SIGTERM."""
    shop.put("a")
    process = start(shop, "sync", ARTICLE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 130
    is_cancelled(shop)


def test_a_run_is_cancelled_from_another_process(shop: Shop):
    shop.put("a")
    process = start(shop, "sync", ARTICLE, "--json")
    (active,) = client.active()
    result = run("jobs", "cancel", active.run_id)
    assert result.stdout.strip() == f"Run {active.run_id}: cancelled."
    answer, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert json.loads(answer)["runs"][0]["status"] == "cancelled"
    is_cancelled(shop)


def test_two_runs_of_one_table_do_not_work_at_once(shop: Shop):
    shop.put("a")
    first = start(shop, "sync", ARTICLE)
    second = subprocess.Popen(
        command("sync", ARTICLE, "--json"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    holder = shop.last_run().run_id
    comes("the second in the queue", lambda: len(shop.slots()) == 2)
    time.sleep(2)
    with shop.ledger as ledger:
        assert [one.run_id for one in ledger.open_runs()] == [holder]
    os.killpg(first.pid, signal.SIGINT)
    first.communicate(timeout=60)
    answer, said = second.communicate(timeout=60)
    assert second.returncode == 0, said
    assert json.loads(answer)["runs"][0]["status"] == "completed"


def test_at_a_terminal_the_progress_is_one_line_that_moves_and_goes(shop: Shop):
    shop.put("a")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command("sync", ARTICLE), env=environment(TERM="xterm"), stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    text = _all_of(master)
    assert process.wait(timeout=60) == 0, text
    assert "shop/article: starting" in text
    assert "\x1b[" in text
    assert "INFO" not in text
    assert "DEBUG" not in text
    assert re.search(r"shop/article: completed: 1 read, 1 upserted", text)


def _all_of(descriptor: int) -> str:
    parts = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # Linux's way of saying that nobody has the other end open
            break
        if not part:
            break
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts).decode(errors="replace")


def test_without_a_daemon_no_wait_returns_at_once_and_the_run_outlives_the_command(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, empty_database_url: str
):
    """The project's own documents, from an empty database to the end, by commands alone."""
    monkeypatch.undo()
    variables = {
        "DATABASE_URL": empty_database_url,
        "CHROMA_URL": shop.chroma_url,
        "CHROMA_DATABASE": shop.chroma_database,
        "DAGSTER_HOME": str(shop.home),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    _some_journeys(empty_database_url)
    for words in (["db", "upgrade"], ["capture", "install"]):
        assert _script(*words).returncode == 0
    started = time.monotonic()
    result = _script("sync", "knowledge/journey_template", "--no-wait", "--json")
    assert result.returncode == 0, result.stderr
    assert time.monotonic() - started < 60
    (queued,) = json.loads(result.stdout)["runs"]
    assert queued["status"] in ("queued", "running")
    comes("the end", lambda: client.status(queued["run_id"]).over, seconds=180)
    assert client.status(queued["run_id"]).state == "completed", client.status(queued["run_id"]).error
    assert len(shop.stored("journey_template")) == 3


def _some_journeys(url: str) -> None:
    with application.transaction(url) as cursor:
        application.create_tables(cursor)
    connection = connect(url, "test")
    try:
        with connection.cursor() as cursor:
            for number in range(3):
                cursor.execute(
                    'INSERT INTO "JourneyTemplate" (id, "fullJson") VALUES (%s, %s)',
                    (f"j{number}", json.dumps({"title": f"A journey of {number} days"})),
                )
    finally:
        connection.close()


def _script(*words: str) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("sync-pipelines")
    return subprocess.run([str(script), *words], capture_output=True, text=True, timeout=180)


CODE = """
from sync_pipelines_tests.cli.shop import loaded

defs = loaded()[0]
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_with_a_daemon_no_wait_goes_through_its_queue(shop: Shop, tmp_path: Path):
    shop.put("a")
    folder = tmp_path / "deployment"
    folder.mkdir()
    with deployed(folder, CODE, webserver=False) as deployment:
        comes("the daemon", lambda: not silent_daemons(deployment.instance))
        run_id = client.trigger(ARTICLE)
        comes("the end", lambda: client.status(run_id).over, seconds=180)
        assert client.status(run_id).state == "completed", client.status(run_id).error
        run = deployment.instance.get_run_by_id(run_id)
        assert launch.OWN_PROCESS not in run.tags
        assert GRPC_INFO_TAG in run.tags  # the daemon gave it to its code server
    assert shop.stored() == {"a"}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_run_of_the_daemon_is_cancelled(shop: Shop, tmp_path: Path):
    shop.put("a")
    folder = tmp_path / "deployment"
    folder.mkdir()
    with deployed(folder, SLOW + CODE, webserver=False) as deployment, shop.ledger as ledger:
        comes("the daemon", lambda: not silent_daemons(deployment.instance))
        client.trigger(ARTICLE)
        writing = comes(
            "a batch",
            lambda: next((one.run_id for one in ledger.open_runs("shop", "article") if one.counts.read), None),
            seconds=180,
        )
        assert launch.OWN_PROCESS not in deployment.instance.get_run_by_id(writing).tags
        for other in client.active(ARTICLE):  # of the sensor, which may have been quicker or waits for the slot
            if other.run_id != writing:
                client.cancel(other.run_id, timeout=60)
        assert client.cancel(writing, timeout=60).state == "cancelled"
        assert [one.status for one in ledger.logs("shop", "article", run_id=writing)] == ["cancelled"]
        comes("a free slot", lambda: writing not in shop.slots())
