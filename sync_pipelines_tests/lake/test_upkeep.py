"""OPTIMIZE and VACUUM: no row changes, no reader loses a file, and no sync is disturbed."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from deltalake import DeltaTable

from sync_pipelines.definitions import load
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.locks import TargetLock
from sync_pipelines.lake_upkeep import UpkeepConfig, build_lake_upkeep, upkeep
from sync_pipelines.targets.delta.upkeep import vacuum
from sync_pipelines_tests.lake.house import House, document

pytestmark = pytest.mark.slow


@pytest.fixture
def fragmented(house: House) -> House:
    """A table of six small files, of which one is of no use any more."""
    house.execute("CREATE TABLE item (id int PRIMARY KEY, n int)")
    table = document()
    house.capture(table)
    for number in range(5):
        house.execute("INSERT INTO item VALUES (%s, 0)", number)
        house.sync(table)
    house.execute("UPDATE item SET n = 1 WHERE id = 0")
    house.sync(table)
    return house


def files(house: House) -> int:
    return len(DeltaTable(house.resources.delta.settings().table("shop/item")).file_uris())


def test_small_files_become_one_and_no_row_changes(fragmented: House):
    before = fragmented.rows(document())
    done = upkeep(document(), fragmented.resources, UpkeepConfig(), run_id="r")
    assert done is not None
    assert (done["files_before"], done["files_after"], files(fragmented)) == (5, 1, 1)
    assert fragmented.rows(document()) == before
    assert fragmented.prove(document(), "deep").equal
    fragmented.execute("UPDATE item SET n = 2 WHERE id = 3")
    assert fragmented.sync(document()).upserted == 1, "the upkeep must not look like a table made anew"
    upkeep(document(layout={"z_order": ["n"]}), fragmented.resources, UpkeepConfig(), run_id="r")
    place = fragmented.resources.delta.settings().table("shop/item")
    assert DeltaTable(place).to_pyarrow_table().column("n").to_pylist() == [0, 0, 0, 1, 2]
    assert fragmented.prove(document(), "deep").equal


def test_files_of_the_last_week_stay(fragmented: House):
    place = fragmented.resources.delta.settings().table("shop/item")
    version = DeltaTable(place).version()
    done = upkeep(document(), fragmented.resources, UpkeepConfig(), run_id="r")
    assert done is not None
    assert done["files_vacuumed"] == 0
    assert DeltaTable(place, version=version).to_pyarrow_table().num_rows == 5


def test_a_shorter_retention_needs_the_explicit_word(fragmented: House):
    with pytest.raises(ConfigurationError, match="168"):
        upkeep(document(), fragmented.resources, UpkeepConfig(retention_hours=1), run_id="r")
    assert files(fragmented) == 5, "nothing is begun that cannot be ended"
    config = UpkeepConfig(retention_hours=0, allow_short_retention=True)
    done = upkeep(document(), fragmented.resources, config, run_id="r")
    assert done is not None
    assert done["files_vacuumed"] == 6
    assert fragmented.prove(document(), "deep").equal


def test_a_table_that_asks_for_a_longer_retention_gets_it(fragmented: House):
    table = DeltaTable(fragmented.resources.delta.settings().table("shop/item"))
    table.alter.set_table_properties({"delta.deletedFileRetentionDuration": "interval 30 days"})
    done = upkeep(document(), fragmented.resources, UpkeepConfig(), run_id="r")
    assert done is not None
    assert (done["files_vacuumed"], done["vacuumed_below_hours"]) == (0, 720)
    config = UpkeepConfig(retention_hours=168, allow_short_retention=True, optimize=False)
    done = upkeep(document(), fragmented.resources, config, run_id="r")
    assert done == {"files_vacuumed": 0, "vacuumed_below_hours": 168}


def test_a_dry_run_removes_nothing(fragmented: House):
    store = fragmented.bind(document()).target.store
    named = vacuum(store, hours=0, allow_short=True, dry_run=True)
    assert len(named) == 1
    assert vacuum(store, hours=0, allow_short=True) == named


def test_it_waits_for_the_writer_of_the_table(fragmented: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sync_pipelines.lake_upkeep._LOCK_SECONDS", 0.5)
    table = document()
    lock = TargetLock(fragmented.url, table.lock_name(fragmented.resources), run_id="a sync")
    lock.acquire(timeout_s=5)
    try:
        with pytest.raises(Exception, match="Another writer works"):
            upkeep(table, fragmented.resources, UpkeepConfig(), run_id="r")
    finally:
        lock.release()
    assert files(fragmented) == 5


def test_the_job_reports_what_it_did_to_each_table(fragmented: House, tmp_path):
    broken = document(name="broken", target={"table": "shop/broken"})
    place = Path(fragmented.resources.delta.settings().table("shop/broken")) / "_delta_log"
    place.mkdir(parents=True)
    (place / f"{0:020}.json").write_text("no JSON\n")
    definitions = dg.Definitions.merge(
        build_lake_upkeep([broken, document()], timezone="UTC"), dg.Definitions(resources=vars(fragmented.resources))
    )
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        job = definitions.resolve_job_def("shop_upkeep")
        done = job.execute_in_process(instance=instance, raise_on_error=False)
        (failed,) = [event.step_failure_data for event in done.all_events if event.is_step_failure]
        assert "1 of 2 could not be tidied" in str(failed.user_failure_data.description), "and the other one was"
        (seen,) = instance.fetch_observations(dg.AssetKey(["shop", "item"]), limit=5).records
    metadata = seen.asset_observation.metadata
    assert {name: metadata[name].value for name in ("files_before", "files_after")} == {
        "files_before": 5,
        "files_after": 1,
    }


def test_the_upkeep_of_voice_is_weekly_on_sunday():
    schedule = load()[0].get_repository_def().get_schedule_def("voice_upkeep_schedule")
    assert schedule.cron_schedule == "0 4 * * 0"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ({"cluster_by": ["amount"]}, "cluster_by: delta-rs cannot write a table with liquid clustering"),
        ({"z_order": ["amount", "a.b"]}, "z_order: delta-rs takes 'a.b' for a field within a column"),
    ],
)
def test_a_layout_that_delta_rs_cannot_write_is_told_before_a_table_is_made(
    house: House, layout: dict[str, list[str]], said: str
):
    with pytest.raises(ConfigurationError, match=said) as refused:
        house.sync(document(layout=layout))
    assert "target.engine: databricks" in str(refused.value)
