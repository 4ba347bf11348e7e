"""A note as an account's nodes have it, read into the one model."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sync_pipelines.sources.keep.model import UNAVAILABLE, Attachment, ContractError, Item, Link, Note, Sharee, usec_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Media = Callable[[Mapping[str, Any]], tuple[int, str] | None]
"""An attachment's node → the size and SHA-256 of its bytes; None where Google does not give them."""


def created_of(node: Mapping[str, Any]) -> int | None:
    """When a note was made, in microseconds since 1970; None where that cannot be read."""
    try:
        return usec_of(_time(node, "created"))
    except ContractError:
        return None


def parse(
    node: Mapping[str, Any], children: Sequence[Mapping[str, Any]], labels: Mapping[str, str], media: Media
) -> Note:
    """The note; its `id` is a provisional one.

    Args:
        children: its lines and attachments. labels: names by id.

    Raises:
        ContractError: a field is missing, or not what it must be.
    """
    lines = [child for child in children if child.get("type") == "LIST_ITEM"]
    is_list = node.get("type") == "LIST"
    edited = _time(node, "userEdited") if "userEdited" in node.get("timestamps", {}) else None
    return Note(
        id=str(node.get("id", "")),
        title=node.get("title", ""),
        text=None if is_list else _text(node, lines),
        items=tuple(_items(lines)) if is_list else None,
        labels=tuple(sorted({labels[key] for key in _labels(node) if labels.get(key)})),
        color=node.get("color", "DEFAULT"),
        pinned=node.get("isPinned", False),
        archived=node.get("isArchived", False),
        trashed=_time(node, "trashed") > _EPOCH if "trashed" in node.get("timestamps", {}) else False,
        links=tuple(_links(node)),
        attachments=tuple(_attachments(children, media)),
        sharees=tuple(sorted(_sharees(node), key=lambda sharee: sharee.email)),
        created=_time(node, "created"),
        edited=edited if edited != _EPOCH else None,
    )


def _time(node: Mapping[str, Any], name: str) -> datetime:
    text = node.get("timestamps", {}).get(name)
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ContractError(f"timestamps.{name}", "it is no time") from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _text(node: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> str:
    """A text stands in a line of its own below the note; there is one."""
    return "\n".join(line.get("text", "") for line in _sorted(lines)) if lines else node.get("text", "")


def _sorted(lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The greatest sort value stands first, as Keep shows them."""
    return sorted(lines, key=lambda line: -_sort(line))


def _sort(line: Mapping[str, Any]) -> int:
    try:
        return int(line.get("sortValue", 0))
    except (TypeError, ValueError):
        raise ContractError("sortValue", "it is no number") from None


def _items(lines: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
    """Each line with those below it; one whose upper line is gone, or stands below another itself, is an upper one."""
    known = {line["id"] for line in lines if not line.get("superListItemId")}
    below: dict[str, list[Mapping[str, Any]]] = {}
    upper: list[Mapping[str, Any]] = []
    for line in lines:
        above = line.get("superListItemId") or ""
        (below.setdefault(above, []) if above in known else upper).append(line)
    for line in _sorted(upper):
        yield _item(line, 0)
        for inner in _sorted(below.get(line["id"], [])):
            yield _item(inner, 1)


def _item(line: Mapping[str, Any], indent: int) -> Item:
    return Item(text=line.get("text", ""), checked=line.get("checked", False), indent=indent)


def _labels(node: Mapping[str, Any]) -> Iterator[str]:
    """Ids of the labels that the note bears; one that was taken off stands there with the time of that."""
    for label in node.get("labelIds", []):
        if label.get("deleted", "1970")[:4] <= "1970":
            yield label["labelId"]


def _links(node: Mapping[str, Any]) -> Iterator[Link]:
    for annotation in node.get("annotationsGroup", {}).get("annotations", []):
        if (link := annotation.get("webLink")) is not None:
            found = {name: link.get(name) or "" for name in ("url", "title", "description")}
            if any(found.values()):
                yield Link(**found)


def _attachments(children: Sequence[Mapping[str, Any]], media: Media) -> Iterator[Attachment]:
    for child in _sorted(children):
        if child.get("type") == "BLOB":
            mime = (child.get("blob") or {}).get("mimetype") or ""
            size, sha256 = media(child) or (0, UNAVAILABLE)
            yield Attachment(name=name_of(child), mime=mime, size=size, sha256=sha256)


def name_of(child: Mapping[str, Any]) -> str:
    """An attachment's name, of which an account has none: its node's id with the extension of its type."""
    mime = (child.get("blob") or {}).get("mimetype") or ""
    return f"{child['id']}{mimetypes.guess_extension(mime) or ''}"


def _sharees(node: Mapping[str, Any]) -> Iterator[Sharee]:
    for role in node.get("roleInfo", []):
        if role.get("email"):
            yield Sharee(email=role["email"], owner=role.get("role") == "O")
