"""The managed region as a state, for decisions: each block at its place. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from sync_pipelines.targets.notion.aligning import align, common
from sync_pipelines.targets.notion.blocks import FILES, Block, children_of
from sync_pipelines.targets.notion.region import Entry, Region, Standing, entry_of, token

ORDER = "order"


def body_of_base(base: Sequence[Entry]) -> dict[str, str]:
    """By place → token; a place is the block's number, below another one after a full stop."""
    return {name: token(entry.mark, entry.sha) for name, entry in _named(base, away=False)}


def _named(base: Sequence[Entry], prefix: str = "", *, away: bool = True) -> Iterator[tuple[str, Entry]]:
    """Every entry with its place.

    Args:
        away: those as well that stand below blocks of others.
    """
    for number, entry in enumerate(base, 1):
        name = f"{prefix}{number:05d}"
        if away or not entry.away:
            yield name, entry
            yield from _named(entry.children, f"{name}.", away=away)


def body_of_page(region: Region) -> dict[str, str]:
    """What has become of the base's blocks; what is gone has no place.

    `order` is there where somebody moved them, `00002.order` where those below the second block were moved.
    """
    places = places_of(region)
    body = {name: item.token for name, item in places.items()}
    levels: dict[str, list[str]] = {}
    for name in places:
        levels.setdefault(name.rpartition(".")[0], []).append(name)
    for above, order in levels.items():
        if order != sorted(order):
            body[order_below(above)] = ",".join(order)
    return body


def order_below(above: str) -> str:
    """What a state calls the order of the blocks below a place; of those of the page, where that is empty."""
    return f"{above}.{ORDER}" if above else ORDER


def places_of(region: Region) -> dict[str, Standing]:
    """What stands on the page of the base's blocks, by their places; in the page's order."""
    names = {id(entry): name for name, entry in _named(region.base)}
    return {names[id(item.entry)]: item for item in _standing(region.standing)}


def _standing(items: Iterable[Standing]) -> Iterator[Standing]:
    for item in items:
        yield item
        yield from _standing(item.children)


@dataclass(frozen=True)
class Wish:
    """A block that the source wants, and the place it has beside the base's blocks."""

    place: str
    block: Block
    entry: Entry
    children: tuple[Wish, ...] = ()

    @property
    def token(self) -> str:
        return token(self.entry.mark, self.entry.sha)


def wishes(base: Sequence[Entry], blocks: Sequence[Block], prefix: str = "") -> list[Wish]:
    """The source's blocks: in the base's places where they are the same, or what those became; new ones after them."""
    made = _with_what_stands(base, map(entry_of, blocks))
    equal = common([entry.key for entry in base], [entry.key for entry in made])
    pairs = align(
        len(base), len(made), equal, lambda left, right: base[left].type == made[right].type, _alike(base, made)
    )
    of = {right: left for left, right in pairs}
    found: list[Wish] = []
    last, more = 0, 0
    for index, (block, entry) in enumerate(zip(blocks, made, strict=True)):
        if index in of:
            last, more = of[index] + 1, 0
            place, below = f"{prefix}{last:05d}", base[of[index]].children
        else:
            more += 1
            place, below = f"{prefix}{last:05d}+{more:05d}", ()
        children = tuple(wishes(below, children_of(block), f"{place}."))
        found.append(Wish(place, block, entry, children))
    return found


def _with_what_stands(base: Sequence[Entry], made: Iterable[Entry]) -> list[Entry]:
    """Of a file whose bytes the source lacks now, those that were uploaded before: they stay on the page."""
    known = {(entry.type, entry.mark): entry.sha for entry in base if entry.type in FILES and entry.shown is None}
    return [
        replace(entry, sha=sha, lost=True)
        if entry.sha == "" and (sha := known.get((entry.type, entry.mark)))
        else entry
        for entry in made
    ]


def _alike(base: Sequence[Entry], made: Sequence[Entry]) -> Callable[[int, int], bool]:
    return lambda left, right: (base[left].mark, base[left].sha) == (made[right].mark, made[right].sha)


def body_of_wishes(found: Iterable[Wish]) -> dict[str, str]:
    """As `body_of_base`, of what the source wants."""
    body: dict[str, str] = {}
    for wish in found:
        body[wish.place] = wish.token
        body |= body_of_wishes(wish.children)
    return body
