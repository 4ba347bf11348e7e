"""A note as Takeout's JSON has it (facts/notion-keep-cupid.md), read into the one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sync_pipelines.sources.keep.model import (
    Attachment,
    ContractError,
    Item,
    Link,
    Note,
    Sharee,
    kind_of,
    moment_of,
)

CREATED = "createdTimestampUsec"
_EDITED = "userEditedTimestampUsec"
_TOLD = frozenset({CREATED, _EDITED, "color", "isTrashed", "isPinned", "isArchived", "textContent", "listContent"})
_ENOUGH = 3
"""So many of these fields make a JSON file a note: other products' files in an export share one at most."""

MARKS = (CREATED.encode(), _EDITED.encode(), b'"isTrashed"')
"""What a note's file holds even where it cannot be parsed."""

Attach = Callable[[str, str], Attachment]
"""`filePath` and `mimetype` → the attachment, whose bytes may lie beside the JSON."""


def is_note(document: Any) -> bool:
    """Whether a JSON document has a note's shape; the folder's name, which is localised, says nothing."""
    return isinstance(document, dict) and (CREATED in document or len(_TOLD.intersection(document)) >= _ENOUGH)


def created_of(document: Mapping[str, Any]) -> int | None:
    """When the note was made, where at least that can be read: then it keeps its key, whatever else is wrong."""
    value = document.get(CREATED)
    return value if type(value) is int and value >= 0 and _calendar_has(value) else None


def _calendar_has(usec: int) -> bool:
    try:
        moment_of(usec)
    except OverflowError:
        return False
    return True


def parse(document: Mapping[str, Any], attach: Attach) -> Note:
    """The note; its `id` is a provisional one.

    Raises:
        ContractError: a field is missing, or not what it must be.
    """
    created = _moment(document, CREATED)
    items = _items(document)
    return Note(
        id=str(document[CREATED]),
        title=_field(document, "title", str),
        text=_body(document, items),
        items=items,
        labels=tuple(sorted(set(_labels(document)))),
        color=_field(document, "color", str),
        pinned=_field(document, "isPinned", bool),
        archived=_field(document, "isArchived", bool),
        trashed=_field(document, "isTrashed", bool),
        links=tuple(_links(document)),
        attachments=tuple(_attachments(document, attach)),
        sharees=tuple(sorted(_sharees(document), key=lambda sharee: sharee.email)),
        created=created,
        edited=_moment(document, _EDITED) if document.get(_EDITED) is not None else None,
    )


def _field(document: Mapping[str, Any], name: str, kind: type, *, within: str = "", default: Any = None) -> Any:
    where = f"{within}.{name}" if within else name
    value = document.get(name)
    value = default if value is None else value
    if value is None:
        raise ContractError(where, "it is missing")
    if type(value) is not kind:
        raise ContractError(where, f"{kind_of(value)} stands there")
    return value


def _is_blank(document: Mapping[str, Any], name: str) -> bool:
    """Whether a field is there, and says nothing."""
    return name in document and document[name] in ("", None)


def _objects(document: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    for item in _field(document, name, list, default=[]):
        if not isinstance(item, dict):
            raise ContractError(name, f"{kind_of(item)} stands in it")
        yield item


def _moment(document: Mapping[str, Any], name: str) -> datetime:
    usec = _field(document, name, int)
    if usec < 0 or not _calendar_has(usec):
        raise ContractError(name, "it is no time in microseconds since 1970")
    return moment_of(usec)


def _items(document: Mapping[str, Any]) -> tuple[Item, ...] | None:
    """The lines of a list; an export flattens them, so that none is indented."""
    if document.get("listContent") is None:
        return None
    lines = _objects(document, "listContent")
    return tuple(
        Item(
            text=_field(line, "text", str, within="listContent"),
            checked=_field(line, "isChecked", bool, within="listContent"),
        )
        for line in lines
    )


def _body(document: Mapping[str, Any], items: tuple[Item, ...] | None) -> str | None:
    """The text; a note of a picture alone has an empty one."""
    text = _field(document, "textContent", str, default="")
    if items is None:
        return text
    if text:
        raise ContractError("textContent", "the note is a list, too")
    return None


def _labels(document: Mapping[str, Any]) -> Iterator[str]:
    for label in _objects(document, "labels"):
        if not _is_blank(label, "name"):
            yield _field(label, "name", str, within="labels")


def _links(document: Mapping[str, Any]) -> Iterator[Link]:
    for item in _objects(document, "annotations"):
        if item.get("source") == "WEBLINK":
            url = "" if _is_blank(item, "url") else _field(item, "url", str, within="annotations")
            title = _field(item, "title", str, within="annotations", default="")
            description = _field(item, "description", str, within="annotations", default="")
            if url or title or description:
                yield Link(url=url, title=title, description=description)


def _attachments(document: Mapping[str, Any], attach: Attach) -> Iterator[Attachment]:
    given: dict[str, str] = {}
    for item in _objects(document, "attachments"):
        path = _field(item, "filePath", str, within="attachments")
        given.setdefault(path, _field(item, "mimetype", str, within="attachments", default=""))
    for path, mime in given.items():
        yield attach(path, mime)


def _sharees(document: Mapping[str, Any]) -> Iterator[Sharee]:
    for item in _objects(document, "sharees"):
        email = _field(item, "email", str, within="sharees", default="")
        owner = _field(item, "isOwner", bool, within="sharees", default=False)
        if email:
            yield Sharee(email=email, owner=owner)
