"""Properties: a data source's schema as requests set it, and the values of a page's properties."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from sync_pipelines.sandbox.notion import files
from sync_pipelines.sandbox.notion.dates import date_value
from sync_pipelines.sandbox.notion.files import Attach
from sync_pipelines.sandbox.notion.given import MOST_ELEMENTS, Given, units
from sync_pipelines.sandbox.notion.model import DataSource, Property, plain
from sync_pipelines.sandbox.notion.refusals import invalid
from sync_pipelines.sandbox.notion.texts import OPTION_COLORS, rich_text

MOST_OPTION = 100
"""Units of UTF-16 in the name of an option."""

READ_ONLY = ("created_time", "last_edited_time", "created_by", "last_edited_by")
WRITABLE = (
    "title", "rich_text", "number", "select", "multi_select", "status", "checkbox", "date", "url", "email",
    "phone_number", "people", "files",
)  # fmt: skip
KINDS = (*WRITABLE, *READ_ONLY)

_EMPTY: dict[str, Any] = {
    "title": [], "rich_text": [], "multi_select": [], "people": [], "files": [], "checkbox": False,
}  # fmt: skip


def empty(kind: str) -> Any:
    """What a property holds before it is set."""
    return _EMPTY.get(kind)


def new_property(name: str, given: Given) -> Property:
    """A property as a schema asks for it."""
    kind = next((one for one in given.of(dict) if one not in ("type", "name", "description")), "")
    if kind not in KINDS:
        raise given.wrong("should have one of " + ", ".join(f"`{one}`" for one in KINDS))
    known = "title" if kind == "title" else _identity()
    return Property(id=known, name=name, kind=kind, config=_config(kind, given.field(kind)))


def _identity() -> str:
    # ids of Notion's properties hold all kinds of signs, percent-encoded
    return quote("".join(random.choices(string.ascii_letters + "@:;<=>?[]{}~", k=4)), safe="")


def _config(kind: str, given: Given) -> dict[str, Any]:
    if kind == "number":
        form = given.field("format")
        return {"format": form.of(str) if form.there else "number"}
    if kind in ("select", "multi_select"):
        options = given.field("options")
        return {"options": _options(options, []) if options.there else []}
    if kind == "status":
        return {"options": [_option(name) for name in ("Not started", "In progress", "Done")], "groups": []}
    given.of(dict)
    return {}


def reconfigured(one: Property, given: Given) -> dict[str, Any]:
    """A property's settings after an update; options that an update does not name go, as the named ones stay."""
    body = given.field(one.kind)
    if one.kind in ("select", "multi_select") and body.there and body.field("options").there:
        return {"options": _options(body.field("options"), one.config["options"])}
    return {**one.config, **(_config(one.kind, body) if one.kind == "number" and body.there else {})}


def _options(given: Given, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    known = {option[key]: option for option in before for key in ("id", "name")}
    found: list[dict[str, Any]] = []
    for one in given.elements():
        one.only("name", "color", "id", "description")
        old = known.get(one.value.get("id")) or known.get(one.value.get("name"))
        name = option_name(one.field("name")) if one.field("name").there else (old or {}).get("name", "")
        color = one.field("color")
        found.append({**(old or _option(name)), "name": name})
        if color.there:
            found[-1]["color"] = color.one_of(*OPTION_COLORS)
    return found


def _option(name: str) -> dict[str, Any]:
    return {"id": _identity(), "name": name, "color": random.choice(OPTION_COLORS), "description": None}


def option_name(given: Given) -> str:
    """The name of an option."""
    name = given.text()
    if "," in name:
        raise invalid(f"Invalid select option, commas not allowed: {name}")
    if not name.strip():
        raise given.wrong("should be a non-empty string")
    if units(name) > MOST_OPTION:
        raise given.too_many(MOST_OPTION, units(name))
    return name


def values(given: Given, source: DataSource, attach: Attach) -> dict[str, Any]:
    """The values that a request gives to properties, by their ids; options that are new come into the schema.

    Nothing is changed when one of them is refused.
    """
    found: dict[str, Any] = {}
    fresh: list[tuple[Property, dict[str, Any]]] = []
    for name, value in given.fields():
        one = source.find(name)
        if one is None:
            raise invalid(f"Could not find property with name or id: {name}")
        found[one.id] = _value(one, value, attach, fresh)
    for one, option in fresh:
        one.config["options"].append(option)
    return found


def _value(one: Property, given: Given, attach: Attach, fresh: list[tuple[Property, dict[str, Any]]]) -> Any:
    if one.kind in READ_ONLY:
        raise invalid(f"{one.name} is a property of type {one.kind}, which cannot be updated through the API.")
    body = given.field(one.kind)
    if given.value is not None and not body.there:
        raise invalid(f"{one.name} is expected to be {one.kind}.")
    if one.kind in ("select", "status", "multi_select"):
        return _chosen(one, body, fresh)
    if one.kind == "files":
        return [{"name": each.field("name").text(100), **files.file(each, attach)} for each in body.elements()]
    return _READ[one.kind](body)


def _chosen(one: Property, given: Given, fresh: list[tuple[Property, dict[str, Any]]]) -> Any:
    if one.kind == "multi_select":
        ids = [_option_of(one, each, fresh) for each in given.elements()]
        return list(dict.fromkeys(ids))
    return _option_of(one, given, fresh) if given.filled else None


def _option_of(one: Property, given: Given, fresh: list[tuple[Property, dict[str, Any]]]) -> str:
    given.only("id", "name", "color")
    pending = [option for owner, option in fresh if owner is one]
    options = [*one.config["options"], *pending]
    if given.field("id").there:
        found = next((option for option in options if option["id"] == given.value["id"]), None)
        if found is None:
            raise invalid(f"Could not find option with id: {given.value['id']}")
        return found["id"]
    name = option_name(given.field("name"))
    found = next((option for option in options if option["name"] == name), None)
    if found is None:
        if one.kind == "status":
            raise invalid(f'Invalid status option. Status option "{name}" does not exist.')
        found = _option(name)
        fresh.append((one, found))
    return found["id"]


def _title(given: Given) -> Any:
    return rich_text(given)


def _number(given: Given) -> Any:
    return given.number() if given.filled else None


def _checkbox(given: Given) -> bool:
    return given.of(bool)


def _limited(most: int) -> Callable[[Given], Any]:
    return lambda given: (given.text(most) or None) if given.filled else None


def _people(given: Given) -> Any:
    return [{"object": "user", "id": one.field("id").identity()} for one in given.elements()]


_READ: dict[str, Callable[[Given], Any]] = {
    "title": _title,
    "rich_text": _title,
    "number": _number,
    "checkbox": _checkbox,
    "date": date_value,
    "url": _limited(2000),
    "email": _limited(200),
    "phone_number": _limited(200),
    "people": _people,
}


def options_of(one: Property, value: Any) -> list[dict[str, Any]]:
    """The options that a value names, without those that the schema has lost."""
    ids = value if isinstance(value, list) else [value] if value else []
    known = {option["id"]: option for option in one.config["options"]}
    return [known[key] for key in ids if key in known]


def text_of(value: Any) -> str:
    """The text of a title, rich text, URL, …"""
    return plain(value) if isinstance(value, list) else value or ""


__all__ = ["KINDS", "MOST_ELEMENTS", "empty", "new_property", "options_of", "reconfigured", "text_of", "values"]
