"""Graph servers as child processes: ArcadeDB from PyPI, and Neo4j itself."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from neo4j import GraphDatabase
from neo4j.exceptions import AuthError

from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.graph import neo4j
from sync_pipelines.sandbox.graph.arcadedb import ArcadeServer
from sync_pipelines.sandbox.graph.neo4j import Neo4jServer
from sync_pipelines.sandbox.graph.server import GraphServer
from sync_pipelines.sandbox.processes import ProcessId, command_line

pytestmark = pytest.mark.slow

KINDS = [ArcadeServer, Neo4jServer]


def ask(server: GraphServer, text: str, password: str | None = None) -> list[Any]:
    with GraphDatabase.driver(server.uri, auth=(server.user, password or server.password)) as driver:
        return [record[0] for record in driver.execute_query(text, database_=server.database).records]  # ty: ignore


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_the_port_and_the_password_outlive_a_restart_and_a_kill(
    kind: type[GraphServer], tmp_path: Path
) -> None:
    with kind(tmp_path / "graph") as server:
        before = (server.port, server.password)
        ask(server, "CREATE (:Kept {n: 1})")
        server.restart()
        ask(server, "CREATE (:Kept {n: 2})")
        server.kill()
        assert not server.answers()
        server.start()
        assert sorted(ask(server, "MATCH (k:Kept) RETURN k.n")) == [1, 2]
        assert (server.port, server.password) == before
        with pytest.raises(AuthError):
            ask(server, "RETURN 1", password="another one")
        assert server.process is not None
        assert server.password not in command_line(server.process.pid)
        process = server.process
    assert not process.alive()
    assert server.process is None


@pytest.mark.parametrize("kind", KINDS)
def test_it_ends_with_the_process_that_started_it(kind: type[GraphServer], tmp_path: Path) -> None:
    program = f"""
import os, pathlib
from {kind.__module__} import {kind.__name__}
server = {kind.__name__}(pathlib.Path({str(tmp_path / "graph")!r}))
server.start()
print(server.process.pid, server.process.started, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    pid, started = done.stdout.split()
    process = ProcessId(int(pid), started)
    deadline = time.monotonic() + 30
    while process.alive():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_neo4j_without_java_or_maven_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(SandboxError, match="Neo4j needs java 17 or newer, and there is none"):
        Neo4jServer(tmp_path / "graph").start()
    program = tmp_path / "java"
    program.write_text("""#!/bin/sh\necho 'openjdk version "17.0.2"' >&2\n""")
    program.chmod(0o755)
    monkeypatch.setenv(neo4j.VARIABLE, str(tmp_path / "cache"))
    with pytest.raises(SandboxError, match="The first start of Neo4j needs mvn"):
        Neo4jServer(tmp_path / "graph").start()
