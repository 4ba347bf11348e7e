"""`health`: every system asked, and with --connect every table, trigger, migration and document."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sync_pipelines.health
from sync_pipelines import __version__
from sync_pipelines.cli import app
from sync_pipelines.engine.errors import TransientError
from sync_pipelines.health_systems import FAR_SYSTEMS, Dependency
from sync_pipelines.launch import HEARTBEAT_SECONDS
from sync_pipelines_tests.cli.shop import ARTICLE, AUTHOR, Shop


def health(*words: str, code: int = 0) -> dict:
    """The JSON of `health`, after it ended with this code."""
    result = CliRunner().invoke(app, ["health", *words, "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def problems(found: dict) -> dict[str, str]:
    """The findings of --connect, by place."""
    return {item["where"]: item["problem"] for item in found["findings"]}


def test_systems_that_answer_are_up_with_their_latency(settled: Shop):
    found = health()
    assert (found["status"], found["version"]) == ("healthy", __version__)
    assert datetime.fromisoformat(found["checked_at"]).tzinfo == UTC
    for name in ("database:ledger", "chroma", "dagster"):
        assert found["dependencies"][name]["status"] == "up"
        assert found["dependencies"][name]["latency_ms"] > 0
    assert "findings" not in found


def test_people_get_a_table_and_a_verdict(settled: Shop):
    text = CliRunner().invoke(app, ["health"]).stdout
    for part in ("database:ledger", "chroma", "up", "ms", "healthy"):
        assert part in text


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("CHROMA_URL", "http://127.0.0.1:9", "chroma"),
        ("SYNC_DATABASE_URL", "postgresql://app:s3cret-word@127.0.0.1:9/app", "database:ledger"),
        ("CHROMA_PATH", "both", "chroma"),
    ],
)
def test_a_system_that_does_not_answer_is_down_and_the_whole_degraded(
    settled: Shop, monkeypatch, variable, value, name
):
    monkeypatch.setenv(variable, value)
    found = health(code=1)
    assert found["status"] == "degraded"
    assert found["dependencies"][name]["status"] == "down"
    assert found["dependencies"][name]["error"]
    assert "s3cret" not in json.dumps(found)
    others = [one["status"] for other, one in found["dependencies"].items() if other != name]
    assert "down" not in others


def test_a_database_that_nobody_named_is_down_with_the_variable(settled: Shop, monkeypatch):
    monkeypatch.delenv("DATABASE_URL")
    assert "DATABASE_URL" in health(code=1)["dependencies"]["database"]["error"]


def test_what_is_not_configured_is_no_failure(settled: Shop, monkeypatch):
    monkeypatch.delenv("CHROMA_URL")
    monkeypatch.delenv("DAGSTER_HOME")
    found = health()
    for name in ("chroma", "dagster", "dagster_daemon"):
        assert found["dependencies"][name]["status"] == "not configured"


@pytest.mark.parametrize("words", [(), ("--connect",)])
def test_an_environment_in_which_nothing_is_configured_is_healthy(bare_environment, words):
    found = health(*words)
    assert found["status"] == "healthy"
    assert {one["status"] for one in found["dependencies"].values()} == {"not configured"}
    assert "DATABASE_URL" in found["dependencies"]["database"]["detail"]


def test_a_wrong_url_is_no_absent_one(bare_environment, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "nonsense")
    assert "DATABASE_URL is not a PostgreSQL URL" in health(code=1)["dependencies"]["database"]["error"]


@pytest.mark.parametrize(("variable", "value"), [("SHOP_BATCH_SIZE", "0"), ("SYNC_PRICE_HOUR", "1e30")])
def test_a_setting_by_which_every_run_would_fail_is_found(settled: Shop, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    assert f"{variable} is '{value}'" in problems(health("--connect", code=1))[ARTICLE]


def test_what_a_database_answered_is_told_once_and_no_table_is_named_twice(settled: Shop, monkeypatch):
    monkeypatch.setenv("SYNC_DATABASE_URL", "postgresql://app@127.0.0.1:9/app")
    text = CliRunner().invoke(app, ["health", "--connect"]).output
    assert text.count("database:ledger: PostgreSQL 127.0.0.1:9/app") == 1
    assert f"{ARTICLE}: {ARTICLE}: " not in text


@pytest.mark.slow
def test_the_latency_of_dagster_is_that_of_a_question_and_not_of_opening_it(settled: Shop, monkeypatch):
    import dagster as dg

    opening = dg.DagsterInstance.get

    def slow() -> dg.DagsterInstance:
        time.sleep(2)
        return opening()

    monkeypatch.setattr(dg.DagsterInstance, "get", slow)
    assert health()["dependencies"]["dagster"]["latency_ms"] < 1500


@pytest.mark.slow
def test_a_storage_of_dagster_that_refuses_is_asked_once(settled: Shop, monkeypatch):
    import dagster as dg

    asked: list[None] = []

    def refused() -> dg.DagsterInstance:
        asked.append(None)
        raise ConnectionError("password authentication failed")

    monkeypatch.setattr(dg.DagsterInstance, "get", refused)
    found = health(code=1)["dependencies"]
    assert {found[name]["status"] for name in ("dagster", "dagster_daemon")} == {"down"}
    assert "authentication failed" in found["dagster_daemon"]["error"]
    assert len(asked) == 1


@pytest.mark.slow
def test_a_daemon_counts_from_the_day_it_was_started(shop: Shop):
    assert health()["dependencies"]["dagster_daemon"]["status"] == "never started"
    _heartbeat(shop, age=0.0)
    assert health()["dependencies"]["dagster_daemon"]["status"] == "up"
    _heartbeat(shop, age=HEARTBEAT_SECONDS + 5)
    found = health(code=1)["dependencies"]["dagster_daemon"]
    assert found["status"] == "down"
    assert "heartbeat" in found["error"]


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["SYNC_ALERT_URLS", "SYNC_HEARTBEAT_URL"])
def test_a_daemon_that_never_ran_is_down_where_somebody_counts_on_it(settled: Shop, monkeypatch, variable):
    assert "dagster dev" in health()["dependencies"]["dagster_daemon"]["detail"]
    monkeypatch.setenv(variable, "json://127.0.0.1:9/s3cret")
    found = health(code=1)
    assert found["status"] == "degraded"
    assert found["dependencies"]["dagster_daemon"]["status"] == "down"
    assert variable in found["dependencies"]["dagster_daemon"]["error"]
    assert "s3cret" not in json.dumps(found)


@pytest.mark.slow
def test_a_run_that_nobody_takes_from_the_queue_means_that_a_daemon_is_missing(shop: Shop, monkeypatch):
    from sync_pipelines import launch

    monkeypatch.setattr("sync_pipelines.daemons.WAITED_SECONDS", -1.0)
    with shop.instance as instance:
        order = launch.table_order(shop.bound().component, mode="incremental")
        run = launch.create(instance, order, own_process=False)
        launch.submit(instance, run)
    assert run.run_id in health(code=1)["dependencies"]["dagster_daemon"]["error"]


def test_connect_finds_nothing_where_all_is_right(settled: Shop):
    found = health("--connect")
    assert found["findings"] == []
    assert found["warnings"] == []


def test_connect_waits_once_for_a_system_that_is_away_however_many_tables_it_has(settled: Shop, monkeypatch):
    looked_at = []

    def away(bound):
        looked_at.append(bound.path)
        raise TransientError("It does not answer.")

    monkeypatch.setattr("sync_pipelines.health._look_at_target", away)
    monkeypatch.setitem(FAR_SYSTEMS, "chroma", lambda _: Dependency(status="down"))
    assert problems(health("--connect", code=1)) == dict.fromkeys((ARTICLE, AUTHOR), "It does not answer.")
    assert len(looked_at) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("SYNC_ALERT_URLS", "s3cret", "a value without scheme://"),
        ("SYNC_ALERT_URLS_OPS", "json://127.0.0.1:9/fine, nonsense://s3cret", "no URL that apprise knows"),
        ("NOTIFICATION_WEBHOOK_URL", "s3cret", "no URL that apprise knows"),
        ("SYNC_HEARTBEAT_URL", "s3cret", "no web address"),
        ("SYNC_UI_URL", "ftp:s3cret", "no web address"),
        ("SYNC_SPOOL_DIR", "/dev/null/spool", "set SYNC_SPOOL_DIR to another folder"),
    ],
)
def test_a_setting_that_only_a_run_or_an_alert_would_meet_is_found_and_not_repeated(
    bare_environment, monkeypatch, variable, value, told
):
    monkeypatch.setenv(variable, value)
    (problem,) = problems(health("--connect", code=1)).values()
    assert variable in problem
    assert told in problem
    assert "s3cret" not in problem


@pytest.mark.slow
def test_connect_offers_the_right_name_for_a_wrong_table_and_a_wrong_column(shop: Shop):
    shop.execute("""ALTER TABLE "Author" RENAME TO "Authors" """)
    shop.execute("""ALTER TABLE "Article" RENAME COLUMN body TO bodies""")
    found = problems(health("--connect", code=1))
    assert "Did you mean 'Authors'?" in found[AUTHOR]
    assert "Did you mean 'bodies'?" in found[ARTICLE]


@pytest.mark.slow
def test_connect_finds_missing_triggers(shop: Shop):
    shop.bound(ARTICLE).source().remove_capture()
    found = problems(health("--connect", code=1))
    assert "capture install" in found[ARTICLE]
    assert AUTHOR not in found


def test_connect_finds_a_migration_that_is_due(shop: Shop):
    shop.execute("DROP TABLE sync.alembic_version_ledger")
    assert "db upgrade" in problems(health("--connect", code=1))["database:ledger"]


@pytest.mark.slow
def test_connect_finds_a_document_that_dagster_ignores(settled: Shop, monkeypatch, tmp_path: Path):
    (tmp_path / "defs" / "sixth").mkdir(parents=True)
    (tmp_path / "defs" / "sixth" / "table.yaml").write_text("type: x\n")
    monkeypatch.setattr(sync_pipelines.health, "DEFS", tmp_path / "defs")
    assert "defs.yaml" in problems(health("--connect", code=1))["defs/sixth/table.yaml"]
    assert "defs/sixth/table.yaml" in CliRunner().invoke(app, ["health", "--connect"]).stdout


@pytest.mark.slow
def test_a_folder_of_chroma_is_not_opened(settled: Shop, monkeypatch, tmp_path: Path):
    """A sync may have it open: it belongs to one process at a time."""
    monkeypatch.delenv("CHROMA_URL")
    monkeypatch.setenv("CHROMA_PATH", str(tmp_path / "store"))
    assert health()["dependencies"]["chroma"]["status"] == "up"
    assert not (tmp_path / "store").exists()
    monkeypatch.setenv("CHROMA_PATH", str(tmp_path / "no" / "such" / "store"))
    assert health(code=1)["dependencies"]["chroma"]["status"] == "down"


def _heartbeat(shop: Shop, *, age: float) -> None:
    from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
    from dagster._daemon.types import DaemonHeartbeat

    kind = QueuedRunCoordinatorDaemon.daemon_type()
    with shop.instance as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age, kind, "test", []))
