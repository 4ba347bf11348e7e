"""The endpoints of users, comments and the search."""

from __future__ import annotations

from typing import Any

from sync_pipelines.sandbox.notion.answers import bot, person
from sync_pipelines.sandbox.notion.calls import Call
from sync_pipelines.sandbox.notion.given import Given, identity
from sync_pipelines.sandbox.notion.model import Comment, Connection, DataSource, Node, Page, Person, plain
from sync_pipelines.sandbox.notion.refusals import not_found
from sync_pipelines.sandbox.notion.texts import rich_text


def me(call: Call) -> dict[str, Any]:
    """The connection itself."""
    return bot(call.connection, call.workspace)


def users(call: Call) -> dict[str, Any]:
    """All people and connections of the workspace."""
    return call.listed("user", _users(call), lambda one: _user(call, one))


def user(call: Call) -> dict[str, Any]:
    """One of them."""
    wanted = identity(call.names[0])
    found = next((one for one in _users(call) if one.id == wanted), None)
    if found is None:
        raise not_found("user", wanted)
    return _user(call, found)


def _users(call: Call) -> list[Person | Connection]:
    return [*call.workspace.people.values(), *call.workspace.connections.values()]


def _user(call: Call, one: Person | Connection) -> dict[str, Any]:
    return person(one) if isinstance(one, Person) else bot(one, call.workspace)


def comment(call: Call) -> dict[str, Any]:
    """A comment on a page or block, or in a discussion."""
    body = call.body.only("parent", "discussion_id", "rich_text", "attachments", "display_name")
    text = rich_text(body.field("rich_text"))
    discussion, node = _discussed(call, body)
    call.workspace.editable(node)
    return call.answers.comment(call.workspace.add_comment(node, text, call.bot, discussion))


def _discussed(call: Call, body: Given) -> tuple[str | None, Node]:
    if body.field("discussion_id").there:
        wanted = body.field("discussion_id").identity()
        first = next((one for one in call.workspace.comments.values() if one.discussion == wanted), None)
        if first is None or not call.connection.sees(first.node):
            raise not_found("discussion", wanted)
        return wanted, first.node
    parent = body.field("parent")
    if parent.field("block_id").there:
        return None, call.node(parent.field("block_id").of(str))
    return None, call.page(parent.field("page_id").of(str))


def comments(call: Call) -> dict[str, Any]:
    """The open comments of a page or block itself, oldest first."""
    node = call.node(Given(dict(call.query), "query").field("block_id").of(str))
    found: list[Comment] = [one for one in node.comments if not one.resolved]
    return call.listed("comment", found, call.answers.comment, strict=True)


def retrieve_comment(call: Call) -> dict[str, Any]:
    """One comment."""
    found = call.workspace.comments.get(identity(call.names[0]))
    if found is None or not call.connection.sees(found.node):
        raise not_found("comment", call.names[0])
    return call.answers.comment(found)


def search(call: Call) -> dict[str, Any]:
    """Pages and data sources whose titles hold a text, those edited last first."""
    body = call.body.only("query", "filter", "sort", "start_cursor", "page_size")
    only = _object(body.field("filter"))
    text = body.field("query").text().casefold() if body.field("query").filled else ""
    found = [one for one in _all(call) if only in ("", _name(one)) and text in plain(one.title).casefold()]
    sort = body.field("sort")
    upwards = sort.there and sort.field("direction").one_of("ascending", "descending") == "ascending"
    found.sort(key=lambda one: one.edited, reverse=not upwards)
    return call.listed("page_or_data_source", found, lambda one: _found(call, one))


def _object(given: Given) -> str:
    if not given.filled:
        return ""
    given.field("property").one_of("object")
    return given.field("value").one_of("page", "data_source")


def _all(call: Call) -> list[Page | DataSource]:
    pages = [one for one in call.workspace.nodes.values() if isinstance(one, Page) and not one.away]
    sources = [one for one in call.workspace.sources.values() if not (one.in_trash or one.database.away)]
    return [one for one in (*pages, *sources) if call.connection.sees(one)]


def _name(one: Page | DataSource) -> str:
    return "page" if isinstance(one, Page) else "data_source"


def _found(call: Call, one: Page | DataSource) -> dict[str, Any]:
    return call.answers.page(one) if isinstance(one, Page) else call.answers.source(one)
