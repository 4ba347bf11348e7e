"""A page as it stands now: its blocks read, and told apart by who made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sync_pipelines.targets.notion.blocks import Live, digest, live_of
from sync_pipelines.targets.notion.client import Notion
from sync_pipelines.targets.notion.listing import Head
from sync_pipelines.targets.notion.properties import state_of
from sync_pipelines.targets.notion.records import Record
from sync_pipelines.targets.notion.region import Entry, Region, body_of_base, body_of_page, find

State = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A page and its managed region.

    Args:
        at: when its blocks were read, by Notion's clock. known: whether a base was on record.
        base_state: the title and properties that the sync last wrote, as hashes.
    """

    head: Head
    region: Region
    at: datetime
    base_state: Mapping[str, Any]
    known: bool

    @property
    def as_of(self) -> datetime:
        """Up to when no edit is missing: title and properties were listed before the blocks were read."""
        return min(self.head.at, self.at)

    @property
    def base(self) -> State:
        """What the sync last made of the page, for decisions."""
        return {**self.base_state, "blocks": body_of_base(self.region.base)}

    @property
    def state(self) -> State:
        """What stands there, for decisions."""
        return {**state_of(self.head.values), "blocks": body_of_page(self.region)}

    @property
    def mark(self) -> str:
        """A hash of what stands there, by which a later look knows it again."""
        return digest([self.region.seen(), state_of(self.head.values)])


def read_page(notion: Notion, head: Head, record: Record | None) -> Seen:
    """Read the blocks of a page and find the managed region.

    Of blocks that others made the children are not read. Of a page of which nothing is on record, what the connection
    made is the region.
    """
    at = notion.now
    known = record is not None and (record.known or record.under_way is not None)
    # whoever made a page that is on record was the sync, perhaps by another connection than now
    us = frozenset({notion.us, head.author} if known else {notion.us})
    page = _read(notion, head.id, us, _ours(record))
    base = record.base if record is not None else ()
    under_way = (record.under_way if record is not None else None) or ()
    behind = record is not None and record.is_behind(head)
    region = find(base, page, us=us, under_way=under_way, adopt=not known, behind=behind)
    return Seen(head=head, region=region, at=at, base_state=_state(head, record, known=known), known=known)


def _ours(record: Record | None) -> frozenset[str]:
    def ids(entries: Sequence[Entry]) -> list[str]:
        return [name for entry in entries for name in ([entry.id] if entry.id else []) + ids(entry.children)]

    return frozenset(ids(record.base)) if record is not None else frozenset()


def _read(notion: Notion, parent: str, us: frozenset[str], ours: frozenset[str]) -> list[Live]:
    found = []
    for given in notion.children(parent):
        mine = (given.get("created_by") or {}).get("id") in us or given["id"] in ours
        if not given.get("has_children"):
            found.append(live_of(given))
        else:
            found.append(live_of(given, _read(notion, given["id"], us, ours) if mine else None))
    return found


def _state(head: Head, record: Record | None, *, known: bool) -> Mapping[str, Any]:
    """The base of title and properties: by one request they are written with the fingerprint, or not at all."""
    now = state_of(head.values)
    if not known or record is None:
        return now
    if record.next_state is None:
        return record.state
    return {
        name: value
        for name in {*record.state, *record.next_state, *now}
        if (value := _settled(name, now, record)) is not None
    }


def _settled(name: str, now: Mapping[str, Any], record: Record) -> Any:
    """What a write that was interrupted has set is the base; what it has not, is as it was before."""
    assert record.next_state is not None
    there = now.get(name)
    return there if there == record.next_state.get(name) else record.state.get(name)
