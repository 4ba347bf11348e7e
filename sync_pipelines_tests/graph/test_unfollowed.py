"""Events that nobody brings are told: by the backlog check, by `status` and by the consumer."""

from __future__ import annotations

import logging
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from sync_pipelines.cli import app as commands
from sync_pipelines.definitions import default_resources
from sync_pipelines_tests.dagster.homes import fresh_home
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.graph.app import Application, concepts, prerequisites
from sync_pipelines_tests.graph.house import Academy
from sync_pipelines_tests.graph.test_consuming import consumer, until
from sync_pipelines_tests.graph.test_resolving import use

SAID = "2 events of the entity type 'lesson', which no document follows"


@pytest.mark.slow
def test_events_of_a_type_that_no_document_follows_are_told_once_with_the_remedy(
    academy: Academy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tables = (concepts(), prerequisites())
    use(monkeypatch, *tables)
    monkeypatch.setenv("DAGSTER_HOME", str(fresh_home(tmp_path / "dagster")))
    app = Application(academy.url)
    for table in tables:
        academy.sync(table)
    for name in ("l1", "l2"):
        app.run("SELECT sync.publish_event('CONTENT_CREATED', 'lesson', %s, '{}')", name)
    job = definitions(*tables).resolve_job_def("learning_check")
    with dg.DagsterInstance.ephemeral() as instance:
        found = job.execute_in_process(instance=instance, resources=default_resources())
    backlog = {it.asset_key.path[-1]: it for it in found.get_asset_check_evaluations() if it.check_name == "backlog"}
    assert backlog["prerequisite"].passed
    assert (backlog["concept"].passed, backlog["concept"].severity) == (False, dg.AssetCheckSeverity.WARN)
    said = backlog["concept"].description or ""
    assert SAID in said
    assert 'DELETE FROM "sync"."sync_event_log" WHERE entity_type = \'lesson\'' in said
    status = CliRunner().invoke(commands, ["status", "learning"]).stdout
    assert " ".join(status.split()).count(SAID) == 1
    with caplog.at_level(logging.WARNING), consumer(app):
        until(lambda: SAID in caplog.text)
