"""Batches of another size."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from sync_pipelines.engine.batches import resized


@given(st.lists(st.integers(0, 12), max_size=12), st.integers(1, 7))
def test_the_rows_stay_in_order_and_every_batch_but_the_last_is_full(sizes, size):
    numbers = iter(range(1000))
    batches = [pa.record_batch({"n": pa.array([next(numbers) for _ in range(n)], pa.int64())}) for n in sizes]
    found = list(resized(batches, size))
    assert [n for batch in found for n in batch.column("n").to_pylist()] == list(range(sum(sizes)))
    assert all(batch.num_rows == size for batch in found[:-1])
    assert all(0 < batch.num_rows <= size for batch in found)
