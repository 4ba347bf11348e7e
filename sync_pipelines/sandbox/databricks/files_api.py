"""The Files API: files and directories of Unity Catalog Volumes, which are folders here."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

from sync_pipelines.sandbox.databricks.web import Answer, Refusal, Request, Route, bad_value, route

_PIECE = 1 << 20
_PAGE = 1000
_FILES = "/api/2.0/fs/files(/Volumes/.*)"
_DIRECTORIES = "/api/2.0/fs/directories(/Volumes/.*)"


class Volumes:
    """The Volumes below one folder: catalog, schema and Volume are its first three levels."""

    def __init__(self, root: Path) -> None:
        """Name the folder.

        Args:
            root: the folder that stands for /Volumes.
        """
        self.root = root

    def make(self, catalog: str, schema: str, name: str) -> Path:
        """Make a Volume; one that exists is left as it is."""
        folder = self.root / catalog / schema / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def local(self, path: str) -> Path:
        """Return where a path below /Volumes lies.

        Raises:
            Refusal: when its Volume does not exist, or it would lead out of it.
        """
        parts = [part for part in path.split("/") if part][1:]
        if len(parts) < 3 or any(part in (".", "..") for part in parts):
            raise bad_value(f"Invalid path: {path}. It must name a catalog, a schema, a Volume and what lies in it.")
        if not self.root.joinpath(*parts[:3]).is_dir():
            raise Refusal(404, "NOT_FOUND", f"Volume '{'.'.join(parts[:3])}' does not exist.")
        return self.root.joinpath(*parts)


class FilesApi:
    """The routes of files and directories."""

    def __init__(self, volumes: Volumes) -> None:
        """Name the Volumes that the routes work on."""
        self._volumes = volumes

    def routes(self) -> Sequence[Route]:
        """Return the routes."""
        return (
            route("files", "PUT", _FILES, self._upload),
            route("files", "GET", _FILES, self._download),
            route("files", "HEAD", _FILES, self._download),
            route("files", "DELETE", _FILES, self._delete),
            route("directories", "PUT", _DIRECTORIES, self._make),
            route("directories", "GET", _DIRECTORIES, self._list),
            route("directories", "HEAD", _DIRECTORIES, self._look),
            route("directories", "DELETE", _DIRECTORIES, self._remove),
        )

    def _upload(self, request: Request) -> Answer:
        place = self._volumes.local(request.parts[0])
        if place.is_dir():
            raise Refusal(409, "ALREADY_EXISTS", "The path names an existing directory.")
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{secrets.token_hex(8)}.upload")
        try:
            with beside.open("wb") as file:
                while piece := request.stream.read(_PIECE):
                    file.write(piece)
            if request.query.get("overwrite") == "false":
                os.link(beside, place)
            else:
                beside.replace(place)
        except FileExistsError as error:
            raise Refusal(409, "ALREADY_EXISTS", "The file being created already exists.") from error
        finally:
            beside.unlink(missing_ok=True)
        return Answer(status=204)

    def _download(self, request: Request) -> Answer:
        place = self._file(request)
        size = place.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        first, last = (int(asked[1]), int(asked[2] or size - 1)) if asked else (0, size - 1)
        headers = _headers(place) | {"Content-Length": str(last - first + 1)}
        if asked:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return Answer(status=206 if asked else 200, parts=_pieces(place, first, last), headers=headers)

    def _delete(self, request: Request) -> Answer:
        self._file(request).unlink(missing_ok=True)
        return Answer(status=204)

    def _file(self, request: Request) -> Path:
        place = self._volumes.local(request.parts[0])
        if not place.is_file():
            raise Refusal(404, "NOT_FOUND", f"The file being accessed is not found: {request.parts[0]}")
        return place

    def _make(self, request: Request) -> Answer:
        place = self._volumes.local(request.parts[0])
        if place.is_file():
            raise Refusal(409, "ALREADY_EXISTS", "The path names an existing file.")
        place.mkdir(parents=True, exist_ok=True)
        return Answer(status=204)

    def _list(self, request: Request) -> Answer:
        place = self._directory(request)
        size = min(int(request.query.get("page_size") or _PAGE), _PAGE) or _PAGE
        after = request.query.get("page_token", "")
        names = sorted(name for name in os.listdir(place) if name > after and not name.endswith(".upload"))
        listed = [entry for name in names[:size] if (entry := _entry(request.parts[0], place / name))]
        more = {"next_page_token": names[size - 1]} if len(names) > size else {}
        return Answer(document={**({"contents": listed} if listed else {}), **more})

    def _look(self, request: Request) -> Answer:
        self._directory(request)
        return Answer()

    def _remove(self, request: Request) -> Answer:
        try:
            self._directory(request).rmdir()
        except FileNotFoundError:
            raise _no_directory(request) from None
        except OSError as error:
            text = "The directory being deleted is not empty."
            raise Refusal(409, "FILES_API_DIRECTORY_IS_NOT_EMPTY", text) from error
        return Answer(status=204)

    def _directory(self, request: Request) -> Path:
        place = self._volumes.local(request.parts[0])
        if not place.is_dir():
            raise _no_directory(request)
        return place


def _no_directory(request: Request) -> Refusal:
    return Refusal(404, "NOT_FOUND", f"The directory being accessed is not found: {request.parts[0]}")


def _headers(place: Path) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Last-Modified": formatdate(place.stat().st_mtime, usegmt=True),
    }


def _pieces(place: Path, first: int, last: int) -> Iterator[bytes]:
    with place.open("rb") as file:
        file.seek(first)
        left = last - first + 1
        while left > 0 and (piece := file.read(min(_PIECE, left))):
            left -= len(piece)
            yield piece


def _entry(directory: str, place: Path) -> dict[str, Any] | None:
    try:
        status = place.stat()
    except FileNotFoundError:
        return None  # deleted while the directory was listed
    entry = {"path": f"{directory.rstrip('/')}/{place.name}", "name": place.name, "is_directory": place.is_dir()}
    if entry["is_directory"]:
        return entry
    return {**entry, "file_size": status.st_size, "last_modified": int(status.st_mtime * 1000)}
