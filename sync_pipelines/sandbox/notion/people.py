"""A person's hands in a workspace: what somebody does there in Notion's own window, and not through a connection."""

from __future__ import annotations

import copy
from typing import Any

from sync_pipelines.sandbox.notion.drafts import Draft, drafts
from sync_pipelines.sandbox.notion.given import Given
from sync_pipelines.sandbox.notion.kinds import KINDS
from sync_pipelines.sandbox.notion.model import Database, DataSource, Node, Page, plain
from sync_pipelines.sandbox.notion.properties import values
from sync_pipelines.sandbox.notion.texts import run
from sync_pipelines.sandbox.notion.workspace import Workspace


class People:
    """What a person can do; each act stamps what it touches with the person and the time, as Notion does."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def edit_block(self, block: str, text: str | None = None, *, by: str | None = None, **content: Any) -> None:
        """Write another text into a block, of any length, or set other fields: `checked=True`."""
        node = self._workspace.node(block)
        fields = {"rich_text": [run(text)] if text else []} if text is not None else {}
        unknown = set(content) - set(KINDS[node.kind].fields)
        if unknown:
            raise ValueError(f"A {node.kind} has no {', '.join(sorted(unknown))}.")
        node.content = {**node.content, **fields, **content}
        self._workspace.touch(node, self._who(by))

    def add_block(
        self,
        parent: str,
        text: str = "",
        *,
        kind: str = "paragraph",
        after: str | None = None,
        first: bool = False,
        by: str | None = None,
        content: dict[str, Any] | None = None,
    ) -> str:
        """Write a new block; its id.

        Args:
            parent: a page or block.
            after: a sibling; otherwise it comes last, or first.
            content: as a request says it, in place of the text.
        """
        above = self._workspace.node(parent)
        said = (
            content if content is not None else {"rich_text": [run(text)]} if "rich_text" in KINDS[kind].fields else {}
        )
        made = drafts(Given([{"type": kind, kind: said}]), self._workspace.attach, parent=above.kind)
        beside = self._workspace.node(after) if after else None
        node = self._workspace.add_blocks(above, made, self._who(by), beside)[0]
        if first:
            above.children.remove(node)
            above.children.insert(0, node)
        return node.id

    def delete_block(self, block: str, *, by: str | None = None) -> None:
        """Put a block into the trash."""
        self._workspace.trash(self._workspace.node(block), self._who(by), away=True)

    def restore_block(self, block: str, *, by: str | None = None) -> None:
        """Take a block out of the trash, to the place where it was."""
        self._workspace.trash(self._workspace.node(block), self._who(by), away=False)

    def move_block(
        self, block: str, *, after: str | None = None, parent: str | None = None, by: str | None = None
    ) -> None:
        """Draw a block to another place: behind a block, or to the top of its parent or of another one."""
        node, who = self._workspace.node(block), self._who(by)
        beside = self._workspace.node(after) if after else None
        target = beside.parent if beside else self._workspace.node(parent) if parent else node.parent
        assert isinstance(target, Node)
        assert isinstance(node.parent, Node)
        node.parent.children.remove(node)
        self._workspace.touch(node.parent, who)
        place = target.children.index(beside) + 1 if beside else 0
        target.children.insert(place, node)
        node.parent = target
        self._workspace.touch(node, who)
        self._workspace.touch(target, who)

    def turn_block(self, block: str, kind: str, *, by: str | None = None) -> None:
        """Turn a block into one of another type; it keeps its id, its text and what is below it."""
        node, fields = self._workspace.node(block), KINDS[kind].fields
        kept = {name: value for name, value in node.content.items() if name in fields}
        node.kind, node.content = kind, {**KINDS[kind].defaults, **kept}
        self._workspace.touch(node, self._who(by))

    def comment(self, block: str, text: str, *, by: str | None = None) -> str:
        """Comment on a block or page; the comment's id. No time of an edit changes."""
        return self._workspace.add_comment(self._workspace.node(block), [run(text)], self._who(by)).id

    def resolve_comment(self, comment: str) -> None:
        """Settle a comment: it is listed no more."""
        self._workspace.comments[comment].resolved = True

    def set_property(self, page: str, name: str, value: Any, *, by: str | None = None) -> None:
        """Give a property another value, as a request says it: `{"checkbox": True}`."""
        found = self._page(page)
        assert isinstance(found.parent, DataSource)
        found.values.update(values(Given({name: value}), found.parent, self._workspace.attach))
        self._workspace.touch(found, self._who(by))

    def set_title(self, page: str, text: str, *, by: str | None = None) -> None:
        """Give a page another title."""
        found = self._page(page)
        found.values["title"] = [run(text)] if text else []
        self._workspace.touch(found, self._who(by))

    def add_page(self, parent: str, title: str = "", *, by: str | None = None) -> str:
        """Make a page in a data source or page; its id."""
        above = self._workspace.sources.get(parent) or self._workspace.node(parent)
        return self._workspace.add_page(above, self._who(by), title=title).id

    def trash_page(self, page: str, *, by: str | None = None) -> None:
        """Put a page into the trash."""
        self._workspace.trash(self._page(page), self._who(by), away=True)

    def restore_page(self, page: str, *, by: str | None = None) -> None:
        """Take a page out of the trash."""
        self._workspace.trash(self._page(page), self._who(by), away=False)

    def duplicate_page(self, page: str, *, by: str | None = None) -> str:
        """Copy a page with its properties and blocks; the copy's id. Comments stay behind."""
        one, who = self._page(page), self._who(by)
        held = copy.copy(one.values)
        made = self._workspace.add_page(one.parent, who, values=held, icon=one.icon, cover=one.cover)
        below = [_draft(child) for child in one.living() if not isinstance(child, Page | Database)]
        if below:
            self._workspace.add_blocks(made, below, who)
        return made.id

    def trash_database(self, database: str, *, by: str | None = None) -> None:
        """Put a database into the trash, with all that is in it."""
        self._workspace.trash(self._workspace.node(database), self._who(by), away=True)

    def restore_database(self, database: str, *, by: str | None = None) -> None:
        """Take a database out of the trash."""
        self._workspace.trash(self._workspace.node(database), self._who(by), away=False)

    def rename_property(self, source: str, name: str, new_name: str, *, by: str | None = None) -> None:
        """Give a property of a data source another name; it keeps its id."""
        found = self._workspace.sources[source].find(name)
        assert found is not None
        found.name = new_name
        self._workspace.touch(self._workspace.sources[source], self._who(by))

    def delete_property(self, source: str, name: str, *, by: str | None = None) -> None:
        """Take a property away from a data source."""
        one = self._workspace.sources[source]
        found = one.find(name)
        assert found is not None
        del one.properties[found.id]
        self._workspace.touch(one, self._who(by))

    def outline(self, page: str) -> list[dict[str, Any]]:
        """What a person sees on a page: id, type, text and further fields of each block, with those in it."""
        return [_seen(child) for child in self._workspace.node(page).living()]

    def _page(self, identity: str) -> Page:
        found = self._workspace.node(identity)
        assert isinstance(found, Page)
        return found

    def _who(self, by: str | None) -> str:
        return by or self._workspace.person


def _draft(node: Node) -> Draft:
    return Draft(node.kind, dict(node.content), [_draft(child) for child in node.living()])


def _seen(node: Node) -> dict[str, Any]:
    if isinstance(node, Page):
        return {"id": node.id, "type": node.kind, "text": plain(node.title)}
    found = {"id": node.id, "type": node.kind, "text": plain(node.content.get("rich_text", []))}
    rest = ("checked", "url", "language")
    found.update({name: node.content[name] for name in rest if name in node.content})
    return {**found, "edited_by": node.edited_by, "children": [_seen(child) for child in node.living()]}


ACTS = tuple(name for name in vars(People) if not name.startswith("_"))
"""What a person can be asked to do."""
