"""The order of the tests leaves none out, and `make test-fast` has something of each file."""

from types import SimpleNamespace

import pytest

from sync_pipelines_tests.fast import mark_further
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


class _Item(SimpleNamespace):
    def iter_markers(self, name: str):
        return [mark for mark in self.marks if mark == name]

    def add_marker(self, mark: pytest.MarkDecorator):
        self.marks.append(mark.name)


def _item(nodeid: str, *marks: str, needs: str = "postgres_server"):
    return _Item(nodeid=nodeid, fixturenames=["tmp_path", needs], marks=list(marks))


def test_of_a_files_tests_on_servers_the_first_that_is_not_slow_stays_in_test_fast():
    items = [
        _item("a.py::test_slow", "slow"),
        _item("a.py::test_spare", "exhaustive"),
        _item("a.py::test_first"),
        _item("a.py::test_without", needs="monkeypatch"),
        _item("a.py::test_second"),
        _item("b.py::test_first", needs="notion_server"),
        _item("b.py::test_second", needs="chroma_server"),
    ]
    mark_further(items)
    assert [item.nodeid for item in items if item.marks == ["further"]] == ["a.py::test_second", "b.py::test_second"]
