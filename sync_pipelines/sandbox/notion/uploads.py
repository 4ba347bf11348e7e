"""The endpoints of file uploads."""

from __future__ import annotations

import mimetypes
import re
from typing import Any

from sync_pipelines.sandbox.notion.calls import Call
from sync_pipelines.sandbox.notion.given import Given, identity
from sync_pipelines.sandbox.notion.model import Upload
from sync_pipelines.sandbox.notion.refusals import invalid, not_found
from sync_pipelines.sandbox.notion.workspace import MIB, new_id

MOST_NAME = 900
"""Bytes in a file's name."""

MOST_PART = 20 * MIB
LEAST_PART = 5 * MIB
MOST_PARTS = 1000

_AUDIO = ("aac", "adts", "mid", "midi", "mp3", "mpga", "m4a", "m4b", "mp4", "oga", "ogg", "wav", "wma")
_PAPERS = ("pdf", "txt", "json", "doc", "dot", "docx", "dotx", "xls", "xlt", "xla", "xlsx", "xltx", "ppt", "pot", "pps")
_SLIDES = ("ppa", "pptx", "potx")
_IMAGES = ("gif", "heic", "jpeg", "jpg", "png", "svg", "tif", "tiff", "webp", "ico")
_VIDEOS = ("amv", "asf", "wmv", "avi", "f4v", "flv", "gifv", "m4v", "mkv", "webm", "mov", "qt", "mpeg")
EXTENSIONS = frozenset((*_AUDIO, *_PAPERS, *_SLIDES, *_IMAGES, *_VIDEOS))
"""Files that Notion takes, by its documentation of supported file types."""

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')
_NAME = re.compile(rb'\bname="([^"]*)"')
_TYPE = re.compile(rb"content-type:\s*([^\r\n;]+)", re.IGNORECASE)


def create(call: Call) -> dict[str, Any]:
    """A file that is to come."""
    body = call.body.only("mode", "filename", "content_type", "number_of_parts", "external_url")
    mode = body.field("mode").one_of("single_part", "multi_part") if body.field("mode").there else "single_part"
    name = _filename(body.field("filename"), mode)
    kind = body.field("content_type")
    parts = int(body.field("number_of_parts").number()) if mode == "multi_part" else 1
    if not 1 <= parts <= MOST_PARTS:
        raise body.field("number_of_parts").wrong(f"should be between `1` and `{MOST_PARTS}`")
    guessed = mimetypes.guess_type(name)[0] or "application/octet-stream"
    made = Upload(
        id=new_id(),
        filename=name,
        content_type=kind.text(200) if kind.filled else guessed,
        mode=mode,
        number_of_parts=parts,
        created=call.workspace.clock.now(),
        created_by=call.bot,
        expires=call.workspace.hour_later(),
    )
    call.workspace.uploads[made.id] = made
    return call.answers.upload(made)


def _filename(given: Given, mode: str) -> str:
    if not given.filled and mode == "single_part":
        return "file.txt"
    name = given.of(str)
    if len(name.encode()) > MOST_NAME:
        raise given.too_many(MOST_NAME, len(name.encode()))
    if name.rpartition(".")[2].lower() not in EXTENSIONS or "." not in name:
        raise invalid(f"Provided `filename` {name} has an extension that is not supported for the File Upload API.")
    return name


def send(call: Call) -> dict[str, Any]:
    """The bytes of a file, or of one of its parts."""
    upload = _upload(call)
    if upload.status != "pending":
        raise invalid(f"File upload {upload.id} has a status of {upload.status}; bytes can be sent to pending ones.")
    fields = _fields(call)
    if "file" not in fields:
        raise invalid("body failed validation: body.file should be defined, instead was `undefined`.")
    kind, content = fields["file"]
    _insist_on_size(call, upload, len(content))
    if upload.mode == "single_part" and kind and kind != upload.content_type:
        raise invalid(f"Content type {kind} of the file is not that of the file upload, {upload.content_type}.")
    number = int(fields["part_number"][1]) if "part_number" in fields else 1
    if not 1 <= number <= upload.number_of_parts:
        raise invalid(f"body failed validation: body.part_number should be ≤ `{upload.number_of_parts}`.")
    upload.parts[number] = content
    upload.status = "uploaded" if upload.mode == "single_part" else "pending"
    return call.answers.upload(upload)


def complete(call: Call) -> dict[str, Any]:
    """All parts are there."""
    upload = _upload(call)
    lacking = upload.number_of_parts - len(upload.parts)
    if upload.mode != "multi_part" or upload.status != "pending" or lacking:
        raise invalid(f"File upload {upload.id} cannot be completed: {lacking} parts have not been sent.")
    _insist_on_parts(upload)
    upload.status = "uploaded"
    return call.answers.upload(upload)


def retrieve(call: Call) -> dict[str, Any]:
    """How far a file is."""
    return call.answers.upload(_upload(call))


def listed(call: Call) -> dict[str, Any]:
    """The uploads of this connection."""
    status = call.query.get("status")
    mine = [one for one in call.workspace.uploads.values() if one.created_by == call.bot]
    found = [one for one in mine if status in (None, call.answers.upload(one)["status"])]
    return call.listed("file_upload", found, call.answers.upload)


def _upload(call: Call) -> Upload:
    found = call.workspace.uploads.get(identity(call.names[0]))
    if found is None or found.created_by != call.bot:
        raise not_found("file_upload", call.names[0])
    if not found.attached and found.expires <= call.workspace.clock.now():
        found.status = "expired"
    return found


def _insist_on_size(call: Call, upload: Upload, size: int) -> None:
    most = MOST_PART if not call.workspace.free else call.workspace.most_bytes
    if size > most:
        what = "part" if upload.mode == "multi_part" else "file"
        raise invalid(f"The {what} has {size} bytes; the limit is {most // MIB} MiB.")
    if not size:
        raise invalid("body failed validation: body.file should not be empty.")


def _insist_on_parts(upload: Upload) -> None:
    small = [number for number, part in upload.parts.items() if len(part) < LEAST_PART]
    if any(number != upload.number_of_parts for number in small):
        raise invalid(f"Each part but the last must have {LEAST_PART // MIB} MiB at least.")


def _fields(call: Call) -> dict[str, tuple[str, bytes]]:
    """The parts of a multipart body: content type and content by name."""
    found = _BOUNDARY.search(call.headers.get("content-type", ""))
    if found is None:
        raise invalid("Content-Type should be `multipart/form-data`.")
    fields: dict[str, tuple[str, bytes]] = {}
    for part in call.raw.split(b"--" + found[1].encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name, kind = _NAME.search(head), _TYPE.search(head)
        if name:
            fields[name[1].decode()] = (kind[1].decode().strip() if kind else "", content.removesuffix(b"\r\n"))
    return fields
