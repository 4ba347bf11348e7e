"""Whose database it is, and what an export is that lacks a part: nobody's pages are marked by another one's notes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync_pipelines.sandbox.keep.takeout import write_takeout
from sync_pipelines.sandbox.notion.control import WorkspaceControl
from sync_pipelines.sources.keep.user import Export, Place, Secrets, User
from sync_pipelines_tests.cli.test_commands import answer, invoke
from sync_pipelines_tests.notes.study import PATH, Study, note

_DELETED = {"property": "Deleted in Keep", "checkbox": {"equals": True}}


def sources(workspace: WorkspaceControl) -> list[dict]:
    found = workspace.client().search(filter={"property": "object", "value": "data_source"})["results"]
    return sorted(found, key=lambda source: source["created_time"])


def add(study: Study, name: str, place: Place, workspace: WorkspaceControl, number: int) -> None:
    study.export(name, [note(number)])
    source = Export(paths=(str(study.folder / name),), complete=True)
    user = User(sync="notes", name=name, source=source, target=place)
    study.users().add(user, Secrets(notion_token=workspace.token))


def titles(workspace: WorkspaceControl, source: dict, **asked: object) -> list[str]:
    found = workspace.client().data_sources.query(source["id"], **asked)["results"]
    return sorted("".join(run["plain_text"] for run in page["properties"]["Title"]["title"]) for page in found)


@pytest.mark.slow
def test_two_users_below_one_page_have_a_database_each(study: Study) -> None:
    workspace = study.add("ann", [note(1), note(2)])
    add(study, "bob", Place(parent_page=workspace.page), workspace, 3)
    for name in ("ann", "bob", "ann"):
        assert study.materialize(name).success
    found = [titles(workspace, source) for source in sources(workspace)]
    assert sorted(found) == [["Note 1", "Note 2"], ["Note 3"]]
    assert [titles(workspace, source, filter=_DELETED) for source in sources(workspace)] == [[], []]


@pytest.mark.slow
def test_a_database_that_the_sync_made_for_one_user_is_refused_to_another(study: Study) -> None:
    workspace = study.add("ann", [note(1), note(2)])
    study.materialize("ann")
    (source,) = sources(workspace)
    add(study, "bob", Place(database=source["parent"]["database_id"]), workspace, 3)
    assert not study.materialize("bob").success
    assert "is that of notes/pages:ann" in study.runs("bob")[0].error
    assert titles(workspace, source) == ["Note 1", "Note 2"]
    study.users().remove("ann")
    assert study.materialize("bob").success


@pytest.mark.slow
def test_a_user_who_is_given_another_page_gets_a_database_there(study: Study) -> None:
    workspace = study.add("ann", [note(1), note(2)])
    study.materialize("ann")
    title = {"title": {"title": [{"text": {"content": "elsewhere"}}]}}
    parent = {"type": "page_id", "page_id": workspace.page}
    other = workspace.client().pages.create(parent=parent, properties=title)["id"]
    assert invoke("users", "set", "ann", "--parent-page", other).exit_code == 0
    assert study.materialize("ann").success
    assert [titles(workspace, source) for source in sources(workspace)] == [["Note 1", "Note 2"]] * 2
    assert answer("check", "notes", "--deep")["equal"]


@pytest.mark.slow
def test_a_complete_export_that_lacks_a_part_deletes_nothing_and_names_it(study: Study, tmp_path: Path) -> None:
    notes = [note(number) for number in range(9)]
    workspace = study.add("ann", notes)
    study.materialize("ann")
    first, second, third = map(str, write_takeout(notes, tmp_path / "parts", form="zip", parts=3))
    assert invoke("users", "set", "ann", "--takeout", first, third, "--complete").exit_code == 0
    assert study.materialize("ann").success
    (source,) = sources(workspace)
    assert titles(workspace, source, filter=_DELETED) == []
    assert Path(second).name in str(answer("status")["assets"][PATH])
    assert invoke("users", "set", "ann", "--takeout", first, second, "--complete").exit_code == 0
    assert study.materialize("ann").success
    assert titles(workspace, source, filter=_DELETED) == []  # the third was there a moment ago
    later = [str(Path(part).rename(part.replace("20261126T", "20261127T"))) for part in (first, second)]
    assert invoke("users", "set", "ann", "--takeout", *later, "--complete").exit_code == 0
    assert study.materialize("ann").success
    assert len(titles(workspace, source, filter=_DELETED)) == 3
