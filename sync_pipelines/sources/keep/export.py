"""An export as an origin of notes: all of it, or, where it is the one that was read last, nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

from sync_pipelines.engine.errors import SyncError
from sync_pipelines.engine.model import Pending
from sync_pipelines.sources.keep.parts import lacking, last_parts, older_than_the_newest
from sync_pipelines.sources.keep.raw import Raw
from sync_pipelines.sources.keep.takeout import Found, Takeout

KIND = "takeout"
_NOT_COMPLETE = "the export is not stated complete: what it lacks may still be in Keep"
NO_NOTES = "no file of the export can be a note (.json): is it one of Keep?"
_SHOWN = 3
_ANOTHER = "the export is another one than was read last"


class ExportOrigin:
    """Folders and zip files of Takeout.

    Args:
        paths: as `takeout.Takeout`'s. complete: somebody states that all parts are there, so that what is missing
            was deleted. user: whose it is, for the command that states it.
    """

    tells_changes = False

    def __init__(self, paths: Sequence[str], *, complete: bool = False, user: str = "NAME") -> None:
        self.takeout, self.complete, self.user = Takeout(paths), complete, user

    def look(self, *, anew: bool = False) -> ExportLook:
        position = {"kind": KIND, "signature": self.takeout.signature(), "complete": self.complete}
        return ExportLook(self.takeout, {**position, "parts": last_parts(self.takeout.paths)})

    def known(self) -> ExportLook:
        return self.look()

    def whole(self, since: Mapping[str, Any]) -> str | None:
        if not self.complete:
            return _NOT_COMPLETE
        if absent := lacking(self.takeout.paths, _parts(since)):
            return f"of the export {', '.join(absent[:_SHOWN])} is not there, and may hold what is missing"
        return None

    def warnings(self, since: Mapping[str, Any]) -> list[str]:
        """What an operator should know of the export."""
        state = f"`sync-pipelines users set {self.user} --complete`"
        told = [] if self.complete else [f"{_NOT_COMPLETE}, so deletions are not followed ({state})"]
        with suppress(SyncError):  # that a path names nothing is told by whoever reads it
            if self.complete and (why := self.whole(since)) is not None:
                told.append(f"{why}, so deletions are not followed")
            if not self.takeout.may_hold_notes():
                told.append(NO_NOTES)
            if older := older_than_the_newest(self.takeout.paths):
                told.append(f"of several exports the newest is read, and not {', '.join(older)}")
        return told

    def lasting(self, since: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
        known, there = _parts(since), now["parts"]
        return {**now, "parts": {name: max(number, known.get(name, 0)) for name, number in there.items()}}

    def why_all(self, since: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
        if since.get("kind") != KIND:
            return "the notes come from an export now"
        if since.get("signature") != now["signature"]:
            return _ANOTHER
        return "the export is stated complete now" if now["complete"] and not since.get("complete") else None

    def pending(self, since: Mapping[str, Any], taken_at: datetime) -> Pending:
        return Pending(full_reason=self.why_all(since, self.look().position))

    def open(self, where: Any) -> AbstractContextManager[BinaryIO]:
        return self.takeout.open((where[0], where[1]))

    def close(self) -> None:
        self.takeout.close()


@dataclass(frozen=True)
class ExportLook:
    """An export in one state, `signature`."""

    takeout: Takeout
    position: Mapping[str, Any]

    def notes(self, after: Mapping[str, Any] | None) -> Iterator[Raw]:
        """All notes; none after the position of this very export."""
        if after is None:
            yield from map(_raw, self.takeout.read())

    def has_node(self, node: str) -> bool:
        """An export says no ids."""
        return False


def _parts(position: Mapping[str, Any]) -> Mapping[str, int]:
    """Those that were there; positions of earlier versions say nothing of them."""
    return position.get("parts") or {}


def _raw(found: Found) -> Raw:
    return Raw(
        note=found.note,
        problem=found.problem,
        created=found.created,
        name=found.name,
        part=found.part,
        files=found.files,
    )
