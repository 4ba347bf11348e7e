"""A SQL warehouse that fails, conflicts, loses answers and is slow to start; and what is left in its Volume."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from sync_pipelines.engine.errors import ConfigurationError, RunError
from sync_pipelines.engine.secrets import hide_known
from sync_pipelines.lake_upkeep import UpkeepConfig, upkeep
from sync_pipelines.resources.databricks import DatabricksResource
from sync_pipelines.targets.databricks.input import read_table
from sync_pipelines.targets.databricks.rewritten import Rewritten
from sync_pipelines.targets.databricks.settings import WarehouseSettings
from sync_pipelines.targets.databricks.staging import Staging
from sync_pipelines.targets.databricks.warehouse import Warehouse
from sync_pipelines.targets.lake.input import Wanted
from sync_pipelines_tests.lake.engines import name_warehouse
from sync_pipelines_tests.lake.house import House, document
from sync_pipelines_tests.sandbox.databricks.shared import Schema

pytestmark = pytest.mark.slow


@pytest.fixture
def away(house: House, databricks_schema: Schema, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house whose Delta tables are in a warehouse; ten rows are synced."""
    name_warehouse(databricks_schema, monkeypatch)
    house.execute("CREATE TABLE item (id int PRIMARY KEY, amount int, seen timestamptz DEFAULT now())")
    house.capture(document())
    house.execute("INSERT INTO item SELECT i, 0 FROM generate_series(1, 10) AS i")
    house.sync(document())
    return house


@pytest.fixture
def warehouse(away: House) -> Warehouse:
    return Warehouse(away.resources.databricks.settings())


def test_lost_answers_conflicts_and_failed_statements(away: House, databricks_schema: Schema):
    away.execute("UPDATE item SET amount = 1 WHERE id = 1; INSERT INTO item VALUES (11, 1)")
    databricks_schema.fault("drop", match="MERGE")
    assert away.sync(document()).upserted == 2
    assert len(away.rows(document())) == 11, "the statement ran twice, and doubled nothing"
    away.execute("UPDATE item SET amount = 2 WHERE id < 3")
    databricks_schema.fault("fail", match="MERGE", message="[DELTA_CONCURRENT_APPEND] somebody was quicker")
    assert away.sync(document()).upserted == 2, "planned anew"
    away.execute("UPDATE item SET amount = 3 WHERE id < 3")
    databricks_schema.fault("fail", match="MERGE", message="[DIVIDE_BY_ZERO] no")
    with pytest.raises(RunError, match=r"shop/item: Databricks: could not write table main\..*DIVIDE_BY_ZERO"):
        away.sync(document())
    assert away.sync(document()).upserted == 2
    databricks_schema.fault("expired_link")
    assert away.prove(document(), "deep").equal


def test_staged_files_go_those_of_a_dead_run_too_and_a_cancelled_run_cancels_its_statement(
    away: House, warehouse: Warehouse, databricks_schema: Schema
):
    staging = Staging(warehouse, warehouse.settings.table("shop/item"))
    assert list(staging._files()) == []
    with staging.staged(pa.table({"id": [1]})):
        assert len(list(staging._files())) == 1
        away.sync(document())
        assert list(staging._files()) == [], "what a dead run left goes with the next one"

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    warehouse.sleep = stop
    # Not a join: Spark would go on to collect what it broadcasts, and starve the statements of other tests.
    name = warehouse.settings.schema  # by which the requests of this test are told from others
    with pytest.raises(KeyboardInterrupt):
        warehouse.run(f"SELECT count(*) AS {name} FROM range(1000000000000) WHERE sqrt(id) = 0.5", doing="count")
    assert databricks_schema.seen()["cancel"] == 1


def test_what_is_not_as_it_should_be_is_one_sentence(
    away: House, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
):
    schema = warehouse.settings.schema
    warehouse.run(f"CREATE TABLE main.{schema}.other USING delta AS SELECT 1 AS id", doing="make")
    with pytest.raises(RunError, match="made by something else"):
        away.sync(document(target={"table": "shop/other"}, name="second"))
    with pytest.raises(ConfigurationError, match="nowhere"):
        away.sync(document(target={"table": "shop/new"}, name="second", layout={"cluster_by": ["nowhere"]}))
    with monkeypatch.context() as changed:
        changed.setenv("DATABRICKS_SCHEMA", f"{schema}_absent")
        with pytest.raises(ConfigurationError, match="DATABRICKS_SCHEMA"):
            away.sync(document(name="third"))
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-not-the-right-one")
    with pytest.raises(ConfigurationError, match="DATABRICKS_TOKEN") as caught:
        away.sync(document())
    assert "not-the-right-one" not in str(caught.value)


def test_two_runs_at_once_write_one_after_the_other(away: House):
    away.execute("UPDATE item SET amount = 5")
    errors: list[BaseException] = []

    def run() -> None:
        try:
            away.sync(document())
        except BaseException as error:  # told by the test
            errors.append(error)

    both = [threading.Thread(target=run) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert errors == []
    assert away.prove(document(), "deep").equal


def test_upkeep_and_what_an_asset_downstream_reads(away: House):
    away.execute("INSERT INTO item VALUES (20, 1)")
    away.sync(document())
    done = upkeep(document(), away.resources, UpkeepConfig(), run_id="r")
    assert done is not None
    assert done["files_before"] > done["files_after"] == 1
    with pytest.raises(ConfigurationError, match=r"Keep at least 168 h; a SQL warehouse takes no word for less\.$"):
        upkeep(document(), away.resources, UpkeepConfig(retention_hours=1, allow_short_retention=True), run_id="r")
    settings = away.resources.databricks.settings()
    found = read_table(settings, "shop/item", Wanted(columns=["id"], where="id > 8"))
    assert sorted(found.column("id").to_pylist()) == [9, 10, 20]
    frame = read_table(settings, "shop/item", Wanted(kind="pandas"))
    assert list(frame.columns) == ["id", "amount", "seen", "synced_at"]
    with pytest.raises(ConfigurationError, match="colour"):
        read_table(settings, "shop/item", Wanted(columns=["colour"]))


@pytest.mark.exhaustive
def test_the_files_that_a_run_rewrote_are_told_and_a_run_that_wrote_nothing_asks_nothing(
    away: House, databricks_schema: Schema, monkeypatch: pytest.MonkeyPatch
):
    settings = away.resources.databricks.settings()
    table = settings.table("shop/item").sql

    def asked() -> int:
        return databricks_schema.server.seen(f"DESCRIBE HISTORY {table}")["requests"].get("execute", 0)

    assert (away.used(document()).files_rewritten, asked()) == (0, 1)
    away.sync(document())
    assert (away.used(document()).files_rewritten, asked()) == (0, 1)
    away.execute("INSERT INTO item VALUES (11, 1)")
    away.sync(document())
    _merge(settings, table)  # before the run: not its own
    away.execute("UPDATE item SET amount = 2 WHERE id = 1; DELETE FROM item WHERE id = 11")
    away.execute("INSERT INTO item VALUES (12, 1)")
    away.sync(document())
    assert (away.used(document()).files_rewritten, asked()) == (2, 3), "of the update and of the deletion"
    add_up = Rewritten.add_up

    def overtaken(self: Rewritten) -> None:
        _merge(settings, table)
        add_up(self)

    monkeypatch.setattr(Rewritten, "add_up", overtaken)
    away.execute("UPDATE item SET amount = 3 WHERE id = 1")
    away.sync(document())
    assert away.used(document()).files_rewritten is None, "whose they are cannot be told"


def _merge(settings: WarehouseSettings, table: str) -> None:
    """Rewrite a file as somebody else."""
    statement = f"MERGE INTO {table} AS t USING (SELECT 2 AS id) AS s ON t.id = s.id WHEN MATCHED THEN UPDATE"
    Warehouse(settings).run(f"{statement} SET amount = amount + 1", doing="write")


def test_a_table_comes_clustered_also_while_the_warehouse_starts(
    house: House, databricks_schema: Schema, monkeypatch: pytest.MonkeyPatch
):
    name_warehouse(databricks_schema, monkeypatch)
    identifier = databricks_schema.server.add_warehouse(start_seconds=2)
    monkeypatch.setenv("DATABRICKS_HTTP_PATH", f"/sql/1.0/warehouses/{identifier}")
    warehouse = Warehouse(house.resources.databricks.settings())
    assert warehouse.state() == "STOPPED"
    house.execute("CREATE TABLE item (id int PRIMARY KEY, amount int)")
    table = document(layout={"cluster_by": ["amount"]})
    house.capture(table)
    house.execute("INSERT INTO item VALUES (1, 1)")
    house.sync(table)
    name = warehouse.settings.table("shop/item").sql

    def clustering() -> list[str]:
        rows = (row for batch in warehouse.stream(f"DESCRIBE DETAIL {name}", doing="ask") for row in batch.to_pylist())
        return next(rows)["clusteringColumns"]

    assert (clustering(), warehouse.state()) == (["amount"], "RUNNING")
    house.sync(document(layout={"cluster_by": ["id", "amount"]}))
    assert clustering() == ["id", "amount"], "of a table that is there, too"
    version = house.opened(table).version()
    house.sync(document(layout={"cluster_by": ["id", "amount"]}))
    assert house.opened(table).version() == version
    house.bind(document()).target.optimize(z_order=["amount"])  # which a clustered table refuses


@pytest.mark.parametrize("host", ["https://dbc-1.cloud.databricks.com/", "dbc-2.cloud.databricks.com"])
def test_a_login_stands_in_the_profile_of_the_same_workspace(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in [name for name in os.environ if name.startswith(("DATABRICKS_", "ARM_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATABRICKS_HOST", "dbc-1.cloud.databricks.com")
    monkeypatch.setenv("DATABRICKS_HTTP_PATH", "/sql/1.0/warehouses/abc123")
    (tmp_path / ".databrickscfg").write_text(f"[DEFAULT]\nhost = {host}\ntoken = dapi-of-the-profile\n")
    settings = DatabricksResource().settings()
    if "dbc-2" in host:
        with pytest.raises(ConfigurationError, match=r"no credentials that fit.*\[DEFAULT\] of that host"):
            settings.client()
    else:
        assert settings.client().config.authenticate() == {"Authorization": "Bearer dapi-of-the-profile"}
        assert hide_known("dapi-of-the-profile") == "***"


def test_the_resource_reads_every_name_of_its_variables(monkeypatch: pytest.MonkeyPatch):
    for name in ("HOST", "TOKEN", "HTTP_PATH", "CATALOG", "SCHEMA", "VOLUME"):
        monkeypatch.delenv(f"DATABRICKS_{name}", raising=False)
    assert not DatabricksResource().configured()
    monkeypatch.setenv("DATABRICKS_SERVER_HOSTNAME", "dbc-1.cloud.databricks.com/")
    monkeypatch.setenv("DATABRICKS_ACCESS_TOKEN", "dapi-1234567890")
    with pytest.raises(ConfigurationError, match="DATABRICKS_HTTP_PATH"):
        DatabricksResource().settings()
    monkeypatch.setenv("DATABRICKS_HTTP_PATH", "/sql/1.0/warehouses/abc123")
    found = DatabricksResource().settings()
    assert (found.host, found.warehouse) == ("https://dbc-1.cloud.databricks.com", "abc123")
    assert (found.catalog, found.schema, found.volume) == ("main", "voyce", "/Volumes/main/voyce/staging")
    assert "dapi" not in repr(found)
    assert str(found.table("voice/submissions")) == "main.voyce.submissions"
    assert str(found.table("other.submissions")) == "main.other.submissions"
    assert str(found.table("c.s.t")) == "c.s.t"
    with pytest.raises(ConfigurationError, match=r"a\.b\.c\.d"):
        found.table("a.b.c.d")
    monkeypatch.setenv("DATABRICKS_VOLUME", "/Volumes/broken")
    with pytest.raises(ConfigurationError, match="DATABRICKS_VOLUME"):
        DatabricksResource().settings()
