"""Exports as Takeout writes them: folders or zip files, in parts, with localised names and files beside the notes."""

from __future__ import annotations

import html
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

from sync_pipelines.sandbox.keep.model import SandboxFile, SandboxNote, moment

FOLDERS = {"en": "Keep", "de": "Google Notizen", "fr": "Google Keep", "ar": "Google Keep", "ja": "Google Keep"}
"""What the folder of notes is called, by language."""

_STAMP = "20261126T101112Z"
_FORBIDDEN = re.compile(r'[\x00-\x1f/\\:*?"<>|]')
_LONGEST_NAME = 50
_ZONE = timezone(timedelta(hours=10))
_OTHER_EXTENSION = {".jpeg": ".jpg", ".jpg": ".jpeg"}


@dataclass(frozen=True)
class Written:
    """A file of an export."""

    path: str
    content: bytes | SandboxFile


def write_takeout(
    notes: Iterable[SandboxNote],
    target: Path,
    *,
    form: str = "folder",
    parts: int = 1,
    language: str = "en",
    other_extension: bool = False,
    html_pages: bool = False,
) -> list[Path]:
    """Write an export of these notes below a folder; its parts.

    Args:
        form: folder or zip.
        parts: over how many the notes are spread; a note's files lie in the next part.
        language: one of `FOLDERS`.
        other_extension: a picture has .jpg where its note says .jpeg, and the other way round.
        html_pages: a page beside each note, as Takeout has it.
    """
    if form not in ("folder", "zip"):
        raise ValueError(f"{form!r} is neither folder nor zip")
    held: list[list[Written]] = [[] for _ in range(parts)]
    base = f"Takeout/{FOLDERS[language]}"
    labels: set[str] = set()
    for number, (name, note) in enumerate(_named(notes)):
        held[number % parts].append(Written(f"{base}/{name}.json", _json(document(note))))
        if html_pages:
            held[number % parts].append(Written(f"{base}/{name}.html", _page(note)))
        for file in note.files:
            kept = _swapped(file.name) if other_extension else file.name
            held[(number + 1) % parts].append(Written(f"{base}/{kept}", file))
        labels.update(note.labels)
    held[0].append(Written("Takeout/archive_browser.html", b"<html><body>Archive</body></html>"))
    if labels:
        held[0].append(Written(f"{base}/Labels.txt", "\n".join(sorted(labels)).encode()))
    return [_part(target, form, number, files) for number, files in enumerate(held, start=1)]


def document(note: SandboxNote) -> dict[str, Any]:
    """A note's JSON: fields that are empty are left out, as Takeout leaves them out."""
    found: dict[str, Any] = {
        "color": note.color,
        "isTrashed": note.trashed,
        "isPinned": note.pinned,
        "isArchived": note.archived,
        "title": note.title,
        "createdTimestampUsec": note.created,
    }
    if note.edited is not None:
        found["userEditedTimestampUsec"] = note.edited
    if note.items is not None:
        found["listContent"] = [
            {"text": line.text, "textHtml": _html(line.text), "isChecked": line.checked} for line in note.items
        ]
    elif note.text:
        found.update(textContent=note.text, textContentHtml=_html(note.text))
    return {**found, **_rest(note)}


def _rest(note: SandboxNote) -> dict[str, Any]:
    rest = {
        "labels": [{"name": name} for name in note.labels],
        "attachments": [{"filePath": file.name, "mimetype": file.mime} for file in note.files],
        "annotations": [
            {"description": link.description, "source": "WEBLINK", "title": link.title, "url": link.url}
            for link in note.links
        ],
        "sharees": [{"isOwner": place == 0, "type": "USER", "email": one} for place, one in enumerate(note.sharees)],
    }
    return {name: value for name, value in rest.items() if value}


def _named(notes: Iterable[SandboxNote]) -> Iterator[tuple[str, SandboxNote]]:
    """Notes with the names of their files: the title, or the time of creation; doubles get `(1)`, `(2)`, …"""
    taken: dict[str, int] = {}
    for note in notes:
        title = _FORBIDDEN.sub("_", note.title).strip(" .")[:_LONGEST_NAME]
        name = title or _timed(note)
        # upper and lower case are the same name on many disks
        number = taken.get(name.casefold(), 0)
        taken[name.casefold()] = number + 1
        yield (f"{name}({number})" if number else name), note


def _timed(note: SandboxNote) -> str:
    text = moment(note.created).astimezone(_ZONE).isoformat(timespec="milliseconds")
    return text.replace(":", "_")


def _swapped(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    return stem + _OTHER_EXTENSION.get(dot + extension, dot + extension)


def _html(text: str) -> str:
    lines = (f'<p dir="auto"><span>{html.escape(line)}</span></p>' for line in text.split("\n"))
    return "".join(lines)


def _page(note: SandboxNote) -> bytes:
    body = _html(note.text) if note.items is None else "".join(_html(line.text) for line in note.items)
    return f"<html><head><title>{html.escape(note.title)}</title></head><body>{body}</body></html>".encode()


def _json(found: dict[str, Any]) -> bytes:
    return json.dumps(found, ensure_ascii=False).encode()


def _part(target: Path, form: str, number: int, files: Sequence[Written]) -> Path:
    target.mkdir(parents=True, exist_ok=True)
    if form == "zip":
        path = target / f"takeout-{_STAMP}-{number:03}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for file in files:
                archive.writestr(file.path, _bytes(file))
        return path
    path = target / f"part-{number:03}"
    for file in files:
        _write(path / file.path, file)
    return path


def _write(path: Path, file: Written) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(file.content, SandboxFile) and file.content.size:
        with path.open("wb") as opened:
            opened.truncate(file.content.size)
    else:
        path.write_bytes(_bytes(file))


def _bytes(file: Written) -> bytes:
    return file.content.data if isinstance(file.content, SandboxFile) else file.content
