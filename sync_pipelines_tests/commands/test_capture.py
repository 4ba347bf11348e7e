"""`sync-pipelines capture`: the triggers, as an operator handles them."""

import json

import psycopg2
import pytest
from typer.testing import CliRunner

from sync_pipelines import migrations
from sync_pipelines.commands.capture import app
from sync_pipelines.engine.errors import CaptureMissingError, MigrationDueError
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.model import Counts, Scope
from sync_pipelines.engine.urls import normalise_url
from sync_pipelines.registry import tables

REFERENCE = "knowledge/knowledge_reference"


@pytest.fixture
def database(monkeypatch, database_url, tmp_path):
    """A connection to the sandbox's database, which is the environment's; no table has triggers yet."""
    monkeypatch.delenv("SYNC_DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CHROMA_PATH", str(tmp_path))
    for branch in ("capture", "ledger"):
        migrations.upgrade(database_url, branch=branch)
    connection = psycopg2.connect(normalise_url(database_url).libpq)
    connection.autocommit = True
    for table in tables():
        if table.component.captures_in_postgres:
            table.source().remove_capture()
    yield connection
    connection.close()


def run(*words: str, good: bool = True):
    result = CliRunner().invoke(app, words)
    assert (result.exit_code == 0) is good, (result.exception, result.output)
    return result


def triggers(connection) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'sync_capture%'")
        return cursor.fetchone()[0]


def test_install_and_remove_change_the_tables_that_are_named(database):
    assert f"{REFERENCE}: " in run("install", REFERENCE).stdout
    assert triggers(database) == 4
    assert json.loads(run("install", "knowledge", "--json").stdout)["tables"][0]["table"].startswith("knowledge/")
    assert triggers(database) == 8
    assert run("install", "knowledge").stdout.count("nothing to do") == 2
    run("remove", REFERENCE)
    assert triggers(database) == 4


def test_a_dry_run_prints_sql_that_psql_could_run_and_changes_nothing(database):
    text = run("install", REFERENCE, "--dry-run").stdout
    assert text.startswith(f"-- {REFERENCE}\n")
    assert triggers(database) == 0
    with database.cursor() as cursor:
        cursor.execute(text)
    assert triggers(database) == 4
    assert run("remove", "knowledge", "--dry-run").stdout.count("DROP TRIGGER") == 4
    assert triggers(database) == 4


def test_status_says_what_is_missing_and_ends_with_1(database):
    result = run("status", "knowledge", good=False)
    assert "not installed" in result.stdout
    assert f"sync-pipelines capture install {REFERENCE}" in result.stderr
    run("install")
    found = json.loads(run("status", "--json").stdout)["tables"]
    reference = next(item for item in found if item["table"] == REFERENCE)
    assert (reference["using"], reference["installed"], reference["missing"]) == ("trigger", True, [])
    assert [reader["reader"] for reader in reference["readers"]] == [REFERENCE]
    assert "1 of 1 relations" in run("status").stdout


@pytest.mark.slow
def test_lag_counts_what_waits_since_the_ledgers_watermark(database, database_url):
    run("install")
    (before,) = json.loads(run("lag", REFERENCE, "--json").stdout)["tables"]
    assert (before["full_reason"], before["lag_seconds"]) == ("first run", None)
    (table,) = tables(REFERENCE)
    with table.source().changes(Scope(), since=None) as changes, Ledger(database_url) as ledger:
        record = ledger.begin(*REFERENCE.split("/"), mode="incremental", trigger="cli", run_id="r")
        ledger.finish(record, status="completed", counts=Counts(), watermark=changes.watermark)
    with database.cursor() as cursor:
        cursor.execute(
            'UPDATE "KnowledgeReference" SET source = \'x\' WHERE id IN (SELECT id FROM "KnowledgeReference" LIMIT 2)'
        )
    (found,) = json.loads(run("lag", REFERENCE, "--json").stdout)["tables"]
    assert (found["changes"], found["full_reason"]) == (2, None)
    assert 0 < found["lag_seconds"] < 60
    assert REFERENCE in run("lag").stdout


def test_a_missing_schema_names_the_upgrade(database):
    with database.cursor() as cursor:
        cursor.execute("DROP SCHEMA sync CASCADE")
    assert isinstance(run("install", REFERENCE, good=False).exception, MigrationDueError)
    (table,) = tables(REFERENCE)
    with pytest.raises(CaptureMissingError, match="db upgrade"):
        table.source().changes(Scope(), since=None)
