"""The parts of an export, folders and zip files, read where they lie: nothing is unpacked, and no link is followed."""

from __future__ import annotations

import glob
import os
import re
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from sync_pipelines.engine.errors import ConfigurationError, RunError, TransientError

_ENCRYPTED = 0x1
"""The bit of a zip's flags that says so (PKWARE's APPNOTE, 4.4.4)."""

_AGAIN = r"(?: ?\(\d+\))?"
"""What a browser adds to the name of a file that it has downloaded before."""

_STAMP = re.compile(rf"takeout-(\d{{8}}T\d{{6}}Z)(?:-\d+)*{_AGAIN}\.zip$", re.I)
_NUMBER = re.compile(rf"(.*-)(\d{{3,}}){_AGAIN}(\.zip)$", re.I)

_PACKED = re.compile(r"^[^/]+\.(?:zip|tgz)$", re.I)
"""An archive that lies directly in a folder: Takeout gives either."""

_MOST_PARTS = 10_000

UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)
"""What Python's zipfile raises where a member's bytes are damaged, or packed in a way that it does not know."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file of a part.

    Args:
        path: within the part, with slashes. size: bytes, unpacked. mtime: nanoseconds; 0 within a zip.
        number: its place in a zip's directory, which may name several members alike.
    """

    path: str
    size: int
    mtime: int = 0
    number: int = 0

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def is_json(self) -> bool:
        """Whether it may be a note."""
        return self.name.lower().endswith(".json")


class OpenPart(Protocol):
    """A part that is open."""

    def entries(self) -> Iterator[Entry]:
        """Its files, in a stable order."""
        ...

    def open(self, path: str) -> BinaryIO:
        """A file of it, as bytes; one of a name that it does not have is a `KeyError`."""
        ...

    def open_entry(self, entry: Entry) -> BinaryIO:
        """This very file, also where others have its name."""
        ...


class Folder:
    """A folder with all below it; links are left alone, so that nothing outside is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def facts(self) -> Iterator[tuple[str, int, int]]:
        """Names, sizes and times of its files.

        Raises:
            ConfigurationError: it holds archives and not what is in them, which would pass for an empty export.
        """
        packed, has_json = "", False
        for entry in self.entries():
            has_json = has_json or entry.is_json
            packed = packed or (entry.name if _PACKED.search(entry.path) else "")
            yield entry.path, entry.size, entry.mtime
        if packed and not has_json:
            raise ConfigurationError(
                f"{str(self.path)!r} holds {packed!r} and no note: archives in a folder are not opened.",
                remedy=f"Name them: `sync-pipelines users set NAME --takeout '{self.path / '*.zip'}'`; or unpack them "
                "there (.tgz).",
            )

    @contextmanager
    def reading(self) -> Generator[Folder]:
        """Itself: a folder need not be opened."""
        yield self

    def entries(self) -> Iterator[Entry]:
        yield from self._below(self.path, "")

    def _below(self, folder: Path, prefix: str) -> Iterator[Entry]:
        with reading_of(folder), os.scandir(folder) as found:
            listed = sorted(found, key=lambda item: item.name)
        for item in listed:
            if item.is_dir(follow_symlinks=False):
                yield from self._below(folder / item.name, f"{prefix}{item.name}/")
            elif item.is_file(follow_symlinks=False) and not item.name.startswith("."):  # of Finder, of editors
                with reading_of(Path(item.path)):
                    told = item.stat(follow_symlinks=False)
                yield Entry(path=f"{prefix}{item.name}", size=told.st_size, mtime=told.st_mtime_ns)

    def open(self, path: str) -> BinaryIO:
        if ".." in path.split("/") or path.startswith("/"):
            raise KeyError(path)
        with reading_of(self.path / path):
            flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
            return os.fdopen(os.open(self.path / path, flags), "rb")

    def open_entry(self, entry: Entry) -> BinaryIO:
        return self.open(entry.path)


class Zip:
    """A zip file, whose members are read one by one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def facts(self) -> Iterator[tuple[str, int, int]]:
        with reading_of(self.path):
            told = self.path.stat()
        yield self.path.name, told.st_size, told.st_mtime_ns

    @contextmanager
    def reading(self) -> Generator[OpenZip]:
        """The archive, opened.

        Raises:
            RunError: it is no whole zip file, or it is encrypted.
        """
        try:
            with reading_of(self.path):
                archive = zipfile.ZipFile(self.path)
        except zipfile.BadZipFile:
            raise RunError(
                f"{str(self.path)!r} is no whole zip file.",
                remedy="Download this part of the export again; it was cut short, or is something else.",
            ) from None
        with archive:
            if any(info.flag_bits & _ENCRYPTED for info in archive.infolist()):
                raise RunError(
                    f"{str(self.path)!r} is encrypted.",
                    remedy="Unpack it, and name the folder instead; Takeout's own zip files are not encrypted.",
                )
            yield OpenZip(archive)


class OpenZip:
    """A zip file that is open."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def entries(self) -> Iterator[Entry]:
        for number, info in enumerate(self._archive.infolist()):
            if not info.is_dir() and not info.filename.rpartition("/")[2].startswith("."):
                yield Entry(path=info.filename, size=info.file_size, number=number)

    def open(self, path: str) -> BinaryIO:
        return cast(BinaryIO, self._archive.open(path))

    def open_entry(self, entry: Entry) -> BinaryIO:
        return cast(BinaryIO, self._archive.open(self._archive.infolist()[entry.number]))


@contextmanager
def reading_of(path: Path) -> Generator[None]:
    """What the file system says of a file becomes a sentence that names it.

    Raises:
        TransientError: it went away: an export that is being copied or replaced.
        RunError: it must not be read, or the disk is faulty.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise TransientError(
            f"{str(path)!r} is not there any more.",
            remedy="Wait until the export is copied as a whole, or correct its path: "
            "`sync-pipelines users set NAME --takeout …`.",
        ) from None
    except OSError as error:
        raise RunError(
            f"{str(path)!r} cannot be read: {error.strerror or type(error).__name__}.",
            remedy="Let the user that runs the syncs read it.",
        ) from None


def parts_of(given: Sequence[str]) -> list[Folder | Zip]:
    """The parts that these paths and patterns name, each once, in order of their names.

    Where they are of several exports, as Takeout's own names tell (`takeout-20260131T091500Z-001.zip`), those of the
    newest one are taken: an older export in the same folder would bring back what was edited since.

    Raises:
        ConfigurationError: one names nothing, or something else than folders and zip files.
    """
    found = _found(given)
    older = set(_older(found))
    return [found[path] for path in sorted(found) if path not in older]


def older_than_the_newest(given: Sequence[str]) -> list[str]:
    """Names of zip files that `parts_of` leaves out, since they are of an older export."""
    return [path.name for path in _older(_found(given))]


def lacking(given: Sequence[str], known: Mapping[str, int]) -> list[str]:
    """Names of zip files that are not there although later parts of the same export are, or were.

    Args:
        known: what `last_parts` gave when they were read last: no name says which part is the last one.
    """
    return [
        f"{before}{number:0{max(there.values())}}{after}"
        for (before, after), there in sorted(_numbers(given).items())
        for number in range(1, min(max(*there, known.get(before, 0)), _MOST_PARTS) + 1)
        if number not in there
    ]


def last_parts(given: Sequence[str]) -> dict[str, int]:
    """By what the names of an export's zip files begin with, the highest number among them."""
    return {before: max(there) for (before, _), there in sorted(_numbers(given).items())}


def _numbers(given: Sequence[str]) -> dict[tuple[str, str], dict[int, int]]:
    """By what stands before and behind the number: the numbers that are there, and with how many digits."""
    numbers: dict[tuple[str, str], dict[int, int]] = {}
    for part in parts_of(given):
        if _STAMP.match(part.path.name) and (match := _NUMBER.match(part.path.name)):
            numbers.setdefault((match[1], match[3].lower()), {})[int(match[2])] = len(match[2])
    return numbers


def _found(given: Sequence[str]) -> dict[Path, Folder | Zip]:
    found: dict[Path, Folder | Zip] = {}
    for text in given:
        for path in _named(text):
            found.setdefault(path.resolve(), _part(path))
    return found


def _older(found: Iterable[Path]) -> list[Path]:
    stamps = {path: match[1] for path in found if (match := _STAMP.match(path.name))}
    newest = max(stamps.values(), default="")
    return sorted(path for path, stamp in stamps.items() if stamp != newest)


def _named(text: str) -> list[Path]:
    path = Path(text).expanduser()
    if path.exists():
        return [path]
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    if not matches:
        raise ConfigurationError(
            f"There is no file or folder {text!r}.",
            remedy="Name the export's zip files, or the folder that it was unpacked to: "
            "`sync-pipelines users set NAME --takeout …`.",
        )
    return matches


def _part(path: Path) -> Folder | Zip:
    if path.is_dir():
        return Folder(path)
    if path.is_file() and (path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)):
        return Zip(path)
    raise ConfigurationError(
        f"{str(path)!r} is neither a folder nor a zip file.",
        remedy="Ask Takeout for .zip files, or unpack it and name the folder.",
    )
