"""Every boundary of a sync × every fault: equality after recovery, or a clear sentence and equality next time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest

from sync_pipelines import failures
from sync_pipelines.engine.ledger import store
from sync_pipelines.sandbox.chroma import ChromaServer
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines.sources.postgres import connection
from sync_pipelines.targets import retries
from sync_pipelines.targets.chroma import client
from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.faults.chroma_line import DIMENSIONS, TABLE, ChromaLine
from sync_pipelines_tests.faults.matrix import run_cell
from sync_pipelines_tests.faults.provider import serving
from sync_pipelines_tests.faults.proxy import Proxy
from sync_pipelines_tests.faults.systems import (
    TRIES,
    ChromaSystem,
    PostgresSystem,
    ProviderSystem,
    SourceSystem,
    through,
    to_server,
)

TESTS = Path(__file__).parents[1]
LEDGER_TABLES = ("sync.sync_logs", "sync.reconciliation_runs")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many layers of patience as in production, each of few tries, with short pauses."""
    monkeypatch.setattr(retries, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(failures, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(failures, "MAX_RETRIES", 1)
    monkeypatch.setitem(retries.RetryPolicy.__init__.__kwdefaults__, "attempts", TRIES)
    monkeypatch.setitem(store.Store.__init__.__kwdefaults__, "attempts", TRIES)
    monkeypatch.setattr(store, "_LOCK_TIMEOUT", "SET lock_timeout = '200ms'")
    monkeypatch.setattr(connection, "_LOCK_TIMEOUT_MS", 200)
    monkeypatch.setattr(client, "REQUEST_SECONDS", 1.0)


@pytest.fixture
def ledger_url(postgres_server: PostgresServer, world: World, world_template: str) -> Iterator[str]:
    """A database of its own for the ledger, so that it can have a fault that the source has not."""
    name = f"ledger_{world.url.rpartition('_')[2]}"
    postgres_server.create_database(name, template=world_template)
    yield postgres_server.url(name)
    postgres_server.start()
    postgres_server.drop_database(name)


@pytest.fixture
def chroma_line(
    world: World,
    ledger_url: str,
    impatient: None,
    postgres_server: PostgresServer,
    chroma_server: ChromaServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ChromaLine]:
    """PostgreSQL → Chroma with a remote provider, every connection through a proxy."""
    with ExitStack() as stack:
        provider = stack.enter_context(serving(DIMENSIONS))
        source = stack.enter_context(Proxy(to_server(world.url)))
        ledger = stack.enter_context(Proxy(to_server(ledger_url)))
        target = stack.enter_context(Proxy(lambda: ("127.0.0.1", chroma_server.port)))
        embedding = stack.enter_context(Proxy(lambda: ("127.0.0.1", provider.server_port)))
        monkeypatch.setenv("DATABASE_URL", through(world.url, source, connect_timeout="2"))
        monkeypatch.setenv("SYNC_DATABASE_URL", through(ledger_url, ledger, connect_timeout="2"))
        monkeypatch.setenv("CHROMA_URL", through(chroma_server.url, target))
        monkeypatch.delenv("HUGGINGFACE_API_KEY", raising=False)
        remote = {"url": f"http://127.0.0.1:{embedding.port}"}
        world.component = article(
            runs={"batch_size": 10},
            embedding={"name": "huggingface_server", "config": remote, "dimensions": DIMENSIONS},
        )
        _short_answers(monkeypatch)
        systems = {
            "source": SourceSystem(source, postgres_server, world.url, ('"Article"',)),
            "ledger": PostgresSystem(
                ledger, postgres_server, ledger_url, ("sync.sync_logs", "sync.reconciliation_runs")
            ),
            "target": ChromaSystem(target, chroma_server),
            "provider": ProviderSystem(embedding),
        }
        yield ChromaLine(world=world, systems=systems, provider=provider, patch=monkeypatch)
        for system in systems.values():
            system.heal()


def _short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's client waits for 5 s and gives no way to say otherwise; reading certificates takes 50 ms."""
    monkeypatch.setattr(httpx, "Client", partial(httpx.Client, timeout=1.0, verify=False))


@pytest.mark.parametrize(("boundary", "fault"), TABLE.cells(), ids=lambda name: name)
def test_a_fault_at_a_boundary_loses_nothing(chroma_line: ChromaLine, boundary: str, fault: str):
    assert run_cell(chroma_line, TABLE.moments[boundary], fault) == TABLE.outcome(boundary, fault)


def test_every_cell_of_the_matrix_is_run_or_has_its_reason():
    cells = set(TABLE.cells())
    for boundary in (*TABLE.moments, "alert"):
        for fault in TABLE.columns:
            known = [
                (boundary, fault) in cells,
                (boundary, fault) in TABLE.elsewhere,
                TABLE.why_not(boundary, fault) is not None,
            ]
            assert sum(known) == 1, (boundary, fault)
    for test in set(TABLE.elsewhere.values()):
        file, _, name = test.partition("::")
        assert re.search(rf"^def {name}\(", (TESTS / file).read_text(), re.M), test
