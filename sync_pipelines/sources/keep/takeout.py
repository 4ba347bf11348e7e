"""Exports of Takeout: notes found by their shape, one in memory at a time, whatever the folders are called."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import threading
import unicodedata
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from sync_pipelines.engine.errors import TransientError
from sync_pipelines.sources.keep.model import UNAVAILABLE, Attachment, ContractError, Note
from sync_pipelines.sources.keep.parts import UNREADABLE, Entry, Folder, OpenPart, Zip, parts_of, reading_of
from sync_pipelines.sources.keep.takeout_note import MARKS, created_of, is_note, parse

LARGEST_NOTE = 16 << 20
"""Bytes of JSON that a note may have (Keep allows 20,000 characters): more is a bomb, or no note."""

LARGEST_FILE = 512 << 20
"""Bytes that an attachment may have (Keep allows pictures of 10 MB): a bomb must not keep a run busy for hours."""

_SNIFFED = 1 << 16
_BLOCK = 1 << 20
_NO_FILES = frozenset({".json", ".html", ".htm"})
"""What stands beside notes and is none's attachment, as a rule: a page of the same note, or the archive's own."""

Place = tuple[int, str]
"""The number of a part, and a file's path in it."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file that holds a note, or what should be one.

    Args:
        part: the number of its part. path: the file's path in it. size: bytes.
        note: None where it breaks the contract; then `problem` says why, with file and field.
        created: microseconds since 1970; None where not even that can be read.
        files: attachment's name → where its bytes are.
    """

    part: int
    path: str
    size: int
    note: Note | None = None
    problem: str | None = None
    created: int | None = None
    files: Mapping[str, Place] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's name, composed; Takeout puts all notes into one folder, so that no two have the same."""
        return _composed(self.path.rpartition("/")[2])


class Takeout:
    """An export: its parts are looked for when it is asked something, so that a new one in its place is seen.

    Args:
        paths: folders, zip files, or patterns of them.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)
        self._open: dict[Path, _Held] = {}
        self._lock = threading.Lock()

    def signature(self) -> str:
        """What changes when the export does: names, sizes and times of its files; no file is opened.

        Raises:
            ConfigurationError: a path names nothing. TransientError, RunError: a file went away or is not readable.
        """
        told = hashlib.sha256()
        for part in parts_of(self.paths):
            told.update(f"{part.path.name}\0".encode("utf-8", "surrogateescape"))
            for name, size, mtime in part.facts():
                told.update(f"{name}\0{size}\0{mtime}\n".encode("utf-8", "surrogateescape"))
        return told.hexdigest()

    def may_hold_notes(self) -> bool:
        """Whether any file of it could be a note; of a zip its directory alone is read."""
        with _Reading.of(parts_of(self.paths)) as reading:
            return any(entry.is_json for part in reading.parts for entry in part.entries())

    def read(self) -> Iterator[Found]:
        """Every note of the export, in the order of its files.

        Raises:
            RunError: a part is no zip file, cut short or encrypted. TransientError: it changed meanwhile.
        """
        before = self.signature()
        with _Reading.of(parts_of(self.paths)) as reading:
            yield from reading.notes()
        if self.signature() != before:
            raise TransientError(
                f"The export in {', '.join(map(repr, self.paths))} changed while it was read.",
                remedy="It is read again; copy exports to another name first, and rename them when they are whole.",
            )

    @contextmanager
    def open(self, place: Place) -> Generator[BinaryIO]:
        """A file of the export, as bytes.

        Raises:
            TransientError: the export has changed, and has no such file any more.
        """
        number, path = place
        parts = parts_of(self.paths)
        if number >= len(parts):
            raise TransientError(f"The export has no part number {number + 1} any more.", remedy="Sync again.")
        try:
            file = self._opened(parts[number]).open(path)
        except KeyError:
            raise TransientError(
                f"{str(parts[number].path)!r} has no file {path!r} any more.", remedy="Sync again."
            ) from None
        with file:
            yield file

    def _opened(self, part: Folder | Zip) -> OpenPart:
        """The part, open until `close`: to read a zip's directory anew for each attachment takes longer than that."""
        facts = tuple(part.facts()) if isinstance(part, Zip) else ()
        with self._lock:
            held = self._open.get(part.path)
            if held is None or held.facts != facts:
                stack = ExitStack()
                held = self._open[part.path] = _Held(facts, stack.enter_context(part.reading()), stack)
            return held.part

    def close(self) -> None:
        """Close what is open; it is opened again where it is asked for again."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].stack.close()


class _Held(NamedTuple):
    """A part that is open, and in which state it was then."""

    facts: tuple[Any, ...]
    part: OpenPart
    stack: ExitStack


@dataclass(kw_only=True)
class _Reading:
    """One pass over the parts, all of which are open: an attachment may lie in another part than its note.

    Args:
        files: what may be an attachment, by folder and name without extension, composed.
        sources: folders in which a note was found; doubtful: files in others that can be parsed as nothing.
    """

    parts: Sequence[OpenPart]
    paths: Sequence[Path]
    files: dict[tuple[str, str], list[tuple[int, Entry]]] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)
    doubtful: list[Found] = field(default_factory=list)

    @classmethod
    @contextmanager
    def of(cls, parts: Sequence[Folder | Zip]) -> Generator[_Reading]:
        with ExitStack() as stack:
            yield cls(parts=[stack.enter_context(part.reading()) for part in parts], paths=[p.path for p in parts])

    def notes(self) -> Iterator[Found]:
        for number, part in enumerate(self.parts):
            for entry in part.entries():
                if _extension(entry.name) not in _NO_FILES:
                    self.files.setdefault(_beside_as(entry, entry.name), []).append((number, entry))
        for number, part in enumerate(self.parts):
            for entry in part.entries():
                if _extension(entry.name) == ".json" and (found := self._look(number, entry)) is not None:
                    yield found
        yield from (found for found in self.doubtful if found.path.rpartition("/")[0] in self.sources)

    def _look(self, number: int, entry: Entry) -> Found | None:
        """The note in a JSON file; None where it is another product's, or nothing is known of it yet."""
        text, why = self._text_of(number, entry)
        document: Any = None
        try:
            document = json.loads(text) if why is None else None
        except (ValueError, RecursionError):
            why = "it is no JSON (a file that was cut short?)"
        if why is not None:
            broken = self._broken(number, entry, why)
            if any(mark in text for mark in MARKS):
                self.sources.add(entry.folder)
                return broken
            self.doubtful.append(broken)
            return None
        if document is None or not is_note(document):
            return None
        self.sources.add(entry.folder)
        return self._parsed(number, entry, document)

    def _text_of(self, number: int, entry: Entry) -> tuple[bytes, str | None]:
        """A file's bytes, or the first of them and why it is not read further."""
        try:
            with self.parts[number].open_entry(entry) as file, reading_of(self.paths[number] / entry.path):
                # what a zip says of a member's size may be a lie
                text = file.read(LARGEST_NOTE + 1)
        except (*UNREADABLE, KeyError) as error:
            return b"", f"its bytes are damaged ({type(error).__name__})"
        if len(text) > LARGEST_NOTE:
            return text[:_SNIFFED], f"it has more than {LARGEST_NOTE >> 20} MiB, and no note is so large"
        return text, None

    def _broken(self, number: int, entry: Entry, why: str, created: int | None = None) -> Found:
        problem = f"{entry.path}: {why}."
        return Found(part=number, path=entry.path, size=entry.size, problem=problem, created=created)

    def _parsed(self, number: int, entry: Entry, document: Mapping[str, Any]) -> Found:
        files: dict[str, Place] = {}
        try:
            note = parse(document, lambda path, mime: self._attach(entry, path, mime, files))
        except ContractError as error:
            return self._broken(number, entry, str(error), created_of(document))
        except UNREADABLE as error:
            why = f"attachments: the bytes of one are damaged ({type(error).__name__})"
            return self._broken(number, entry, why, created_of(document))
        return Found(part=number, path=entry.path, size=entry.size, note=note, created=note.created_usec, files=files)

    def _attach(self, entry: Entry, path: str, mime: str, files: dict[str, Place]) -> Attachment:
        name = _unique(path.replace("\\", "/").rpartition("/")[2] or "attachment", files)
        held = self._beside(entry, name, mime)
        if held is None:
            files[name] = (-1, "")
            return Attachment(name=name, mime=mime, size=0, sha256=UNAVAILABLE)
        number, other = held
        files[name] = (number, other.path)
        with self.parts[number].open(other.path) as file, reading_of(self.paths[number] / other.path):
            size, sha256 = _hashed(file)
        return Attachment(name=name, mime=mime, size=size, sha256=sha256)

    def _beside(self, entry: Entry, name: str, mime: str) -> tuple[int, Entry] | None:
        """Where an attachment's bytes are: beside the note in any part, also with another extension (.jpg, .jpeg)."""
        near = self.files.get(_beside_as(entry, name), [])
        exact = [held for held in near if _composed(held[1].name) == _composed(name)]
        same_kind = [held for held in near if mime and mimetypes.guess_type(held[1].name)[0] == mime]
        return next(iter([*exact, *same_kind, *(near if len(near) == 1 else [])]), None)


def _hashed(file: BinaryIO) -> tuple[int, str]:
    """The number of a file's bytes and their SHA-256, a block in memory at a time."""
    told, size = hashlib.sha256(), 0
    while block := file.read(_BLOCK):
        told.update(block)
        size += len(block)
        if size > LARGEST_FILE:
            raise ContractError("attachments", f"one has more than {LARGEST_FILE >> 20} MiB")
    return size, told.hexdigest()


def _unique(name: str, taken: Mapping[str, Any]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{number}-{name}"
    return found


def _beside_as(entry: Entry, name: str) -> tuple[str, str]:
    """What files share that lie in one folder, in any part, and differ in the extension alone."""
    return _composed(entry.folder), _stem(_composed(name))


def _composed(name: str) -> str:
    """A name in one spelling: macOS writes `é` as two code points where it unpacks or packs, Takeout's JSON as one."""
    return unicodedata.normalize("NFC", name)


def _extension(name: str) -> str:
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def _stem(name: str) -> str:
    dot = name.rfind(".")
    return name[:dot] if dot > 0 else name
