"""Which element of one sequence becomes which of another: equal ones stay, as many as can; then the likest. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

Pairs = list[tuple[int, int]]
"""Indices into both sequences, rising in both."""

_ALIKE, _CHANGE, _SINGLE = 0.5, 1.0, 0.75
"""What it costs to change the children of an element, the element itself, or to remove or make one: two of these cost
more than a change, and a change of one kind costs less than making another."""

_CELLS = 250_000
"""Of a table of two sequences, as it is worth to be filled in: that of a note of 10,000 lines would take gigabytes."""

_SIDE = 200
"""Elements of either side that are compared with each other; of longer ones the first so many, then the next."""

_MATCHES = 500_000
"""Pairs of equal elements that are looked at in sequences too long for a table; 50 MB at worst."""


def common(left: Sequence[Hashable], right: Sequence[Hashable]) -> Pairs:
    """A longest common subsequence; what both begin or end with is in it.

    Of sequences too long for a table, in which few elements stand over and over, one that may be shorter.
    """
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    end = 0
    while end < min(len(left), len(right)) - start and left[-1 - end] == right[-1 - end]:
        end += 1
    inner = _common(left[start : len(left) - end], right[start : len(right) - end])
    pairs = [(index, index) for index in range(start)]
    pairs += [(start + first, start + second) for first, second in inner]
    return pairs + [(len(left) - 1 - index, len(right) - 1 - index) for index in reversed(range(end))]


def _common(left: Sequence[Hashable], right: Sequence[Hashable]) -> Pairs:
    if not set(left) & set(right):
        return []
    if len(left) * len(right) <= _CELLS:
        return _longest(left, right)
    rare, all_of_them = _rare(left, right)
    pairs = _sparse(left, right, rare)
    if all_of_them:
        return pairs
    if not pairs:
        return _piecemeal(left, right)
    return [pair for gap, end in _gaps(pairs, len(left), len(right)) for pair in (*_within(gap, left, right), *end)]


def _piecemeal(left: Sequence[Hashable], right: Sequence[Hashable]) -> Pairs:
    """Of two sequences that have nothing but the same few elements over and over."""
    return [
        (start + first, start + second)
        for start in range(0, min(len(left), len(right)), _SIDE)
        for first, second in _longest(left[start : start + _SIDE], right[start : start + _SIDE])
    ]


def _rare(left: Sequence[Hashable], right: Sequence[Hashable]) -> tuple[set[Any], bool]:
    """The elements that stand in both, the rarest first, as many as may be looked at; and whether these are all."""
    counts = Counter(left), Counter(right)
    matches = sorted((counts[0][item] * counts[1][item], place) for place, item in enumerate(counts[0]))
    items = list(counts[0])
    found: set[Any] = set()
    spent = 0
    for number, place in matches:
        spent += number
        if spent > _MATCHES:
            return found, False
        if number:
            found.add(items[place])
    return found, True


def _sparse(left: Sequence[Hashable], right: Sequence[Hashable], items: set[Any]) -> Pairs:
    """A longest common subsequence of these elements alone; Hunt and Szymanski, CACM 20 (5), 1977."""
    places: dict[Hashable, list[int]] = {}
    for index in reversed(range(len(right))):
        if right[index] in items:
            places.setdefault(right[index], []).append(index)
    ends: list[int] = []
    chains: list[Any] = []
    for first, item in enumerate(left):
        for second in places.get(item, ()):
            length = bisect_left(ends, second)
            chain = (first, second, chains[length - 1] if length else None)
            ends[length : length + 1] = [second]
            chains[length : length + 1] = [chain]
    return _unchained(chains[-1] if chains else None)


def _unchained(chain: Any) -> Pairs:
    pairs: Pairs = []
    while chain is not None:
        pairs.append(chain[:2])
        chain = chain[2]
    return pairs[::-1]


def _gaps(pairs: Pairs, left: int, right: int) -> Iterator[tuple[tuple[range, range], Pairs]]:
    """What lies before each pair, with the pair, and what lies behind the last one."""
    before = (-1, -1)
    for pair in pairs:
        yield (range(before[0] + 1, pair[0]), range(before[1] + 1, pair[1])), [pair]
        before = pair
    yield (range(before[0] + 1, left), range(before[1] + 1, right)), []


def _within(gap: tuple[range, range], left: Sequence[Hashable], right: Sequence[Hashable]) -> Pairs:
    one, other = gap
    if not one or not other:
        return []
    found = common(left[one.start : one.stop], right[other.start : other.stop])
    return [(one.start + first, other.start + second) for first, second in found]


def _longest(left: Sequence[Hashable], right: Sequence[Hashable]) -> Pairs:
    longest = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for first in reversed(range(len(left))):
        row, below = longest[first], longest[first + 1]
        for second in reversed(range(len(right))):
            if left[first] == right[second]:
                row[second] = below[second + 1] + 1
            else:
                row[second] = max(below[second], row[second + 1])
    pairs: Pairs = []
    first = second = 0
    while first < len(left) and second < len(right):
        if left[first] == right[second]:
            pairs.append((first, second))
            first, second = first + 1, second + 1
        elif longest[first + 1][second] >= longest[first][second + 1]:
            first += 1
        else:
            second += 1
    return pairs


def align(
    left: int,
    right: int,
    equal: Pairs,
    may_change: Callable[[int, int], bool],
    alike: Callable[[int, int], bool] = lambda _left, _right: False,
) -> Pairs:
    """Pairs of two sequences of these lengths: the equal ones, and between them those that cost least to change.

    Args:
        equal: a common subsequence. may_change: whether an element can become another one.
        alike: whether it is that one already, but for what is below it.
    """
    found: Pairs = []
    for (one, other), pair in _gaps(equal, left, right):
        side = _SIDE if len(one) * len(other) > _CELLS else max(len(one), len(other), 1)
        for start in range(0, min(len(one), len(other)), side):
            found += _cheapest(one[start : start + side], other[start : start + side], may_change, alike)
        found += pair
    return found


def _cheapest(
    left: range, right: range, may_change: Callable[[int, int], bool], alike: Callable[[int, int], bool]
) -> Pairs:
    costs = [[_SINGLE * (len(left) - i + len(right) - j) for j in range(len(right) + 1)] for i in range(len(left) + 1)]
    for i in reversed(range(len(left))):
        for j in reversed(range(len(right))):
            cost = _SINGLE + min(costs[i + 1][j], costs[i][j + 1])
            if may_change(left[i], right[j]):
                cost = min(cost, _cost(alike, left[i], right[j]) + costs[i + 1][j + 1])
            costs[i][j] = cost
    pairs: Pairs = []
    i = j = 0
    while i < len(left) and j < len(right):
        taken = may_change(left[i], right[j]) and costs[i][j] == _cost(alike, left[i], right[j]) + costs[i + 1][j + 1]
        if taken:
            pairs.append((left[i], right[j]))
            i, j = i + 1, j + 1
        elif costs[i][j] == _SINGLE + costs[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def _cost(alike: Callable[[int, int], bool], left: int, right: int) -> float:
    return _ALIKE if alike(left, right) else _CHANGE
