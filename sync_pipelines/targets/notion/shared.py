"""Listings that the checks of one run share: count, content and duplicates would ask for the same within seconds.

What a listing tells is true as of its answers (`Head.at`), whoever uses it later; whatever differs by it is looked at
anew. Heads lie in files: memory does not grow with the database.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from sync_pipelines.engine.spool import Spool
from sync_pipelines.targets.notion.listing import Head

LONGEST_SHARED = 300.0
"""Seconds after which one listing serves nobody any more: reading the pages that it names can take an hour."""


class SharedListings:
    """The listings of one Dagster run, a user each.

    Args:
        run_id: of the run. folder: where to spool; None: the system's temporary one.
    """

    def __init__(self, run_id: str, folder: Path | None) -> None:
        self.run_id, self._folder = run_id, folder
        self._spool: Spool | None = None
        self._found: dict[str, SharedListing] = {}

    def of(self, path: str) -> SharedListing:
        """That of one user's table (`notes/pages:ann`), which nobody may have asked for yet."""
        if path not in self._found:
            self._spool = self._spool or Spool(self._folder)
            self._found[path] = SharedListing(self._spool, f"listing-{len(self._found)}")
        return self._found[path]


class SharedListing:
    """All pages of one database, also those whose note is deleted, as the first who asked was told."""

    def __init__(self, spool: Spool, name: str) -> None:
        self._spool, self._name = spool, name
        self._whole: Path | None = None
        self._began = 0.0

    def heads(self, ask: Callable[[], Iterable[Head]]) -> Iterator[Head]:
        """The pages; `ask` lists them where that was not done yet, or not to the end.

        Raises:
            RunError: the file cannot be written.
        """
        if self._whole is not None and time.monotonic() - self._began < LONGEST_SHARED:
            yield from _read(self._whole)
            return
        self._whole, self._began = None, time.monotonic()
        path = self._spool.path(self._name)
        try:
            with path.open("wb") as file:
                for head in ask():
                    pickle.dump(head, file)
                    yield head
        except OSError as error:
            raise self._spool.unwritable(path, error) from error
        self._whole = path


def _read(path: Path) -> Iterator[Head]:
    with path.open("rb") as file:
        while file.peek(1):
            yield pickle.load(file)  # of nobody but this process: its folder is this user's alone
