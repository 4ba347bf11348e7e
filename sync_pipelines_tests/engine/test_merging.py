"""Three-way merges: what each side did alone survives, and neither comes first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sync_pipelines.engine.merging import merge, same, same_state

_WORDS = st.sampled_from(["a", "b", "c", "d"])
_SCALARS = st.one_of(st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 1.0, 1e300]), _WORDS)
_VALUES = st.one_of(
    _SCALARS,
    st.lists(_WORDS, max_size=4),
    st.dictionaries(_WORDS, st.one_of(st.none(), _SCALARS, st.lists(_WORDS, max_size=3)), max_size=3),
)
STATES = st.dictionaries(st.sampled_from(["title", "tags", "level", "more"]), _VALUES, max_size=4)


@given(STATES, STATES, STATES)
@example({"more": {"a": 1}}, {"more": {"a": 2}}, {"more": {}})
def test_neither_side_comes_first(base: dict, source: dict, target: dict):
    one, other = merge(base, source, target), merge(base, target, source)
    assert one.clashes == other.clashes
    assert same_state(one.values, other.values)


@given(STATES, STATES)
def test_a_side_that_changed_nothing_takes_the_other_ones(base: dict, changed: dict):
    for merged in (merge(base, changed, base), merge(base, base, changed), merge(base, changed, changed)):
        assert same_state(merged.values, changed)
        assert merged.clashes == ()


@pytest.mark.slow
@given(STATES, STATES, STATES)
def test_what_one_side_changed_alone_survives(base: dict, source: dict, target: dict):
    merged = merge(base, source, target)
    for name in {*base, *source, *target}:
        was, here, there = base.get(name), source.get(name), target.get(name)
        if same(was, there):
            assert same(merged.values.get(name), here)
        elif same(was, here):
            assert same(merged.values.get(name), there)


@given(STATES, STATES, STATES)
def test_a_merge_that_was_brought_changes_nothing_when_it_comes_again(base: dict, source: dict, target: dict):
    merged = merge(base, source, target)
    if not merged.clashes:
        again = merge(source, source, merged.values)
        assert same_state(again.values, merged.values)
        assert again.clashes == ()


_SETS = st.lists(_WORDS, unique=True, max_size=4)


@given(_SETS, _SETS, _SETS)
def test_lists_have_what_either_side_added_and_not_what_either_removed(base: list, source: list, target: list):
    merged = merge({"x": base}, {"x": source}, {"x": target})
    if same(source, base) or same(target, base):
        return
    assert merged.clashes == ()
    added, removed = {*source, *target} - {*base}, {*base} - ({*source} & {*target})
    assert sorted(merged.values["x"]) == sorted(({*base} | added) - removed)


@pytest.mark.parametrize(
    ("base", "source", "target", "merged"),
    [
        (["c", "a"], ["c", "a", "z"], ["c", "a", "b"], ["c", "a", "b", "z"]),
        (["a", "b"], ["b"], ["a", "b", "c"], ["b", "c"]),
        (None, ["a"], ["b"], ["a", "b"]),
        ([], [1.0], [1, 2], [1, 2]),
        (None, {"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1}, {"a": 2}),
        ({"a": {"x": [1]}}, {"a": {"x": [1, 2]}}, {"a": {"x": [1, 3]}}, {"a": {"x": [1, 2, 3]}}),
        ({}, {"a": None}, {"b": 1}, {"a": None, "b": 1}),
        ({"a": ["x", "y"]}, {"a": ["x"]}, {"a": ["x", "y", "z"]}, {"a": ["x", "z"]}),
        ([], [{"a": 1, "b": 2}], [{"b": 2, "a": 1}, "z"], ["z", {"a": 1, "b": 2}]),
    ],
)
def test_lists_and_maps_merge_by_their_rules(base: Any, source: Any, target: Any, merged: Any):
    found = merge({} if base is None else {"x": base}, {"x": source}, {"x": target})
    assert (found.values, found.clashes) == ({"x": merged}, ())


@pytest.mark.parametrize(
    ("base", "source", "target", "clashes"),
    [
        ("a", "b", "c", ("x",)),
        (1, True, 1.5, ("x",)),
        (["a", "a"], ["a"], ["a", "a", "b"], ("x",)),
        (["a"], None, ["a", "b"], ("x",)),
        ({"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 3, "b": 1}, ("x.a",)),
        ({"a": {"b": 1}}, {}, {"a": {"b": 2}}, ("x.a",)),
    ],
)
def test_what_both_changed_in_their_own_ways_clashes(base: Any, source: Any, target: Any, clashes: tuple):
    given_source = {} if source is None else {"x": source}
    assert merge({"x": base}, given_source, {"x": target}).clashes == clashes


def test_numbers_are_equal_in_every_spelling_of_jsonb_and_true_is_no_number():
    assert same(1e300, 10**300)
    assert same({"a": [1.0]}, {"a": [1]})
    assert not same(1, True)
    assert not same(1.0, True)
    assert not same("1", 1)
    assert not same(1.5, 10**400)
    assert not same(1.5, "1.5")
