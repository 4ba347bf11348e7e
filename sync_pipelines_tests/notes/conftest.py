"""A study for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from cryptography.fernet import Fernet

import sync_pipelines.definitions
from sync_pipelines.sandbox.notion.server import NotionServer
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines_tests.conftest import fresh_database
from sync_pipelines_tests.dagster.homes import fresh_home
from sync_pipelines_tests.notes.study import Study, loaded

_TEMPLATE = "template_notes"
_FOREIGN = ("SYNC_", "NOTES_", "NOTION_", "KEEP_", "DAGSTER_", "DATABASE_URL", "POSTGRES_")


@pytest.fixture(scope="session")
def ledger_template(postgres_server: PostgresServer) -> str:
    """The name of a database with the ledger and nothing else."""
    from sync_pipelines import migrations

    postgres_server.create_database(_TEMPLATE)
    migrations.upgrade(postgres_server.url(_TEMPLATE), branch="ledger")
    postgres_server.seal_database(_TEMPLATE)
    return _TEMPLATE


@pytest.fixture
def study(
    postgres_server: PostgresServer,
    ledger_template: str,
    notion_server: NotionServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Study]:
    """The sync `notes` without a user, open in this process."""
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NOTION_BASE_URL", notion_server.url)
    monkeypatch.setenv("SYNC_ENCRYPTION_KEYS", Fernet.generate_key().decode())
    monkeypatch.setenv("NOTES_RATE_LIMIT", "10000")
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("DAGSTER_HOME", str(fresh_home(tmp_path / "home")))
    monkeypatch.chdir(tmp_path)
    found = loaded()
    monkeypatch.setattr(sync_pipelines.definitions, "load", lambda *_: found)
    for url in fresh_database(postgres_server, ledger_template):
        monkeypatch.setenv("DATABASE_URL", url)
        with dg.DagsterInstance.get() as instance:
            yield Study(url=url, folder=tmp_path / "exports", server=notion_server, instance=instance)
