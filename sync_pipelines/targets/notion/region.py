"""The managed region of a page: which of its blocks the sync made, and what has become of them. Pure.

What the sync last wrote is a tree of entries (`sync_pages.blocks`); what stands on the page is a tree of `Live`. An
entry without an id was written by a request whose answer named no ids: its block is found by its author and its mark.
What no entry claims is somebody else's, whatever it says, and is never touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sync_pipelines.targets.notion.aligning import align, common
from sync_pipelines.targets.notion.blocks import Block, Live, children_of, digest, mark_of, sha_of


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A block that the sync made, as the source had it then.

    Args:
        id: None where it is not known, or the block was not made (somebody's version without it was accepted).
        absent: that it was not made. away: that it has come to stand below somebody else's block, where the note's next
            version removes it. mark: of the source's block. shown: of what was written in its place (a file that
            Notion refused is named in a paragraph); None where that is the block itself.
        sha, mime, size: of a file. lost: that the source has its bytes no more; `sha` is of those that stand there.
    """

    mark: str
    type: str
    id: str | None = None
    absent: bool = False
    away: bool = False
    shown: str | None = None
    sha: str | None = None
    mime: str | None = None
    size: int | None = None
    lost: bool = False
    children: tuple[Entry, ...] = ()

    @property
    def stands_as(self) -> tuple[str, str]:
        """Type and mark of what was written."""
        return (self.type, self.mark) if self.shown is None else ("paragraph", self.shown)

    @property
    def key(self) -> tuple[Any, ...]:
        """What equal trees share."""
        return (self.mark, self.sha, tuple(child.key for child in self.children))


def entry_of(block: Block, *, id: str | None = None) -> Entry:
    """What is noted of a block of the source."""
    return Entry(
        mark=mark_of(block),
        type=block["type"],
        id=id,
        sha=sha_of(block),
        mime=block.get("mime"),
        size=block.get("size"),
        children=tuple(map(entry_of, children_of(block))),
    )


@dataclass(frozen=True)
class Standing:
    """A block of the managed region that stands on the page, with what is below it."""

    live: Live
    entry: Entry
    children: tuple[Standing, ...] = ()
    foreign: tuple[Live, ...] = ()
    """Blocks of other people directly below it."""

    @property
    def is_as_left(self) -> bool:
        """Whether the block itself is as the sync wrote it."""
        return (self.live.type, self.live.mark) == self.entry.stands_as

    @property
    def holds_foreign(self) -> bool:
        """Whether something stands below it that the sync did not make, or that was not read."""
        return bool(self.foreign) or not self.live.whole or any(child.holds_foreign for child in self.children)

    @property
    def token(self) -> str:
        """What equal blocks share: of one that is as it was left, what the source's block has."""
        return token(self.entry.mark, self.entry.sha) if self.is_as_left else self.live.mark

    @property
    def key(self) -> tuple[Any, ...]:
        """What equal trees share."""
        return (self.token, tuple(child.key for child in self.children))


def token(mark: str, sha: str | None) -> str:
    """What blocks share that a reader finds equal."""
    return mark if sha is None else digest([mark, sha])


@dataclass(frozen=True)
class Region:
    """What stands on a page.

    Args:
        base: what the sync last wrote, its ids filled in. page: all top-level blocks, in order.
        standing: those of the region, in the page's order.
        astray: blocks of the region that somebody has drawn to another level: below a block, or out from below one.
        lacks: whether a block of the region stands nowhere among those that were read.
    """

    base: tuple[Entry, ...]
    page: tuple[Live, ...]
    standing: tuple[Standing, ...]
    astray: tuple[Standing, ...] = ()
    lacks: bool = False

    @property
    def foreign(self) -> tuple[Live, ...]:
        """Top-level blocks that the sync did not make."""
        ours = {item.live.id for item in self.standing}
        return tuple(block for block in self.page if block.id not in ours)

    @property
    def holds_foreign(self) -> bool:
        """Whether anything on the page was made by somebody else."""
        return bool(self.foreign) or any(item.holds_foreign for item in self.standing)

    def everywhere(self) -> tuple[Standing, ...]:
        """What the sync has made, each at the level at which it stands now, in the page's order."""
        known = {item.live.id: item for item in _below([*self.standing, *self.astray])}

        def level(lives: Sequence[Live], *, away: bool = False) -> Iterator[Standing]:
            for live in lives:
                item = known.get(live.id)
                if item is None:
                    yield from level(live.children, away=True)
                else:
                    entry = replace(item.entry, away=away)
                    yield replace(item, entry=entry, children=tuple(level(live.children)))

        return tuple(level(self.page))

    def seen(self) -> str:
        """A hash of what stands in the region, by which a later look knows it again."""
        return digest(_seen(self.standing))


def _below(items: Iterable[Standing]) -> Iterator[Standing]:
    for item in items:
        yield item
        yield from _below(item.children)


def _seen(standing: Iterable[Standing]) -> list[Any]:
    return [[item.live.id, item.live.type, item.live.mark, _seen(item.children)] for item in standing]


@dataclass
class _Claims:
    """Who of these blocks is claimed by which entry.

    Args:
        us: ids of the sync's connections. nameless: what those entries say whose ids are not known, of all levels.
        making: what an interrupted write was making, of all levels; None: none was interrupted. taken: ids.
        behind: the base is older than the page.
    """

    us: Collection[str]
    nameless: Counter[tuple[str, str]]
    making: Sequence[Entry] | None = None
    behind: bool = False
    taken: set[str] = field(default_factory=set)
    expected: Mapping[str, Entry] = field(init=False)
    """What the write was making, by mark."""
    kept: Collection[str] = field(init=False)
    """Ids of the blocks that it was not to remove."""
    missed: Collection[str] = field(init=False)
    """Marks of what somebody has removed, with consent."""

    def __post_init__(self) -> None:
        making = self.making or ()
        self.expected = {item.stands_as[1]: item for item in making if not item.absent}
        self.kept = {item.id for item in making if item.id}
        self.missed = {item.stands_as[1] for item in making if item.absent}


def find(
    base: Sequence[Entry],
    page: Sequence[Live],
    *,
    us: Collection[str],
    under_way: Sequence[Entry] | None = None,
    adopt: bool = False,
    behind: bool = False,
) -> Region:
    """The managed region of a page.

    Args:
        us: the ids of the sync's connections, now and before, which tell its blocks from others'.
        under_way: what a write was making of the page that was interrupted, so that some of it may stand there; None:
            none was.
        adopt: nothing is on record: whatever the connection made is the region; what others have edited of it since
            was something else, nobody knows what.
        behind: what is on record is older than the page (a backup of the ledger): it takes in what was made since.
    """
    nameless = Counter(item.stands_as for item in _walk(base) if item.id is None and not item.absent)
    claims = _Claims(us, nameless, None if under_way is None else list(_walk(under_way)), behind)
    claims.taken |= {item.id for item in _walk(base) if item.id}
    if adopt:
        base = _adopted(page, us)
        claims.taken = {item.id for item in _walk(base) if item.id}
    found_base, standing = _matched(base, page, claims)
    region = Region(tuple(found_base), tuple(page), tuple(standing))
    lost = _Lost.of(region, us)
    return replace(region, astray=tuple(_astray(page, lost)), lacks=bool(lost.named or lost.nameless))


@dataclass
class _Lost:
    """The entries whose blocks stand at no place of their level: by id, and those whose ids are not known."""

    named: dict[str, Entry]
    nameless: list[Entry]
    us: Collection[str]
    standing: Collection[str]

    @classmethod
    def of(cls, region: Region, us: Collection[str]) -> _Lost:
        standing = {item.live.id for item in _below(region.standing)}
        lost = [item for item in _walk(region.base) if item.id not in standing and not item.absent]
        return cls({item.id: item for item in lost if item.id}, [item for item in lost if not item.id], us, standing)

    def take(self, live: Live) -> Entry | None:
        """The entry whose block this is; none is asked for twice."""
        if live.id in self.named or live.id in self.standing or live.author not in self.us:
            return self.named.pop(live.id, None)
        found = next((item for item in self.nameless if item.stands_as == (live.type, live.mark)), None)
        if found is not None:
            self.nameless.remove(found)
        return found


def _astray(page: Sequence[Live], lost: _Lost) -> Iterator[Standing]:
    """The blocks of entries that are lost at their own level."""
    for live in page:
        entry, below = lost.take(live), tuple(_astray(live.children, lost))
        if entry is None:
            yield from below
        else:
            ours = {item.live.id for item in below}
            foreign = tuple(child for child in live.children if child.id not in ours)
            yield Standing(live, replace(entry, id=live.id), below, foreign)


def _walk(entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in entries:
        yield entry
        yield from _walk(entry.children)


def _adopted(page: Sequence[Live], us: Collection[str]) -> tuple[Entry, ...]:
    return tuple(
        Entry(id=live.id, mark=_adopted_mark(live, us), type=live.type, children=_adopted(live.children, us))
        for live in page
        if live.author in us
    )


def _adopted_mark(live: Live, us: Collection[str]) -> str:
    return live.mark if not live.editor or live.editor in us else digest(["edited", live.id])


def _matched(base: Sequence[Entry], page: Sequence[Live], claims: _Claims) -> tuple[list[Entry], list[Standing]]:
    """The entries of one level, with ids and settled, and their blocks in the page's order."""
    by_id = {live.id: live for live in page}
    pairs = {index: by_id[entry.id] for index, entry in enumerate(base) if entry.id in by_id}
    pairs |= _nameless(base, page, claims)
    claims.taken |= {live.id for live in pairs.values()}
    entries = _with_newcomers(base, pairs, page, claims)
    found: list[Entry] = []
    standing: dict[str, Standing] = {}
    for entry, live in entries:
        if live is not None:
            entry, item = _settled(entry, live, claims)
            standing[live.id] = item
        elif _was_going(entry, claims):
            continue  # the sync's own hand removed it
        found.append(entry)
    return found, [standing[live.id] for live in page if live.id in standing]


def _with_newcomers(
    base: Sequence[Entry], pairs: Mapping[int, Live], page: Sequence[Live], claims: _Claims
) -> list[tuple[Entry, Live | None]]:
    """The entries with their blocks; and where they stand, those of which the base says nothing yet."""
    following: dict[int, list[tuple[Entry, Live | None]]] = {}
    at, last = {live.id: index for index, live in pairs.items()}, -1
    for live in page:
        last = at.get(live.id, last)
        if (entry := _newcomer(live, claims)) is not None:
            following.setdefault(last, []).append((entry, live))
    found = following.get(-1, [])
    for index, entry in enumerate(base):
        found += [(entry, pairs.get(index)), *following.get(index, ())]
    return found


def _newcomer(live: Live, claims: _Claims) -> Entry | None:
    """The entry of a block of ours of which the base says nothing; None: it is of somebody else, or has one there."""
    if live.author not in claims.us or live.id in claims.taken:
        return None
    if live.mark in claims.expected:
        return replace(claims.expected[live.mark], id=live.id, children=())
    return _adopted([live], claims.us)[0] if claims.behind else None


def _was_going(entry: Entry, claims: _Claims) -> bool:
    """Whether a block that is gone was removed, or never made, by a write that was interrupted.

    One may go whose text stays: an equal one stands beside it, or is made at another place.
    """
    mark = entry.stands_as[1]
    if claims.making is None or mark in claims.missed:
        return False
    return entry.id not in claims.kept if entry.id else mark not in claims.expected


def _settled(entry: Entry, live: Live, claims: _Claims) -> tuple[Entry, Standing]:
    """An entry with the id of its block; one that a write under way has changed already is as it stands there."""
    base, children = _matched(entry.children, live.children, claims)
    entry = replace(entry, id=live.id, children=tuple(base))
    if (live.type, live.mark) != entry.stands_as and live.type == entry.type and live.mark in claims.expected:
        made = claims.expected[live.mark]
        entry = replace(entry, mark=made.mark, shown=made.shown, sha=made.sha)
    ours = {item.live.id for item in children}
    foreign = tuple(block for block in live.children if block.id not in ours)
    return entry, Standing(live, entry, tuple(children), foreign)


def _nameless(base: Sequence[Entry], page: Sequence[Live], claims: _Claims) -> dict[int, Live]:
    """The blocks of entries without ids: by their marks first, then, between those, by their types; the rest as can."""
    wanted = [index for index, entry in enumerate(base) if entry.id is None and not entry.absent]
    there = [live for live in page if live.author in claims.us and live.id not in claims.taken]
    if not wanted or not there:
        return {}
    equal = common([base[index].stands_as for index in wanted], [(live.type, live.mark) for live in there])
    elsewhere = claims.nameless - Counter(base[index].stands_as for index in wanted)
    kinds = [base[index].stands_as[0] for index in wanted], [_kind(live, elsewhere, claims) for live in there]
    pairs = align(len(wanted), len(there), equal, lambda left, right: kinds[0][left] == kinds[1][right])
    found = {wanted[left]: there[right] for left, right in pairs}
    found |= _moved(base, wanted, there, found)
    taken = {live.id for live in found.values()}

    def turned(left: int, right: int) -> bool:  # into another type, by somebody
        live = there[right]
        free = wanted[left] not in found and live.id not in taken and kinds[1][right] is not None
        return free and live.editor not in claims.us and not claims.behind

    more = align(len(wanted), len(there), pairs, turned)
    return found | {wanted[left]: there[right] for left, right in more if turned(left, right)}


def _kind(live: Live, elsewhere: Collection[tuple[str, str]], claims: _Claims) -> str | None:
    """The type of what an edit may have made of a block; None: it was drawn here from another level, or is new."""
    is_another = (live.type, live.mark) in elsewhere or live.mark in claims.expected
    return None if is_another else live.type


def _moved(
    base: Sequence[Entry], wanted: Sequence[int], there: Sequence[Live], found: Mapping[int, Live]
) -> dict[int, Live]:
    """The blocks that stand, as they were, at another place."""
    taken = {live.id for live in found.values()}
    left = [live for live in there if live.id not in taken]
    moved: dict[int, Live] = {}
    for index in wanted:
        same = [live for live in left if (live.type, live.mark) == base[index].stands_as]
        if index not in found and same:
            moved[index] = same[0]
            left.remove(same[0])
    return moved
