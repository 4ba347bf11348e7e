"""The endpoints of blocks."""

from __future__ import annotations

from typing import Any

from sync_pipelines.sandbox.notion.calls import Call, away
from sync_pipelines.sandbox.notion.drafts import drafts, insist_on_width
from sync_pipelines.sandbox.notion.given import Given
from sync_pipelines.sandbox.notion.kinds import KINDS, changed
from sync_pipelines.sandbox.notion.model import Database, Node, Page
from sync_pipelines.sandbox.notion.refusals import invalid


def retrieve(call: Call) -> dict[str, Any]:
    """A block, in the trash, too."""
    return call.answers.block(call.node(call.names[0]))


def children(call: Call) -> dict[str, Any]:
    """The blocks that lie in one, a page of them; those in the trash are left out."""
    node = call.node(call.names[0])
    shown = [child for child in node.living() if call.connection.sees(child)]
    return call.listed("block", shown, call.answers.block)


def append(call: Call) -> dict[str, Any]:
    """New blocks in one: at its end, at its start, or after one of its children."""
    body = call.body.only("children", "after", "position")
    node = call.node(call.names[0])
    call.workspace.editable(node)
    if isinstance(node, Database) or not (isinstance(node, Page) or KINDS[node.kind].children):
        raise invalid("Block does not support children.")
    after, first = _place(call, node, body)
    made = drafts(body.field("children"), call.workspace.attach, parent=node.kind)
    call.workspace.insist_on_room(sum(draft.size() for draft in made))
    found = call.workspace.add_blocks(node, made, call.bot, after, first=first)
    return {
        "object": "list",
        "results": [call.answers.block(one) for one in found],
        "next_cursor": None,
        "has_more": False,
        "type": "block",
        "block": {},
    }


def update(call: Call) -> dict[str, Any]:
    """Other content, of the same type; into the trash and out of it."""
    node = call.node(call.names[0])
    trash = away(call.body)
    if trash is not False or node.buried:
        call.workspace.editable(node)
    names = [name for name in call.body.of(dict) if name not in ("in_trash", "archived", "type")]
    if names:
        _change(call, node, names)
    call.workspace.settle(node, call.bot, away=trash)
    return call.answers.block(node)


def delete(call: Call) -> dict[str, Any]:
    """Into the trash."""
    node = call.node(call.names[0])
    call.workspace.editable(node)
    call.workspace.trash(node, call.bot, away=True)
    return call.answers.block(node)


def _place(call: Call, node: Node, body: Given) -> tuple[Node | None, bool]:
    """The child that new blocks follow, and whether they come before all others."""
    position = body.field("position")
    if not position.there:
        return _after(call, node, body.field("after")), False
    if body.field("after").there:
        raise position.wrong("should be not present")
    kind = position.field("type").one_of("start", "end", "after_block")
    if kind == "after_block":
        return _after(call, node, position.field("after_block").field("id")), False
    return None, kind == "start"


def _after(call: Call, node: Node, given: Given) -> Node | None:
    if not given.there:
        return None
    wanted = given.identity()
    found = next((child for child in node.living() if child.id == wanted), None)
    if found is None:
        raise invalid(f"Could not find the block to append after, with ID: {wanted}, among the children of {node.id}.")
    return found


def _change(call: Call, node: Node, names: list[str]) -> None:
    if isinstance(node, Page | Database):
        raise invalid(f"Updating a block of type {node.kind} is not supported; use the endpoint of its object.")
    if names != [node.kind]:
        raise invalid(f"Cannot change a block of type {node.kind} to {', '.join(names)}.")
    content = changed(node.kind, node.content, call.body.field(node.kind), call.workspace.attach)
    if node.kind == "table_row" and isinstance(node.parent, Node):
        insist_on_width(content, node.parent.content)
    node.content = content
