"""The server itself: what a crash leaves, and where its jars come from."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sync_pipelines.sandbox.databricks import jars
from sync_pipelines.sandbox.databricks.server import DatabricksServer
from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.processes import ProcessId, children_of
from sync_pipelines_tests.sandbox.databricks.shared import Schema


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_killed_server_leaves_no_java_behind_and_knows_its_tables_again(tmp_path: Path) -> None:
    with DatabricksServer(tmp_path) as server:
        before = Schema(server, "voyce")
        before.sql("CREATE TABLE shop AS SELECT 7 AS id")
        token = server.token
        process = server.process
        assert process is not None
        java = children_of(process.pid)
        server.kill()
        _await_the_end_of(java)
        server.start()
        assert server.token == token
        after = Schema(server, "voyce")
        assert after.sql("SELECT * FROM shop") == [["7"]]
        after.sql("DROP TABLE shop")
        after.sql("CREATE TABLE shop AS SELECT 8 AS id")


def test_a_missing_java_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(SandboxError, match=r"needs java 17 or newer, and there is none\. On Debian: apt-get install"):
        jars.class_path()


def test_an_old_java_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _program(tmp_path / "bin" / "java", """echo 'openjdk version "11.0.2" 2019-01-15' >&2""")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SandboxError, match=r'needs java 17 or newer; .*"11\.0\.2"'):
        jars.class_path()


def test_the_first_start_says_which_programs_it_misses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _program(tmp_path / "bin" / "java", """echo 'openjdk version "17.0.2"' >&2""")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv(jars.VARIABLE, str(tmp_path / "cache"))
    with pytest.raises(SandboxError, match="needs javac and mvn"):
        jars.class_path()


def test_jars_are_fetched_and_compiled_once_and_a_failure_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs, cache = tmp_path / "bin", tmp_path / "cache"
    _program(programs / "java", """echo 'openjdk version "17.0.2"' >&2""")
    _program(programs / "mvn", 'echo "no route to the host"; exit 1')
    _program(programs / "javac", "exit 0")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv(jars.VARIABLE, str(cache))
    with pytest.raises(SandboxError, match=r"could not be fetched \(mvn ended with 1\):\nno route to the host"):
        jars.class_path()
    assert [place.suffix for place in cache.iterdir()] == [".lock"]
    _program(programs / "mvn", f"echo once >> {tmp_path}/calls")
    assert jars.class_path() == jars.class_path()
    assert (tmp_path / "calls").read_text() == "once\n"


def _program(place: Path, text: str) -> None:
    place.parent.mkdir(exist_ok=True)
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o755)


def _await_the_end_of(processes: list[ProcessId]) -> None:
    assert processes
    deadline = time.monotonic() + 10
    while any(process.alive() for process in processes):
        assert time.monotonic() < deadline
        time.sleep(0.05)
