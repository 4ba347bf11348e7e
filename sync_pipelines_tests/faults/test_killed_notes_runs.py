"""SIGKILL at every boundary of a run of notes: each note has one page, whole, once the next run has ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from sync_pipelines.sandbox.notion.control import WorkspaceControl
from sync_pipelines_tests.faults.child import Children
from sync_pipelines_tests.faults.notes_line import NotesLine, point_at, table
from sync_pipelines_tests.faults.test_killed_lake_runs import kill_then_run_again
from sync_pipelines_tests.lake.house import House
from sync_pipelines_tests.notes.study import note
from sync_pipelines_tests.spare import spare

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def line(
    house: House, notion_workspace: WorkspaceControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> NotesLine:
    """Notes without a proxy."""
    point_at(notion_workspace, monkeypatch, Fernet.generate_key().decode())
    return NotesLine(house, table(), {}, monkeypatch, workspace=notion_workspace, folder=tmp_path / "export")


@pytest.mark.parametrize(
    "boundary",
    [
        *spare(("listing", 2), ("making", 3), ("appended", 2), ("updating", 1), ("removing", 1), ("setting", 2)),
        *spare(("uploading", 1), ("noting", 5), ("noted", 2), ("before confirm", 1), ("closing", 1)),
        *spare(("appending", 1), ("removed", 1), ("updated", 1), ("set", 4)),
        *spare(("uploaded", 1)),
        *(("made", 3), ("noted", 7)),
        ("confirmed", 1),
    ],
    ids=lambda boundary: "-".join(map(str, boundary)),
)
def test_a_run_of_notes_that_is_killed(
    line: NotesLine, children: Children, home: Path, monkeypatch: pytest.MonkeyPatch, boundary: tuple[str, int]
):
    named = point_at(line.workspace, monkeypatch, _key())
    kill_then_run_again(line, children, home, boundary, **named)


@pytest.mark.parametrize("boundary", [*spare(("founding", 1)), ("founded", 1)], ids=lambda boundary: boundary[0])
def test_a_first_run_that_is_killed_makes_one_database(
    line: NotesLine, children: Children, home: Path, monkeypatch: pytest.MonkeyPatch, boundary: tuple[str, int]
):
    named = point_at(line.workspace, monkeypatch, _key())
    line.add([note(1), note(2)])
    environment = {"DATABASE_URL": line.house.url, "DAGSTER_HOME": str(home), **named}
    killed = children.run("sync", "notes/pages:ann", environment=environment, boundary=boundary[0])
    assert killed == -signal.SIGKILL
    assert line.act("sync").ok
    sources = line.workspace.client().search(filter={"property": "object", "value": "data_source"})["results"]
    assert len(sources) == 1
    line.assert_equal()


def _key() -> str:
    return os.environ["SYNC_ENCRYPTION_KEYS"]
