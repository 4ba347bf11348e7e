"""`make dev` is over the sandbox, whatever `.env` and the environment say of other systems."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sync_pipelines.sandbox import dev
from sync_pipelines.sandbox.environment import FOLDER_VARIABLE, GRAPH_VARIABLE, OWN_URL_VARIABLE, Sandbox
from sync_pipelines.sandbox.processes import free_port
from sync_pipelines_tests.sandbox.helpers import CHECKOUT, comes_true, run_python

ELSEWHERE = {
    "DATABASE_URL": "postgresql://app:secret@production.invalid/app",
    "SYNC_DATABASE_URL": "postgresql://app:secret@production.invalid/ledger",
    "KNOWLEDGE_DATABASE_URL": "postgresql://app:secret@production.invalid/knowledge",
    "POSTGRES_HOST": "production.invalid",
    "CHROMA_URL": "http://production.invalid:8000",
    "CHROMA_DATABASE": "production",
    "DAGSTER_POSTGRES_URL": "postgresql://app:secret@production.invalid/dagster",
    "NEO4J_URI": "neo4j://production.invalid",
    "DAGSTER_HOME": "/production",
}

SPY = """
import json, os, sys, threading, time
def tell():
    while True:
        seen = {"command": sys.orig_argv, "variables": dict(os.environ)}
        new = os.path.join(os.environ["SPY_FOLDER"], f".{os.getpid()}")
        with open(new, "w") as file:
            json.dump(seen, file)
        os.replace(new, os.path.join(os.environ["SPY_FOLDER"], f"{os.getpid()}.json"))
        time.sleep(0.5)
threading.Thread(target=tell, daemon=True).start()
"""
"""A sitecustomize: each Python process tells, again and again, which variables it sees by then."""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_process_of_make_dev_sees_what_a_dot_env_for_production_names(folder: Path) -> None:
    port = free_port()
    with _make_dev(folder, port, file=ELSEWHERE) as process:
        assert comes_true(lambda: process.poll() is not None or _loaded(port), seconds=300), "nothing loads"
        assert process.poll() is None, "it ended by itself"
        seen = _seen(folder)
        process.terminate()
        assert process.wait(60) == 0
    sandbox = Sandbox(folder / "sandbox")
    assert not sandbox.status().up
    commands = [" ".join(one["command"]) for one in seen]
    for part in ("dagster_webserver", "dagster._daemon", "api grpc"):
        assert any(part in command for command in commands), (part, commands)
    for one in seen:
        assert "production" not in json.dumps(one["variables"]), one["command"]
        assert one["variables"]["DATABASE_URL"] == one["variables"][OWN_URL_VARIABLE]
        assert one["variables"]["DAGSTER_HOME"] == str(sandbox.dagster_home)
        assert one["variables"]["CHROMA_URL"].startswith("http://127.0.0.1:")


@contextmanager
def _make_dev(folder: Path, port: int, *, file: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """What the Makefile starts, in a folder with such a `.env`; the sandbox's folder and port stand there too."""
    checkout, spies = folder / "checkout", folder / "spies"
    checkout.mkdir()
    spies.mkdir()
    (spies / "sitecustomize.py").write_text(SPY)
    settings = {**file, GRAPH_VARIABLE: "false", FOLDER_VARIABLE: str(folder / "sandbox"), dev.PORT_VARIABLE: str(port)}
    (checkout / ".env").write_text("".join(f"{name}={text}\n" for name, text in settings.items()))
    (checkout / "dagster.yaml").write_text((CHECKOUT / "dagster.yaml").read_text())
    given = {"PYTHONPATH": os.pathsep.join([str(spies), str(CHECKOUT)]), "SPY_FOLDER": str(spies)}
    bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "sync_pipelines.sandbox.dev"]
        process = subprocess.Popen(command, cwd=checkout, env=bare | given, stdout=log, stderr=log)
    try:
        yield process
    except AssertionError as error:
        raise AssertionError(f"{error}\n{(folder / 'log').read_text()[-3000:]}") from None
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        Sandbox(folder / "sandbox").reset()


def _loaded(port: int) -> bool:
    query = "{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError { __typename } } } } }"
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            entries = json.load(answer)["data"]["workspaceOrError"]["locationEntries"]
    except OSError:
        return False
    return [(one["name"], (one["locationOrLoadError"] or {}).get("__typename")) for one in entries] == [
        ("sync_pipelines", "RepositoryLocation")
    ]


def _seen(folder: Path) -> list[dict[str, Any]]:
    """What the processes that Dagster started see once all of them have read their `.env`."""
    time.sleep(2)
    found = [json.loads(file.read_text()) for file in (folder / "spies").glob("*.json")]
    return [
        one
        for one in found
        if "sync_pipelines.sandbox.dev" not in one["command"] and "DAGSTER_HOME" in one["variables"]
    ]


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Sandbox:
    """A sandbox that is not up, and knows its addresses all the same."""
    made = Sandbox(folder / "sandbox")
    monkeypatch.setattr(made, "env", lambda: {"CHROMA_URL": "http://127.0.0.1:1", "DAGSTER_HOME": "/home"})
    return made


def test_what_the_environment_says_of_other_systems_is_not_handed_on_and_settings_are(sandbox: Sandbox) -> None:
    found = dev.variables(sandbox, {**ELSEWHERE, "SYNC_BATCH_SIZE": "7", "PATH": "/bin"})
    assert found == {
        "CHROMA_URL": "http://127.0.0.1:1",
        "DAGSTER_HOME": "/home",
        "SYNC_BATCH_SIZE": "7",
        "PATH": "/bin",
    }


def test_a_database_of_the_users_own_stays_with_its_ledger(sandbox: Sandbox) -> None:
    sandbox.database_url = ELSEWHERE["DATABASE_URL"]
    found = dev.variables(sandbox, ELSEWHERE)
    kept = {"DATABASE_URL", "SYNC_DATABASE_URL", "KNOWLEDGE_DATABASE_URL", "POSTGRES_HOST"}
    assert set(found) == kept | {"CHROMA_URL", "DAGSTER_HOME"}
    assert found["CHROMA_URL"] == "http://127.0.0.1:1"


def test_a_relative_path_means_the_folder_in_which_make_dev_was_called(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    found = dev.variables(sandbox, {"SYNC_LOG_FILE": "sync.log", "SYNC_SPOOL_DIR": "/spool"})
    assert (found["SYNC_LOG_FILE"], found["SYNC_SPOOL_DIR"]) == (str(tmp_path / "sync.log"), "/spool")


def test_of_the_env_file_the_sandboxs_own_settings_count_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"{FOLDER_VARIABLE}=/file\n{dev.PORT_VARIABLE}=1\nDATABASE_URL=x\n")
    found = {dev.PORT_VARIABLE: "2"}
    dev.read_own_settings(found)
    assert found == {FOLDER_VARIABLE: "/file", dev.PORT_VARIABLE: "2"}


SERVES = """
import sys
from pathlib import Path
from sync_pipelines.sandbox import dev
from sync_pipelines.sandbox.environment import Sandbox
Sandbox.up = lambda self: self._claim() or self.dagster_home.mkdir(exist_ok=True)
Sandbox.env = lambda self: dict()
dev._command = lambda port: [sys.executable, "-c", sys.argv[1], port]
{more}
sys.exit(dev.main())
"""
"""`make dev` over a sandbox without servers, with another program in the place of `dagster dev`."""

DAGSTER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    print("serves", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print("shuts down", flush=True)
    time.sleep(1)
print("is down", flush=True)
"""
"""Ends as `dagster dev` does: by itself after one signal; a second one while it shuts down cuts it off."""


def serve(
    folder: Path, *, dagster: str = DAGSTER, port: int | None = None, more: str = "", **variables: str
) -> subprocess.Popen[str]:
    """Start it; all that it says goes to its standard output."""
    (folder / "sandbox").mkdir(mode=0o755, exist_ok=True)
    given = variables | {FOLDER_VARIABLE: str(folder / "sandbox"), dev.PORT_VARIABLE: str(port or free_port())}
    return run_python(SERVES.format(more=more), dagster, env=given, cwd=folder, stderr=subprocess.STDOUT)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_as_a_terminal_sends_it_ends_dagster_in_order_and_with_0(folder: Path, number: signal.Signals) -> None:
    with serve(folder) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "serves\n":
            assert process.poll() is None
        os.killpg(process.pid, number)
        time.sleep(0.3)
        os.killpg(process.pid, number)  # somebody is impatient
        told = process.stdout.read()
    assert process.returncode == 0
    assert told.split("\n") == ["shuts down", "is down", ""]


LEAVES_A_RUN = """
import subprocess, sys
run = "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler)\\n"
run += "try: print('runs', flush=True); time.sleep(600)\\n"
run += "except KeyboardInterrupt: time.sleep(0.5); print('the run ends', flush=True)"
subprocess.Popen([sys.executable, "-c", run], stdout=sys.stderr)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3)", "watch_orphans"])
"""


@pytest.mark.slow
def test_a_run_that_outlives_dagster_ends_before_the_servers_that_it_writes_to(folder: Path) -> None:
    down = "Sandbox.down = lambda self: print('the servers stop', flush=True)"
    with serve(folder, dagster=LEAVES_A_RUN + "import time; time.sleep(1)", more=down) as process:
        assert process.stdout is not None
        lines = [line for line in process.stdout.read().splitlines() if "http" not in line and "data stay" not in line]
    assert lines == ["runs", "the run ends", "the servers stop"]


def test_dagster_that_ends_by_itself_is_an_error_and_what_was_kept_from_it_is_told(folder: Path) -> None:
    elsewhere = {"SYNC_ALERT_URLS": "json://hooks.example.com/s3cret", "CHROMA_URL": "http://far.example.com"}
    with serve(folder, dagster="raise SystemExit(3)", **elsewhere) as process:
        assert process.stdout is not None
        told = " ".join(process.stdout.read().split())
    assert process.returncode == 3
    assert "nothing but the sandbox is used: CHROMA_URL, SYNC_ALERT_URLS." in told
    assert "s3cret" not in told


@pytest.mark.slow
def test_a_second_make_dev_over_the_same_sandbox_says_where_the_first_one_is(folder: Path) -> None:
    port = free_port()
    with serve(folder, port=port) as first:
        assert first.stdout is not None
        while first.stdout.readline() != "serves\n":
            assert first.poll() is None
        with serve(folder) as second:
            assert second.stdout is not None
            told = second.stdout.read()
        assert second.returncode == 1
        assert " ".join(told.split()) == f"make dev runs already over {folder}/sandbox, at http://127.0.0.1:{port}."
        first.terminate()
    with serve(folder, dagster="pass") as third:
        assert third.wait(60) == 0


def test_a_port_that_is_taken_is_told_with_its_variable(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with serve(folder, port=port) as process:
            assert process.stdout is not None
            told = " ".join(process.stdout.read().split())
    assert process.returncode == 1
    assert told == f"Port {port} is taken by another program; set {dev.PORT_VARIABLE} to another one."
