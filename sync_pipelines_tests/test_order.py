"""The order of the tests leaves none out."""

from types import SimpleNamespace

import pytest

from sync_pipelines_tests.order import LONGEST, longest_first


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
@pytest.mark.parametrize("others", [0, 1, 2, 100])
def test_each_worker_begins_with_its_part_of_the_longest_and_no_test_is_lost(workers: int, others: int):
    names = [f"test_{number}" for number in range(others)] + [f"{part} {n}" for n in (1, 2) for part in LONGEST]
    items = [SimpleNamespace(nodeid=name) for name in names]
    ordered = [item.nodeid for item in longest_first(items, workers)]
    assert sorted(ordered) == sorted(names)
    if others == 100:
        stretch = len(names) / workers
        begins = [ordered[round(stretch * worker + 1)] for worker in range(workers)]
        assert all(any(part in name for part in LONGEST) for name in begins)
