"""Files and icons as requests name them and answers show them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sync_pipelines.sandbox.notion.given import Given
from sync_pipelines.sandbox.notion.model import Upload

Attach = Callable[[str], Upload]
"""Finds an upload that may be attached, and attaches it."""


def file(given: Given, attach: Attach) -> dict[str, Any]:
    """The file that a request names: one that lies elsewhere, or one that was uploaded."""
    kind = given.field("type")
    name = kind.one_of("external", "file_upload") if kind.there else _named(given)
    if name == "external":
        return {"type": "external", "external": {"url": given.field("external").field("url").url()}}
    upload = attach(given.field("file_upload").field("id").identity())
    return {"type": "file", "upload": upload}


def _named(given: Given) -> str:
    return "file_upload" if given.field("file_upload").there else "external"


def icon(given: Given, attach: Attach) -> dict[str, Any] | None:
    """An icon: an emoji or a file; null takes it away."""
    if not given.filled:
        return None
    emoji = given.field("emoji")
    if emoji.there:
        return {"type": "emoji", "emoji": emoji.text(16)}
    return file(given, attach)


def cover(given: Given, attach: Attach) -> dict[str, Any] | None:
    """A cover: a file; null takes it away."""
    return file(given, attach) if given.filled else None
