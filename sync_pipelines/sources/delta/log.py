"""A Delta table's log between two versions: what each commit did, and whether it can still be told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

FEED = "delta.enableChangeDataFeed"


class LostError(Exception):
    """What lies between two versions cannot be told any more; the text says why, as a clause."""


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One commit.

    Args:
        data: whether it changed rows (an OPTIMIZE does not). files: those that it removed or added with a change.
        partitioned: some of them name partition values. feed: what its metadata, if it has any, says of the feed.
        table_id: likewise.
    """

    version: int
    operation: str
    at: datetime | None
    data: bool
    files: tuple[str, ...]
    feed: bool | None = None
    table_id: str | None = None


def commits(filesystem: Any, start: int, end: int) -> Iterator[Commit]:
    """The commits of these versions, both included.

    Args:
        filesystem: pyarrow's, rooted in the table.

    Raises:
        LostError: one of them was cleaned away.
    """
    for version in range(start, end + 1):
        text = _text(filesystem, version)
        if text is None:
            raise LostError(no_longer_holds(version))
        yield _commit(version, [json.loads(line) for line in text.splitlines() if line.strip()])


def commit_id(filesystem: Any, version: int) -> str | None:
    """A hash of what a version's commit has written into the log: names of files that only it has, among others.

    None where it was cleaned away.
    """
    text = _text(filesystem, version)
    return None if text is None else hashlib.md5(text, usedforsecurity=False).hexdigest()


def no_longer_holds(version: int) -> str:
    """Why a version cannot be told."""
    return f"the log no longer holds version {version} (log retention)"


def _text(filesystem: Any, version: int) -> bytes | None:
    try:
        with filesystem.open_input_stream(f"_delta_log/{version:020d}.json") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _commit(version: int, actions: Sequence[dict[str, Any]]) -> Commit:
    by_kind = [(kind, body) for action in actions for kind, body in action.items()]
    info = next((body for kind, body in by_kind if kind == "commitInfo"), {})
    metadata = next((body for kind, body in by_kind if kind == "metaData"), None)
    files = tuple(
        unquote(body["path"]) for kind, body in by_kind if kind in ("add", "remove") and body.get("dataChange", True)
    )
    moment = info.get("timestamp")
    return Commit(
        version=version,
        operation=str(info.get("operation", "")),
        at=datetime.fromtimestamp(moment / 1000, UTC) if moment else None,
        data=bool(files),
        files=files,
        feed=None if metadata is None else metadata.get("configuration", {}).get(FEED, "").lower() == "true",
        table_id=None if metadata is None else metadata.get("id"),
    )
