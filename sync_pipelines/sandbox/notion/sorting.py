"""Sorts of a query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sync_pipelines.sandbox.notion.dates import parsed
from sync_pipelines.sandbox.notion.given import Given
from sync_pipelines.sandbox.notion.model import DataSource, Page, Property
from sync_pipelines.sandbox.notion.properties import empty, options_of, text_of
from sync_pipelines.sandbox.notion.refusals import invalid

DIRECTIONS = ("ascending", "descending")


def sorted_rows(rows: list[Page], given: Given, source: DataSource) -> list[Page]:
    """Pages in the order that `sorts` asks for; what is equal stays in the order in which it was made.

    Pages without the value come last.
    """
    found = rows
    for one in reversed(given.elements() if given.there else []):
        downwards = one.field("direction").one_of(*DIRECTIONS) == "descending"
        worth = _worth(one, source)
        having = [row for row in found if worth(row) is not None]
        lacking = [row for row in found if worth(row) is None]
        found = sorted(having, key=worth, reverse=downwards) + lacking
    return found


def _worth(given: Given, source: DataSource) -> Callable[[Page], Any]:
    stamp = given.field("timestamp")
    if stamp.there:
        return _stamp(stamp.one_of("created_time", "last_edited_time"))
    name = given.field("property").of(str)
    one = source.find(name)
    if one is None:
        raise invalid(f"Could not find sort property with name or id: {name}")
    return _stamp(one.kind) if one.kind in ("created_time", "last_edited_time") else _value(one)


def _stamp(name: str) -> Callable[[Page], Any]:
    # by the minute, as it is shown: two pages of one minute are equal
    attribute = "created" if name == "created_time" else "edited"
    return lambda page: getattr(page, attribute).replace(second=0, microsecond=0)


def _value(one: Property) -> Callable[[Page], Any]:
    if one.kind in ("title", "rich_text", "url", "email", "phone_number"):
        return lambda page: text_of(page.values.get(one.id)) or None
    if one.kind == "date":
        return lambda page: parsed(date["start"]) if (date := page.values.get(one.id)) else None
    if one.kind in ("select", "multi_select", "status"):
        return lambda page: _places(one, page) or None
    return lambda page: page.values.get(one.id, empty(one.kind))


def _places(one: Property, page: Page) -> list[int]:
    """Options are sorted by their places in the schema."""
    order = {option["id"]: place for place, option in enumerate(one.config["options"])}
    return [order[option["id"]] for option in options_of(one, page.values.get(one.id))]
