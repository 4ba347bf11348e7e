"""Dagster's SQLite for the tests: one engine a database instead of one a statement, and its revisions read once."""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from types import SimpleNamespace
from typing import Any

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from dagster._core.storage import sql
from dagster._core.storage.event_log import in_memory as events_in_memory
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs import in_memory as runs_in_memory
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from sqlalchemy import Connection, Engine, create_engine

_MOST = 64
"""Engines that are kept: each has compiled what was asked through it, and holds no connection."""

_engines: OrderedDict[str, Engine] = OrderedDict()


def quicken() -> None:
    """Spare what Dagster's storage in SQLite does again at each statement and each database: a third of a command."""
    for module in (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):
        module.create_engine = _kept_engine  # ty: ignore
        module.stamp_alembic_rev = _stamp  # ty: ignore
    for module in (events_in_memory, runs_in_memory):
        module.stamp_alembic_rev = _stamp  # ty: ignore
    sql.ScriptDirectory = SimpleNamespace(from_config=_revisions)  # ty: ignore


def _kept_engine(url: str, **options: Any) -> Engine:
    engine = _engines.pop(url, None) or create_engine(url, **options)
    _engines[url] = engine
    while len(_engines) > _MOST:
        _engines.popitem(last=False)
    return engine


def _revisions(config: Config) -> ScriptDirectory:
    return _read(config.get_main_option("script_location") or "")


@cache
def _read(location: str) -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", location)
    return ScriptDirectory.from_config(config)


def _stamp(config: Config, connection: Connection, rev: str = "head") -> None:
    MigrationContext.configure(connection).stamp(_revisions(config), rev)
