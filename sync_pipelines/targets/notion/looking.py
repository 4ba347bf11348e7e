"""A page as it stands now: its blocks read, and told apart by who made them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sync_pipelines.targets.notion.blocks import Live, digest, live_of, walk
from sync_pipelines.targets.notion.client import Notion
from sync_pipelines.targets.notion.listing import Head
from sync_pipelines.targets.notion.places import body_of_base, body_of_page
from sync_pipelines.targets.notion.properties import state_of
from sync_pipelines.targets.notion.records import Found, Record
from sync_pipelines.targets.notion.region import Entry, Region, find

State = dict[str, Any]

_PAGES = ("child_page", "child_database")
"""Types of blocks below which there is another page."""


@dataclass(frozen=True, kw_only=True)
class Sight(ABC):
    """What decisions need of a page.

    Args:
        base_state: the title and properties that the sync last wrote, as hashes.
    """

    head: Head
    base_state: Mapping[str, Any]

    @property
    @abstractmethod
    def entries(self) -> tuple[Entry, ...]:
        """The blocks that the sync last wrote."""

    @property
    @abstractmethod
    def body(self) -> dict[str, str]:
        """What has become of those, as `body_of_page`."""

    @property
    @abstractmethod
    def shown(self) -> str:
        """A hash of what stands there of them."""

    @property
    def base(self) -> State:
        """What the sync last made of the page, for decisions."""
        return {**self.base_state, "blocks": body_of_base(self.entries)}

    @property
    def state(self) -> State:
        """What stands there, for decisions."""
        return {**state_of(self.head.values), "blocks": self.body}

    @property
    def mark(self) -> str:
        """A hash of what stands there, by which a later look knows it again."""
        return digest([self.shown, state_of(self.head.values)])


@dataclass(frozen=True, kw_only=True)
class Seen(Sight):
    """A page whose blocks were read, and its managed region.

    Args:
        at: when its blocks were read, by Notion's clock. known: whether a base was on record.
    """

    region: Region
    at: datetime
    known: bool

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self.region.base

    @property
    def body(self) -> dict[str, str]:
        return body_of_page(self.region)

    @property
    def shown(self) -> str:
        return self.region.seen()

    @property
    def as_of(self) -> datetime:
        """Up to when no edit is missing: title and properties were listed before the blocks were read."""
        return min(self.head.at, self.at)

    @property
    def found(self) -> Found:
        """What is to be kept of this look, where somebody has edited the page."""
        base, body = body_of_base(self.entries), self.body
        names = {*base, *body}
        changed = {name: body.get(name) for name in names if body.get(name) != base.get(name)}
        return Found(body=changed, shown=self.shown)


@dataclass(frozen=True, kw_only=True)
class Recalled(Sight):
    """A page that cannot have changed since somebody's edits were found there: what is on record of that look."""

    record: Record
    was: Found

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self.record.base

    @property
    def body(self) -> dict[str, str]:
        body = {**body_of_base(self.entries), **self.was.body}
        return {name: mark for name, mark in body.items() if mark is not None}

    @property
    def shown(self) -> str:
        return self.was.shown


def recall(head: Head, record: Record | None) -> Recalled | None:
    """What the last look at a page has found, where it was in a later minute than the page's last edit."""
    if record is None or record.found is None or not record.known:
        return None
    if not record.tells(head) or not record.is_of_later_minute:
        return None
    return Recalled(head=head, base_state=record.state, record=record, was=record.found)


def read_page(notion: Notion, head: Head, record: Record | None) -> Seen:
    """Read the blocks of a page and find the managed region.

    Of blocks that others made the children are read only where a block of the region is missed: somebody may have drawn
    it there. Of a page of which nothing is on record, what the connection made is the region.
    """
    at = notion.now
    known = record is not None and (record.known or record.under_way is not None)
    # whoever made a page that is on record was the sync, perhaps by another connection than now
    us = frozenset({notion.us, head.author} if known else {notion.us})
    ours = _ours(record)
    page = _read(notion, head.id, lambda block: _author(block) in us or block["id"] in ours)
    base = record.base if record is not None else ()
    under_way = record.under_way if record is not None else None
    behind = record is not None and record.is_behind(head)

    def found(page: Sequence[Live]) -> Region:
        return find(base, page, us=us, under_way=under_way, adopt=not known, behind=behind)

    region = found(page)
    if region.lacks and not all(block.whole for block in walk(page)):
        region = found(_read(notion, head.id, lambda block: block["type"] not in _PAGES))
    return Seen(head=head, region=region, at=at, base_state=_state(head, record, us, known=known), known=known)


def _ours(record: Record | None) -> frozenset[str]:
    def ids(entries: Sequence[Entry]) -> list[str]:
        return [name for entry in entries for name in ([entry.id] if entry.id else []) + ids(entry.children)]

    return frozenset(ids(record.base)) if record is not None else frozenset()


def _read(notion: Notion, parent: str, below: Callable[[Mapping[str, Any]], bool]) -> list[Live]:
    """The blocks of a page or block, with those below those for which that is asked."""
    found = []
    for given in notion.children(parent):
        if not given.get("has_children"):
            found.append(live_of(given))
        else:
            found.append(live_of(given, _read(notion, given["id"], below) if below(given) else None))
    return found


def _author(given: Mapping[str, Any]) -> str | None:
    return (given.get("created_by") or {}).get("id")


def _state(head: Head, record: Record | None, us: Collection[str], *, known: bool) -> Mapping[str, Any]:
    """The base of title and properties: by one request they are written with the fingerprint, or not at all.

    Where nothing is on record it is what stands there; unless somebody else was the last to edit the page: then it was
    something else, nobody knows what.
    """
    now = state_of(head.values)
    if not known or record is None:
        return now if not head.editor or head.editor in us else {name: _unknown(now[name], head) for name in now}
    if record.next_state is None:
        return record.state
    return {
        name: value
        for name in {*record.state, *record.next_state, *now}
        if (value := _settled(name, now, record)) is not None
    }


def _unknown(value: Any, head: Head) -> Any:
    mark = digest(["edited", head.id])
    return [mark] if isinstance(value, list) else mark


def _settled(name: str, now: Mapping[str, Any], record: Record) -> Any:
    """What a write that was interrupted has set is the base; what it has not, is as it was before."""
    assert record.next_state is not None
    there = now.get(name)
    return there if there == record.next_state.get(name) else record.state.get(name)
