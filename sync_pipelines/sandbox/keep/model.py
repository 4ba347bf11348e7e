"""A note of the sandbox, before it is written into an export or an account."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

COLORS = (
    "DEFAULT", "RED", "ORANGE", "YELLOW", "GREEN", "TEAL", "BLUE", "CERULEAN", "PURPLE", "PINK", "BROWN", "GRAY",
)  # fmt: skip

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class SandboxLine:
    """A line of a list."""

    text: str
    checked: bool = False
    indent: int = 0


@dataclass(frozen=True, kw_only=True)
class SandboxFile:
    """An attachment: `content`, or `size` zeros, which cost no memory before they are read."""

    name: str
    mime: str
    content: bytes = b""
    size: int = 0

    @property
    def length(self) -> int:
        """Its bytes."""
        return self.size or len(self.content)

    @property
    def data(self) -> bytes:
        """What is in it."""
        return bytes(self.size) if self.size else self.content

    @property
    def sha256(self) -> str:
        """The hash of what is in it."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, kw_only=True)
class SandboxLink:
    """A web page that Keep shows with a note."""

    url: str
    title: str = ""
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class SandboxNote:
    """A note: with `items` it is a list, otherwise a text.

    Args:
        created, edited: microseconds since 1970, multiples of 1,000 as Keep has them; `edited` None: Keep does not say.
        sharees: e-mail addresses; the first is the owner.
    """

    created: int
    edited: int | None = None
    title: str = ""
    text: str = ""
    items: tuple[SandboxLine, ...] | None = None
    labels: tuple[str, ...] = ()
    color: str = "DEFAULT"
    pinned: bool = False
    archived: bool = False
    trashed: bool = False
    links: tuple[SandboxLink, ...] = ()
    files: tuple[SandboxFile, ...] = ()
    sharees: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.items is not None and self.text:
            raise ValueError("a note is a text or a list, not both")
        if self.color not in COLORS:
            raise ValueError(f"{self.color!r} is no colour of Keep")
        if self.created % 1000 or (self.edited or 0) % 1000:
            raise ValueError("Keep has milliseconds")

    def document(self) -> dict[str, Any]:
        """The note as JSON takes it, files included."""
        found = asdict(self)
        for file in found["files"]:
            file["content"] = base64.b64encode(file["content"]).decode()
        return found


def note_of(document: Mapping[str, Any]) -> SandboxNote:
    """The note that `SandboxNote.document` has told."""
    values = dict(document)
    items = values.get("items")
    values["items"] = None if items is None else tuple(SandboxLine(**line) for line in items)
    values["links"] = tuple(SandboxLink(**link) for link in values.get("links", ()))
    values["files"] = tuple(_file(file) for file in values.get("files", ()))
    values["labels"], values["sharees"] = tuple(values.get("labels", ())), tuple(values.get("sharees", ()))
    return SandboxNote(**values)


def _file(document: Mapping[str, Any]) -> SandboxFile:
    return replace(SandboxFile(**document), content=base64.b64decode(document["content"]))


def expected(
    note: SandboxNote, key: str, *, flat: bool = False, names: Sequence[str] | None = None, bytes_there: bool = True
) -> dict[str, Any]:
    """What a source should make of a note: the document of its canonical JSON.

    Args:
        key: its key in the sync.
        flat: no line is indented, as in an export.
        names: of its files, where they are not those of the note.
        bytes_there: whether the source has the files' bytes.
    """
    lines = None if note.items is None else [_line(line, flat) for line in note.items]
    files = zip(note.files, names or [file.name for file in note.files], strict=True)
    return {
        "id": key,
        "title": note.title,
        "text": note.text if lines is None else None,
        "items": lines,
        "labels": sorted(set(note.labels)),
        "color": note.color,
        "pinned": note.pinned,
        "archived": note.archived,
        "trashed": note.trashed,
        "links": [asdict(link) for link in note.links],
        "attachments": [
            {
                "name": name,
                "mime": file.mime,
                "size": file.length if bytes_there else 0,
                "sha256": file.sha256 if bytes_there else "",
            }
            for file, name in files
        ],
        "sharees": sorted(_sharees(note), key=lambda one: one["email"]),
        "created": spell(note.created),
        "edited": None if note.edited is None else spell(note.edited),
    }


def _line(line: SandboxLine, flat: bool) -> dict[str, Any]:
    return {"text": line.text, "checked": line.checked, "indent": 0 if flat else line.indent}


def _sharees(note: SandboxNote) -> list[dict[str, Any]]:
    return [{"email": email, "owner": place == 0} for place, email in enumerate(note.sharees)]


def moment(usec: int) -> datetime:
    """A time of so many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=usec)


def spell(usec: int) -> str:
    """A time as canonical JSON has it: `2026-01-31T09:15:00.000000Z`."""
    return moment(usec).isoformat(timespec="microseconds").replace("+00:00", "Z")
