"""The lakehouse in a user's own hands: the same words on a folder and on a warehouse."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sync_pipelines.engine.errors import ConfigurationError, NotConfiguredError, RunError
from sync_pipelines.engine.spool import RecordWriter
from sync_pipelines.resources.databricks import DatabricksResource
from sync_pipelines.resources.delta import DeltaResource
from sync_pipelines.resources.lakehouse import LakehouseResource
from sync_pipelines.targets.delta.lakehouse import DeltaLakehouse
from sync_pipelines.targets.lake.lakehouse import Mode
from sync_pipelines_tests.lake.house import House, document


@pytest.fixture
def lakehouse() -> LakehouseResource:
    return LakehouseResource(delta=DeltaResource(), databricks=DatabricksResource())


def listed(lakehouse: LakehouseResource) -> list[tuple[int, str]]:
    found = lakehouse.read("shop/score", columns=["id", "word"])
    return sorted(zip(found.column("id").to_pylist(), found.column("word").to_pylist(), strict=True))


def test_tables_are_made_written_read_and_tidied(house: House, engine: str, lakehouse: LakehouseResource):
    schema = pa.schema([pa.field("id", pa.int64()), pa.field("word", pa.string(), metadata={"comment": "said"})])
    lakehouse.create_table("shop/score", schema, comment="points")
    assert lakehouse.write(pd.DataFrame({"id": [1, 2], "word": ["a", "b"]}), "shop/score") == 2
    changed = pl.DataFrame({"id": [2, 3], "word": ["B", "it's"]})
    lakehouse.write(changed, "shop/score", mode="merge", merge_keys=["id"])
    assert listed(lakehouse) == [(1, "a"), (2, "B"), (3, "it's")]
    frame = lakehouse.read("shop/score", where="id > 1", kind="pandas")
    assert sorted(frame["id"]) == [2, 3]
    name = '"shop/score"' if engine == "delta-rs" else "main." + lakehouse.databricks.settings().schema + ".score"
    assert lakehouse.execute_query(f"SELECT count(*) AS n FROM {name}").column("n").to_pylist() == [3]
    assert any(name.endswith("score") for name in lakehouse.list_tables())
    assert lakehouse.optimize("shop/score")["files_after"] == 1
    with pytest.raises(ConfigurationError, match=r"Keep at least 168 h[.;]"):
        lakehouse.vacuum("shop/score", hours=1)
    lakehouse.write(pa.table({"id": [9], "points": [1.5]}), "shop/score", mode="overwrite")
    assert lakehouse.read("shop/score").to_pylist() == [{"id": 9, "points": 1.5}]
    lakehouse.write(pl.LazyFrame({"id": [1]}), "shop/fresh", mode="merge", merge_keys=["id"])
    assert lakehouse.read("shop/fresh").to_pylist() == [{"id": 1}]


@pytest.mark.spare_where(engine="databricks")
def test_no_value_of_a_frame_is_changed_in_silence(house: House, engine: str, lakehouse: LakehouseResource):
    lakehouse.write(pa.table({"id": [1], "at": pa.array([0], pa.timestamp("us"))}), "shop/score")
    told = r"column '{}' of the rows does not fit into the table's {}.*Round or cast it"
    for mode, keys in (("append", ()), ("merge", ("id",))):
        with pytest.raises(ConfigurationError, match=told.format("id", "int64")):
            lakehouse.write(pd.DataFrame({"id": [1.7]}), "shop/score", mode=mode, merge_keys=keys)
        nanoseconds = pa.table({"id": [1], "at": pa.array([1], pa.timestamp("ns"))})
        with pytest.raises(ConfigurationError, match=told.format("at", r"timestamp\[us\]")):
            lakehouse.write(nanoseconds, "shop/score", mode=mode, merge_keys=keys)
    with pytest.raises(ConfigurationError, match="has no column 'colour'"):
        lakehouse.write(pa.table({"id": [1], "colour": ["red"]}), "shop/score")
    lakehouse.write(pd.DataFrame({"id": [2.0]}), "shop/score")
    found = lakehouse.read("shop/score", columns=["id", "at"]).sort_by("id").to_pydict()
    assert found == {"id": [1, 2], "at": [datetime(1970, 1, 1), None]}


@pytest.mark.spare_where(engine="databricks")
def test_a_frame_of_any_usual_type_makes_a_table(house: House, engine: str, lakehouse: LakehouseResource):
    said = pl.DataFrame({"id": [1], "s": [{"a": "x", "B": [1.5]}], "c": pl.Series(["k"], dtype=pl.Categorical)})
    noon = pa.array([datetime(2024, 5, 1, 12, tzinfo=UTC)], pa.timestamp("ns", tz="Asia/Tokyo"))
    rows = said.to_arrow().append_column("at", noon).append_column("n", pa.array([200], pa.uint8()))
    for mode, keys in (("append", ()), ("merge", ("id",)), ("overwrite", ())):
        lakehouse.write(rows, "shop/score", mode=mode, merge_keys=keys)
        (found,) = lakehouse.read("shop/score").to_pylist()
        assert found == {"id": 1, "s": {"a": "x", "B": [1.5]}, "c": "k", "at": noon[0].as_py(), "n": 200}


@pytest.mark.parametrize("mode", ["append", "merge", "overwrite"])
def test_a_script_may_write_while_another_one_merges(
    house: House, lakehouse: LakehouseResource, monkeypatch: pytest.MonkeyPatch, mode: Mode
):
    rows = pa.table({"id": [1, 2], "n": [0, 0]})
    lakehouse.write(rows, "shop/score")
    records = RecordWriter.records

    def late(self: RecordWriter) -> object:
        """The other one commits when this one's handle is opened and its rows are about to be read."""
        monkeypatch.setattr(RecordWriter, "records", records)
        lakehouse.write(pa.table({"id": [1], "n": [5]}), "shop/score", mode="merge", merge_keys=["id"])
        return records(self)

    monkeypatch.setattr(RecordWriter, "records", late)
    keys = ["id"] if mode == "merge" else []
    assert lakehouse.write(pa.table({"id": [2], "n": [7]}), "shop/score", mode=mode, merge_keys=keys) == 1
    held = sorted(map(tuple, (row.values() for row in lakehouse.read("shop/score").to_pylist())))
    expected = {"append": [(1, 5), (2, 0), (2, 7)], "merge": [(1, 5), (2, 7)], "overwrite": [(2, 7)]}
    assert held == expected[mode]


def test_two_scripts_may_merge_at_once(house: House, lakehouse: LakehouseResource):
    rows = pa.table({"id": range(100), "n": [0] * 100})
    lakehouse.write(rows, "shop/score")

    def merge(number: int) -> int:
        return lakehouse.write(rows.set_column(1, "n", [[number] * 100]), "shop/score", mode="merge", merge_keys=["id"])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(merge, range(4))) == [100] * 4
    assert lakehouse.read("shop/score").num_rows == 100


def test_a_column_of_a_query_may_be_named_as_no_table_can(house: House, lakehouse: LakehouseResource):
    assert lakehouse.execute_query('SELECT 1 AS "../%"').to_pylist() == [{"../%": 1}]


def test_a_table_that_a_sync_keeps_is_read_but_not_written(house: House, lakehouse: LakehouseResource):
    house.execute("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item VALUES (1)")
    house.capture(document())
    house.sync(document())
    assert lakehouse.read("shop/item", columns=["id"]).to_pylist() == [{"id": 1}]
    for mode, keys in (("append", ()), ("overwrite", ()), ("merge", ("id",))):
        with pytest.raises(ConfigurationError, match="shop/item"):
            lakehouse.write(pa.table({"id": [2]}), "shop/item", mode=mode, merge_keys=keys)
    assert house.prove(document(), "deep").equal


def test_what_makes_no_sense_is_one_sentence(house: House, lakehouse: LakehouseResource):
    with pytest.raises(ConfigurationError, match="merge_keys"):
        lakehouse.write(pa.table({"id": [1]}), "shop/score", mode="merge")
    with pytest.raises(ConfigurationError, match="absent"):
        lakehouse.write(pa.table({"id": [1]}), "shop/score", mode="merge", merge_keys=["absent"])
    with pytest.raises(ConfigurationError, match="upsert"):
        lakehouse.write(pa.table({"id": [1]}), "shop/score", mode="upsert")  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    with pytest.raises(ConfigurationError, match="holds no rows"):
        lakehouse.write([1, 2], "shop/score")
    with pytest.raises(RunError, match="no Delta table 'shop/score'"):
        lakehouse.read("shop/score")
    with pytest.raises(RunError, match="nowhere"):
        lakehouse.execute_query("SELECT * FROM nowhere")
    with pytest.raises(ConfigurationError, match="Volumes"):
        lakehouse.list_files("/Volumes/main/voyce/staging")
    assert lakehouse.list_tables() == []


def test_one_text_where_names_are_asked_for_is_not_taken_letter_by_letter(house: House, lakehouse: LakehouseResource):
    lakehouse.write(pa.table({"i": [1], "d": [1]}), "shop/score")
    told = r"{}: 'id' is one text, not a list of names. Give \['id'\]."
    with pytest.raises(ConfigurationError, match=told.format("merge_keys")):
        lakehouse.write(pa.table({"i": [2], "d": [2]}), "shop/score", mode="merge", merge_keys="id")
    with pytest.raises(ConfigurationError, match=told.format("columns")):
        lakehouse.read("shop/score", columns="id")
    with pytest.raises(ConfigurationError, match=told.format("z_order")):
        lakehouse.optimize("shop/score", z_order="id")
    with pytest.raises(ConfigurationError, match="columns: i stands in the list more than once"):
        lakehouse.read("shop/score", columns=["i", "d", "i"])
    assert lakehouse.read("shop/score").to_pylist() == [{"i": 1, "d": 1}]


def test_a_query_may_begin_with_any_number_of_comments(house: House):
    lakehouse = DeltaLakehouse(house.resources.delta.settings())
    assert lakehouse.execute_query("/* of us */ -- and\n" * 40 + "SELECT 1 AS a").to_pylist() == [{"a": 1}]


@pytest.mark.parametrize("word", ["DROP TABLE", "-- so\n /* that */ create view", "Create Table"])
def test_a_statement_that_would_change_nothing_in_a_folder_is_no_success(
    house: House, lakehouse: LakehouseResource, word: str
):
    with pytest.raises(
        RunError, match=r"(DROP|CREATE) would change no table: a query of a folder of tables only reads"
    ):
        DeltaLakehouse(house.resources.delta.settings()).execute_query(f'{word} "shop/score"')


def test_a_relation_of_duckdb_answers_every_question(house: House, engine: str, lakehouse: LakehouseResource):
    lakehouse.write(pa.table({"id": [1, 2]}), "shop/score")
    relation = lakehouse.read("shop/score", kind="duckdb")
    assert relation.count("*").fetchall() == [(2,)]
    assert sorted(relation.fetchall()) == sorted(relation.fetchall()) == [(1,), (2,)]


def test_a_query_that_finds_nothing_has_its_columns_all_the_same(
    house: House, engine: str, lakehouse: LakehouseResource
):
    frame = lakehouse.execute_query("SELECT 1 AS n, 'x' AS word WHERE 1 = 2", kind="pandas")
    assert (list(frame.columns), len(frame)) == (["n", "word"], 0)
    if engine == "databricks":
        with pytest.raises(
            ConfigurationError, match=r"'main\.nope' does not exist\. Check the name, DATABRICKS_CATALOG"
        ):
            lakehouse.list_tables("nope")


def test_a_merge_leaves_no_column_out_in_silence(house: House, engine: str, lakehouse: LakehouseResource):
    lakehouse.write(pa.table({"id": [1], "word": ["a"]}), "shop/score")
    with pytest.raises(RunError, match="colour"):
        lakehouse.write(pa.table({"id": [1], "colour": ["red"]}), "shop/score", mode="merge", merge_keys=["id"])
    assert lakehouse.read("shop/score").to_pylist() == [{"id": 1, "word": "a"}]


def test_a_wrong_word_for_what_is_wanted_is_named(house: House, lakehouse: LakehouseResource):
    lakehouse.write(pa.table({"id": [1]}), "shop/score")
    with pytest.raises(ConfigurationError, match=r"kind: 'panda' is none of arrow, pandas, .* and handle"):
        lakehouse.read("shop/score", kind="panda")
    for kind in ("panda", "handle"):
        with pytest.raises(ConfigurationError, match=f"kind: '{kind}' is none of arrow, pandas, .* and stream"):
            lakehouse.execute_query("SELECT 1 AS a", kind=kind)
    other = LakehouseResource(delta=DeltaResource(), databricks=DatabricksResource(), engine="delta")
    with pytest.raises(ConfigurationError, match="engine: 'delta' is none of auto, delta-rs, databricks, spark"):
        other.read("shop/score")


def test_a_query_that_fails_at_a_row_is_one_sentence_too(house: House, lakehouse: LakehouseResource):
    with pytest.raises(RunError, match="Divide by zero"):
        lakehouse.execute_query("SELECT 1 / 0 AS a")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            pa.table({"id": pa.array([timedelta(1)])}),
            r"column 'id': a lakehouse has no type for Arrow's duration\[us\]",
        ),
        (pa.table({"id": ["q"]}), "column 'id' of the rows does not fit into the table's int64: .*'q'"),
    ],
    ids=["type", "cast"],
)
def test_rows_that_do_not_fit_are_one_sentence(house: House, lakehouse: LakehouseResource, rows: pa.Table, said: str):
    lakehouse.write(pa.table({"id": [1]}), "shop/score")
    with pytest.raises(RunError, match=said):
        lakehouse.write(rows, "shop/score" if "int64" in said else "shop/fresh")


@pytest.mark.slow
def test_volumes_are_reached(house: House, lakehouse: LakehouseResource, tmp_path: Path, request, monkeypatch):
    from sync_pipelines_tests.lake.engines import name_warehouse

    schema = request.getfixturevalue("databricks_schema")
    name_warehouse(schema, monkeypatch)
    (tmp_path / "words.txt").write_text("words")
    lakehouse.upload(str(tmp_path / "words.txt"), f"{schema.volume}/words.txt")
    assert lakehouse.list_files(schema.volume) == [f"{schema.volume}/words.txt"]
    lakehouse.download(f"{schema.volume}/words.txt", str(tmp_path / "back.txt"))
    assert (tmp_path / "back.txt").read_text() == "words"
    for refused in (lambda path: lakehouse.download(path, str(tmp_path / "no.txt")), lakehouse.list_files):
        with pytest.raises(ConfigurationError, match="Check the path: /Volumes"):
            refused(f"{schema.volume}/nowhere")
    assert "main" in lakehouse.list_catalogs()
    assert schema.name in lakehouse.list_schemas()


def test_an_asset_of_the_users_own_asks_for_it(house: House, lakehouse: LakehouseResource):
    @dg.asset
    def scores(lakehouse: LakehouseResource) -> None:
        lakehouse.write(pa.table({"id": [1]}), "shop/score")

    assert dg.materialize([scores], resources={"lakehouse": lakehouse}).success
    assert lakehouse.list_schemas() == ["shop"]


def test_without_a_place_it_is_not_configured(lakehouse: LakehouseResource, monkeypatch: pytest.MonkeyPatch):
    for name in ("DELTA_URI", "DATABRICKS_HOST", "DATABRICKS_SERVER_HOSTNAME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NotConfiguredError, match="DELTA_URI"):
        lakehouse.read("shop/score")
