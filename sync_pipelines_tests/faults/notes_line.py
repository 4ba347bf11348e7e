"""The line of notes: an export of Keep into Notion behind a proxy; moments, boundaries, and cells that cannot be.

The ledger is that of the line `chroma`: the classes are the same. An export is files, which have no network.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from sync_pipelines.components.keep_to_notion import KeepToNotion
from sync_pipelines.sandbox.keep.model import SandboxFile, SandboxNote
from sync_pipelines.sandbox.keep.takeout import write_takeout
from sync_pipelines.sandbox.notion.control import WorkspaceControl
from sync_pipelines.sources.keep.user import Export, Place, Secrets, User
from sync_pipelines.users import Users
from sync_pipelines_tests.faults.boundaries import Reach, name_places
from sync_pipelines_tests.faults.lake_line import HouseLine
from sync_pipelines_tests.faults.matrix import KILLED_RUN, Action, Moment, Table
from sync_pipelines_tests.faults.systems import Hanging
from sync_pipelines_tests.notes.study import note

MOMENTS = {
    "listing": Moment("sync", ("listing", 2), "target"),
    "create": Moment("sync", ("making", 3), "target"),
    "append": Moment("sync", ("appending", 1), "target"),
    "change": Moment("sync", ("updating", 1), "target"),
    "fingerprint": Moment("sync", ("setting", 2), "target"),
    "check: target": Moment("check", ("comparing", 1), "target"),
    "repair: target write": Moment("repair", ("updating", 1), "target"),
}

_KILLED = "faults/test_killed_notes_runs.py::test_a_run_of_notes_that_is_killed"
_KEEPS_NOTHING = "the stand-in keeps all in its memory; 'refused' is all that a client sees of a killed one"

TABLE = Table(
    moments=MOMENTS,
    outcomes={},
    elsewhere={
        **{(boundary, KILLED_RUN): _KILLED for boundary, moment in MOMENTS.items() if moment.action == "sync"},
        ("repair: target write", KILLED_RUN): "faults/test_killed_runs.py::"
        "test_a_repair_that_is_killed_is_ended_by_the_next_one",
    },
    impossible={("check: target", KILLED_RUN): "a check writes nothing to its target: as in the line of chroma"},
    impossible_for={
        ("target", "killed server"): _KEEPS_NOTHING,
        ("target", "disk full"): "Notion has no disk that anybody sees; max_blocks is told in "
        "targets/notion/test_target.py::test_what_exceeds_the_budget_of_blocks_is_refused_alone",
        ("target", "lock time-out"): "Notion's 409 is tried again: "
        "targets/notion/test_failures.py::test_what_may_pass_is_tried_again",
        ("target", "read-only"): "targets/notion/test_limits.py::"
        "test_a_connection_that_may_not_write_ends_the_run_with_what_it_lacks",
    },
)

LINES = "\n".join(f"line {number}" for number in range(130))
FILE = SandboxFile(name="photo.png", mime="image/png", content=b"png")


@dataclass
class NotionSystem(Hanging):
    """Notion behind a proxy."""

    words: ClassVar[Mapping[str, str]] = {"": r"127\.0\.0\.1:\d+(: could not| gave no answer)"}


def bend(reach: Reach, put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Call `reach` at every boundary of this process's runs; `put` is setattr, or a monkeypatch's."""
    from sync_pipelines.engine.ledger.ledger import Ledger
    from sync_pipelines.engine.run import Run
    from sync_pipelines.targets.notion import database
    from sync_pipelines.targets.notion.client import Notion
    from sync_pipelines.targets.notion.records import Records
    from sync_pipelines.targets.notion.target import NotionTarget

    places = (
        (database, "_created", "founding", "founded"),
        (Notion, "query", "listing", None),
        (Notion, "create_page", "making", "made"),
        (Notion, "append", "appending", "appended"),
        (Notion, "update_block", "updating", "updated"),
        (Notion, "delete_block", "removing", "removed"),
        (Notion, "update_page", "setting", "set"),
        (Notion, "upload", "uploading", "uploaded"),
        (Records, "keep", "noting", "noted"),
        (NotionTarget, "values", "comparing", None),
        (Run, "_confirm", "before confirm", None),
        (Ledger, "finish", "closing", "confirmed"),
    )
    name_places(places, reach, put)


def notes() -> KeepToNotion:
    """The document: what somebody edits is a difference, which a repair mends."""
    target, conflicts = {"timeout": "1s"}, {"strategy": "source_wins"}
    return KeepToNotion.model_validate({"sync": "notes", "target": target, "conflicts": conflicts})


def table() -> KeepToNotion:
    """The notes of ann."""
    return notes().for_user("ann")


@dataclass
class NotesLine(HouseLine):
    """The notes of ann; `workspace` is hers, reached beside the proxy."""

    workspace: Any = None
    folder: Path = Path()
    wanted: dict[str, SandboxNote] = field(default_factory=dict)

    due = 12

    def bend(self, reach: Reach, put: Callable[[Any, str, Any], None]) -> None:
        bend(reach, put)

    def export(self, notes: list[SandboxNote]) -> None:
        """Another export in the place of the one before."""
        shutil.rmtree(self.folder, ignore_errors=True)
        write_takeout(notes, self.folder)
        self.wanted = {str(item.created): item for item in notes}

    def add(self, notes: list[SandboxNote]) -> None:
        """Ann, with this export."""
        self.export(notes)
        resources = self.house.resources
        user = User(
            sync="notes",
            name="ann",
            source=Export(paths=(str(self.folder),), complete=True),
            target=Place(parent_page=self.workspace.page),
        )
        with resources.ledger.ledger() as ledger:
            users = Users(sync="notes", ledger=ledger, vault=resources.notes.vault(), follow=lambda *_: None)
            users.add(user, Secrets(notion_token=self.workspace.token))

    def arrange(self, action: Action) -> int:
        self._action = action
        notes = [note(number, "one\ntwo\nthree") for number in range(24)]
        self.add(notes)
        assert self.house.sync(self.table).upserted == 24
        if action == "sync":
            self.export(_edited(notes))
            return 0
        pages = self.pages()
        self.workspace.advance(61)
        self.workspace.edit_block(self.workspace.outline(pages[str(notes[0].created)])[1]["id"], "edited")
        self.workspace.trash_page(pages[str(notes[1].created)])
        return 2

    def pages(self) -> dict[str, str]:
        """Keep ID → page, of those that are not marked as deleted, in every database of the workspace; one each."""
        client = self.workspace.client()
        listed = [
            page
            for source in client.search(filter={"property": "object", "value": "data_source"})["results"]
            for page in client.data_sources.query(source["id"])["results"]
            if not page["properties"]["Deleted in Keep"]["checkbox"]
        ]
        found = {page["properties"]["Keep ID"]["rich_text"][0]["plain_text"]: page["id"] for page in listed}
        assert len(found) == len(listed), "a note has several pages"
        return found

    def assert_held(self) -> None:
        pages = self.pages()
        assert pages.keys() == self.wanted.keys()
        for key, item in self.wanted.items():
            outline = self.workspace.outline(pages[key])
            assert [block["text"] for block in outline if block["type"] == "paragraph"] == item.text.split("\n")
            assert sum(block["type"] == "image" for block in outline) == len(item.files)


def _edited(notes: list[SandboxNote]) -> list[SandboxNote]:
    """Four changed notes, each in another way; two are gone, and eight are new, one of them long, one with a file."""
    changed = [
        replace(notes[0], text="one\n2\nthree"),
        replace(notes[1], text="one\ntwo\nthree\nfour"),
        replace(notes[2], text="one\nthree", title="another"),
        replace(notes[3], text="one\n2\nthree\nfour", files=(FILE,)),
    ]
    new = [note(number, "new") for number in range(100, 106)]
    return [*changed, *notes[4:22], *new, note(106, LINES), note(107, "with a file", files=(FILE,))]


def point_at(workspace: WorkspaceControl, monkeypatch: Any, key: str) -> dict[str, str]:
    """The variables of a line that asks this workspace; they are set."""
    found = {
        "NOTION_BASE_URL": workspace.url,
        "SYNC_ENCRYPTION_KEYS": key,
        "NOTES_RATE_LIMIT": "10000",
        "NOTES_BATCH_SIZE": "5",
    }
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found
