"""Memory does not grow with the collection."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import pyarrow as pa
import pytest

from sync_pipelines.targets.chroma import reading, store, writing
from sync_pipelines.targets.embedding import EmbeddingSpec
from sync_pipelines_tests.targets.chroma_helpers import Doc, batch
from sync_pipelines_tests.targets.conftest import MakeTarget


@pytest.mark.slow
def test_writing_and_listing_many_records_takes_no_more_memory_than_a_few(
    make_target: MakeTarget, monkeypatch: pytest.MonkeyPatch
):
    for module in (store, reading, writing):
        monkeypatch.setattr(module, "PAGE", 50)

    def run(records: int) -> int:
        target = make_target(function=None, embedding=EmbeddingSpec(name="hash", dimensions=16))
        before = most = pa.total_allocated_bytes()  # Arrow's memory is not Python's
        for _ in target.upsert(_batches(records)):
            most = max(most, pa.total_allocated_bytes())
        listed = 0
        for found in target.fingerprints():
            listed += found.num_rows
        assert listed == target.count() == records
        return most - before

    def peak(records: int) -> int:
        tracemalloc.start()
        arrow = run(records)
        most = tracemalloc.get_traced_memory()[1] + arrow
        tracemalloc.stop()
        return most

    run(50)  # what is imported on the way is no record's memory
    gc.disable()  # nothing may wait for it: in a process with a large heap it comes by seldom
    try:
        few, many = peak(200), peak(800)
    finally:
        gc.enable()
    # a record is 4 KB: holding the 600 more of them anywhere would be 2.4 MB
    assert many - few < 800_000


def _batches(records: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, records, 50):
        yield batch([_doc(number) for number in range(start, start + 50)])


def _doc(number: int) -> Doc:
    return Doc(f"k{number}", f"text {number} " * (1 if number % 8 else 30), {"note": f"{number} " * 700})
