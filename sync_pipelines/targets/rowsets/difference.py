"""What a document asks of the tables."""

from __future__ import annotations

from dataclasses import dataclass

from sync_pipelines.engine.rowsets import Change, TableChange
from sync_pipelines.targets.rowsets.batch import Document, hash_of
from sync_pipelines.targets.rowsets.reading import Payload


@dataclass(kw_only=True)
class Difference:
    """What one document asks for: its rows' changes by table, and the version that they lead to.

    Args:
        told: the last version that its history knows, where no payload says which it has.
    """

    document: Document
    tables: list[TableChange]
    history: list[Change]
    before: Payload | None
    hash: str
    is_new: bool
    told: int = 0

    @property
    def changed(self) -> bool:
        return any(self.tables)

    @property
    def version(self) -> int:
        held = self.before.data_version if self.before else self.told
        return held + 1 if self.changed or not held else held

    @property
    def noted(self) -> bool:
        """Whether the payload's own row is written."""
        return self.changed or self.before is None or self.before.hash != self.hash


def unwritten(document: Document, kept: Payload | None) -> Difference:
    """A document of which just the payload is kept."""
    return Difference(
        document=document, tables=[], history=[], before=kept, hash=hash_of(document.payload), is_new=kept is None
    )
