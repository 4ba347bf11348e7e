"""Nodes of an account as Keep's `changes` tells them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sync_pipelines.sandbox.keep.model import SandboxFile, SandboxLine, SandboxNote, moment

EPOCH = "1970-01-01T00:00:00.000Z"
"""By which Keep says that something has not happened."""

_SETTINGS = {"newListItemPlacement": "BOTTOM", "graveyardState": "COLLAPSED", "checkedListItemsPolicy": "GRAVEYARD"}
_SORT, _APART = 1_000_000_000, 1_000


def stamp(usec: int) -> str:
    """A time as Keep writes it, to the millisecond."""
    return moment(usec).strftime("%Y-%m-%dT%H:%M:%S.") + f"{usec // 1000 % 1000:03}Z"


def note_node(note: SandboxNote, identity: str, server: str, labels: Iterable[str]) -> dict[str, Any]:
    """The node of a note itself.

    Args:
        labels: ids.
    """
    times = {"trashed": stamp(note.edited or note.created) if note.trashed else EPOCH}
    if note.edited is not None:
        times["userEdited"] = stamp(note.edited)
    return {
        **_node(identity, server, "root", note, times),
        "type": "NOTE" if note.items is None else "LIST",
        "title": note.title,
        "color": note.color,
        "isArchived": note.archived,
        "isPinned": note.pinned,
        "sortValue": str(note.created // 1000),
        "annotationsGroup": {"kind": "notes#annotationsGroup", "annotations": _links(note, identity)},
        "labelIds": [{"labelId": label, "deleted": EPOCH} for label in labels],
        "roleInfo": [
            {"email": email, "role": "W" if place else "O", "auxiliary_type": "None"}
            for place, email in enumerate(note.sharees)
        ],
        "lastSavedSessionId": "s--1--1",
        "reminders": [],
    }


def line_nodes(note: SandboxNote, parent: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a note's lines: a text has one, a list one for each item."""
    lines = note.items if note.items is not None else (SandboxLine(text=note.text),)
    found: list[dict[str, Any]] = []
    above = ""
    for place, line in enumerate(lines):
        identity = f"{parent['id']}.line{place}"
        above = "" if not line.indent else above
        node = {
            **_node(identity, f"{parent['serverId']}.{place}", parent["id"], note, {"trashed": EPOCH}),
            "type": "LIST_ITEM",
            "parentServerId": parent["serverId"],
            "text": line.text,
            "checked": line.checked,
            "superListItemId": above,
            "sortValue": str(_SORT - place * _APART),
        }
        above = above or identity
        found.append(node)
    return found


def file_nodes(note: SandboxNote, parent: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a note's files, in their order."""
    return [
        {
            **_node(_file_id(parent["id"], file), _file_id(parent["serverId"], file), parent["id"], note, {}),
            "type": "BLOB",
            "parentServerId": parent["serverId"],
            "blob": _blob(file),
        }
        for file in note.files
    ]


def _file_id(parent: str, file: SandboxFile) -> str:
    return f"{parent}.{abs(hash_of(file.name)):x}"


def hash_of(text: str) -> int:
    """A number made of a text, the same in all processes."""
    found = 0
    for byte in text.encode():
        found = (found * 131 + byte) % (1 << 48)
    return found


def _blob(file: SandboxFile) -> dict[str, Any]:
    common = {"kind": "notes#blob", "mimetype": file.mime, "blob_id": f"blob{hash_of(file.name):x}"}
    if file.mime.startswith("audio/"):
        return {**common, "type": "AUDIO", "length": 1000}
    size = {"width": 1, "height": 1, "byte_size": file.length, "is_uploaded": True}
    return {**common, "type": "IMAGE", **size, "extracted_text": "", "extraction_status": "SUCCEEDED"}


def _node(identity: str, server: str, parent: str, note: SandboxNote, times: dict[str, str]) -> dict[str, Any]:
    edited = stamp(note.edited or note.created)
    usual = {"kind": "notes#timestamps", "created": stamp(note.created), "updated": edited}
    return {
        "kind": "notes#node",
        "id": identity,
        "serverId": server,
        "parentId": parent,
        "baseVersion": "1",
        "timestamps": {**usual, **times},
        "nodeSettings": _SETTINGS,
        "annotationsGroup": {"kind": "notes#annotationsGroup"},
    }


def _links(note: SandboxNote, identity: str) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{identity}.link{place}",
            "webLink": {
                "kind": "notes#webLink",
                "url": link.url,
                "title": link.title,
                "description": link.description,
                "imageUrl": "",
                "provenanceUrl": link.url,
            },
        }
        for place, link in enumerate(note.links)
    ]
