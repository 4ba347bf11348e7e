"""The shop: two small tables and their syncs with the deterministic embedder, for commands and the client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg

from sync_pipelines import migrations
from sync_pipelines.components.base import SyncComponent
from sync_pipelines.engine.database import connect
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.registry import BoundTable, tables
from sync_pipelines.sources.postgres.capture import install
from sync_pipelines_tests.dagster.project import article, definitions
from sync_pipelines_tests.own_chroma import create_database, own_client

CHECKOUT = Path(__file__).parents[2]

DDL = """
CREATE TABLE "{name}" (
    id text PRIMARY KEY, title jsonb, body text, stock integer,
    "updatedAt" timestamp(3) NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'))
"""

ARTICLE, AUTHOR = "shop/article", "shop/author"


def components() -> tuple[SyncComponent, ...]:
    """The documents of the shop's two tables."""
    source = {"connection": "shop", "table": "Author", "key": ["id"], "changed_at": "updatedAt"}
    return article(), article(source=source, target={"collection": "author"})


@cache
def loaded() -> tuple[dg.Definitions, tuple[SyncComponent, ...]]:
    """What `sync_pipelines.definitions.load` gives, of the shop's documents."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dagster's own of its beta features, which it leaves out for defs/
        found = components()
        return definitions(*found), found


def open_shop() -> None:
    """Put the shop's documents in the place of those below `defs/`, in this process."""
    import sync_pipelines.definitions as project

    found = loaded()
    project.load = lambda *_: found


def build(url: str) -> None:
    """The shop's tables, both branches of migrations, and the triggers."""
    connection = connect(url, "shop")
    try:
        with connection.cursor() as cursor:
            for component in components():
                cursor.execute(DDL.format(name=component.source.table))
    finally:
        connection.close()
    for branch in migrations.BRANCHES:
        migrations.upgrade(url, branch=branch)
    for component in components():
        install(url, component.spec)


_numbers = count(1)


def new_chroma_database(url: str) -> str:
    """A new, empty Chroma database; its name."""
    name = f"shop_{os.getpid()}_{next(_numbers)}"
    create_database(url, name)
    return name


PROGRAM = """
import sys
from sync_pipelines_tests.cli.shop import open_shop
open_shop()
{before}
sys.argv[0] = "sync-pipelines"
from sync_pipelines.cli import main
main()
"""
"""The console script over the shop, in a process of its own; `before` may bend something first."""


def command(*words: str, before: str = "") -> list[str]:
    """The command line of `PROGRAM`."""
    return [sys.executable, "-c", PROGRAM.format(before=before), *words]


def environment(**changed: str) -> dict[str, str]:
    """This process's variables, and where to find the tests' own modules."""
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), **changed}


def run(*words: str, before: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the console script over the shop and wait for it."""
    env = options.pop("env", None) or environment()
    return subprocess.run(
        command(*words, before=before), capture_output=True, text=True, timeout=180, env=env, **options
    )


@dataclass
class Shop:
    """The shop's database, its Chroma, and what a test does there."""

    url: str
    chroma_url: str
    chroma_database: str
    home: Path

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement; its rows, if it has any."""
        connection = connect(self.url, "shop")
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def put(self, *keys: str, table: str = "Article", body: str = "a body") -> None:
        """Insert or change rows."""
        for key in keys:
            self.execute(
                f"""INSERT INTO "{table}" VALUES (%s, %s, %s, 1) ON CONFLICT (id) DO UPDATE SET
                body = excluded.body, "updatedAt" = now() AT TIME ZONE 'UTC'""",
                key,
                json.dumps({"en": f"title of {key}"}),
                body,
            )

    @property
    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.get()

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.url, pool_max=2)

    def bound(self, path: str = ARTICLE) -> BoundTable:
        return tables(path)[0]

    def stored(self, collection: str = "article") -> set[str]:
        """The ids that Chroma itself says it holds."""
        client = own_client(self.chroma_url, self.chroma_database)
        return set(client.get_collection(collection, embedding_function=None).get(include=[])["ids"])

    def last_run(self, table: str = "article") -> Any:
        with self.ledger as ledger:
            return ledger.last_runs("shop", table, limit=1)[0]

    def locks(self) -> int:
        """Advisory locks that anybody holds in this database."""
        query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = "
        return self.execute(query + "(SELECT oid FROM pg_database WHERE datname = current_database())")[0][0]

    def slots(self, pools: Sequence[str] = ("shop__article", "shop__author")) -> list[str]:
        """Runs that hold or wait for a slot of a pool."""
        with self.instance as instance:
            found = [instance.event_log_storage.get_concurrency_info(pool) for pool in pools]
            return sorted({slot.run_id for info in found for slot in (*info.claimed_slots, *info.pending_steps)})
