"""The way back under Dagster: document, asset, checks, sensor, clean-up and commands."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from sync_pipelines.definitions import default_resources
from sync_pipelines.documents import problems
from sync_pipelines.engine.plan import plan
from sync_pipelines.registry import BoundTable, databases
from sync_pipelines.reporting import facts_of
from sync_pipelines.status import table_status
from sync_pipelines.upkeep import clean_up
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.lake.house import House, Lake, back
from sync_pipelines_tests.lake.reviews import DDL, held, row, rows

DOCUMENT = """\
type: sync_pipelines.DeltaToPostgres
attributes:
  sync: shop
  source: {table: shop/review, key: [id], changed_at: updated_at}
  target: {connection: shop, table: review}
  columns: [stars, note, topics, detail, updated_at]
  conflicts: {strategy: last_write_wins, by: updated_at}
"""


@pytest.fixture
def world(house: House, lake: Lake) -> World:
    house.execute(DDL)
    lake.write(rows(row("a"), row("b")))
    component: Any = back(source={"changed_at": "updated_at"})
    return World(url=house.url, chroma=None, instance=dg.DagsterInstance.ephemeral(), component=component)


@pytest.mark.slow
def test_the_asset_writes_and_its_checks_pass(world: World, house: House):
    result = world.materialize()
    assert result.success
    assert held(house).keys() == {"a", "b"}
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert checks
    assert all(checks.values()), checks


@pytest.mark.slow
def test_an_old_window_compares_the_rows_in_it(world: World, house: House):
    world.materialize()
    house.execute("UPDATE review SET stars = 1 WHERE id = 'a'")
    world.materialize(partition="2024-05-01")
    assert held(house)["a"][0] == 3


@pytest.mark.slow
def test_the_schema_check_knows_the_columns_of_the_last_run(world: World, house: House):
    world.materialize()
    job = definitions(world.component).resolve_job_def("shop_check")
    result = job.execute_in_process(instance=world.instance, raise_on_error=False)
    found = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert found["schema"].passed, found["schema"].description


@pytest.mark.slow
def test_the_sensor_asks_for_a_run_when_there_is_a_new_version_with_changes(world: World, lake: Lake):
    assert world.sensor_tick().run_requests
    world.materialize()
    assert not world.sensor_tick().run_requests
    lake.table.optimize.compact()
    assert not world.sensor_tick().run_requests
    lake.write(rows(row("c")))
    assert world.sensor_tick().run_requests


FAMILY = """DROP TABLE review; CREATE TABLE item (id int PRIMARY KEY, UNIQUE (id)); CREATE DOMAIN code AS varchar(9);
    CREATE TABLE shelf (hall text, number code, PRIMARY KEY (hall, number));
    CREATE TABLE review (id text PRIMARY KEY, item bigint REFERENCES item ON DELETE CASCADE, hall text, number code,
        CONSTRAINT stands FOREIGN KEY (hall, number) REFERENCES shelf ON DELETE CASCADE)"""
ORPHAN = {"id": "a", "item": 7, "hall": "o'h\\", "number": "1"}


@pytest.fixture
def orphan(world: World, house: House, lake: Lake) -> World:
    """A review that waits for two parents, the first of them is missing and noted."""
    house.execute(FAMILY)
    shutil.rmtree(lake.place)
    lake.write([ORPHAN])
    world.component = back()
    assert world.sensor_tick().run_requests
    world.materialize()
    assert [item.stage for item in quarantined(world)] == ["wait"]
    assert world.sensor_tick().skip_message == "nothing pending"
    return world


def quarantined(world: World) -> list[Any]:
    with world.resources.ledger.ledger() as ledger:
        return ledger.list_quarantine("shop", "review")


@pytest.mark.slow
def test_the_sensor_wakes_a_waiting_record_when_its_parent_has_come_and_not_before(orphan: World, house: House):
    house.execute("INSERT INTO item VALUES (6), (8); INSERT INTO shelf VALUES ('o''h\\', '1')")
    assert orphan.sensor_tick().skip_message == "nothing pending"
    house.execute("INSERT INTO item VALUES (7)")
    assert len(orphan.sensor_tick().run_requests) == 1
    orphan.materialize()
    assert (quarantined(orphan), held(house).keys()) == ([], {"a"})
    assert orphan.sensor_tick().skip_message == "nothing pending"


@pytest.mark.slow
def test_a_record_that_waits_for_two_parents_is_woken_by_each_and_never_again_and_again(orphan: World, house: House):
    house.execute("INSERT INTO item VALUES (7)")
    assert orphan.sensor_tick().run_requests
    orphan.materialize()
    (waiting,) = quarantined(orphan)
    assert (waiting.attempts, "(hall, number; stands)" in waiting.reason) == (1, True)
    assert orphan.sensor_tick().skip_message == "nothing pending"
    house.execute("INSERT INTO shelf VALUES ('o''h\\', '2'), ('other', '1')")
    assert orphan.sensor_tick().skip_message == "nothing pending"
    house.execute("INSERT INTO shelf VALUES ('o''h\\', '1')")
    assert orphan.sensor_tick().run_requests
    orphan.materialize()
    assert held(house).keys() == {"a"}


@pytest.mark.slow
def test_a_foreign_key_that_is_gone_wakes_what_waits_for_it(orphan: World, house: House):
    house.execute("ALTER TABLE review DROP CONSTRAINT review_item_fkey, DROP CONSTRAINT stands")
    assert orphan.sensor_tick().run_requests
    orphan.materialize()
    assert held(house).keys() == {"a"}


@pytest.mark.slow
def test_a_dropped_record_wakes_nobody(orphan: World, house: House):
    with orphan.resources.ledger.ledger() as ledger:
        ledger.drop_quarantined("shop", "review")
    house.execute("INSERT INTO item VALUES (7)")
    assert orphan.sensor_tick().skip_message == "nothing pending"


@pytest.mark.slow
def test_what_a_sensitive_foreign_key_holds_is_not_written_down(orphan: World, house: House):
    orphan.component = back(sensitive=["item"])
    orphan.materialize(mode="full")
    assert house.execute("SELECT waits_for FROM sync.sync_quarantine") == [(None,)]
    house.execute("INSERT INTO item VALUES (7); INSERT INTO shelf VALUES ('o''h\\', '1')")
    assert orphan.sensor_tick().skip_message == "nothing pending"
    orphan.materialize()  # a schedule's run
    assert held(house).keys() == {"a"}


@pytest.mark.slow
def test_many_waiting_records_are_asked_for_in_pages(orphan: World, house: House, lake: Lake, monkeypatch):
    monkeypatch.setattr("sync_pipelines.engine.ledger.quarantine._PAGE", 2)
    lake.write([{**ORPHAN, "id": f"b{number}", "item": number} for number in range(10, 15)])
    orphan.materialize()
    assert len(quarantined(orphan)) == 6
    assert orphan.sensor_tick().skip_message == "nothing pending"
    house.execute("INSERT INTO item VALUES (14)")
    assert orphan.sensor_tick().run_requests


def test_without_delta_uri_it_is_not_configured(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DELTA_URI")
    assert "DELTA_URI" in (world.component.not_configured(world.resources) or "")
    assert not world.sensor_tick().run_requests


@pytest.mark.parametrize("name", ["shop_incremental_schedule", "shop_full_schedule", "shop_check_schedule"])
def test_a_schedule_asks_for_nothing_before_somebody_has_made_the_delta_table(world: World, lake: Lake, name: str):
    assert world.schedule_tick(name).run_requests
    shutil.rmtree(lake.place)
    told = world.schedule_tick(name)
    assert (not told.run_requests, told.skip_message is not None) == (True, True)
    assert "there is no Delta table 'shop/review'" in told.skip_message


def test_a_delta_table_that_was_synced_and_is_gone_is_a_fault_and_told_everywhere(
    world: World, house: House, lake: Lake
):
    house.sync(world.component)
    shutil.rmtree(lake.place)
    assert world.schedule_tick("shop_incremental_schedule").run_requests
    assert world.schedule_tick("shop_check_backlog_schedule").run_requests
    with pytest.raises(Exception, match="there is no Delta table 'shop/review' below"):
        world.sensor_tick()
    bound = BoundTable(world.component, house.resources)
    now = datetime.now(UTC)
    (problem,) = table_status(facts_of(bound, live=False, now=now), now=now).problems
    assert "there is no Delta table 'shop/review' below" in problem


def test_a_tick_that_leaves_out_one_table_of_two_says_so(world: World, capsys: pytest.CaptureFixture[str]):
    early: Any = back(source={"table": "shop/early"}, target={"connection": "shop", "table": "early"})
    found = definitions(world.component, early).resolve_schedule_def("shop_check_schedule")
    resources = {key: default_resources()[key] for key in found.required_resource_keys}
    with dg.build_schedule_context(world.instance, resources=resources) as context:
        (request,) = found.evaluate_tick(context).run_requests
    assert {key.asset_key for key in request.asset_check_keys} == {world.component.asset_key}
    assert "left out: shop/early: there is no Delta table 'shop/early' yet" in capsys.readouterr().err


def test_nothing_is_captured_in_postgresql_for_it(world: World, monkeypatch: pytest.MonkeyPatch):
    told = clean_up([world.component], world.resources, keep_days=90)
    assert not [line for line in told if "change log" in line]
    monkeypatch.setattr("sync_pipelines.definitions.load", lambda: (None, (world.component,)))
    assert [database.branches for database in databases()] == [("ledger",)]


def test_a_document_of_this_kind_is_good_and_its_faults_are_told(tmp_path: Path):
    path = tmp_path / "shop" / "defs.yaml"
    path.parent.mkdir()
    path.write_text(DOCUMENT)
    assert problems(tmp_path) == []
    path.write_text(DOCUMENT.replace("by: updated_at", "by: stares"))
    assert "none of `columns`" in problems(tmp_path)[0]
    path.write_text(DOCUMENT.replace("last_write_wins", "newest"))
    assert "conflicts.strategy" in problems(tmp_path)[0]
    path.write_text(DOCUMENT.replace("{table: shop/review", "{connection: x, capture: trigger, table: shop/review"))
    assert "capture" in problems(tmp_path)[0]


@pytest.mark.slow
def test_a_plan_says_what_a_run_would_do_and_does_nothing(house: House, lake: Lake):
    table = back(conflicts={"strategy": "target_wins"})
    house.execute("CREATE TABLE item (id text PRIMARY KEY); INSERT INTO item VALUES ('i')")
    house.execute("CREATE TABLE review (id text PRIMARY KEY, item text REFERENCES item, n int)")
    lake.write([{"id": key, "item": "i", "n": 1} for key in ("same", "changed", "edited", "gone")])
    house.sync(table)
    house.execute("UPDATE review SET n = 9 WHERE id = 'edited'; INSERT INTO review (id) VALUES ('made')")
    lake.table.update({"n": "2"}, predicate="id IN ('changed', 'edited')")
    lake.table.delete("id = 'gone'")
    lake.write([{"id": "waits", "item": "none", "n": 1}])
    for mode in ("incremental", "full"):
        found = plan(house.bind(table), mode=mode)
        assert (found.upserts, found.deletes, found.quarantined) == (1, 1, 1)
    assert house.execute("SELECT count(*) FROM review WHERE n = 2 OR id = 'waits'") == [(0,)]


@pytest.mark.slow
def test_a_downstream_asset_gets_the_synced_rows(world: World):
    @dg.asset(ins={"found": dg.AssetIn(key=world.component.asset_key, metadata={"columns": ["id", "stars"]})})
    def downstream(found: pa.Table) -> list[dict[str, Any]]:
        return found.sort_by("id").to_pylist()

    world.materialize()
    project = dg.Definitions.merge(definitions(world.component), dg.Definitions(assets=[downstream]))
    job = project.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=world.instance, asset_selection=[downstream.key])
    assert result.output_for_node("downstream") == [{"id": "a", "stars": 3}, {"id": "b", "stars": 3}]


@pytest.mark.slow
def test_a_record_that_postgresql_does_not_let_go_is_quarantined_and_replayed(world: World, house: House, lake: Lake):
    world.materialize()
    house.execute("CREATE TABLE reply (review text REFERENCES review); INSERT INTO reply VALUES ('b')")
    lake.table.delete("id = 'b'")
    result = world.materialize()
    assert result.success
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert checks["content"].passed
    assert world.last_run().counts.quarantined == 1
    assert not world.sensor_tick().run_requests
    ledger = house.bind(back()).ledger
    world.records("b")
    assert [record.key for record in ledger.list_quarantine("shop", "review")] == ["b"]
    house.execute("DELETE FROM reply")
    world.records("b")
    assert held(house).keys() == {"a"}
    assert ledger.quarantine_counts("shop", "review") == (0, 0)
