"""A first load into a Delta table: nothing is looked up, little is held, and nobody's row is doubled."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines.engine import first_look
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.run import Binding
from sync_pipelines.targets.delta import writing
from sync_pipelines.targets.delta.rewriting import Found, Rewriter
from sync_pipelines.targets.delta.writing import is_sorted
from sync_pipelines.targets.lake.groups import Group
from sync_pipelines_tests.lake.house import House, document


@pytest.fixture
def table(house: House, monkeypatch: pytest.MonkeyPatch) -> PostgresToDelta:
    """A table of four rows; what is written into its empty Delta table is sorted, or committed, by single batches."""
    monkeypatch.setattr(writing, "FRESH_BYTES", 1)
    house.execute("CREATE TABLE item (id text PRIMARY KEY); INSERT INTO item VALUES ('a'), ('b'), ('c'), ('d')")
    made = document()
    house.capture(made)
    return made


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The keys that are looked for in the Delta table, question by question."""
    asked: list[list[str]] = []
    look = Rewriter.look

    def noted(self: Rewriter, group: Group) -> Found:
        asked.append(group.keys)
        return look(self, group)

    monkeypatch.setattr(Rewriter, "look", noted)
    return asked


def batches(binding: Binding) -> list[pa.RecordBatch]:
    """The source's rows as they are stored, a batch each."""
    with binding.source.changes(Scope(full=True), since=None) as changes:
        mapped = [binding.mapper(batch)[0] for batch in changes.upserts]
    return [batch.slice(row, 1) for batch in mapped for row in range(batch.num_rows)]


@pytest.mark.slow
def test_a_first_load_looks_for_nothing_that_is_stored_and_is_one_commit(
    house: House, table: PostgresToDelta, lookups: list[list[str]]
):
    before = house.sync(table, batch_size=1)
    assert (before.upserted, lookups) == (4, [])
    log = Path(house.bind(table).target.store.uri, "_delta_log")
    assert ['{"add"' in path.read_text() for path in sorted(log.glob("*.json"))].count(True) == 1
    assert house.prove(table, "deep").equal


@pytest.mark.slow
def test_a_second_full_run_compares_both_sides_once_and_looks_for_nothing(
    house: House, table: PostgresToDelta, lookups: list[list[str]]
):
    house.sync(table, batch_size=1)
    found = house.sync(table, mode="full", batch_size=1)
    assert (found.read, found.unchanged, found.upserted, lookups) == (4, 4, 0, [])
    assert found.bytes_read > 0


def test_a_full_run_looks_for_what_differs_alone(house: House, table: PostgresToDelta, lookups: list[list[str]]):
    house.sync(table)
    house.execute("UPDATE item SET id = 'e' WHERE id = 'b'; INSERT INTO item VALUES ('f')")
    found = house.sync(table, mode="full")
    assert (found.read, found.unchanged, found.upserted, found.deleted) == (5, 3, 2, 1)
    assert [sorted(keys) for keys in lookups] == [["e", "f"]]
    assert house.prove(table, "deep").equal


def test_where_more_differ_than_keys_are_held_a_full_run_looks_for_all(
    house: House, table: PostgresToDelta, lookups: list[list[str]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(first_look, "_MOST", 1)
    house.sync(table)
    house.execute("INSERT INTO item VALUES ('e'), ('f')")
    found = house.sync(table, mode="full")
    assert (found.read, found.unchanged, found.upserted) == (6, 4, 2)
    assert [sorted(keys) for keys in lookups] == [["a", "b", "c", "d", "e", "f"]]
    assert house.prove(table, "deep").equal


def test_what_another_writer_adds_between_two_commits_of_a_first_load_is_not_doubled(
    house: House, table: PostgresToDelta
):
    binding = house.bind(table)
    binding.target.prepare()
    rows = batches(binding)
    results = binding.target.upsert(iter(rows))
    next(results)
    list(house.bind(table).target.upsert(iter(rows[2:3])))
    assert sum(result.counts.unchanged for result in results) == 1
    assert [row["_key"] for row in house.rows(table)] == ["a", "b", "c", "d"]


@pytest.mark.slow
def test_a_merge_into_every_file_leaves_files_of_the_layouts_size(house: House):
    text = "(SELECT string_agg(md5(n::text || j), '') FROM generate_series(1, 32) AS j)"
    house.execute("CREATE TABLE item (id int PRIMARY KEY, note text)")
    house.execute(f"INSERT INTO item SELECT n, {text} FROM generate_series(1, 6000) AS n")
    table = document(layout={"sort_by": "id", "file_mb": 1})
    house.capture(table)
    house.sync(table)
    house.execute("UPDATE item SET note = 'x' WHERE id % 100 = 0")
    house.sync(table)
    assert house.bind(table).target.holdings()["files"] >= 3


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 1, 2], True), ([2, 1], False), ([1, 2, 1], False), ([1, None], False), ([1], True), ([], True)],
)
def test_rows_count_as_sorted_where_each_value_is_known_and_none_is_less_than_the_one_before(values, expected):
    chunks = [pa.array([value], pa.int64()) for value in values]
    assert is_sorted(pa.chunked_array(chunks, pa.int64())) is expected
