"""A collection built anew beside the old one, and put in its place.

Chroma has no atomic swap: it takes two renames, `name` → `name__old` and `name__rebuild` → `name`. Between
them (some milliseconds) `name` does not exist; `search` and every question of the target read `name__old`
then. Before the first rename the new collection is marked with the id of the one that it replaces, so that
after a crash anywhere `heal` knows which way to go.
"""

from __future__ import annotations

from typing import Any

from sync_pipelines.engine.errors import RunError
from sync_pipelines.targets.chroma.client import ChromaConnection
from sync_pipelines.targets.chroma.errors import CollectionGoneError
from sync_pipelines.targets.chroma.names import OLD_SUFFIX, REBUILD_SUFFIX
from sync_pipelines.targets.chroma.provenance import REPLACES, has_provenance
from sync_pipelines.targets.chroma.store import ChromaStore, Place, open_store
from sync_pipelines.targets.retries import RetryPolicy

_NOTHING = "nothing"


class Swap:
    """The three names of one collection.

    Args:
        name: the name that searches use.
    """

    def __init__(self, connection: ChromaConnection, name: str, *, place: Place, retry: RetryPolicy) -> None:
        self._connection, self._name, self._place, self._retry = connection, name, place, retry

    def open(self, suffix: str = "") -> ChromaStore | None:
        """The collection of this name, or None."""
        return open_store(self._connection, self._name + suffix, place=self._place, retry=self._retry)

    def current(self) -> ChromaStore | None:
        """What serves searches now: the collection, or in the gap of a swap the old one."""
        return self.open() or self.open(OLD_SUFFIX) or self.open()

    def create(self, suffix: str, *, metadata: dict[str, Any], configuration: Any) -> None:
        """Make the collection of this name; one that is there already stays as it is."""
        name = self._name + suffix
        self._connection.call(
            lambda client: client.get_or_create_collection(
                name, metadata=metadata, configuration=configuration, embedding_function=None
            ),
            doing=f"create collection {name!r}",
            place=self._place,
            retry=self._retry,
        )

    def swap(self) -> None:
        """Put the rebuilt collection in the old one's place and drop the old one. Can be called again.

        Raises:
            CollectionGoneError: there is no rebuilt collection.
        """
        old, new = self.open(), self.open(REBUILD_SUFFIX)
        if new is None:
            raise CollectionGoneError(f"there is no rebuilt collection {self._name + REBUILD_SUFFIX!r}.", **self._place)
        new.modify(metadata={**new.metadata, REPLACES: old.id if old else _NOTHING})
        if old is not None:
            self._clear_old()
            old.modify(name=self._name + OLD_SUFFIX)
        self.heal()

    def heal(self, current: ChromaStore | None = None) -> ChromaStore | None:
        """Finish or roll back a swap that a crash cut; nothing to do in any other state. What `name` is then.

        `name` missing and `__old` there: forward if the rebuilt collection says that it replaces just that
        one (it was proven equal before its swap began), else back. `name` there and replacing `__old`: the
        swap is done and the old one goes.

        Args:
            current: the collection of this name, if it has just been opened.
        """
        current, old = current or self.open(), self.open(OLD_SUFFIX)
        if current is None:
            new = self.open(REBUILD_SUFFIX)
            mark = new.metadata.get(REPLACES) if new else None
            if new is not None and mark is not None and mark == (old.id if old else _NOTHING):
                new.modify(name=self._name)
                current = self.open()
            elif old is not None:
                old.modify(name=self._name)
                return self.open()
        if old is not None and current is not None and current.metadata.get(REPLACES) == old.id:
            self.drop(OLD_SUFFIX)
        return current

    def _clear_old(self) -> None:
        left = self.open(OLD_SUFFIX)
        if left is not None and not has_provenance(left.metadata) and left.count():
            raise RunError(
                f"a rebuild needs the name {left.name!r}, and a collection that something else made has it.",
                remedy="Rename or delete that collection.",
                **self._place,
            )
        self.drop(OLD_SUFFIX)

    def drop(self, suffix: str = "") -> None:
        """Delete the collection of this name, if there is one."""
        name = self._name + suffix
        try:
            self._connection.call(
                lambda client: client.delete_collection(name),
                doing=f"delete collection {name!r}",
                place=self._place,
                retry=self._retry,
            )
        except CollectionGoneError:
            return
