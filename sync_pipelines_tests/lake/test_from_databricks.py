"""A table of Databricks and its table in PostgreSQL, read through a SQL warehouse."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from dagster import DagsterInstance

from sync_pipelines import checks
from sync_pipelines.automation import read_facts
from sync_pipelines.decide import Skip, decide
from sync_pipelines.engine.errors import ConfigurationError, RunError
from sync_pipelines.engine.ground import PUT_BACK
from sync_pipelines.reporting import facts_of
from sync_pipelines.targets.databricks.input import read_table
from sync_pipelines.targets.databricks.types import nested_schema
from sync_pipelines.targets.lake.input import Wanted
from sync_pipelines_tests.lake.engines import name_warehouse
from sync_pipelines_tests.lake.house import House, back
from sync_pipelines_tests.lake.reviews import held, interrupted
from sync_pipelines_tests.sandbox.databricks.shared import Schema

COLUMNS = """id STRING, stars INT, note STRING, topics ARRAY<STRING>, detail STRUCT<b: INT, A: STRING>,
    updated_at TIMESTAMP"""
ROW = "('{id}', {stars}, 'n', array('x'), named_struct('b', 1, 'A', 'it''s'), TIMESTAMP'2024-01-01T12:00:00Z')"


@dataclass
class Away:
    """A house whose reviews stand in a schema of Databricks."""

    house: House
    schema: Schema

    def sql(self, text: str) -> list[list[str | None]]:
        return self.schema.sql(text)

    def make(self, *ids: str, feed: bool) -> None:
        self.sql(f"CREATE TABLE review ({COLUMNS}) TBLPROPERTIES (delta.enableChangeDataFeed = {str(feed).lower()})")
        self.add(*ids)

    def add(self, *ids: str, stars: int = 3) -> None:
        self.sql(f"INSERT INTO review VALUES {', '.join(ROW.format(id=id, stars=stars) for id in ids)}")

    def reason(self) -> str:
        return self.house.bind(back()).ledger.last_runs("shop", "review")[0].reason


@pytest.fixture
def away(review: House, databricks_schema: Schema, monkeypatch: pytest.MonkeyPatch) -> Away:
    name_warehouse(databricks_schema, monkeypatch)
    return Away(review, databricks_schema)


@pytest.mark.slow
@pytest.mark.spare_where(feed=False)  # `test_delta_to_postgres` has it
def test_rows_arrive_change_and_go(away: Away, feed: bool):
    away.make("a", "b", "c", feed=feed)
    house = away.house
    assert house.sync(back()).upserted == 3
    assert away.reason() == "first run"
    assert held(house)["a"][:4] == (3, "n", ["x"], {"b": 1, "A": "it's"})
    away.sql("UPDATE review SET stars = 5 WHERE id = 'a'")
    away.sql("DELETE FROM review WHERE id = 'b'")
    away.add("d")
    away.sql("OPTIMIZE review")
    counts = house.sync(back())
    assert (counts.read, counts.upserted, counts.deleted, away.reason()) == (2, 2, 1, "")
    assert held(house).keys() == {"a", "c", "d"}
    assert house.prove(back(), "deep").equal
    assert house.sync(back()).read == 0
    house.execute("UPDATE review SET note = 'edited' WHERE id = 'c'; DELETE FROM review WHERE id = 'd'")
    proof = house.prove(back(), "deep")
    assert (proof.missing, proof.stale) == (1, 1)
    assert house.sync(back(), keys=("c", "d")).upserted == 2
    away.sql("RESTORE TABLE review TO VERSION AS OF 1")
    house.sync(back())
    assert away.reason() == "the table was restored to an older version"
    assert held(house).keys() == {"a", "b", "c"}
    assert house.prove(back(), "deep").equal


@pytest.mark.slow
def test_a_variant_arrives_as_its_json_and_one_within_an_array_is_told(away: Away):
    away.sql("CREATE TABLE review (id STRING, detail VARIANT, topics ARRAY<VARIANT>, note STRING)")
    away.sql("""INSERT INTO review SELECT 'a', parse_json('{"b": [1, null]}'), NULL, 'n'""")
    with pytest.raises(ConfigurationError, match=r"'topics' \(ARRAY<VARIANT>\)\.\s.*`columns`"):
        away.house.sync(back())
    table = back(columns=["id", "detail", "note"])
    away.house.sync(table)
    away.sql("""INSERT INTO review SELECT 'c', parse_json('"x"'), NULL, 'n'""")
    assert away.house.sync(table).read == 1
    assert away.house.execute("SELECT id, detail FROM review ORDER BY id") == [("a", {"b": [1, None]}), ("c", "x")]
    assert away.house.prove(table, "deep").equal
    settings = away.house.resources.databricks.settings()
    asked = Wanted(columns=["detail"], where="id = 'a'")
    assert read_table(settings, "shop/review", asked).to_pylist() == [{"detail": '{"b":[1,null]}'}]


@pytest.mark.slow
@pytest.mark.spare_where(feed=False)
def test_where_what_changed_cannot_be_told_everything_is_read(away: Away, feed: bool, monkeypatch: pytest.MonkeyPatch):
    from sync_pipelines.sources.delta import warehouse

    away.make("a", "b", feed=feed)
    away.house.sync(back())
    away.sql("DELETE FROM review WHERE id = 'a'")
    asked = "table_changes" if feed else "EXCEPT ALL"
    away.schema.fault("fail", match=asked, message="[DELTA_CHANGE_DATA_FILE_NOT_FOUND] gone")
    assert away.house.sync(back()).deleted == 1
    assert "what changed cannot be told" in away.reason()
    away.add("c")
    monkeypatch.setattr(warehouse, "_NEWER", -1)  # as where the log has been cleaned
    assert away.house.sync(back()).upserted == 1
    assert "the log no longer holds version" in away.reason()
    assert away.house.prove(back(), "deep").equal


@pytest.mark.slow
def test_a_table_that_was_made_anew_or_never_is_told(away: Away):
    with pytest.raises(RunError, match=r"shop/review: there is no Delta table 'shop/review' in Databricks \(main\."):
        away.house.sync(back())
    away.make("a", feed=True)
    away.house.sync(back())
    away.sql("DROP TABLE review")
    away.make("b", feed=True)
    counts = away.house.sync(back())
    assert "made anew" in away.reason()
    assert (counts.upserted, counts.deleted) == (1, 1)


@pytest.mark.slow
def test_a_copy_from_before_what_a_killed_run_has_read_is_compared_whole(
    away: Away, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    house, here, copy = away.house, tmp_path / "here", tmp_path / "copy"
    feed = "TBLPROPERTIES (delta.enableChangeDataFeed = true)"
    away.sql(f"CREATE TABLE review ({COLUMNS}) USING delta {feed} LOCATION '{here}'")
    away.add("a", "b")
    house.sync(back())
    shutil.copytree(here, copy)
    away.sql("UPDATE review SET stars = 5 WHERE id = 'a'")
    interrupted(house, back(), monkeypatch)
    assert held(house)["a"][0] == 5
    # of a table that is named by its place the files stay; the copy has the same id, and counts on from its own version
    away.sql("DROP TABLE review")
    away.sql(f"CREATE TABLE review USING delta LOCATION '{copy}'")
    away.add("c")
    house.sync(back())
    assert (away.reason(), held(house)["a"][0], "c" in held(house)) == (PUT_BACK, 3, True)
    away.add("d")
    assert (house.sync(back()).read, away.reason()) == (1, "")
    binding = house.bind(back())
    since = binding.ledger.watermark("shop", "review")
    assert binding.source.pending(since).full_reason is None
    other = replace(since, position={**since.position, "commit": "another"})
    assert "version 3 is another commit" in binding.source.pending(other).full_reason


@pytest.mark.slow
def test_what_asks_often_leaves_the_warehouse_alone(away: Away, monkeypatch: pytest.MonkeyPatch):
    from sync_pipelines.targets.databricks.warehouse import Warehouse

    before = away.schema.seen()
    with DagsterInstance.ephemeral() as instance:
        decision = decide(read_facts(back(), away.house.resources, instance))
    assert isinstance(decision, Skip)
    assert "asked by schedules alone" in decision.reason
    assert away.schema.seen() == before
    binding = away.house.bind(back())
    source = binding.source
    monkeypatch.setattr(Warehouse, "state", lambda _: "STOPPED")
    bound: Any = SimpleNamespace(
        component=back(),
        resources=away.house.resources,
        path="shop/review",
        not_configured=lambda: None,
        binding=lambda: binding,
    )
    facts = facts_of(bound, live=False, now=datetime.now(UTC))
    assert facts.pending is None
    assert facts.problem is None
    assert "the warehouse is STOPPED" in facts.warnings[0]
    lag = checks._backlog(checks.Asked(component=back(), binding=binding, context=None, sync_run=None))
    assert "not counted now: the warehouse is STOPPED" in lag.description
    assert away.schema.seen() == before
    assert source.resting() == "the warehouse is STOPPED, and a question would start it"
    monkeypatch.setattr(Warehouse, "state", lambda _: "RUNNING")
    assert source.resting() is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("DECIMAL(10,2)", pa.decimal128(10, 2)),
        ("ARRAY<INT>", pa.list_(pa.int32())),
        ("MAP<STRING, DECIMAL(5,1)>", pa.map_(pa.string(), pa.decimal128(5, 1))),
        ("STRUCT<a: INT NOT NULL, `b,c`: STRING COMMENT 'x, y'>", pa.struct([("a", pa.int32()), ("b,c", pa.string())])),
        (
            "ARRAY<STRUCT<A: MAP<STRING, ARRAY<DATE>>, b: TIMESTAMP>>",
            pa.list_(
                pa.struct(
                    [
                        ("A", pa.map_(pa.string(), pa.list_(pa.date32()))),
                        ("b", pa.timestamp("us", tz="UTC")),
                    ]
                )
            ),
        ),
        ("VARIANT", pa.null()),
    ],
)
def test_types_of_a_warehouse_are_read_whatever_they_hold(text: str, kind: Any):
    assert nested_schema([("c", text)]).field("c").type == kind
