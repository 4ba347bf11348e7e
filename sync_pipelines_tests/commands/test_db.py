"""`sync-pipelines db`: what an operator sees, and what a DBA gets."""

import json

import pytest
from typer.testing import CliRunner

from sync_pipelines import migrations
from sync_pipelines.commands.db import app
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines_tests.engine.ledger_helpers import emptied, rows

BRANCHES = ["capture", "ledger"]


@pytest.fixture
def empty_database_url(postgres_server) -> str:
    """A database without any schema of ours."""
    return emptied(postgres_server, "commands")


@pytest.fixture
def run(monkeypatch, empty_database_url):
    """Run a command over an empty database that all syncs share."""
    for name in ("SYNC_DATABASE_URL", "KNOWLEDGE_DATABASE_URL", "SYNC_SCHEMA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    return lambda *words: CliRunner().invoke(app, words)


def states(result) -> list[tuple[str, str]]:
    return [(item["branch"], item["state"]) for item in json.loads(result.stdout)["databases"]]


def test_a_due_migration_is_named_and_the_exit_code_says_so(run):
    result = run("check")
    assert result.exit_code == 1
    assert "sync-pipelines db upgrade" in result.stderr
    assert states(run("check", "--json")) == [("capture", "due"), ("ledger", "due")]


@pytest.mark.slow
def test_an_upgrade_makes_every_branch_and_a_second_one_finds_it_made(run, empty_database_url):
    first, second = run("upgrade", "--json"), run("upgrade", "--json")
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert states(first) == [("capture", "upgraded"), ("ledger", "upgraded")]
    assert states(second) == [("capture", "ok"), ("ledger", "ok")]
    for branch in BRANCHES:
        migrations.check(empty_database_url, branch)
    assert run("check").exit_code == 0


def test_current_shows_what_there_is_and_is_no_check(run, empty_database_url):
    migrations.upgrade(empty_database_url, branch="ledger")
    result = run("current")
    assert result.exit_code == 0
    assert migrations.heads("ledger")[0] in result.stdout
    assert states(run("current", "--json")) == [("capture", "due"), ("ledger", "ok")]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["upgrade", "check"])
def test_the_script_for_a_dba_brings_the_database_to_the_newest_revision(run, empty_database_url, command):
    result = run(command, "--sql")
    assert result.exit_code == 0
    assert run("check").exit_code == 1
    rows(empty_database_url, result.stdout)
    assert run("check").exit_code == 0


def test_the_script_begins_where_the_database_is(run, empty_database_url):
    migrations.upgrade(empty_database_url, branch="ledger")
    scripts = {item["branch"]: item for item in json.loads(run("upgrade", "--sql", "--json").stdout)["databases"]}
    assert "sync_logs" not in scripts["ledger"]["sql"]
    assert "change_log" in scripts["capture"]["sql"]


def test_the_whole_script_has_what_is_there_already_and_is_a_script_alone(run, empty_database_url):
    migrations.upgrade(empty_database_url, branch="ledger")
    whole = run("upgrade", "--sql", "--whole", "--database", "ledger").stdout
    assert "CREATE TABLE sync.sync_logs" in whole
    assert run("upgrade", "--whole").exit_code == 2


def test_a_database_out_of_reach_is_named_and_the_others_are_upgraded(run, monkeypatch, empty_database_url):
    monkeypatch.setenv("SYNC_DATABASE_URL", "postgresql://ann:hunter2@127.0.0.1:1/ledger")
    result = run("upgrade", "--json")
    assert result.exit_code == 4
    assert sorted(states(result)) == [("capture", "upgraded"), ("ledger", "error")]
    migrations.check(empty_database_url, "capture")
    assert "127.0.0.1:1/ledger" in run("check").stderr
    assert "hunter2" not in result.output + run("check").output


@pytest.mark.parametrize("command", ["upgrade", "current", "check"])
def test_a_wrong_user_is_a_setting_to_correct(run, monkeypatch, empty_database_url, command):
    monkeypatch.setenv("SYNC_DATABASE_URL", empty_database_url.replace("postgres@", "nobody:hunter2@"))
    result = run(command)
    assert result.exit_code == 3
    assert "Check user and password" in result.stderr
    assert "hunter2" not in result.output


def test_a_script_for_a_database_out_of_reach_begins_from_nothing(run, monkeypatch):
    monkeypatch.setenv("SYNC_DATABASE_URL", "postgresql://ann:hunter2@127.0.0.1:1/ledger")
    result = run("upgrade", "--sql", "--database", "ledger")
    assert result.exit_code == 0
    assert "begins from nothing" in result.stderr
    assert "CREATE TABLE sync.sync_logs" in result.stdout
    assert "change_log" not in result.stdout


@pytest.mark.parametrize("command", ["upgrade", "check"])
def test_a_branch_that_a_newer_version_has_made_is_named_and_the_others_get_their_script(
    run, empty_database_url, command
):
    migrations.upgrade(empty_database_url, branch="ledger")
    rows(empty_database_url, "UPDATE sync.alembic_version_ledger SET version_num = 'ledger_9999' RETURNING 1")
    result = run(command, "--sql")
    assert result.exit_code == 3
    assert "does not know: a newer one has been here" in result.stderr
    assert "change_log" in result.stdout
    assert "sync_logs" not in result.stdout


def test_the_schema_of_the_environment_is_used(run, monkeypatch, empty_database_url):
    monkeypatch.setenv("SYNC_SCHEMA", "other")
    run("upgrade")
    migrations.check(empty_database_url, "ledger", "other")


def test_an_unknown_database_is_refused_with_the_names_that_there_are(run):
    result = run("check", "--database", "nowhere")
    assert isinstance(result.exception, ConfigurationError)
    assert "ledger" in str(result.exception)
