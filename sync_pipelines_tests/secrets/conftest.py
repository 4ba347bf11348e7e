"""The shop in an environment where every credential is a canary, and the roles that these passwords open."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest

import sync_pipelines.definitions
from sync_pipelines import log
from sync_pipelines.sandbox.chroma import ChromaServer
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines_tests.cli.conftest import bare_environment, shop, shop_template  # noqa: F401
from sync_pipelines_tests.cli.shop import Shop
from sync_pipelines_tests.secrets import leaky
from sync_pipelines_tests.secrets.canaries import DATABASES, canary, contents, hits, values


def role(variable: str) -> str:
    return f"canary_{variable.lower()}"


@pytest.fixture(scope="session")
def roles(postgres_server: PostgresServer) -> Iterator[None]:
    """A role for each URL of a database, with the canary for its password, which the server asks for."""
    names = [role(variable) for variable in DATABASES]
    url = postgres_server.url("postgres").replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for variable in DATABASES:
            cursor.execute(f"CREATE ROLE {role(variable)} LOGIN SUPERUSER PASSWORD %s", (canary(variable),))
        cursor.execute("SHOW hba_file")
        file = Path(cursor.fetchone()[0])
        before = file.read_text()
        rules = [f"host all {name} 127.0.0.1/32 scram-sha-256\n" for name in names]
        file.write_text("".join(rules) + before)
        cursor.execute("SELECT pg_reload_conf()")
    yield
    file.write_text(before)
    # other tests of the session kill server processes, which ends every connection that stands open meanwhile
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_reload_conf()")


@pytest.fixture
def address(shop: Shop) -> Callable[..., str]:  # noqa: F811
    """The URL of the shop's database for the role of a variable."""

    def of(variable: str, *, password: str | None = None) -> str:
        place = shop.url.rpartition("@")[2]
        return f"postgresql://{role(variable)}:{quote(password or canary(variable), safe='')}@{place}"

    return of


@pytest.fixture
def guarded(
    shop: Shop,  # noqa: F811
    roles: None,
    address: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Shop]:
    """The shop with a canary in every credential, its log in a file, its sandbox in a folder of the test."""
    for variable in DATABASES:
        if variable != "DAGSTER_POSTGRES_URL":  # Dagster's storage is SQLite here
            monkeypatch.setenv(variable, address(variable))
    for variable, value in values(chroma=shop.chroma_url.removeprefix("http://")).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("SYNC_LOG_FILE", str(tmp_path / "sync.log"))
    monkeypatch.setenv("SYNC_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("SYNC_SANDBOX_DIR", str(tmp_path / "sandbox"))
    found = leaky.loaded()
    monkeypatch.setattr(sync_pipelines.definitions, "load", lambda *_: found)
    log.configure()
    yield shop
    for name in [name for name in os.environ if name.startswith("SYNC_LOG_")]:
        monkeypatch.delenv(name)
    log.configure()


@pytest.fixture
def found(
    guarded: Shop, tmp_path: Path, postgres_server: PostgresServer, chroma_server: ChromaServer
) -> Callable[..., list[str]]:
    """Every place where a canary stands now: files, Dagster's storage, the database, the servers' logs."""

    def look(**said: str) -> list[str]:
        servers = {"PostgreSQL's log": postgres_server.log_file, "Chroma's log": chroma_server.log_file}
        logs = {name: path.read_bytes() for name, path in servers.items() if path.exists()}
        return hits({**said, **contents(tmp_path), **logs, **_rows(guarded)})

    return look


def _rows(shop: Shop) -> dict[str, str]:  # noqa: F811
    """Every row of every table in the shop's database but those of the application."""
    tables = shop.execute(
        """SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
        WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')
        AND table_name NOT IN ('Article', 'Author')"""
    )
    query = "SELECT string_agg(t::text, ' ') FROM {} AS t"
    return {name: shop.execute(query.format(name.replace("%", "%%")))[0][0] or "" for (name,) in tables}
