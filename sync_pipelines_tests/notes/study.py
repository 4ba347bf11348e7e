"""The sync `notes` as it ships: users with exports, each with a workspace of the stand-in of Notion."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg

from sync_pipelines.components.keep_to_notion import KeepToNotion
from sync_pipelines.defs.notes.page import page_of
from sync_pipelines.sandbox.keep.model import SandboxNote
from sync_pipelines.sandbox.keep.takeout import write_takeout
from sync_pipelines.sandbox.notion.control import WorkspaceControl
from sync_pipelines.sandbox.notion.server import NotionServer
from sync_pipelines.sources.keep.user import Export, Place, Secrets, User
from sync_pipelines.users import Users
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.dagster.resources import made_resources

PATH = "notes/pages"


@cache
def document() -> KeepToNotion:
    """The document that ships."""
    from sync_pipelines.definitions import load

    return next(item for item in load()[1] if isinstance(item, KeepToNotion))


@cache
def loaded() -> tuple[dg.Definitions, tuple[KeepToNotion, ...]]:
    """What `sync_pipelines.definitions.load` gives, of this document alone."""
    found = (document(),)
    return definitions(*found), found


def note(number: int, text: str = "a line", **more: Any) -> SandboxNote:
    """A note with a time of its own."""
    created = 1_700_000_000_000_000 + number * 1_000_000
    return SandboxNote(created=created, title=f"Note {number}", text=text, **more)


@dataclass
class Study:
    """A database, a folder of exports, and a server of workspaces."""

    url: str
    folder: Path
    server: NotionServer
    instance: Any
    resources: Any = field(default_factory=made_resources)
    workspaces: dict[str, WorkspaceControl] = field(default_factory=dict)
    component: KeepToNotion = field(default_factory=document)

    def users(self) -> Users:
        ledger = self.resources.ledger.ledger()
        return Users(sync="notes", ledger=ledger, vault=self.resources.notes.vault(), follow=lambda *_: None)

    def add(self, name: str, notes: Sequence[SandboxNote], *, complete: bool = True) -> WorkspaceControl:
        """A user with an export of these notes and a workspace of their own."""
        workspace = self.workspaces[name] = self.server.workspace(name)
        self.export(name, notes)
        source = Export(paths=(str(self.folder / name),), complete=complete)
        user = User(sync="notes", name=name, source=source, target=Place(parent_page=workspace.page))
        users = self.users()
        users.add(user, Secrets(notion_token=workspace.token))
        users.ledger.dispose()
        return workspace

    def export(self, name: str, notes: Sequence[SandboxNote]) -> None:
        """Another export in the place of a user's."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        write_takeout(notes, self.folder / name)

    def materialize(
        self, name: str | None = None, *, mode: str = "incremental", **more: Any
    ) -> dg.ExecuteInProcessResult:
        """A run of one user's partition, or of none."""
        if name is not None:
            self.instance.add_dynamic_partitions("notes_users", [name])
        return self.project.resolve_job_def("notes_incremental").execute_in_process(
            instance=self.instance,
            partition_key=name,
            run_config={"ops": {"notes__pages": {"config": {"mode": mode, **more}}}},
            raise_on_error=False,
        )

    def job(self, name: str, config: dict[str, Any] | None = None) -> dg.ExecuteInProcessResult:
        job = self.project.resolve_job_def(f"notes_{name}")
        return job.execute_in_process(instance=self.instance, run_config=config or {}, raise_on_error=False)

    @property
    def project(self) -> dg.Definitions:
        return loaded()[0] if self.component is document() else definitions(self.component)

    def runs(self, name: str) -> list[Any]:
        """A user's runs in the ledger, the newest first."""
        with self.resources.ledger.ledger() as ledger:
            return ledger.last_runs("notes", f"pages:{name}", limit=20)

    def page(self, name: str, wanted: SandboxNote) -> str:
        """The id of a note's page."""
        return self.pages(name)[str(wanted.created)]

    def pages(self, name: str) -> dict[str, str]:
        """Keep ID → page, of all pages of a user, asked with Notion's own client."""
        client = self.workspaces[name].client()
        found: dict[str, str] = {}
        for source in client.search(filter={"property": "object", "value": "data_source"})["results"]:
            for page in client.data_sources.query(source["id"])["results"]:
                key = "".join(run["plain_text"] for run in page["properties"]["Keep ID"]["rich_text"])
                assert key not in found
                found[key] = page["id"]
        return found

    def texts(self, name: str, wanted: SandboxNote) -> list[str]:
        """What a person reads on a note's page."""
        return [block["text"] for block in self.workspaces[name].outline(self.page(name, wanted))]


def picky(given: dict[str, Any], *, max_file_bytes: int) -> dict[str, Any]:
    """A page function that cannot bear some notes."""
    if "unbearable" in (given["text"] or ""):
        raise ValueError("this text is unbearable")
    return page_of(given, max_file_bytes=max_file_bytes)
