"""Files of a Delta table that this project writes itself: what the log says of them, and who else commits meanwhile."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Schema, write_deltalake
from deltalake.table import TableOptimizer

from sync_pipelines.engine.model import FINGERPRINT, KEY
from sync_pipelines.targets.delta.files import FileWriter, filesystem, is_plain
from sync_pipelines.targets.delta.rewriting import Rewriter
from sync_pipelines.targets.delta.settings import DeltaSettings
from sync_pipelines.targets.delta.store import DeltaStore
from sync_pipelines.targets.delta.upkeep import optimize
from sync_pipelines.targets.delta.writing import value_literal
from sync_pipelines.targets.lake.contention import ConflictError
from sync_pipelines.targets.lake.groups import Group, Layout
from sync_pipelines.targets.retries import RetryPolicy

MICRO = datetime(2024, 1, 1, 10, 0, 0, 123_456, tzinfo=UTC)
COLUMNS = {
    "text": (pa.string(), ["", "b" * 40, "z" * 31 + "\U0010ffff" * 3, None]),
    "long": (pa.string(), ["x" * 33, "x" * 50, "é" * 40, "x" * 32]),
    "number": (pa.int64(), [-(2**63), 0, 2**63 - 1, None]),
    "day": (pa.date32(), [date(1, 1, 1), date(9999, 12, 31), None, date(2024, 2, 29)]),
    "at": (
        pa.timestamp("us", tz="UTC"),
        [MICRO, datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 1, 1, tzinfo=UTC), None],
    ),
    "local": (pa.timestamp("us"), [MICRO.replace(tzinfo=None), None, datetime(1900, 1, 1, 0, 0, 0, 999_999), None]),
    "none": (pa.string(), [None, None, None, None]),
    "share": (pa.float64(), [float("nan"), 1.5, float("inf"), None]),
    "list": (pa.list_(pa.string()), [["a", None], [], None, ["b"]]),
}
SCHEMA = pa.schema(
    [(KEY, pa.string()), (FINGERPRINT, pa.string()), *((name, kind) for name, (kind, _) in COLUMNS.items())]
)


def rows(*marks: str, first: int = 0) -> pa.Table:
    """The four rows above, or as many as marks are given, with these fingerprints."""
    marks = marks or ("m", "m", "m", "m")
    values = {name: held[: len(marks)] for name, (_, held) in COLUMNS.items()}
    keys = [f"k{first + number}" for number in range(len(marks))]
    return pa.table({KEY: keys, FINGERPRINT: list(marks), **values}, schema=SCHEMA)


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    """A table that holds the four rows, in one file of our own."""
    settings = DeltaSettings(uri=str(tmp_path))
    made = DeltaStore(settings, "item", sync=None, table=None, retry=RetryPolicy())
    table = DeltaTable.create(made.uri, Schema.from_arrow(SCHEMA))
    with FileWriter(filesystem(settings, made.uri), SCHEMA, file_bytes=2**20) as files:
        files.write(rows())
    made.commit_files(table, files.added, {})
    return made


@pytest.mark.parametrize("name", ["text", "long", "number", "day", "at", "local"])
def test_a_row_is_found_by_each_of_its_values_whatever_the_log_says_of_its_file(store: DeltaStore, name: str):
    kind, values = COLUMNS[name]
    for value in (value for value in values if value is not None):
        found = list(store.scan(store.there(), [KEY, name], f'"{name}" = {value_literal(value, kind)}'))
        assert [value] == [item for batch in found for item in batch.column(name).to_pylist()]
    assert list(store.scan(store.there(), [KEY], '"none" IS NOT NULL')) == []
    assert store.count() == 4


def test_times_in_the_log_enclose_those_of_the_file(store: DeltaStore):
    (told,) = pa.table(store.there().get_add_actions(flatten=True)).to_pylist()
    assert told["max.at"] > MICRO > told["min.at"]
    assert told["min.local"] <= COLUMNS["local"][1][2] <= MICRO.replace(tzinfo=None) < told["max.local"]


def test_what_another_writer_adds_while_files_are_written_anew_is_a_conflict_that_leaves_no_file(store: DeltaStore):
    files = Rewriter(store, store.there(), Layout())
    group = Group(rows("other"))
    found = files.look(group)
    assert (found.place.tolist(), found.same.tolist()) == ([0], [False])
    write_deltalake(store.uri, rows("new", first=9), mode="append")
    before = sorted(Path(store.uri).glob("*.parquet"))
    with pytest.raises(ConflictError):
        files.write(group.rows, found.place)
    assert sorted(Path(store.uri).glob("*.parquet")) == before
    assert store.count() == 5


@pytest.mark.parametrize("overwrites", [False, True])
@pytest.mark.parametrize("adds", [False, True], ids=["optimize", "append"])
def test_a_commit_that_another_one_came_just_before_is_made_anew_and_doubles_nothing(
    store: DeltaStore, monkeypatch: pytest.MonkeyPatch, adds: bool, overwrites: bool
):
    files = Rewriter(store, store.there(), Layout())
    group = Group(rows("other"))
    found = files.look(group)
    commit = DeltaStore.commit_files

    def late(self: DeltaStore, table: DeltaTable, added: Any, gone: Any) -> None:
        if adds:
            write_deltalake(store.uri, rows("new", first=9), mode="append")
        else:
            DeltaTable(store.uri).optimize.z_order([KEY])
        commit(self, table, added, None if overwrites else gone)

    monkeypatch.setattr(DeltaStore, "commit_files", late)
    with pytest.raises(ConflictError), store.errors("write table"):
        files.write(group.rows, found.place)
    held = [row[KEY] for batch in store.scan(store.there(), [KEY]) for row in batch.to_pylist()]
    assert sorted(held) == ["k0", "k1", "k2", "k3", *(["k9"] if adds else [])]


@pytest.mark.parametrize("first", [True, False])
def test_new_rows_are_in_the_table_once_whoever_commits_just_before_or_after(
    store: DeltaStore, monkeypatch: pytest.MonkeyPatch, first: bool
):
    files = Rewriter(store, store.there(), Layout())
    group = Group(rows("new", first=8))
    found = files.look(group)
    commit = DeltaStore.commit_files

    def beside(self: DeltaStore, table: DeltaTable, *given: Any) -> None:
        if not first:
            commit(self, table, *given)
        write_deltalake(store.uri, rows("new", first=9), mode="append")
        if first:
            commit(self, table, *given)
        table.update_incremental()

    monkeypatch.setattr(DeltaStore, "commit_files", beside)
    with pytest.raises(ConflictError) if first else nullcontext(), store.errors("write table"):
        files.write(group.rows, found.place)
    assert store.count() == (5 if first else 6), "what was refused is not there, what is there was not refused"


@pytest.mark.parametrize("z_order", [[], [KEY]], ids=["compact", "z-order"])
def test_an_optimize_that_another_one_came_just_before_doubles_nothing(
    store: DeltaStore, monkeypatch: pytest.MonkeyPatch, z_order: list[str]
):
    write_deltalake(store.uri, rows("new", first=9), mode="append")
    name = "z_order" if z_order else "compact"
    begun = getattr(TableOptimizer, name)
    other = DeltaStore(store.settings, "item", sync=None, table=None, retry=RetryPolicy())

    def late(self: TableOptimizer, *given: Any, **more: Any) -> Any:
        monkeypatch.setattr(TableOptimizer, name, begun)
        optimize(other, file_bytes=2**20, z_order=z_order)
        return begun(self, *given, **more)

    monkeypatch.setattr(TableOptimizer, name, late)
    optimize(store, file_bytes=2**20, z_order=z_order)
    held = [row for batch in store.scan(store.there(), [KEY]) for row in batch.column(0).to_pylist()]
    assert sorted(held) == ["k0", "k1", "k2", "k3", "k9"]


def test_a_changed_row_stands_in_its_place_and_the_others_as_they_were(store: DeltaStore):
    files = Rewriter(store, store.there(), Layout())
    group = Group(pa.concat_tables([rows("m", "other").slice(1), rows("new", first=9)]))
    found = files.look(group)
    files.write(group.rows.filter(found.due()), found.place[~found.same])
    assert len(store.there().file_uris()) == 2
    held = [row for batch in Rewriter(store, store.there(), Layout()).scan(SCHEMA.names) for row in batch.to_pylist()]
    assert sorted((row[KEY], row[FINGERPRINT]) for row in held) == [
        ("k0", "m"),
        ("k1", "other"),
        ("k2", "m"),
        ("k3", "m"),
        ("k9", "new"),
    ]
    assert [row["list"] for row in sorted(held, key=lambda row: row[KEY])][:4] == COLUMNS["list"][1]


@pytest.mark.parametrize(
    ("more", "plain"),
    [({}, True), ({"partition_by": ["day"]}, False), ({"configuration": {"delta.enableChangeDataFeed": "true"}}, True)],
)
def test_files_are_added_by_ourselves_where_a_table_asks_for_nothing_but_rows(tmp_path: Path, more: dict, plain: bool):
    write_deltalake(tmp_path, rows(), **more)
    assert is_plain(DeltaTable(tmp_path)) is plain


def test_a_table_with_a_rule_for_its_rows_is_left_to_delta_rs(tmp_path: Path):
    write_deltalake(tmp_path, rows())
    table = DeltaTable(tmp_path)
    table.alter.add_constraint({"some": "number IS NULL OR number > -9223372036854775808 OR true"})
    assert not is_plain(DeltaTable(tmp_path))
