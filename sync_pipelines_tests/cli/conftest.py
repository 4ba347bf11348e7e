"""A shop for every test: database, Chroma database and DAGSTER_HOME of its own; and one that tests only read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import sync_pipelines.definitions
from sync_pipelines.sandbox.chroma import ChromaServer
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines_tests.cli.shop import Shop, build, loaded, new_chroma_database
from sync_pipelines_tests.dagster.homes import fresh_home

_TEMPLATE, _SETTLED = "template_shop", "settled_shop"

_FOREIGN = ("SYNC_", "SHOP_", "KNOWLEDGE_", "POSTGRES_", "CHROMA_", "DAGSTER_", "DATABASE_URL", "LOG_LEVEL")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of the developer's, no `.env`, and a terminal that is wide enough for whole keys."""
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def shop_template(postgres_server: PostgresServer) -> str:
    """The name of a database with the shop's tables, both branches of migrations and the triggers."""
    if not postgres_server.has_database(_TEMPLATE):  # the tests of secrets have this fixture, too
        postgres_server.create_database(_TEMPLATE)
        build(postgres_server.url(_TEMPLATE))
        postgres_server.seal_database(_TEMPLATE)
    return _TEMPLATE


@pytest.fixture
def shop(
    postgres_server: PostgresServer,
    shop_template: str,
    chroma_server: ChromaServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bare_environment: None,
) -> Iterator[Shop]:
    """The shop, open in this process, and empty."""
    postgres_server.start()
    name = f"shop_{tmp_path.name[-40:].lower()}_{os.getpid()}"
    postgres_server.create_database(name, template=shop_template)
    made = _shop(postgres_server.url(name), chroma_server, tmp_path)
    _enter(made, monkeypatch)
    yield made
    postgres_server.start()
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def settled_shop(
    postgres_server: PostgresServer,
    shop_template: str,
    chroma_server: ChromaServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Shop:
    """Two articles and one author, all synced and proven; made once."""
    from sync_pipelines import client

    postgres_server.create_database(_SETTLED, template=shop_template)
    made = _shop(postgres_server.url(_SETTLED), chroma_server, tmp_path_factory.mktemp("settled"))
    with pytest.MonkeyPatch.context() as patch:
        _enter(made, patch)
        made.put("a", "b")
        made.put("z", table="Author")
        client.trigger("shop", wait=True)
    return made


@pytest.fixture
def settled(settled_shop: Shop, monkeypatch: pytest.MonkeyPatch, bare_environment: None) -> Shop:
    """That shop, open in this process, for tests that change nothing in it."""
    _enter(settled_shop, monkeypatch)
    return settled_shop


def _shop(url: str, chroma: ChromaServer, folder: Path) -> Shop:
    home = fresh_home(folder / "dagster_home")
    chroma.start()
    return Shop(url=url, chroma_url=chroma.url, chroma_database=new_chroma_database(chroma.url), home=home)


def _enter(made: Shop, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("DATABASE_URL", made.url)
    patch.setenv("CHROMA_URL", made.chroma_url)
    patch.setenv("CHROMA_DATABASE", made.chroma_database)
    patch.setenv("DAGSTER_HOME", str(made.home))
    found = loaded()
    patch.setattr(sync_pipelines.definitions, "load", lambda *_: found)
