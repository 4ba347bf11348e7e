"""What either way of reading Keep gives: notes without keys, and what is known of the state that they were read in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, Protocol

from sync_pipelines.engine.model import Pending
from sync_pipelines.sources.keep.model import Note


@dataclass(frozen=True, kw_only=True)
class Raw:
    """A note as it was read.

    Args:
        note: None where it breaks the contract; then `problem` says why.
        created: microseconds since 1970; None where not even that can be read.
        node: its id in an account. name: the name of its file in an export, of the part `part`.
        files: attachment's name → where its bytes are, as JSON.
    """

    note: Note | None = None
    problem: str | None = None
    created: int | None = None
    node: str | None = None
    name: str = ""
    part: int = 0
    files: Mapping[str, Any] = field(default_factory=dict)


class Look(Protocol):
    """The source in one state."""

    @property
    def position(self) -> Mapping[str, Any]:
        """Names that state, as a watermark keeps it."""
        ...

    def notes(self, after: Mapping[str, Any] | None) -> Iterator[Raw]:
        """Notes that changed after a position; all of them for None."""
        ...

    def has_node(self, node: str) -> bool:
        """Whether a note of this id is there."""
        ...


class Origin(Protocol):
    """An export or an account.

    `tells_changes`: an incremental run gets what changed, and not everything.
    """

    tells_changes: bool

    def look(self, *, anew: bool = False) -> Look:
        """The state of now; `anew`: nothing that is remembered is believed."""
        ...

    def known(self) -> Look:
        """The state that was last looked at, without a request to anybody."""
        ...

    def whole(self, since: Mapping[str, Any]) -> str | None:
        """Why a note that is not there may still exist; None where all are there.

        Args:
            since: the position that a run has confirmed last; empty where none has.
        """
        ...

    def warnings(self, since: Mapping[str, Any]) -> list[str]:
        """What an operator should know of it."""
        ...

    def lasting(self, since: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
        """A position as a run confirms it, with what is still to be known of the one before."""
        ...

    def why_all(self, since: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
        """Why everything must be read after a position; None where what changed is enough."""
        ...

    def pending(self, since: Mapping[str, Any], taken_at: datetime) -> Pending:
        """What waits, without a request to anybody but the disk."""
        ...

    def open(self, where: Any) -> AbstractContextManager[BinaryIO]:
        """An attachment's bytes; `where` is a value of `Raw.files`."""
        ...

    def close(self) -> None:
        """Close what is open; it is opened again where it is asked for again."""
        ...
