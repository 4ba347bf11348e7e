"""Exports written by hand: the least that Takeout writes of a note, and folders and zip files of it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.sources.keep.model import Note
from sync_pipelines.sources.keep.takeout_note import parse

SPEC = TableSpec(sync="notes", name="pages:ann", table="pages:ann", key=("id",), columns=("note",), capture="listing")
FIRST = 1_700_000_000_123_000


def a_note(**changes: Any) -> dict[str, Any]:
    """A note as Takeout writes it, with these fields instead of the usual ones; None leaves one out."""
    usual = {
        "color": "DEFAULT",
        "isTrashed": False,
        "isPinned": False,
        "isArchived": False,
        "title": "Bread",
        "textContent": "Flour, water, salt",
        "createdTimestampUsec": FIRST,
        "userEditedTimestampUsec": FIRST + 1000,
    }
    return {name: value for name, value in (usual | changes).items() if value is not None}


def in_model(document: Mapping[str, Any]) -> Note:
    """A note without attachments, as it is read."""
    return parse(document, lambda path, mime: (_ for _ in ()).throw(AssertionError(path)))


def content(files: Mapping[str, Any]) -> dict[str, bytes]:
    """Bytes by path; what is no bytes is JSON."""
    return {name: item if isinstance(item, bytes) else json.dumps(item).encode() for name, item in files.items()}


def as_folder(root: Path, files: Mapping[str, Any]) -> Path:
    """A folder with these files."""
    for name, data in content(files).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    root.mkdir(exist_ok=True, parents=True)
    return root


def as_zip(path: Path, files: Mapping[str, Any]) -> Path:
    """A zip file with these files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content(files).items():
            archive.writestr(name, data)
    return path
