"""Properties of a page: their names in a database, their types, and their values both ways."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sync_pipelines.engine.errors import ConfigurationError, RunError
from sync_pipelines.targets.notion.blocks import digest, plain_text, rich_text

KINDS = {
    "title": "title",
    "key": "rich_text",
    "fingerprint": "rich_text",
    "labels": "multi_select",
    "color": "select",
    "pinned": "checkbox",
    "archived": "checkbox",
    "trashed": "checkbox",
    "deleted": "checkbox",
    "created": "date",
    "edited": "date",
}
"""What each property of ours must be in Notion."""

NAMES = {
    "title": "Title",
    "key": "Keep ID",
    "fingerprint": "Sync fingerprint",
    "labels": "Labels",
    "color": "Color",
    "pinned": "Pinned",
    "archived": "Archived",
    "trashed": "Trashed",
    "deleted": "Deleted in Keep",
    "created": "Created",
    "edited": "Edited",
}
"""What they are called where nobody says otherwise."""

_COMPUTED = frozenset(
    (
        *("formula", "rollup", "unique_id", "button", "verification"),
        *("created_time", "created_by", "last_edited_time", "last_edited_by"),
    )
)
"""Types of properties that nobody fills in."""

VALUES = ("labels", "color", "pinned", "archived", "trashed", "created", "edited")
"""Those that a note has beside its title."""


@dataclass(frozen=True)
class Columns:
    """How the properties of ours are called in a database.

    Args:
        renamed: ours → theirs, of those that are called otherwise than in `NAMES`.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.renamed) - set(KINDS)):
            raise ConfigurationError(
                f"properties: {', '.join(unknown)} is none of a note's.", remedy=f"There are {', '.join(KINDS)}."
            )
        names = [self.name(item) for item in KINDS]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigurationError(f"properties: two of them are called {', '.join(doubled)}.")

    def name(self, item: str) -> str:
        """What a property of ours is called there."""
        return self.renamed.get(item, NAMES[item])

    # The schema

    def schema(self) -> dict[str, Any]:
        """The properties of a database that the sync makes."""
        return {self.name(item): {kind: {}} for item, kind in KINDS.items()}

    def missing(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """The properties that a database lacks, as a request adds them.

        Args:
            found: its properties, by name.

        Raises:
            RunError: a property of that name is of another type.
        """
        wrong = [
            f"{self.name(item)!r} is {found[self.name(item)]['type']}, not {kind}"
            for item, kind in KINDS.items()
            if self.name(item) in found and found[self.name(item)]["type"] != kind
        ]
        if wrong:
            title = self.name("title")
            also = "" if found.get(title, {}).get("type", "title") == "title" else f" {self.title_remedy(found)}"
            raise RunError(
                f"Properties of the Notion database are of the wrong type: {'; '.join(wrong)}.",
                remedy=f"Change their types in Notion, or name others under `properties` of the document.{also}",
            )
        return {name: kind for name, kind in self.schema().items() if name not in found}

    def ids(self, found: Mapping[str, Any]) -> dict[str, str]:
        """By what Notion knows the properties of ours: whoever renames one leaves that."""
        return {item: found[self.name(item)]["id"] for item in KINDS if self.name(item) in found}

    def title_remedy(self, found: Mapping[str, Any]) -> str:
        """What to do where the title of a database has another name: each has exactly one, so none can be added.

        Args:
            found: its properties, by name.
        """
        called = next((name for name, given in found.items() if given["type"] == "title"), "")
        written = f"properties: {{title: {json.dumps(called, ensure_ascii=False)}}}"
        return (
            f"Its title is called {called!r}: call it {self.name('title')!r} in Notion, or write `{written}` under "
            "`target` of the document."
        )

    # What Notion is asked

    def request(self, item: str, value: Any) -> dict[str, Any]:
        """A property of ours as a request sets it, by its name there."""
        kind = KINDS[item]
        made: Any = value
        if kind in ("title", "rich_text"):
            made = rich_text([{"text": value}] if value else [])
        elif kind == "multi_select":
            made = [{"name": name} for name in value]
        elif kind == "select":
            made = None if value is None else {"name": value}
        elif kind == "date":
            made = None if value is None else {"start": value}
        return {self.name(item): {kind: made}}

    def requests(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Several of them."""
        return {name: made for item, value in values.items() for name, made in self.request(item, value).items()}

    # What Notion gives

    def value(self, item: str, page: Mapping[str, Any]) -> Any:
        """The value of a property of ours of a page as Notion gives it."""
        given = page["properties"].get(self.name(item)) or {}
        kind = KINDS[item]
        found = given.get(kind)
        if kind in ("title", "rich_text"):
            return plain_text(found or ())
        if kind == "multi_select":
            return sorted(option["name"] for option in found or ())
        if kind == "select":
            return found["name"] if found else None
        if kind == "checkbox":
            return bool(found)
        return _moment(found)

    def values(self, page: Mapping[str, Any]) -> dict[str, Any]:
        """Those that a note has, the title among them."""
        return {item: self.value(item, page) for item in ("title", *VALUES)}

    def are_all_on(self, page: Mapping[str, Any]) -> bool:
        """Whether a page as Notion gives it has all properties of ours, of their types."""
        given = page["properties"]
        return all((given.get(self.name(item)) or {}).get("type") == kind for item, kind in KINDS.items())

    def empty(self, names: Collection[str]) -> dict[str, Any]:
        """The values of a page whose database has no properties of these names; of those that a note has."""
        return {item: self.value(item, {"properties": {}}) for item in VALUES if self.name(item) in names}

    def beside(self, page: Mapping[str, Any]) -> bool:
        """Whether people have filled what is none of ours: a property of theirs, the page's icon, its cover."""
        ours = {self.name(item) for item in KINDS}
        values = [
            given.get(given["type"])
            for name, given in page["properties"].items()
            if name not in ours and given["type"] not in _COMPUTED
        ]
        return any(map(_is_filled, (*values, page.get("icon"), page.get("cover"))))

    def filter(self, item: str, **condition: Any) -> dict[str, Any]:
        """A condition of a query on one of them."""
        return {"property": self.name(item), KINDS[item]: condition}


def _is_filled(value: Any) -> bool:
    """A number that somebody has set to 0 is a value, too."""
    return value is not False and value not in (None, [], "")


def _moment(date: Mapping[str, Any] | None) -> str | None:
    """A date as the mapper writes it; one that a person gave an end stays what it is."""
    if not date:
        return None
    if date.get("end") or date.get("time_zone"):
        return f"{date.get('start')}/{date.get('end')} {date.get('time_zone') or ''}".strip()
    try:
        moment = datetime.fromisoformat(date["start"])
    except ValueError:
        return date["start"]
    if moment.tzinfo is None:
        return date["start"]  # a day alone, which the sync does not write
    return moment.astimezone(UTC).isoformat(timespec="minutes")


def wanted_values(page: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a mapped page has, as `Columns.values` gives them."""
    return {"title": page["title"], **{item: page["properties"].get(item) for item in VALUES}}


def state_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as hashes, for decisions and for the ledger; labels one by one, so that they merge one by one."""
    found: dict[str, Any] = {}
    for item, value in values.items():
        if isinstance(value, list):
            found[item] = sorted(digest(name) for name in value)
        elif value is not None:
            found[item] = digest(value)
    return found
