"""A three-way merge of two edited states of a record, property by property, from the state that both began with.

Values are those of JSON; a property that is not there, or null, is None. The rules:

- Changed on one side: that side's value, a removal too. Changed on both to the same: that.
- Lists without repeated elements are sets: what either side added is in, what either side removed is out. First what
  the base had, in its order, then what was added, sorted; so no side's delivery comes first.
- Maps: by key, by these same rules.
- Anything else that both changed is a clash, which nobody but a person decides.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What a merge has made.

    Args:
        values: by property, without those that are not there; of one that clashes, the base's.
        clashes: the properties that both sides have changed, each in its own way; in a map as `property.key`.
    """

    values: Mapping[str, Any]
    clashes: tuple[str, ...] = ()


class _Clash(Exception):
    """Both sides have changed a value, each in its own way."""


def merge(base: Mapping[str, Any], source: Mapping[str, Any], target: Mapping[str, Any]) -> Merged:
    """The state that has the edits of both sides.

    Args:
        base: the state that both sides were last known to have; source, target: what became of it.
    """
    clashes: list[str] = []
    names = sorted({*base, *source, *target})
    found = {name: _value(base.get(name), source.get(name), target.get(name), name, clashes) for name in names}
    return Merged(values={name: value for name, value in found.items() if value is not None}, clashes=tuple(clashes))


def same(left: Any, right: Any) -> bool:
    """Whether two values of JSON are equal: true is no 1, and a number is equal to its other spellings."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, float) or isinstance(right, float):
        return _number(left) == _number(right) is not None  # what jsonb gives back of 1e300 is a long int
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:  # a longer int than any float
        return None


def leaves(state: Mapping[str, Any], whole: Collection[str] = ()) -> dict[str, Any]:
    """The values of a state by name, those of a map as `property.key`, as clashes are called.

    Args:
        whole: names of maps that are left whole.
    """
    found: dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, Mapping) and name not in whole:
            found |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            found[name] = value
    return found


def with_leaves(state: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A state with these values, called as `leaves` calls them, in the place of its own; None is no value."""
    found = {name: dict(value) if isinstance(value, Mapping) else value for name, value in state.items()}
    for name, value in given.items():
        top, _, key = name.partition(".")
        inside = key and name not in state and isinstance(found.get(top), dict)
        place, last = (found[top], key) if inside else (found, name)
        place.pop(last, None)
        if value is not None:
            place[last] = value
    return found


def same_state(left: Mapping[str, Any] | None, right: Mapping[str, Any] | None) -> bool:
    """Whether two states of a record are equal; None is no record."""
    if left is None or right is None:
        return left is right
    return all(same(left.get(name), right.get(name)) for name in {*left, *right})


def _value(base: Any, source: Any, target: Any, name: str, clashes: list[str]) -> Any:
    if same(base, target) or same(source, target):
        return source
    if same(base, source):
        return target
    if isinstance(source, dict) and isinstance(target, dict) and isinstance(base, dict | None):
        return _map(base or {}, source, target, name, clashes)
    try:
        return _list(base, source, target)
    except _Clash:
        clashes.append(name)
        return base


def _map(base: dict, source: dict, target: dict, name: str, clashes: list[str]) -> dict[str, Any]:
    # in a map a null is a value, and another one than no key at all
    absent = object()
    found: dict[str, Any] = {}
    for key in sorted({*base, *source, *target}):
        sides = [side.get(key, absent) for side in (base, source, target)]
        value = _keyed(sides, absent, f"{name}.{key}", clashes)
        if value is not absent:
            found[key] = value
    return found


def _keyed(sides: Sequence[Any], absent: object, name: str, clashes: list[str]) -> Any:
    base, source, target = sides

    def alike(left: Any, right: Any) -> bool:
        return left is right if absent in (left, right) else same(left, right)

    if alike(base, target) or alike(source, target):
        return source
    if alike(base, source):
        return target
    if absent in (source, target):
        clashes.append(name)
        return base
    return _value(None if base is absent else base, source, target, name, clashes)


def _list(base: Any, source: Any, target: Any) -> list[Any]:
    """The three as sets.

    Raises:
        _Clash: they are none.
    """
    if not (isinstance(source, list) and isinstance(target, list) and isinstance(base, list | None)):
        raise _Clash
    was, here, there = (_elements(side) for side in (base or [], source, target))
    kept = [was[mark] for mark in was if mark in here and mark in there]
    added = {mark: value for mark, value in (here | there).items() if mark not in was}
    return [*kept, *(added[mark] for mark in sorted(added))]


def _elements(values: list[Any]) -> dict[str, Any]:
    found = {_mark(value): value for value in values}
    if len(found) < len(values):
        raise _Clash
    return found


def _mark(value: Any) -> str:
    """A text that equal values share."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True)
