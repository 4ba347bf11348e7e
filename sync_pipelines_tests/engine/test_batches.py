"""Batches of another size, and worked on one ahead."""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipelines.engine.batches import ahead, pages, resized


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), max_size=12), st.integers(1, 7))
def test_the_rows_stay_in_order_and_every_batch_but_the_last_is_full(sizes, size):
    numbers = iter(range(1000))
    batches = [pa.record_batch({"n": pa.array([next(numbers) for _ in range(n)], pa.int64())}) for n in sizes]
    found = list(resized(batches, size))
    assert [n for batch in found for n in batch.column("n").to_pylist()] == list(range(sum(sizes)))
    assert all(batch.num_rows == size for batch in found[:-1])
    assert all(0 < batch.num_rows <= size for batch in found)


def _batches(count: int) -> list[pa.RecordBatch]:
    return [pa.record_batch({"n": pa.array([n], pa.int64())}) for n in range(count)]


def test_each_batch_comes_with_its_own_work_in_order():
    found = ahead(lambda batch: batch.column("n")[0].as_py() * 10, _batches(5))
    assert [(batch.column("n")[0].as_py(), made) for batch, made in found] == [(n, n * 10) for n in range(5)]


def test_the_next_batch_is_worked_on_while_one_is_used():
    begun = [threading.Event() for _ in range(3)]
    for batch, _ in ahead(lambda batch: begun[batch.column("n")[0].as_py()].set(), _batches(3)):
        number = batch.column("n")[0].as_py()
        assert begun[min(number + 1, 2)].wait(60)
        assert not any(event.is_set() for event in begun[number + 2 :])


def test_an_error_comes_out_where_its_batch_is_due():
    def work(batch: pa.RecordBatch) -> int:
        return 1 // (1 - batch.column("n")[0].as_py())

    found = ahead(work, _batches(3))
    assert next(found)[1] == 1
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_whoever_stops_early_leaves_no_thread():
    before = threading.active_count()
    found = ahead(lambda batch: batch.num_rows, _batches(9))
    next(found)
    found.close()
    assert threading.active_count() == before


@given(st.lists(st.integers(0, 40), max_size=8), st.integers(1, 50), st.integers(1, 400))
def test_pages_hold_every_row_in_order_and_no_more_than_they_may(sizes: list[int], rows: int, most_bytes: int):
    numbers = iter(range(1000))
    given = [pa.record_batch({"n": pa.array([next(numbers) for _ in range(size)], pa.int64())}) for size in sizes]
    found = list(pages(given, rows=rows, most_bytes=most_bytes))
    assert [n for page in found for n in page.column("n").to_pylist()] == list(range(sum(sizes)))
    assert all(0 < page.num_rows <= rows for page in found)
    assert all(page.nbytes <= most_bytes or page.num_rows == 1 for page in found)
