"""What becomes of a page: its three states, the decision, and what is to be written then. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sync_pipelines.engine.conflicts import Strategy
from sync_pipelines.engine.deciding import Decision, Dispute, Outcome, Sides, decide, verdict
from sync_pipelines.engine.errors import RecordError
from sync_pipelines.engine.ledger.conflict_rows import OpenConflict
from sync_pipelines.engine.model import FINGERPRINT, KEY
from sync_pipelines.targets.notion.blocks import Block, children_of, digest, mark_of
from sync_pipelines.targets.notion.editing import Goal, goals_of
from sync_pipelines.targets.notion.looking import Recalled, Seen, Sight, State
from sync_pipelines.targets.notion.mapping import TOLD
from sync_pipelines.targets.notion.places import (
    Wish,
    body_of_base,
    body_of_wishes,
    order_below,
    places_of,
    wishes,
)
from sync_pipelines.targets.notion.properties import state_of, wanted_values
from sync_pipelines.targets.notion.records import Record
from sync_pipelines.targets.notion.region import Entry, Standing, entry_of


@dataclass(frozen=True, kw_only=True)
class Row:
    """A mapped note; `told`: which of its files are too large."""

    key: str
    mark: str
    page: Mapping[str, Any]
    told: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        """Title and properties."""
        return wanted_values(self.page)

    @property
    def blocks(self) -> Sequence[Block]:
        return self.page["blocks"]


def row_of(given: Mapping[str, Any]) -> Row:
    """A row of a mapped batch.

    Raises:
        RecordError: blocks lie deeper than a request can make them.
    """
    page = json.loads(given["page"])
    if any(children_of(child) for block in page["blocks"] for child in children_of(block)):
        raise RecordError("blocks of the page lie more than two levels deep.", key=given[KEY])
    return Row(key=given[KEY], mark=given[FINGERPRINT], page=page, told=given.get(TOLD))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A note and its page.

    Args:
        row: None where the source lacks the note. seen: None where there is no page, or it lies in the trash.
        noted: the conflict that is open. recalled: in the place of `seen`, of a page that need not be read again; it
            is enough to decide by.
    """

    key: str
    row: Row | None
    seen: Seen | None
    record: Record | None
    noted: OpenConflict | None = None
    recalled: Recalled | None = None

    @property
    def sight(self) -> Sight | None:
        """What there is of the page."""
        return self.seen or self.recalled

    @property
    def base(self) -> tuple[Entry, ...]:
        """The blocks that the sync last wrote."""
        if self.sight is not None:
            return self.sight.entries
        return self.record.base if self.record is not None else ()

    @property
    def wishes(self) -> list[Wish]:
        """What the source wants of the body."""
        return wishes(self.base, self.row.blocks) if self.row is not None else []

    @property
    def is_as_accepted(self) -> bool:
        """Whether the page holds what somebody has accepted of it, or what a merge has made."""
        left = self.record.left if self.record is not None else None
        return self.sight is not None and left is not None and left == self.sight.mark


def sides_of(case: Case) -> Sides:
    """The three states of a page, as hashes."""
    return Sides(
        source=_source(case),
        target=case.sight.state if case.sight else None,
        base=_base(case),
        source_version=_source_version(case),
        target_version=_minute(case.sight.head.edited) if case.sight else None,
    )


def _source(case: Case) -> State | None:
    if case.row is None:
        return None
    return {**state_of(case.row.values), "blocks": body_of_wishes(case.wishes)}


def _base(case: Case) -> State | None:
    if case.sight is not None:
        return case.sight.base
    if case.record is None or not case.record.known:
        return None
    return {**case.record.state, "blocks": body_of_base(case.record.base)}


def _source_version(case: Case) -> str | None:
    """When the note was edited; of one that is gone, when the page was last equal to it."""
    if case.row is not None:
        return case.row.page["properties"].get("edited") or case.row.page["properties"].get("created")
    equal = (case.record.equal or case.record.seen) if case.record is not None else None
    return _minute(equal) if equal else None


def _minute(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="minutes")


def judge(case: Case, strategy: Strategy) -> Dispute:
    """What becomes of a page."""
    sides = sides_of(case)
    decision = decide(strategy, sides)
    mark = case.row.mark if case.row is not None else None
    accepted = case.noted is not None and case.noted.accepted and case.noted.source_fingerprint == mark
    if accepted and decision.outcome is not Outcome.SAME:
        decision = Decision(outcome=Outcome.TARGET, conflict=decision.conflict)
    return Dispute(
        key=case.key,
        strategy=strategy,
        decision=decision,
        why="somebody has accepted the page's version" if accepted else words(decision, sides, strategy),
        sides=sides,
        fingerprint=mark,
        accepted=accepted,
    )


def words(decision: Decision, sides: Sides, strategy: Strategy) -> str:
    """What was decided, in a sentence that quotes nothing."""
    there = "its page was deleted" if sides.target is None else "its page was edited"
    if decision.conflict:
        there += " and the note is gone" if sides.source is None else " and the note was changed"
    told = verdict(decision, source="note", target="page")
    return f"{there}: {told} ({strategy.value})"


def is_told(decision: Decision) -> bool:
    return decision.stays or decision.conflict


# What is to be written


@dataclass
class Item:
    """A block of the source, and what shall stand for it; None: nothing, since somebody's version without it stays."""

    entry: Entry
    goal: Goal | None
    children: list[Item] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a page shall be.

    Args:
        items: the source's blocks; goals: those that shall stand there. released: ids of blocks that stay there as
            somebody's own. values: title and properties.
    """

    items: Sequence[Item]
    goals: Sequence[Goal]
    values: Mapping[str, Any]
    released: frozenset[str] = frozenset()

    def entries(self) -> tuple[Entry, ...]:
        """The base, once this was written: the source's blocks, with the ids that they have by then."""
        return tuple(map(_entry, self.items))


def _entry(item: Item) -> Entry:
    children = tuple(map(_entry, item.children))
    if item.goal is None:
        return replace(item.entry, id=None, absent=True, children=children)
    goal = item.goal
    if goal.shown is None:
        return replace(item.entry, id=goal.id, shown=goal.left_shown, children=children)
    return replace(entry_of(goal.block), id=goal.id, shown=mark_of(goal.shown), children=children)


def whole_plan(case: Case) -> Plan:
    """The source's version."""
    assert case.row is not None
    goals = goals_of(case.wishes)
    return Plan(items=_items(goals), goals=goals, values=case.row.values)


def _items(goals: Sequence[Goal]) -> list[Item]:
    return [Item(goal.entry, goal, _items(goal.children)) for goal in goals]


def merged_plan(case: Case, values: Mapping[str, Any]) -> Plan:
    """What a merge has made, or a person.

    Args:
        values: hashes as `sides_of` has them: of each block that of the side which wins.
    """
    assert case.row is not None
    assert case.seen is not None
    body = values.get("blocks") or {}
    places = places_of(case.seen.region)
    items = _chosen(case.wishes, body, places)
    wanted = {item.place for item in _all(case.wishes)}
    released = {found.live.id for place, found in places.items() if place in body and place not in wanted}
    released |= {found.live.id for found in case.seen.region.astray}
    goals = _goals(items, case.wishes, body)
    return Plan(items=items, goals=goals, values=_values(case, values), released=frozenset(released))


def _all(found: Sequence[Wish]) -> list[Wish]:
    return [item for wish in found for item in (wish, *_all(wish.children))]


def _chosen(found: Sequence[Wish], body: Mapping[str, str], places: Mapping[str, Standing]) -> list[Item]:
    items = []
    for wish in found:
        children = _chosen(wish.children, body, places)
        goal = None
        if wish.place in body:
            there = places.get(wish.place)
            stays = there is not None and body[wish.place] == there.token
            below = _goals(children, wish.children, body, wish.place)
            goal = Goal(wish.block, wish.entry, there.token if stays and there else wish.token, below)
        items.append(Item(wish.entry, goal, children))
    return items


def _goals(items: Sequence[Item], found: Sequence[Wish], body: Mapping[str, str], above: str = "") -> list[Goal]:
    """What shall stand at one level, in the order that somebody has given it; what is new follows what it follows in
    the note."""
    order = {place: number for number, place in enumerate(body.get(order_below(above), "").split(","))}
    ranked, last = [], -1
    for item, wish in zip(items, found, strict=True):
        last = order.get(wish.place, last)
        if item.goal is not None:
            ranked.append((last, item.goal))
    return [goal for _, goal in sorted(ranked, key=lambda pair: pair[0])]


def _values(case: Case, merged: Mapping[str, Any]) -> dict[str, Any]:
    """Title and properties by their hashes: each is one side's, or a list of both."""
    assert case.row is not None
    assert case.seen is not None
    source, target = case.row.values, case.seen.head.values
    found: dict[str, Any] = {}
    for item, value in source.items():
        if isinstance(value, list):
            names = {digest(name): name for name in (*value, *target[item])}
            found[item] = sorted(names[mark] for mark in merged.get(item) or () if mark in names)
        else:
            there = state_of({item: target[item]}).get(item)
            found[item] = target[item] if merged.get(item) == there else value
    return found
