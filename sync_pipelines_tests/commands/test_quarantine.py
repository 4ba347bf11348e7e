"""`sync-pipelines quarantine`: what an operator sees of records that stay out, and does with them."""

import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from sync_pipelines import client, migrations
from sync_pipelines.commands.quarantine import app
from sync_pipelines.engine.errors import ConfigurationError, MigrationDueError
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.model import Rejection
from sync_pipelines_tests.engine.ledger_helpers import emptied

pytestmark = pytest.mark.slow

PLACE = ("knowledge", "knowledge_reference")


@pytest.fixture
def empty_database_url(postgres_server) -> str:
    """A database without any schema of ours."""
    return emptied(postgres_server, "commands")


@pytest.fixture
def ledger(monkeypatch, empty_database_url):
    """The ledger of the environment, with three records in quarantine."""
    migrations.upgrade(empty_database_url, branch="ledger")
    monkeypatch.delenv("SYNC_DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    with Ledger(empty_database_url) as found:
        for run_id in ("run-1", "run-2"):
            run = found.begin(*PLACE, mode="incremental", trigger="sensor", run_id=run_id)
            found.quarantine(run, [Rejection(key="a", reason="no [red]text", stage="map")])
        found.quarantine(run, [Rejection(key=key, reason="too long", stage="embed") for key in ("b", "[red]c")])
        yield found


def run(*words: str):
    return CliRunner().invoke(app, words)


def test_the_list_shows_each_record_with_its_reason_as_it_is(ledger):
    text = run("list", "knowledge").stdout
    for part in ("knowledge/knowledge_reference", "no [red]text", "[red]c", "embed", "quarantined"):
        assert part in text


def test_the_list_as_json_has_every_field(ledger):
    records = json.loads(run("list", "--json").stdout)["records"]
    assert [record["key"] for record in records] == ["[red]c", "a", "b"]
    first = records[1]
    assert (first["attempts"], first["run_id"], first["dropped_at"]) == (2, "run-2", None)
    assert first["first_seen"] < first["last_seen"]
    assert set(first) >= {"sync", "table", "key", "reason", "stage"}


def test_the_list_of_another_table_or_key_is_empty(ledger):
    assert "Nothing is in quarantine" in run("list", "knowledge/journey_template").stdout
    assert json.loads(run("list", "--key", "x", "--json").stdout) == {"records": []}


def test_a_record_is_shown_whole_with_its_history(ledger):
    result = run("show", "knowledge/knowledge_reference", "--key", "a")
    assert result.exit_code == 0
    assert "2 tries" in result.stdout
    assert "failed run run-1" in result.stdout
    (record,) = json.loads(run("show", "knowledge", "--key", "a", "--json").stdout)["records"]
    assert [event["run_id"] for event in record["events"]] == ["run-2", "run-1"]


def test_a_record_that_is_not_in_quarantine_is_an_exit_code(ledger):
    result = run("show", "knowledge", "--key", "x", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"records": []}


def test_dropping_a_record_excludes_it(ledger):
    result = run("drop", "knowledge", "--key", "a", "--json")
    assert json.loads(result.stdout)["dropped"] == [{"sync": PLACE[0], "table": PLACE[1], "keys": ["a"]}]
    assert ledger.quarantine_counts(*PLACE) == (2, 1)
    assert "dropped" in run("list").stdout


def test_dropping_everything_must_be_said(ledger):
    assert run("drop", "knowledge").exit_code == 2
    assert run("drop", "knowledge", "--all", "--key", "a").exit_code == 2
    assert "3 dropped" in run("drop", "knowledge", "--all").stdout
    assert ledger.quarantine_counts(*PLACE) == (0, 3)


@pytest.fixture
def started(monkeypatch, ledger):
    """The runs that were asked for; each succeeds, and brings record b alone."""
    found = []

    def trigger(sync, *, table, keys, wait, on_progress):
        assert wait == (on_progress is not None)
        found.append((sync, table, keys, wait))
        again = ledger.begin(sync, table, mode="records", trigger="cli", run_id="run-3")
        ledger.settle(sync, table, ["b"], again)
        return "run-3"

    monkeypatch.setattr(client, "trigger", trigger)
    monkeypatch.setattr(client, "status", lambda run_id: SimpleNamespace(state="completed", error=None))
    return found


def test_a_replay_asks_for_the_records_that_are_not_dropped(started, ledger):
    ledger.drop_quarantined(*PLACE, ["a"])
    result = run("replay", "knowledge", "--json")
    assert started == [(*PLACE, ["[red]c", "b"], True)]
    (replayed,) = json.loads(result.stdout)["runs"]
    assert (replayed["run_id"], replayed["status"], replayed["still_out"]) == ("run-3", "completed", ["[red]c"])
    assert result.exit_code == 1


def test_a_replay_of_a_record_that_arrives_is_good(started):
    result = run("replay", "knowledge/knowledge_reference", "--key", "b")
    assert result.exit_code == 0
    assert "1 records, run run-3, completed, 0 still in quarantine" in result.stdout


def test_a_named_record_is_replayed_though_it_was_dropped(started, ledger):
    ledger.drop_quarantined(*PLACE, ["b"])
    run("replay", "knowledge", "--key", "b", "--no-wait")
    assert started == [(*PLACE, ["b"], False)]


def test_a_replay_of_nothing_starts_nothing(started, ledger):
    result = run("replay", "knowledge/journey_template")
    assert (result.exit_code, result.stdout) == (0, "Nothing of it is in quarantine.\n")
    assert started == []


def test_a_replay_says_that_the_records_left_are_dropped_and_how_one_is_tried(started, ledger):
    ledger.drop_quarantined(*PLACE, None)
    result = run("replay", "knowledge")
    assert (result.exit_code, started) == (0, [])
    assert "3 dropped, until their source rows change" in result.stdout
    assert "quarantine replay knowledge --key KEY" in result.stdout


def test_an_unknown_table_is_refused_with_the_nearest_name(ledger):
    error = run("list", "knowledge/journey_templat").exception
    assert isinstance(error, ConfigurationError)
    assert "knowledge/journey_template" in str(error)


def test_a_missing_ledger_is_named_with_its_remedy(monkeypatch, empty_database_url):
    monkeypatch.delenv("SYNC_DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    assert isinstance(run("list").exception, MigrationDueError)
