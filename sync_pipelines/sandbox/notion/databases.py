"""The endpoints of databases and of their data sources."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from sync_pipelines.sandbox.notion import files
from sync_pipelines.sandbox.notion.calls import Call, away
from sync_pipelines.sandbox.notion.filters import compiled
from sync_pipelines.sandbox.notion.given import Given
from sync_pipelines.sandbox.notion.model import DataSource, Page, Property
from sync_pipelines.sandbox.notion.pages import wanted
from sync_pipelines.sandbox.notion.properties import empty, new_property, reconfigured
from sync_pipelines.sandbox.notion.refusals import invalid
from sync_pipelines.sandbox.notion.sorting import sorted_rows
from sync_pipelines.sandbox.notion.texts import rich_text

_KEPT = 4
"""Results of queries that are kept until something changes, so that the pages of a long one cost little."""


def create(call: Call) -> dict[str, Any]:
    """A database with its first data source."""
    body = call.body.only("parent", "title", "description", "is_inline", "initial_data_source", "icon", "cover")
    above = call.page(body.field("parent").field("page_id").of(str))
    call.workspace.editable(above)
    initial = body.field("initial_data_source")
    properties = _properties(initial.field("properties") if initial.there else Given({}))
    title = _text(body.field("title"))
    looks = {
        "description": _text(body.field("description")),
        "icon": files.icon(body.field("icon"), call.workspace.attach),
        "cover": files.cover(body.field("cover"), call.workspace.attach),
        "is_inline": body.field("is_inline").boolean(False),
    }
    call.workspace.insist_on_room(1)
    database = call.workspace.add_database(above, call.bot, title=title, **looks)
    call.workspace.add_source(database, call.bot, title=title, properties=properties)
    return call.answers.database(database)


def retrieve(call: Call) -> dict[str, Any]:
    """A database."""
    return call.answers.database(call.database(call.names[0]))


def update(call: Call) -> dict[str, Any]:
    """Another title, description or look; into the trash and out of it."""
    names = ("title", "description", "icon", "cover", "is_inline", "is_locked", "in_trash", "archived")
    body, database = call.body.only(*names), call.database(call.names[0])
    trash = away(body)
    if trash is not False or database.buried:
        call.workspace.editable(database)
    looks: dict[str, Any] = {name: _text(body.field(name)) for name in ("title", "description") if name in body.value}
    for name, read in (("icon", files.icon), ("cover", files.cover)):
        if name in body.value:
            looks[name] = read(body.field(name), call.workspace.attach)
    looks.update((name, body.field(name).of(bool)) for name in ("is_inline", "is_locked") if name in body.value)
    for name, value in looks.items():
        setattr(database, name, value)
    call.workspace.settle(database, call.bot, away=trash)
    return call.answers.database(database)


def create_source(call: Call) -> dict[str, Any]:
    """One more data source of a database."""
    body = call.body.only("parent", "properties", "title", "icon")
    database = call.database(body.field("parent").field("database_id").of(str))
    call.workspace.editable(database)
    properties, title = _properties(body.field("properties")), _text(body.field("title"))
    icon = files.icon(body.field("icon"), call.workspace.attach)
    source = call.workspace.add_source(database, call.bot, title=title, properties=properties, icon=icon)
    return call.answers.source(source)


def retrieve_source(call: Call) -> dict[str, Any]:
    """A data source with its schema."""
    return call.answers.source(call.source(call.names[0]))


def update_source(call: Call) -> dict[str, Any]:
    """Another title, other properties; into the trash and out of it."""
    body, source = call.body.only("title", "icon", "properties", "in_trash", "archived"), call.source(call.names[0])
    trash = away(body)
    if trash is not False:
        call.workspace.editable(source)
    call.workspace.editable(source.database)
    title = _text(body.field("title")) if body.field("title").there else source.title
    icon = files.icon(body.field("icon"), call.workspace.attach) if body.field("icon").there else source.icon
    if body.field("properties").there:
        _change_properties(source, body.field("properties"))
    source.title, source.icon = title, icon
    call.workspace.settle(source, call.bot, away=trash)
    return call.answers.source(source)


def query(call: Call) -> dict[str, Any]:
    """The pages of a data source that fit, in order; no more than 10,000 in all."""
    names = ("sorts", "filter", "start_cursor", "page_size", "archived", "in_trash", "result_type")
    body, source = call.body.only(*names), call.source(call.names[0])
    if source.database.away or source.in_trash:
        raise invalid("Can't query a data source that is archived. You must unarchive it before querying.")
    rows = _rows(call, source, body)
    only = wanted(call)
    return call.queried(rows, lambda row: call.answers.page(row, only))


def _rows(call: Call, source: DataSource, body: Given) -> list[Page]:
    asked = [body.value.get(name) for name in ("filter", "sorts", "in_trash", "archived")]
    key = (source.id, source.version, call.bot, json.dumps(asked, sort_keys=True))
    kept = call.workspace.kept
    if key not in kept:
        found = _fitting(call, source, body)
        while len(kept) >= _KEPT:
            kept.pop(next(iter(kept)))
        kept[key] = found
    return kept[key]


def _fitting(call: Call, source: DataSource, body: Given) -> list[Page]:
    trashed = bool(away(body))
    rows = [row for row in source.rows if row.in_trash == trashed and call.connection.sees(row)]
    if body.field("filter").filled:
        fits = compiled(body.field("filter"), source, call.workspace.clock.now())
        rows = [row for row in rows if fits(row)]
    return sorted_rows(rows, body.field("sorts"), source)


def _text(given: Given) -> list[dict[str, Any]]:
    return rich_text(given) if given.there else []


def _properties(given: Given) -> dict[str, Property]:
    found = [new_property(name, value) for name, value in given.fields()]
    titles = [one for one in found if one.kind == "title"]
    if len(titles) > 1:
        raise invalid("Only one property of type title is allowed.")
    if not titles:
        found.insert(0, Property(id="title", name="Name", kind="title"))
    return {one.id: one for one in found}


def _change_properties(source: DataSource, given: Given) -> None:
    """Add, change, rename and remove properties: all of them or none."""
    before = dict(source.properties)
    after = {key: _copy(one) for key, one in before.items()}
    staged = replace(source, properties=after)
    for name, value in given.fields():
        _change_property(staged, name, value)
    names = [one.name for one in staged.properties.values()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise invalid(f"Cannot create new property with name {twice}: a property with this name exists.")
    source.properties = staged.properties
    for key in source.properties.keys() - before.keys():
        for row in source.rows:
            row.values.setdefault(key, empty(source.properties[key].kind))


def _copy(one: Property) -> Property:
    return replace(one, config=dict(one.config))


def _change_property(source: DataSource, name: str, given: Given) -> None:
    one = source.find(name)
    if given.value is None:
        _remove(source, one, name)
    elif one is None:
        made = new_property(name, given)
        if made.kind == "title":
            raise invalid("A data source has one property of type title; another one cannot be created.")
        source.properties[made.id] = made
    else:
        one.name = given.field("name").text(100) if given.field("name").there else one.name
        one.config = reconfigured(one, given)


def _remove(source: DataSource, one: Property | None, name: str) -> None:
    if one is None:
        raise invalid(f"Could not find property with name or id: {name}")
    if one.kind == "title":
        raise invalid("Cannot delete title property.")
    del source.properties[one.id]
