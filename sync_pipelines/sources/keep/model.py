"""A note, whichever way it came, and its canonical JSON: the contract between source, mapper and tests.

Two notes are the same where their JSON is the same text, letter by letter: keys sorted, no blanks, times in UTC with
microseconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

COLORS = (
    "DEFAULT",
    "RED",
    "ORANGE",
    "YELLOW",
    "GREEN",
    "TEAL",
    "BLUE",
    "CERULEAN",
    "PURPLE",
    "PINK",
    "BROWN",
    "GRAY",
)
"""Keep's names of its colours (facts/notion-keep-cupid.md)."""

UNAVAILABLE = ""
"""The `sha256` of an attachment whose bytes the source does not have: its name and type are all that is known."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ContractError(ValueError):
    """A note is not what it must be: `field: why`, without what it holds."""

    def __init__(self, field: str, why: str) -> None:
        self.field, self.why = field, why
        super().__init__(f"{field}: {why}")


def _text(value: Any, field: str, *, empty: bool = True) -> None:
    if not isinstance(value, str):
        raise ContractError(field, f"a text was expected, not {kind_of(value)}")
    if not value.isascii() and _SURROGATE.search(value):
        raise ContractError(field, "it holds half of a surrogate pair")
    if not empty and not value:
        raise ContractError(field, "it is empty")


def _flag(value: Any, field: str) -> None:
    if not isinstance(value, bool):
        raise ContractError(field, f"true or false was expected, not {kind_of(value)}")


def _moment(value: Any, field: str) -> None:
    if not isinstance(value, datetime) or value.utcoffset() != timedelta(0):
        raise ContractError(field, "a time in UTC was expected")


def _all(value: Any, kind: type, field: str) -> None:
    if not isinstance(value, tuple) or not all(isinstance(item, kind) for item in value):
        raise ContractError(field, f"a tuple of {kind.__name__} was expected")


def kind_of(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return "nothing" if value is None else names.get(type(value), type(value).__name__)


@dataclass(frozen=True, kw_only=True)
class Item:
    """A line of a list; `indent` 1 stands below the last line of indent 0 before it."""

    text: str
    checked: bool = False
    indent: int = 0

    def __post_init__(self) -> None:
        _text(self.text, "items.text")
        _flag(self.checked, "items.checked")
        if type(self.indent) is not int or self.indent not in (0, 1):
            raise ContractError("items.indent", "0 or 1 was expected")


@dataclass(frozen=True, kw_only=True)
class Link:
    """A web page that Keep shows with a note; `url` is empty where Keep has nothing of it but its words."""

    url: str
    title: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        _text(self.url, "links.url", empty=bool(self.title or self.description))
        _text(self.title, "links.title")
        _text(self.description, "links.description")


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A file of a note.

    Args:
        name: unique within the note. size: bytes. sha256: of the bytes, 64 hex digits; `UNAVAILABLE` where the source
            does not have them, and `size` is 0 then.
    """

    name: str
    mime: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        _text(self.name, "attachments.name", empty=False)
        _text(self.mime, "attachments.mime")
        if type(self.size) is not int or self.size < 0:
            raise ContractError("attachments.size", "a number of bytes was expected")
        if self.sha256 != UNAVAILABLE and not (isinstance(self.sha256, str) and _SHA256.fullmatch(self.sha256)):
            raise ContractError("attachments.sha256", "64 hex digits were expected")
        if self.sha256 == UNAVAILABLE and self.size:
            raise ContractError("attachments.size", "of bytes that are not there, 0 was expected")

    @property
    def is_there(self) -> bool:
        """Whether the source has its bytes."""
        return self.sha256 != UNAVAILABLE


@dataclass(frozen=True, kw_only=True)
class Sharee:
    """Somebody who sees a note."""

    email: str
    owner: bool = False

    def __post_init__(self) -> None:
        _text(self.email, "sharees.email", empty=False)
        _flag(self.owner, "sharees.owner")


@dataclass(frozen=True, kw_only=True)
class Note:
    """A note of Keep: a text or a list, never both.

    Of a note that holds them a source leaves out what says nothing: a label without a name, a link without address,
    title and description, somebody who shares it without an e-mail.

    Args:
        id: its key in this sync, which no edit changes. text: None for a list. items: None for a text.
        labels: sorted, each once. color: one of `COLORS`. sharees: sorted by e-mail.
        created, edited: UTC; `edited` is None where Keep does not say it.

    Raises:
        ContractError: a field is not what it must be.
    """

    id: str
    title: str
    text: str | None
    items: tuple[Item, ...] | None
    labels: tuple[str, ...]
    color: str
    pinned: bool
    archived: bool
    trashed: bool
    links: tuple[Link, ...]
    attachments: tuple[Attachment, ...]
    sharees: tuple[Sharee, ...]
    created: datetime
    edited: datetime | None

    def __post_init__(self) -> None:
        _text(self.id, "id", empty=False)
        _text(self.title, "title")
        self._check_body()
        self._check_labels()
        if self.color not in COLORS:
            raise ContractError("color", f"one of {', '.join(COLORS)} was expected")
        for name in ("pinned", "archived", "trashed"):
            _flag(getattr(self, name), name)
        _all(self.links, Link, "links")
        self._check_attachments()
        _all(self.sharees, Sharee, "sharees")
        if list(self.sharees) != sorted(self.sharees, key=lambda sharee: sharee.email):
            raise ContractError("sharees", "they are not sorted by e-mail")
        _moment(self.created, "created")
        if self.edited is not None:
            _moment(self.edited, "edited")

    def _check_body(self) -> None:
        if (self.text is None) == (self.items is None):
            both = "both a text and a list" if self.text is not None else "neither a text nor a list"
            raise ContractError("text", f"it is {both}")
        if self.text is not None:
            _text(self.text, "text")
        if self.items is not None:
            _all(self.items, Item, "items")
            if self.items and self.items[0].indent:
                raise ContractError("items.indent", "the first line stands below none")

    def _check_labels(self) -> None:
        _all(self.labels, str, "labels")
        for label in self.labels:
            _text(label, "labels", empty=False)
        if list(self.labels) != sorted(set(self.labels)):
            raise ContractError("labels", "they are not sorted, or one stands there twice")

    def _check_attachments(self) -> None:
        _all(self.attachments, Attachment, "attachments")
        names = [item.name for item in self.attachments]
        if len(set(names)) != len(names):
            raise ContractError("attachments.name", "two have the same name")

    @property
    def created_usec(self) -> int:
        """When it was made, in microseconds since 1970."""
        return usec_of(self.created)

    def to_json(self) -> str:
        """The note's canonical JSON."""
        edited = None if self.edited is None else spell(self.edited)
        document = {**vars(self), "created": spell(self.created), "edited": edited}
        return canonical(document)


def canonical(document: Mapping[str, Any]) -> str:
    """A note's document as the one text that it has."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=vars)


_LISTS: Mapping[str, Any] = {"items": Item, "links": Link, "attachments": Attachment, "sharees": Sharee}


def from_json(text: str) -> Note:
    """The note that a canonical JSON says.

    Raises:
        ContractError: it is no JSON, a field is missing, unknown, or not what it must be.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ContractError("note", "it is no JSON") from None
    values = dict(_object(document, Note, "note"))
    for name, kind in _LISTS.items():
        if values[name] is not None or name != "items":
            values[name] = tuple(kind(**_object(item, kind, name)) for item in _list(values[name], name))
    values["labels"] = tuple(_list(values["labels"], "labels"))
    values["created"] = _parsed(values["created"], "created")
    if values["edited"] is not None:
        values["edited"] = _parsed(values["edited"], "edited")
    return Note(**values)


def _object(value: Any, kind: Any, field: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ContractError(field, f"an object was expected, not {kind_of(value)}")
    names = {item.name for item in fields(kind)}
    if names != set(value):
        missing, unknown = sorted(names - set(value)), sorted(set(value) - names)
        raise ContractError(field, f"{missing[0]} is missing" if missing else f"{unknown[0]!r} is no field of it")
    return value


def _list(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise ContractError(field, f"a list was expected, not {kind_of(value)}")
    return value


_SPELLED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def _parsed(value: Any, field: str) -> datetime:
    if not isinstance(value, str) or not _SPELLED.fullmatch(value):
        raise ContractError(field, "a time like 2026-01-31T09:15:00.000000Z was expected")
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise ContractError(field, "there is no such time") from None


def spell(moment: datetime) -> str:
    """A time as notes have it: `2026-01-31T09:15:00.000000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def usec_of(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment_of(usec: int) -> datetime:
    """The time (UTC) of so many microseconds since 1970.

    Raises:
        OverflowError: no calendar has it.
    """
    return _EPOCH + timedelta(microseconds=usec)
