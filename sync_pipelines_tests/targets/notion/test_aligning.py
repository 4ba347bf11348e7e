"""Sequences that are compared: exactly where they are short, in bounded memory where a note has thousands of lines."""

from __future__ import annotations

import random
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipelines.targets.notion import aligning
from sync_pipelines.targets.notion.aligning import align, common


def _numbered(text: str, number: int) -> list[str]:
    return [f"{text} {index}" for index in range(number)]


def _shuffled(lines: list[str]) -> list[str]:
    return random.Random(7).sample(lines, len(lines))


LONG = {
    "first and last changed": (_numbered("line", 20_000), ["first", *_numbered("line", 20_000)[1:-1], "last"], 19_998),
    "every second line blank": (
        ["a", *(line for text in _numbered("line", 5_000) for line in (text, ""))],
        ["b", *(line for text in _numbered("line", 5_000) for line in ("", text)), "c"],
        9_999,
    ),
    "blank lines alone": (["a", *[""] * 3_000], ["b", *[""] * 3_500, "c"], 3_000),
    "the same two over and over": (["a", *["", "x"] * 2_000], ["b", *["", "x", "y"] * 2_000, "c"], 2_600),
    "nothing is where it was": (_numbered("line", 2_000), _shuffled(_numbered("line", 2_000)), 50),
    "all changed": (_numbered("line", 1_500), _numbered("other", 1_501), 0),
}


@pytest.mark.slow
@pytest.mark.parametrize(("left", "right", "least"), LONG.values(), ids=LONG)
def test_long_notes_are_compared_in_memory_that_does_not_grow_with_their_square(
    left: list[str], right: list[str], least: int
):
    tracemalloc.start()
    try:
        equal = common(left, right)
        pairs = align(len(left), len(right), equal, lambda _left, _right: True)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert all(left[first] == right[second] for first, second in equal)
    assert len(equal) >= least
    assert len(pairs) >= (len(equal) or min(len(left), len(right)))
    assert all(one[0] < other[0] and one[1] < other[1] for one, other in pairwise(pairs))
    assert most < 20 << 20


@given(
    left=st.lists(st.sampled_from("abcd"), max_size=14),
    right=st.lists(st.sampled_from("abcd"), max_size=14),
)
def test_what_is_too_long_for_a_table_has_a_longest_common_subsequence_too(left: list[str], right: list[str]):
    with pytest.MonkeyPatch.context() as patch:
        exact = common(left, right)
        patch.setattr(aligning, "_CELLS", 0)
        assert len(common(left, right)) == len(exact)
        patch.setattr(aligning, "_MATCHES", 3)  # what stands there more often is paired between the rest
        pairs = common(left, right)
    assert [left[first] for first, _ in pairs] == [right[second] for _, second in pairs]
    assert all(one[0] < other[0] and one[1] < other[1] for one, other in pairwise(pairs))
