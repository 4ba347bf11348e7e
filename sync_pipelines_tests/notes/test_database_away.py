"""A user's database that is in the trash, deleted or no longer shared, or whose properties have names of their own:
whoever asks is told how it is, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

import sync_pipelines.definitions
from sync_pipelines.components.keep_to_notion import KeepToNotion
from sync_pipelines.sandbox.notion.control import WorkspaceControl
from sync_pipelines.sources.keep.user import Place
from sync_pipelines.targets.notion.properties import Columns
from sync_pipelines_tests.cli.test_commands import answer, invoke
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.notes.study import PATH, Study, note

pytestmark = pytest.mark.slow


def trashed(workspace: WorkspaceControl, database: str) -> None:
    workspace.trash_database(database)


def deleted(workspace: WorkspaceControl, database: str) -> None:
    workspace.trash_database(database)
    workspace.empty_trash()


def unshared(workspace: WorkspaceControl, database: str) -> None:
    workspace.unshare(workspace.token, database)


def database_of(workspace: WorkspaceControl) -> str:
    (source,) = workspace.client().search(filter={"property": "object", "value": "data_source"})["results"]
    return source["parent"]["database_id"]


@pytest.mark.parametrize(
    ("away", "said"),
    [
        (trashed, "in the trash"),
        pytest.param(deleted, "no longer shared", marks=pytest.mark.slow),
        pytest.param(unshared, "no longer shared", marks=pytest.mark.slow),
    ],
)
def test_every_command_says_that_the_database_is_away_and_what_to_do(
    study: Study, away: Callable[[WorkspaceControl, str], None], said: str
) -> None:
    workspace = study.add("ann", [note(1)])
    assert answer("sync", "notes")["runs"][0]["status"] == "completed"
    assert answer("status")["healthy"]
    away(workspace, database_of(workspace))
    tested = invoke("users", "test", "ann")
    asset = answer("status", code=1)["assets"][PATH]
    health = answer("health", code=1)
    checked = invoke("check", "notes")
    schema = study.job("check").get_asset_check_evaluations()
    assert tested.exit_code == 1
    assert asset["healthy"] is False
    assert health["dependencies"]["notion"]["status"] == "down"
    assert checked.exit_code == 1
    told = [tested.output, str(asset["problems"]), str(health["dependencies"]["notion"]), checked.output]
    told.append(next(str(one.description) for one in schema if one.check_name == "schema"))
    for text in told:
        for part in (said, "trash", "share it with the connection", "`sync-pipelines users set ann --database …`"):
            assert part in " ".join(text.split()), text


def test_a_page_below_which_no_database_can_be_made_is_told_before_the_first_sync(study: Study) -> None:
    workspace = study.add("ann", [note(1)])
    assert invoke("users", "test", "ann").exit_code == 0
    workspace.trash_page(workspace.page)
    found = invoke("users", "test", "ann")
    assert found.exit_code == 1
    assert "in the trash" in found.output


def test_a_connection_that_may_not_read_comments_is_told_so_when_it_is_tried(study: Study) -> None:
    workspace = study.add("ann", [note(1)])
    workspace.restrict(workspace.token, "read_comments")
    found = invoke("users", "test", "ann")
    assert found.exit_code == 1
    assert "capability to read comments" in " ".join(found.output.split())


def test_a_database_whose_properties_are_called_as_the_document_says_is_up(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"title": "Name", "color": "Colour"}
    component = KeepToNotion.model_validate({"sync": "notes", "target": {"properties": names}})
    monkeypatch.setattr(sync_pipelines.definitions, "load", lambda *_: (definitions(component), (component,)))
    workspace = study.add("ann", [note(1)])
    parent = {"type": "page_id", "page_id": workspace.page}
    schema = {"properties": {**Columns(names).schema(), "Color": {"rich_text": {}}}}
    made = workspace.client().databases.create(parent=parent, initial_data_source=schema)
    users = study.users()
    users.change(replace(users.get("ann"), target=Place(database=made["id"])))
    users.ledger.dispose()
    assert invoke("users", "test", "ann").exit_code == 0
    assert answer("health")["dependencies"]["notion"]["status"] == "up"
    source = made["data_sources"][0]["id"]
    workspace.rename_property(source, "Colour", "Shade")
    found = answer("health", code=1)["dependencies"]["notion"]
    assert "lacks properties that notes need: 'Colour' (select)" in found["error"]
