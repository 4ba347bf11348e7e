"""Which documents of a batch are marked as gone by it, and which lose their mark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sync_pipelines.targets.rowsets.batch import Document
from sync_pipelines.targets.rowsets.books import Books
from sync_pipelines.targets.rowsets.difference import Difference

BACK = "The API had it not when it last answered, and has it again."
"""The reason that the check of a document bears which came back, until the next check."""


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Changes of marks in one batch; `found` are the documents that it was given by the source.

    Args:
        gone: keys that were there, and are gone. back: keys that were gone, and are there.
    """

    gone: frozenset[str]
    back: frozenset[str]
    found: int

    def alone(self, found: Sequence[Difference]) -> int:
        """How many documents change their mark, and neither a row nor a payload."""
        written = {item.document.key for item in found if item.noted}
        return len(self.gone) + len(self.back - written)


class Marking:
    """The marks of a run, batch by batch; a batch counts when it is committed.

    Args:
        check: called before documents are marked as gone, see `engine.guarded.Marking`.
    """

    def __init__(self, books: Books, check: Callable[[int, int], object]) -> None:
        self._books, self._check, self._gone, self._found = books, check, 0, 0

    def of(self, cursor: Any, documents: Sequence[Document]) -> Marks:
        """What these documents change, by their last answers; asks whether so many may be marked as gone."""
        cursor.execute(self._books.last_answers(), [[item.key for item in documents]])
        before = dict(cursor.fetchall())
        was_gone = {key for key, gone in before.items() if gone}
        absent = {item.key for item in documents if item.status == "absent"}
        current = {item.key for item in documents if item.status == "current" and item.problem is None}
        gone, back = absent & before.keys() - was_gone, current & was_gone
        found = sum(item.status == "current" for item in documents)
        if gone:
            self._check(self._gone + len(gone), self._found + found)
        return Marks(gone=frozenset(gone), back=frozenset(back), found=found)

    def keep(self, marks: Marks) -> None:
        """These are committed."""
        self._gone, self._found = self._gone + len(marks.gone), self._found + marks.found
