"""Blocks that a request asks for, read and checked as a whole before the first of them is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sync_pipelines.sandbox.notion.files import Attach
from sync_pipelines.sandbox.notion.given import Given
from sync_pipelines.sandbox.notion.kinds import KINDS, content, kind_of
from sync_pipelines.sandbox.notion.refusals import invalid

MOST_BLOCKS = 1000
"""In one request."""

NESTING = 2
"""Levels of children below those that a request brings; deeper ones need requests of their own."""


@dataclass
class Draft:
    """A block to be made."""

    kind: str
    content: dict[str, Any]
    children: list[Draft] = field(default_factory=list)

    def size(self) -> int:
        """The blocks that it makes."""
        return 1 + sum(child.size() for child in self.children)


def drafts(given: Given, attach: Attach, *, parent: str) -> list[Draft]:
    """The blocks of an array `children`.

    Args:
        parent: the type of the block that they come into.
    """
    found = [_draft(one, attach, parent, NESTING) for one in given.elements()]
    number = sum(draft.size() for draft in found)
    if number > MOST_BLOCKS:
        raise given.too_many(MOST_BLOCKS, number, " with all nested blocks")
    return found


def insist_on_place(kind: str, parent: str) -> None:
    """Refuse a block where it cannot lie: a row outside of a table, anything in a divider."""
    wanted = "any" if parent == "child_page" else KINDS[parent].children if parent in KINDS else ""
    bound = {rules.children: name for name, rules in KINDS.items() if rules.children not in ("", "any")}
    if (wanted == "any" and kind not in bound) or wanted == kind:
        return
    raise invalid(f"Block of type {kind} cannot be a child of a block of type {parent}.")


def insist_on_width(row: dict[str, Any], table: dict[str, Any]) -> None:
    """Refuse a row that has more or fewer cells than its table has columns."""
    if len(row["cells"]) != table["table_width"]:
        raise invalid("Number of cells in table row must match the table width of the parent table")


def _draft(given: Given, attach: Attach, parent: str, levels: int) -> Draft:
    kind = kind_of(given)
    insist_on_place(kind, parent)
    body = given.field(kind)
    children = body.field("children")
    if children.there and (not levels or not KINDS[kind].children):
        raise children.wrong("should be not present")
    read = content(kind, _checked(body, kind), attach)
    below = [_draft(one, attach, kind, levels - 1) for one in children.elements()] if children.there else []
    draft = Draft(kind, read, below)
    _insist_on_rows(draft, children)
    return draft


def _checked(body: Given, kind: str) -> Given:
    media = ("type", "external", "file_upload") if KINDS[kind].media else ()
    return body.only(*KINDS[kind].fields, *media, "children")


def _insist_on_rows(draft: Draft, children: Given) -> None:
    if draft.kind == "table":
        if not draft.children:
            raise children.wrong("should be defined")
        for row in draft.children:
            insist_on_width(row.content, draft.content)
    if draft.kind == "column_list" and len(draft.children) < 2:
        raise children.wrong("should have at least 2 columns")
