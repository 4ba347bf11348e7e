"""A desk for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

import sync_pipelines.definitions
from sync_pipelines_tests.dagster.homes import fresh_home
from sync_pipelines_tests.users.diary import Desk, loaded


@pytest.fixture
def desk(house_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """An empty database with both branches of migrations, an empty folder, and the document of the diary alone."""
    monkeypatch.setenv("DATABASE_URL", house_url)
    monkeypatch.setenv("DELTA_URI", str(tmp_path / "lake"))
    for name in ("SYNC_DATABASE_URL", "SYNC_SCHEMA", "SYNC_BATCH_SIZE", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    found = loaded()
    monkeypatch.setattr(sync_pipelines.definitions, "load", lambda *_: found)
    # ticks give requests for dynamic partitions only to an instance that outlives them
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield Desk(url=house_url, instance=instance)


@pytest.fixture
def homely(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The desk with a DAGSTER_HOME, for commands and the client."""
    home = fresh_home(tmp_path / "dagster_home")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.chdir(tmp_path)
    return desk
