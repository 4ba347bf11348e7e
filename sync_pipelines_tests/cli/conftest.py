"""A shop of its own for every test: database, Chroma database, DAGSTER_HOME."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

import chromadb
import pytest
from chromadb.config import Settings

import sync_pipelines.definitions
from sync_pipelines.sandbox.chroma import ChromaServer
from sync_pipelines_tests.cli.shop import CHECKOUT, Shop, components
from sync_pipelines_tests.dagster.project import definitions

_numbers = count(1)

_FOREIGN = ("SYNC_", "SHOP_", "KNOWLEDGE_", "POSTGRES_", "CHROMA_", "DAGSTER_", "DATABASE_URL", "LOG_LEVEL")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of the developer's, no `.env`, and a terminal that is wide enough for whole keys."""
    import os

    for name in list(os.environ):
        if name.startswith(_FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def dagster_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare_environment: None) -> Path:
    """A DAGSTER_HOME with the project's own settings."""
    home = tmp_path / "dagster_home"
    home.mkdir()
    shutil.copy(CHECKOUT / "dagster.yaml", home)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


@pytest.fixture
def chroma_database(chroma_server: ChromaServer, monkeypatch: pytest.MonkeyPatch, bare_environment: None) -> str:
    """A Chroma database of the test's own; the variables point at it."""
    chroma_server.start()
    name = f"cli_{next(_numbers)}"
    host, port = chroma_server.url.removeprefix("http://").split(":")
    settings = Settings(
        chroma_api_impl="chromadb.api.fastapi.FastAPI", chroma_server_host=host, chroma_server_http_port=int(port)
    )
    chromadb.AdminClient(settings).create_database(name)
    monkeypatch.setenv("CHROMA_URL", chroma_server.url)
    monkeypatch.setenv("CHROMA_DATABASE", name)
    return name


@pytest.fixture
def shop(
    empty_database_url: str,
    chroma_server: ChromaServer,
    chroma_database: str,
    dagster_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Shop:
    """The shop, open in this process: migrated, captured, and empty."""
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    found = components()
    loaded = (definitions(*found), found)
    monkeypatch.setattr(sync_pipelines.definitions, "load", lambda *_: loaded)
    made = Shop(
        url=empty_database_url,
        chroma_url=chroma_server.url,
        chroma_database=chroma_database,
        home=dagster_home,
    )
    made.build()
    return made
