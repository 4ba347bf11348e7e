"""The streamed comparison of two sides."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations, pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipelines.engine.compare import Difference, compare, differing_buckets, scratch
from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.model import BUCKETS, FINGERPRINTS_SCHEMA, Digest, bucket_of, digest_of
from sync_pipelines.engine.sums import BY_MD5, IN_PROCESS
from sync_pipelines_tests.engine.sides import Side


def found(source: Side, target: Side) -> dict[str, set[str]]:
    with compare(source, target) as differences:
        return {kind: {k for keys in differences.keys(kind) for k in keys} for kind in ("missing", "stale", "extra")}


keys = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
sides = st.dictionaries(keys, st.sampled_from(["1:a", "1:b", None]), max_size=30)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(sides, sides, st.booleans(), st.booleans())
def test_every_difference_is_named_and_nothing_else(left, right, left_adds, right_adds):
    left = {key: mark or "1:c" for key, mark in left.items()}
    expected = {
        "missing": left.keys() - right.keys(),
        "stale": {key for key in left.keys() & right.keys() if left[key] != right[key]},
        "extra": right.keys() - left.keys(),
    }
    assert found(Side(left, adds_up=left_adds), Side(right, adds_up=right_adds)) == expected


def test_fingerprints_swapped_between_two_keys_of_one_bucket_differ():
    first, second = "a", next(f"k{n}" for n in range(100_000) if bucket_of(f"k{n}") == bucket_of("a"))
    left = Side({first: "1:x", second: "1:y"}, adds_up=True)
    right = Side({first: "1:y", second: "1:x"}, adds_up=True)
    assert found(left, right)["stale"] == {first, second}


def test_only_differing_buckets_are_listed():
    rows = {f"k{n}": "1:a" for n in range(5000)}
    left, right = Side(rows, adds_up=True), Side(rows | {"k7": "1:b"}, adds_up=True)
    assert found(left, right)["stale"] == {"k7"}
    assert {bucket_of(key) for key in left.listed + right.listed} == {bucket_of("k7")}


def test_equal_sides_are_not_listed_at_all():
    rows = {f"k{n}": "1:a" for n in range(100)}
    left, right = Side(rows, adds_up=True), Side(rows, adds_up=True)
    assert found(left, right) == {"missing": set(), "stale": set(), "extra": set()}
    assert left.listed == right.listed == []


@pytest.mark.parametrize("adds_up", [True, False])
def test_a_side_that_cannot_add_up_is_listed_once_however_much_differs(adds_up):
    rows = {f"k{n}": "1:a" for n in range(1000)}
    left, right = Side(rows, adds_up=adds_up), Side(rows | {"k7": "1:b"})
    assert found(left, right)["stale"] == {"k7"}
    assert sorted(right.listed) == sorted(rows)


@pytest.mark.parametrize("measure", [BY_MD5, IN_PROCESS])
def test_each_way_of_adding_up_tells_swapped_and_missing_fingerprints_apart(measure):
    names, marks = [f"k{n}" for n in range(200)], ["1:x", "1:y", None]
    shares = {(key, mark): measure.share_of(key, mark) for key in names for mark in marks}
    assert len(set(shares.values())) == len(shares)
    for one, other in pairwise(names):
        for x, y in combinations(marks, 2):
            assert shares[one, x] + shares[other, y] != shares[one, y] + shares[other, x]
    assert {measure.bucket_of(f"k{n}") for n in range(100_000)} == set(range(BUCKETS))


@given(keys, st.sampled_from(["1:a", "1:ü", None]))
def test_sums_are_those_that_a_server_adds_up(key, mark):
    assert (BY_MD5.bucket_of(key), BY_MD5.share_of(key, mark)) == (bucket_of(key), digest_of(key, mark))


def test_a_stranger_without_fingerprint_is_extra_and_not_equal_to_nothing():
    assert found(Side({}, adds_up=True), Side({"stranger": None}, adds_up=False))["extra"] == {"stranger"}


def test_keys_that_are_left_out_or_dropped_are_no_longer_differences():
    with compare(Side({"a": "1", "b": "1", "c": "1"}, adds_up=False), Side({}, adds_up=False)) as differences:
        differences.leave_out(["a"], label="quarantined")
        differences.drop(["b"])
        assert (differences.count("missing"), differences.count("quarantined")) == (1, 1)
        assert differences.sample("missing") == ["c"]


def test_paging_over_differences_survives_changes_between_two_pages():
    rows = {f"k{n:04}": "1:a" for n in range(2500)}
    with compare(Side(rows, adds_up=False), Side({}, adds_up=False)) as differences:
        seen = []
        for page in differences.keys("missing", size=100):
            seen += page
            differences.leave_out(page, label="quarantined")
    assert seen == sorted(rows)


@pytest.mark.parametrize(("left", "right"), [({}, {1: Digest(0, 0)}), ({1: Digest(2, 9)}, {1: Digest(2, 9)})])
def test_an_empty_bucket_is_no_difference(left, right):
    assert differing_buckets(left, right) == set()


class Endless:
    """A large side whose rows are made while they are read."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def count(self) -> int:
        return self.rows

    def digests(self) -> None:
        return None

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        for start in range(0, self.rows, 1000):
            names = [f"key-{n:09}" for n in range(start, start + 1000)]
            yield pa.RecordBatch.from_arrays(
                [pa.array(names), pa.array(["1:" + "a" * 32] * 1000)], schema=FINGERPRINTS_SCHEMA
            )


def peak_of(rows: int) -> int:
    tracemalloc.start()
    with compare(Endless(rows), Endless(rows)) as differences:
        assert differences.count("missing") == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_records():
    small, large = peak_of(5_000), peak_of(50_000)
    assert large < small + 2_000_000


def test_what_a_killed_process_left_of_a_comparison_goes_with_the_next_one(tmp_path: Path):
    with scratch(tmp_path):
        [folder] = tmp_path.iterdir()
        left = tmp_path / f"{folder.name}_killed"  # as SIGKILL leaves it: the lock is free
        shutil.copytree(folder, left)
        for place in (folder, left):
            os.utime(place, (0, 0))
        with scratch(tmp_path):
            assert (folder.exists(), left.exists()) == (True, False)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_under_a_comparison_is_told_with_what_to_do():
    with pytest.raises(RunError, match=r"database or disk is full.*Free space there"):
        _fill_up()


def _fill_up() -> None:
    with scratch() as connection:
        connection.execute("PRAGMA max_page_count=2")
        connection.execute("CREATE TABLE one (text TEXT)")
        connection.execute("INSERT INTO one VALUES (?)", ("x" * 100_000,))


class Copied(Side):
    """A store without a unique index: it lists these keys once more."""

    def __init__(self, rows: dict[str, str | None], *, again: dict[str, str | None]) -> None:
        super().__init__(rows)
        self.again = again

    def count(self) -> int:
        return len(self.rows) + len(self.again)

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        yield from super().fingerprints(buckets=buckets)
        yield from Side(self.again).fingerprints(buckets=buckets)

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        yield from super().values(keys)
        yield from Side(self.again).values(keys)


@pytest.mark.parametrize("again", [{"a": "1:a"}, {"a": "1:b"}, {"a": None}])
@pytest.mark.parametrize("adds_up", [True, False])
def test_a_key_that_the_target_lists_twice_is_stale_whatever_its_copy_says(again: dict[str, str | None], adds_up: bool):
    source = Side({"a": "1:a", "b": "1:a"}, adds_up=adds_up)
    assert found(source, Copied({"a": "1:a", "b": "1:a"}, again=again))["stale"] == {"a"}


def test_a_copy_of_a_key_is_a_record_of_its_own_in_the_counts():
    rows = {"a": "1:a", "b": "1:a"}
    with compare(Side(rows), Copied({**rows, "x": "1:a"}, again={"a": "1:a", "x": "1:a"})) as differences:
        assert (differences.source_count, differences.target_count) == (2, 5)
        assert (differences.count("stale"), differences.count("extra")) == (1, 1)
        assert differences.accounted() == -3


def test_a_reason_that_is_found_again_is_told_once_and_another_beside_it():
    with compare(Side({}), Side({})) as differences:
        for reason in ("x", "x", "y", "x"):
            differences.note([Difference("a", "stale", reason)])
        assert differences.reasons(["a"]) == {"a": "x; y"}
