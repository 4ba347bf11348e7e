"""A world for the tests of the Dagster side: a database with a table, a Chroma of its own, an instance."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace

import chromadb
import pytest
from chromadb.config import Settings

import dagster as dg
from sync_pipelines.sandbox.chroma import ChromaServer
from sync_pipelines_tests.dagster.project import ARTICLE_DDL
from sync_pipelines_tests.dagster.world import World

_numbers = count(1)


@pytest.fixture
def chroma_database(chroma_server: ChromaServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Chroma database of the test's own; the variables point at it."""
    chroma_server.start()
    name = f"world_{next(_numbers)}"
    host, port = chroma_server.url.removeprefix("http://").split(":")
    admin = chromadb.AdminClient(
        Settings(chroma_api_impl="chromadb.api.fastapi.FastAPI", chroma_server_host=host, chroma_server_http_port=int(port))
    )
    admin.create_database(name)
    monkeypatch.setenv("CHROMA_URL", chroma_server.url)
    monkeypatch.setenv("CHROMA_DATABASE", name)
    monkeypatch.delenv("CHROMA_PATH", raising=False)
    return name


@pytest.fixture
def world(
    empty_database_url: str,
    chroma_database: str,
    chroma_server: ChromaServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    """The table Article with its triggers, migrated, and an ephemeral Dagster instance."""
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    for name in ("SYNC_DATABASE_URL", "SHOP_DATABASE_URL", "SYNC_SCHEMA"):
        monkeypatch.delenv(name, raising=False)
    with dg.DagsterInstance.ephemeral() as instance:
        made = World(
            url=empty_database_url,
            chroma=SimpleNamespace(url=chroma_server.url, database=chroma_database),
            instance=instance,
        )
        made.execute(ARTICLE_DDL)
        made.migrate()
        made.install()
        yield made
