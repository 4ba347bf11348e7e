"""The edit script of a page: the fewest requests after which the managed region is what is wanted. Pure.

Equal blocks keep their ids, as many as can (a longest common subsequence); between them a block that changed within its
type is updated; a block that moved, or became of another type, is made anew and the old one removed. Blocks of other
people are passed over: what is new goes behind the block that it follows in the source.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sync_pipelines.targets.notion.aligning import align, common
from sync_pipelines.targets.notion.blocks import FILES, Block, Live, request_of, sha_of, size_of
from sync_pipelines.targets.notion.places import Wish
from sync_pipelines.targets.notion.region import Entry, Standing

CHILDREN, BLOCKS, BYTES, AROUND = 100, 1000, 450_000, 45_000
"""What one request may hold; of 500 KB `AROUND` is left for title and properties, larger ones go alone."""


@dataclass(eq=False)
class Goal:
    """A block as it shall stand on the page.

    Args:
        block: of the source. token: of what shall stand there; another one than the block's where somebody's version
            of it stays. id: of the block on the page, once it is known.
        shown: the block that is written in its place. left_shown: the mark of what stands in its place already.
    """

    block: Block
    entry: Entry
    token: str
    children: list[Goal] = field(default_factory=list)
    id: str | None = None
    shown: Block | None = None
    left_shown: str | None = None

    @property
    def key(self) -> tuple:
        return (self.token, tuple(child.key for child in self.children))

    @property
    def written(self) -> Block:
        """What a request writes."""
        return self.block if self.shown is None else self.shown


def goals_of(wishes: Sequence[Wish]) -> list[Goal]:
    """What the source wants, all of it."""
    return [Goal(item.block, item.entry, item.token, goals_of(item.children)) for item in wishes]


@dataclass(frozen=True)
class Update:
    """Write a block's own content anew."""

    id: str
    goal: Goal


@dataclass(frozen=True)
class Insert:
    """Make blocks.

    Args:
        parent: the page or block below which they go. after: the block that they follow; None: at the end.
        first: before all others.
    """

    parent: str
    goals: tuple[Goal, ...]
    after: str | None = None
    first: bool = False


@dataclass(frozen=True)
class Delete:
    """Remove a block, with what the sync made below it."""

    standing: Standing


Operation = Update | Insert | Delete


def script(
    parent: str, page: Sequence[Live], standing: Sequence[Standing], goals: Sequence[Goal], *, start: bool = True
) -> list[Operation]:
    """What to do, in order; goals that stand on the page already learn their ids.

    Args:
        parent: the page's id. page: its blocks, other people's too. standing: those of the managed region.
        start: whether blocks can be put before all others. Where they cannot, the first one becomes the new first one,
            and is made again behind it: what people say of it stays at the place.
    """
    updates: list[Operation] = []
    inserts: list[Operation] = []
    deletes: list[Operation] = []
    _level(parent, page, standing, goals, (updates, inserts, deletes), start=start)
    return [*updates, *inserts, *deletes]


def _level(
    parent: str,
    page: Sequence[Live],
    standing: Sequence[Standing],
    goals: Sequence[Goal],
    into: tuple[list[Operation], list[Operation], list[Operation]],
    *,
    start: bool,
) -> None:
    pairs = _pairs(standing, goals)
    if not start:
        pairs = _from_the_first(pairs, page, standing, goals)
    updates, inserts, deletes = into
    for left, right in pairs:
        item, goal = standing[left], goals[right]
        goal.id = item.live.id
        if item.token != goal.token:
            updates.append(Update(item.live.id, goal))
        elif item.is_as_left:
            goal.left_shown = item.entry.shown
        _level(item.live.id, item.live.children, item.children, goal.children, into, start=start)
    inserts.extend(_inserts(parent, page, standing, goals))
    kept = {left for left, _ in pairs}
    deletes.extend(Delete(item) for index, item in enumerate(standing) if index not in kept)


def _pairs(standing: Sequence[Standing], goals: Sequence[Goal]) -> list[tuple[int, int]]:
    equal = common([item.key for item in standing], [goal.key for goal in goals])

    def may_change(left: int, right: int) -> bool:
        return standing[left].token == goals[right].token or _may_become(standing[left], goals[right])

    def alike(left: int, right: int) -> bool:
        return standing[left].token == goals[right].token

    return align(len(standing), len(goals), equal, may_change, alike)


def _from_the_first(
    pairs: list[tuple[int, int]], page: Sequence[Live], standing: Sequence[Standing], goals: Sequence[Goal]
) -> list[tuple[int, int]]:
    """The pairs without one that would need new blocks before the first of the page."""
    blocked = pairs and pairs[0][0] == 0 and pairs[0][1] > 0 and page[0].id == standing[0].live.id
    if not blocked:
        return pairs
    first = [(0, 0)] if _may_become(standing[0], goals[0]) else []
    return [*first, *pairs[1:]]


def _may_become(item: Standing, goal: Goal) -> bool:
    if item.live.type != goal.block["type"] or item.entry.shown is not None:
        return False
    # of a file the name alone is changed: other bytes are another block
    return goal.block["type"] not in FILES or (item.is_as_left and item.entry.sha == sha_of(goal.block))


def _inserts(
    parent: str, page: Sequence[Live], standing: Sequence[Standing], goals: Sequence[Goal]
) -> Iterator[Insert]:
    """The goals that stand nowhere yet, neighbours together."""
    index = 0
    while index < len(goals):
        if goals[index].id is not None:
            index += 1
            continue
        end = index
        while end < len(goals) and goals[end].id is None:
            end += 1
        after, first = _anchor(page, standing, goals, index, end)
        yield Insert(parent, tuple(goals[index:end]), after=after, first=first)
        index = end


def _anchor(
    page: Sequence[Live], standing: Sequence[Standing], goals: Sequence[Goal], begin: int, end: int
) -> tuple[str | None, bool]:
    """Behind which block new ones go, and whether they go before all others."""
    if begin > 0:
        return goals[begin - 1].id, False
    if end == len(goals):  # none of the goals stands there
        return (standing[-1].live.id if standing else None), False
    ids: list[str | None] = [live.id for live in page]
    position = ids.index(goals[end].id)
    return (page[position - 1].id, False) if position else (None, True)


# Requests


@dataclass(frozen=True)
class Part:
    """Blocks that one request makes; of each as many of its children as the request holds."""

    goals: tuple[Goal, ...]

    def requests(self, uploads: Mapping[str, str]) -> list[dict]:
        """The blocks as the request has them."""
        return [_request(goal, uploads) for goal in self.goals]

    @property
    def size(self) -> int:
        """How many blocks it makes."""
        return sum(1 + len(_sent(goal)) for goal in self.goals)


def _sent(goal: Goal) -> list[Goal]:
    """Those of a goal's children that go with it; the others follow once its id is known."""
    found: list[Goal] = []
    size = _bytes(goal)
    for child in goal.children[:CHILDREN]:
        size += _bytes(child)
        if size > BYTES:
            break
        found.append(child)
    return found


def late(goal: Goal) -> list[Goal]:
    """The children of a goal that did not go with it."""
    return goal.children[len(_sent(goal)) :]


def page_parts(goals: Sequence[Goal], properties: Mapping[str, Any]) -> list[Part]:
    """As `parts`, of a new page; the request that makes it has no blocks where the properties leave no room for any."""
    large = len(json.dumps(properties, ensure_ascii=False).encode()) > AROUND
    return [*([Part(())] if large else []), *parts(goals)] or [Part(())]


def parts(goals: Sequence[Goal]) -> list[Part]:
    """The goals in as few requests as may be."""
    found: list[Part] = []
    part: list[Goal] = []
    blocks = size = 0
    for goal in goals:
        below = _sent(goal)
        weight, number = _bytes(goal) + sum(map(_bytes, below)), 1 + len(below)
        if part and (len(part) == CHILDREN or blocks + number > BLOCKS or size + weight > BYTES):
            found.append(Part(tuple(part)))
            part, blocks, size = [], 0, 0
        part.append(goal)
        blocks, size = blocks + number, size + weight
    return [*found, Part(tuple(part))] if part else found


def _request(goal: Goal, uploads: Mapping[str, str]) -> dict:
    made = request_of(goal.written, uploads, children=())
    if below := _sent(goal):
        made[made["type"]]["children"] = [request_of(child.written, uploads, children=()) for child in below]
    return made


def _bytes(goal: Goal) -> int:
    return len(json.dumps(request_of(goal.written, {}, children=()), ensure_ascii=False).encode()) + 120


def new_blocks(operations: Sequence[Operation]) -> int:
    """How many blocks a script makes."""
    return sum(
        size_of([goal.block]) if not goal.children else 1 + len(goal.children)
        for item in operations
        if isinstance(item, Insert)
        for goal in item.goals
    )
