"""The demo of `notes`: an export of Google Keep becomes pages of Notion, edited block by block beside people's hands.

It asks the stand-in of Notion, which answers as facts about the real one say.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from sync_pipelines.sandbox.keep.model import SandboxNote
from sync_pipelines.sandbox.keep.notes import varied_notes
from sync_pipelines.sandbox.keep.takeout import write_takeout
from sync_pipelines.sandbox.notion.control import WorkspaceControl
from sync_pipelines.sandbox.story import Story

USER, PAGES = "ann", "notes/pages:ann"
NOTES = 60


def tell(story: Story) -> None:
    """An export; nothing; a person's edits and Keep's; what nobody may overwrite waits for a review."""
    story.tell("notes: Google Keep (an export of Takeout) → Notion, a database of the user")
    workspace = WorkspaceControl.new(os.environ["NOTION_BASE_URL"], os.environ["NOTION_TOKEN"], "Notes of Ann")
    folder = Path(os.environ["DAGSTER_HOME"]).parent / "takeout"
    notes = varied_notes(NOTES)
    write_takeout(notes, folder)
    _add_user(workspace, folder)
    first = _sync(story, workspace, "first sync")
    story.expect("notes that arrived", first.counts.upserted, NOTES)
    again = _sync(story, workspace, "nothing new")
    story.expect("pages written again", again.counts.upserted, 0)
    _edits(story, workspace, notes, folder)


def _add_user(workspace: WorkspaceControl, folder: Path) -> None:
    """What `sync-pipelines users add ann --takeout … --complete --parent-page …` does."""
    from sync_pipelines.sources.keep.user import Export, Place, Secrets, User
    from sync_pipelines.users import users_of

    users = users_of("notes")
    source, target = Export(paths=(str(folder),), complete=True), Place(parent_page=workspace.page)
    user = User(sync="notes", name=USER, source=source, target=target)
    users.add(user, Secrets(notion_token=workspace.token))
    users.ledger.dispose()


def _sync(story: Story, workspace: WorkspaceControl, step: str) -> Any:
    """A run, and how many requests it took."""
    workspace.clear_requests()
    line = story.sync(step, PAGES)
    made, wrote = workspace.summary()["requests"], line.counts.upserted
    each = f", {made / wrote:.1f} a page that was written" if wrote else ""
    story.console.print(f"  {made} requests, those of the proofs included{each}")
    return line


def _edits(story: Story, workspace: WorkspaceControl, notes: Sequence[SandboxNote], folder: Path) -> None:
    """A person writes beside our blocks on one page, and into them on another; Keep changes both, and one more."""
    texts = _texts_of_their_own(notes)
    beside, into, plain = (_page(workspace, note) for note in texts)
    workspace.add_block(beside, "What I think of it", first=True)
    block = next(block for block in workspace.outline(into) if block["text"])
    workspace.edit_block(block["id"], "I know better than Keep")
    written = [_longer(note) if note in texts else note for note in notes[:-1]]
    write_takeout(written, _emptied(folder))
    line = _sync(story, workspace, "people and Keep have edited")
    story.expect("pages written", line.counts.upserted, 2)
    story.expect("notes deleted in Keep", line.counts.deleted, 1)
    story.expect("a person's block stands", _texts(workspace, beside)[0], "What I think of it")
    story.expect("a person's edit stands", "I know better than Keep" in _texts(workspace, into), True)
    story.expect("Keep's line arrived", _texts(workspace, plain)[-1], "A line that Keep has now")
    _review(story, into, workspace)


def _texts_of_their_own(notes: Sequence[SandboxNote]) -> list[SandboxNote]:
    """Three short texts, none of which shares its time with another note."""
    times = Counter(note.created for note in notes)
    short = (note for note in notes[:-1] if note.text and len(note.text) < 1000 and not note.trashed)
    return [note for note in short if times[note.created] == 1][:3]


def _longer(note: SandboxNote) -> SandboxNote:
    return replace(note, text=f"{note.text}\nA line that Keep has now", edited=note.created + 10**9)


def _review(story: Story, page: str, workspace: WorkspaceControl) -> None:
    """What waits for a person, who takes Keep's version."""
    from sync_pipelines import settling
    from sync_pipelines.engine.conflicts import Strategy
    from sync_pipelines.registry import tables

    table = Table(title=f"sync-pipelines conflicts list {PAGES}")
    for name in ("note", "why"):
        table.add_column(name)
    with closing(tables(PAGES)[0].binding()) as binding:
        (conflict,) = binding.ledger.reviews(*binding.place, limit=10)
        table.add_row(conflict.key, conflict.reason)
        story.console.print(table)
        settling.resolve(settling.look(binding, conflict.key), Strategy.SOURCE_WINS, by="ann")
    story.expect("Keep's version was taken", "I know better than Keep" in _texts(workspace, page), False)
    _sync(story, workspace, "after the review")


def _emptied(folder: Path) -> Path:
    for file in sorted(folder.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    return folder


def _texts(workspace: WorkspaceControl, page: str) -> list[str]:
    return [block["text"] for block in workspace.outline(page) if block.get("text")]


def _page(workspace: WorkspaceControl, note: SandboxNote) -> str:
    """The page of a note, asked of Notion."""
    client = workspace.client()
    (source,) = client.search(filter={"property": "object", "value": "data_source"})["results"]
    wanted = {"property": "Keep ID", "rich_text": {"equals": str(note.created)}}
    (page,) = client.data_sources.query(source["id"], filter=wanted)["results"]
    return page["id"]
