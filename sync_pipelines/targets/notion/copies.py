"""Further pages of a note: those that people have made, and those that the sync itself has.

Notion has no idempotency key: a create whose answer was lost is searched for before the next try, and where it takes
effect after that search had found nothing, the note has two pages of the sync's making.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sync_pipelines.targets.notion.blocks import walk
from sync_pipelines.targets.notion.errors import GoneError, HiddenCommentsError
from sync_pipelines.targets.notion.judged import chosen
from sync_pipelines.targets.notion.listing import Head, head_of
from sync_pipelines.targets.notion.looking import read_page
from sync_pipelines.targets.notion.records import Record

if TYPE_CHECKING:
    from sync_pipelines.targets.notion.writing import PageWriter


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A page beside the one that the sync keeps.

    Args:
        ours: whether the sync's connection made it and was the last to edit it.
    """

    head: Head
    ours: bool

    @property
    def place(self) -> str:
        """Its address."""
        return self.head.url or self.head.id


def copies_of(heads: Sequence[Head], record: Record | None, us: str) -> Iterator[Copy]:
    """All but one of these pages of one note."""
    kept = chosen(heads, record)
    # what is on record was made by the sync, perhaps by another connection than now
    made_by = {us, kept.author} if record is not None and record.page_id == kept.id else {us}
    for head in heads:
        if head is not kept:
            yield Copy(head=head, ours=head.author in made_by and head.editor in made_by)


def drop(writer: PageWriter, copy: Copy) -> bool:
    """Put a copy of the sync's own making into the trash, unless anything of people is on it; whether it went."""
    notion = writer.notion
    try:
        head = head_of(notion.page(copy.head.id), notion.settings.columns, at=notion.asked_at)
        if not copy.ours or head.in_trash or (head.edited, head.editor) != (copy.head.edited, copy.head.editor):
            return False
        seen = read_page(notion, head, None)
        untouched = all(block.editor in (head.author, "") for block in walk(seen.region.page))
        return untouched and writer.trash(seen)
    except (GoneError, HiddenCommentsError):
        return False


def told(found: Mapping[str, Sequence[Copy]], path: str) -> str:
    """What there is, and what to do about it.

    Args:
        found: the copies by note. path: of the user's table, for the command.
    """
    copies = [copy for each in found.values() for copy in each]
    ours = sum(copy.ours for copy in copies)
    words = [f"{len(found)} notes have several pages."]
    if ours:
        words.append(
            f"{ours} of the further ones the sync has made itself (a request whose answer was lost took effect late): "
            f"`sync-pipelines repair {path}` puts those into Notion's trash on which nobody has written or commented; "
            "others stay, for people to delete."
        )
    if ours < len(copies):
        words.append(
            f"{len(copies) - ours} were made or edited by people: delete them in Notion, or empty their property of "
            "the note's id."
        )
    return " ".join(words)
