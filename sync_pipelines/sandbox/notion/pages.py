"""The endpoints of pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from sync_pipelines.sandbox.notion import files
from sync_pipelines.sandbox.notion.calls import Call, away
from sync_pipelines.sandbox.notion.drafts import drafts
from sync_pipelines.sandbox.notion.given import Given
from sync_pipelines.sandbox.notion.model import DataSource, Node, Page, Property
from sync_pipelines.sandbox.notion.properties import values
from sync_pipelines.sandbox.notion.refusals import invalid, not_found
from sync_pipelines.sandbox.notion.texts import rich_text


def create(call: Call) -> dict[str, Any]:
    """A page with what stands on it: all of it, or none."""
    body = call.body.only("parent", "properties", "children", "icon", "cover")
    above = _parent(call, body.field("parent"))
    attach = call.workspace.attach
    given, children = body.field("properties"), body.field("children")
    below = drafts(children, attach, parent="child_page") if children.there else []
    icon, cover = files.icon(body.field("icon"), attach), files.cover(body.field("cover"), attach)
    call.workspace.insist_on_room(1 + sum(draft.size() for draft in below))
    # The values come last: they may bring options into the schema, and a refused request leaves nothing behind.
    held = _values(call, given if given.there else Given({}, "body.properties"), above)
    page = call.workspace.add_page(above, call.bot, values=held, icon=icon, cover=cover)
    if below:
        call.workspace.add_blocks(page, below, call.bot)
    return call.answers.page(page)


def retrieve(call: Call) -> dict[str, Any]:
    """A page, in the trash, too."""
    return call.answers.page(call.page(call.names[0]), wanted(call))


def update(call: Call) -> dict[str, Any]:
    """Other values, icon or cover; into the trash and out of it."""
    body = call.body.only("properties", "icon", "cover", "is_locked", "in_trash", "archived")
    page = call.page(call.names[0])
    trash = away(body)
    if trash is not False or page.buried:
        call.workspace.editable(page)
    looks = {name: read(body.field(name), call.workspace.attach) for name, read in _LOOKS if body.field(name).there}
    locked = body.field("is_locked").boolean(page.is_locked)
    held = _values(call, body.field("properties"), page.parent) if body.field("properties").there else {}
    page.values.update(held)
    for name, value in looks.items():
        setattr(page, name, value)
    page.is_locked = locked
    call.workspace.settle(page, call.bot, away=trash)
    return call.answers.page(page)


def item(call: Call) -> dict[str, Any]:
    """One property of a page: a list where it can be long."""
    page = call.page(call.names[0])
    one = _property(page, call.names[1])
    value = call.answers.value(one, page)
    if one.kind not in ("title", "rich_text", "people"):
        return {"object": "property_item", "id": one.id, "type": one.kind, one.kind: value}
    runs = [_Run(f"{one.id}:{number}", run) for number, run in enumerate(value)]
    answer = call.listed(
        "property_item",
        runs,
        lambda run: {"object": "property_item", "id": one.id, "type": one.kind, one.kind: run.value},
    )
    answer["property_item"] = {"id": one.id, "next_url": None, "type": one.kind, one.kind: {}}
    return answer


class _Run:
    def __init__(self, identity: str, value: Any) -> None:
        self.id, self.value = identity, value


_LOOKS = (("icon", files.icon), ("cover", files.cover))


def wanted(call: Call) -> frozenset[str]:
    """The properties that `filter_properties` names."""
    return frozenset(
        name
        for key, value in call.pairs
        if key in ("filter_properties", "filter_properties[]")
        for name in (value, unquote(value))
    )


def _property(page: Page, name: str) -> Property:
    if isinstance(page.parent, DataSource):
        found = next((one for one in page.parent.properties.values() if name in (one.id, unquote(one.id))), None)
    else:
        found = Property(id="title", name="title", kind="title") if name == "title" else None
    if found is None:
        raise not_found("property", name)
    return found


def _parent(call: Call, given: Given) -> Node | DataSource:
    if not given.there:
        raise given.wrong("should be defined")
    if given.field("data_source_id").there:
        source = call.source(given.field("data_source_id").of(str))
        call.workspace.editable(source)
        call.workspace.editable(source.database)
        return source
    if given.field("database_id").there:
        database = call.database(given.field("database_id").of(str))
        call.workspace.editable(database)
        if len(database.sources) != 1:
            raise invalid("Databases with multiple data sources are not supported in this API version.")
        return database.sources[0]
    if given.field("page_id").there:
        page = call.page(given.field("page_id").of(str))
        call.workspace.editable(page)
        return page
    raise given.field("page_id").wrong("should be defined")


def _values(call: Call, given: Given, above: Node | DataSource | None) -> dict[str, Any]:
    if isinstance(above, DataSource):
        before = {one.id: len(one.config.get("options", ())) for one in above.properties.values()}
        found = values(given, above, call.workspace.attach)
        if any(len(one.config.get("options", ())) != before[one.id] for one in above.properties.values()):
            above.version += 1
        return found
    title = given.only("title").field("title")
    if not title.there:
        return {}
    return {"title": rich_text(title if isinstance(title.value, list) else title.field("title"))}
