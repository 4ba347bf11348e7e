"""Texts, fingerprints and hashes of columns: the same for the same rows, whichever version made them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipelines.engine import key_index
from sync_pipelines.engine.key_index import KeyIndex
from sync_pipelines.targets.postgres.values import fingerprints, hashes, holds_nul, texts

PRINTED = [
    pa.array(["a,b", "", None]),
    pa.array(["é" * 3, "x" * 5000, "x"]),
    pa.array([datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), None], pa.timestamp("us")),
    pa.array(
        [datetime(1969, 12, 31, 23, 59, 59, 5, UTC), None, datetime(2024, 2, 29, tzinfo=UTC)],
        pa.timestamp("us", tz="UTC"),
    ),
    pa.array([['a"b', None, "\\"], [], None], pa.list_(pa.string())),
    pa.array([Decimal("1.50"), None, Decimal("0")], pa.decimal128(10, 2)),
    pa.array([b"\0a", None, b""]),
    pa.array([1.5, float("nan"), None]),
]


def test_fingerprints_are_those_that_ledgers_hold():
    """They stand in `sync_bases`: with others every row of a table with bases would look edited."""
    assert fingerprints(PRINTED).to_pylist() == [
        "1:83904e6557e3a930a1e515445e14feb2",
        "1:69d09b404a649286c6dd374c45dabe2f",
        "1:b0c7fae0d705d82d2f567dc03f041b57",
    ]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)), min_size=1, max_size=9
    ),
    st.integers(0, 3),
)
def test_a_time_is_spelled_as_arrow_does(moments: list[datetime | None], start: int):
    for kind in (pa.timestamp("us"), pa.timestamp("us", tz="UTC")):
        column = pa.array(moments, pa.timestamp("us")).cast(pa.int64()).cast(kind).slice(start)
        assert texts(column).equals(column.cast(pa.string()))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.none() | st.sampled_from(["", "a", "\x01", "\x7f", "ÿ"])] * 3), max_size=12))
def test_rows_have_one_hash_where_they_are_equal_and_only_there(rows: list[tuple[str | None, ...]]):
    columns = [pa.array([row[number] for row in rows], pa.string()) for number in range(3)]
    found = hashes(columns).to_pylist()
    assert len(set(found)) == len(set(rows)) == len(set(zip(rows, found, strict=True)))


@pytest.mark.parametrize(("given_texts", "expected"), [(["a", "b\0"], True), (["\0", "a"], False), (["", None], False)])
def test_a_nul_is_found_in_the_texts_of_a_slice_alone(given_texts: list[str | None], expected: bool):
    assert holds_nul(pa.array(given_texts, pa.string()).slice(1)) is expected


@pytest.mark.parametrize("alike", [False, True])
def test_keys_are_found_where_they_stand_also_if_all_have_one_hash(alike: bool, monkeypatch: pytest.MonkeyPatch):
    if alike:
        monkeypatch.setattr(key_index, "hashes", lambda keys: pa.array([7] * len(keys), pa.int64()).to_numpy())
    index = KeyIndex(pa.array(["c", "a", "b"]))
    assert index.places(pa.array(["b", "x", "c", "c"])).tolist() == [2, -1, 0, 0]
    assert KeyIndex(pa.array([], pa.string())).holds(pa.array(["b"])).to_pylist() == [False]
