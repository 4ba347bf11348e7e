"""Which element of one sequence becomes which of another: equal ones stay, as many as can; then the likest. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

Pairs = list[tuple[int, int]]
"""Indices into both sequences, rising in both."""

_ALIKE, _CHANGE, _SINGLE = 0.5, 1.0, 0.75
"""What it costs to change the children of an element, the element itself, or to remove or make one: two of these cost
more than a change, and a change of one kind costs less than making another."""


def common(left: Sequence[Hashable], right: Sequence[Hashable]) -> Pairs:
    """A longest common subsequence; what both begin or end with is in it."""
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
    before = (-1, -1)
    for pair in [*equal, (left, right)]:
        gap = (range(before[0] + 1, pair[0]), range(before[1] + 1, pair[1]))
        found += _cheapest(*gap, may_change, alike)
        if pair != (left, right):
            found.append(pair)
        before = pair
    return found


def _cheapest(
    left: range, right: range, may_change: Callable[[int, int], bool], alike: Callable[[int, int], bool]
) -> Pairs:
    if not left or not right:
        return []
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
