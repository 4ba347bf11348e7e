"""The asset of a table, run by Dagster over real PostgreSQL and Chroma."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sync_pipelines.automation import newest_partition
from sync_pipelines_tests.dagster.homes import fresh_home
from sync_pipelines_tests.dagster.world import World


@pytest.mark.slow
def test_a_first_run_is_a_full_sync_and_says_so(world: World):
    world.put("a")
    world.put("b")
    counts = world.sync()
    assert (counts.read, counts.upserted) == (2, 2)
    assert set(world.stored()) == {"a", "b"}
    assert "first run" in world.last_run().reason


@pytest.mark.slow
def test_an_incremental_run_touches_only_what_changed(world: World):
    for key in "abcd":
        world.put(key, body=f"body of {key}")
    world.sync()
    world.put("a", body="rewritten")
    world.put("b", body="body of b", stock=9)
    world.put("e")
    world.execute("""DELETE FROM "Article" WHERE id = 'd'""")
    counts = world.sync()
    assert (counts.read, counts.upserted, counts.metadata_only, counts.deleted) == (3, 2, 1, 1)
    assert counts.embedded_texts == 2
    assert set(world.stored()) == {"a", "b", "c", "e"}
    assert world.metadata("b")["stock"] == 9


@pytest.mark.slow
def test_a_run_with_nothing_to_do_writes_nothing(world: World):
    world.put("a")
    world.sync()
    counts = world.sync()
    assert (counts.read, counts.upserted, counts.deleted, counts.embedded_texts) == (0, 0, 0, 0)


@pytest.mark.slow
def test_a_full_run_over_unchanged_records_embeds_and_writes_nothing(world: World):
    for key in "abc":
        world.put(key)
    world.sync()
    counts = world.sync(mode="full")
    assert (counts.read, counts.unchanged, counts.upserted, counts.embedded_texts) == (3, 3, 0, 0)


def test_a_full_run_removes_what_the_source_no_longer_has_and_strangers(world: World):
    world.put("a")
    world.sync()
    world.collection.add(ids=["stranger"], documents=["x"], embeddings=[[0.1] * 16])
    counts = world.sync(mode="full")
    assert counts.deleted == 1
    assert set(world.stored()) == {"a"}


@pytest.mark.slow
def test_an_old_partition_repairs_its_window(world: World):
    world.put("old")
    world.execute("""UPDATE "Article" SET "updatedAt" = '2024-02-10'""")
    world.put("new")
    world.sync()
    world.collection.delete(ids=["old"])
    assert world.sync().read == 0
    counts = world.sync(partition="2024-02-01")
    assert (counts.read, counts.upserted) == (1, 1)
    assert set(world.stored()) == {"old", "new"}


@pytest.mark.slow
def test_a_range_of_all_partitions_is_one_run_over_all_records(world: World):
    world.put("old")
    world.execute("""UPDATE "Article" SET "updatedAt" = '2019-02-10'""")
    world.put("new")
    world.sync()
    world.collection.delete(ids=["old", "new"])
    world.collection.add(ids=["keep"], documents=["x"], embeddings=[[0.1] * 16])
    from sync_pipelines_tests.dagster.project import definitions

    job = definitions(world.component).resolve_job_def("shop_incremental")
    tags = {
        "dagster/asset_partition_range_start": "2024-01-01",
        "dagster/asset_partition_range_end": newest_partition(world.component),
    }
    assert job.execute_in_process(instance=world.instance, tags=tags).success
    assert set(world.stored()) == {"old", "new", "keep"}


@pytest.mark.slow
def test_a_dropped_collection_is_recognised_and_filled_again(world: World):
    world.put("a")
    world.sync()
    world.client.delete_collection("article")
    assert world.sync().upserted == 1
    assert "made anew" in world.last_run().reason


@pytest.mark.slow
def test_an_emptied_collection_is_recognised_and_filled_again(world: World):
    world.put("a")
    world.sync()
    world.collection.delete(ids=["a"])
    assert world.sync().upserted == 1


@pytest.mark.slow
def test_deleting_most_of_the_source_stops_before_anything_is_deleted(world: World):
    for number in range(150):
        world.put(f"k{number}")
    world.sync()
    world.execute("""DELETE FROM "Article" WHERE id <> 'k0'""")
    world.put("new")
    result = world.materialize(raises=False)
    assert not result.success
    error = result.failure_data_for_node("shop__article")
    assert "149 of the target's 151 records" in str(error.user_failure_data.description)
    assert set(world.stored()) == {f"k{number}" for number in range(150)} | {"new"}
    assert world.last_run().status == "failed"
    counts = world.sync(allow_mass_delete=True)
    assert counts.deleted == 149
    assert set(world.stored()) == {"k0", "new"}


@pytest.mark.slow
def test_an_emptied_source_deletes_nothing_without_leave(world: World):
    world.put("a")
    world.sync()
    world.execute("""TRUNCATE "Article" """)
    assert not world.materialize(raises=False).success
    assert not world.materialize(mode="full", raises=False).success
    assert set(world.stored()) == {"a"}
    assert world.sync(allow_mass_delete=True).deleted == 1


@pytest.mark.slow
def test_a_poison_record_is_quarantined_alone_and_leaves_by_itself_when_it_is_good(world: World):
    world.put("good")
    world.put("bad")
    world.execute("""UPDATE "Article" SET "updatedAt" = 'infinity' WHERE id = 'bad'""")
    counts = world.sync()
    assert (counts.upserted, counts.quarantined) == (1, 1)
    assert world.prove().equal
    assert world.prove().quarantined == 1
    world.put("bad")
    assert world.sync().upserted == 1
    assert world.prove().quarantined == 0
    assert set(world.stored()) == {"good", "bad"}


@pytest.mark.slow
def test_a_changed_embedding_stops_with_the_remedy_and_a_rebuild_mends_it(world: World):
    from sync_pipelines_tests.dagster.project import article

    world.put("a")
    world.sync()
    world.component = article(embedding={"name": "hash", "dimensions": 24})
    result = world.materialize(raises=False)
    assert "mode: rebuild" in str(result.failure_data_for_node("shop__article").user_failure_data.description)
    counts = world.sync(mode="rebuild")
    assert counts.upserted == 1
    found = world.collection.get(include=["embeddings"])
    assert len(found["embeddings"][0]) == 24
    assert world.sync().upserted == 0
    assert world.prove().equal


@pytest.mark.slow
def test_the_count_check_runs_with_the_materialization_and_names_differences(world: World):
    world.put("a")
    result = world.materialize()
    evaluation = result.get_asset_check_evaluations()[0]
    assert evaluation.passed
    world.collection.delete(ids=["a"])
    world.collection.add(ids=["stranger"], documents=["x"], embeddings=[[0.1] * 16])
    proof = world.prove()
    assert proof.samples == {"missing": ["a"], "extra": ["stranger"]}


@pytest.mark.slow
def test_metadata_of_a_run_says_what_it_did(world: World):
    world.put("a")
    result = world.materialize()
    metadata = result.asset_materializations_for_node("shop__article")[0].metadata
    assert metadata["upserted"].value == 1
    assert metadata["dagster/row_count"].value == 1
    assert isinstance(metadata["dagster/column_schema"], dg.TableSchemaMetadataValue)


@pytest.mark.slow
def test_single_records_move_no_watermark_and_turn_no_partition_green(world: World):
    from sync_pipelines_tests.dagster.project import definitions

    world.put("a")
    world.sync()
    world.put("a", stock=5)
    world.put("b")
    job = definitions(world.component).resolve_job_def("shop_records")
    config = {"ops": {"shop_sync_records": {"config": {"table": "article", "keys": ["a", "ghost"]}}}}
    result = job.execute_in_process(instance=world.instance, run_config=config)
    assert result.success
    assert not result.get_asset_materialization_events()
    assert world.metadata("a")["stock"] == 5
    assert set(world.stored()) == {"a"}
    counts = world.sync()
    assert (counts.read, counts.upserted, counts.unchanged) == (2, 1, 1)


@pytest.mark.slow
def test_a_rebuild_may_be_the_first_run_of_all(world: World):
    world.put("a")
    assert world.sync(mode="rebuild").upserted == 1
    assert set(world.stored()) == {"a"}
    assert world.sync().read == 0


@pytest.mark.slow
def test_a_rebuild_over_a_shrunken_source_stops_and_leaves_the_old_state_whole(world: World):
    for number in range(150):
        world.put(f"k{number}")
    world.sync()
    world.execute("""DELETE FROM "Article" WHERE id <> 'k0'""")
    assert not world.materialize(mode="rebuild", raises=False).success
    assert len(world.stored()) == 150
    assert world.sync(mode="rebuild", allow_mass_delete=True).deleted == 149
    assert set(world.stored()) == {"k0"}


@pytest.mark.slow
def test_the_batch_size_is_the_unit_of_writing(world: World, monkeypatch):
    for number in range(7):
        world.put(f"k{number}")
    sizes = []
    from sync_pipelines.engine.run import Run

    mapped = Run._mapped

    def watched(self, upserts, **told):
        for batch in mapped(self, upserts, **told):
            sizes.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(Run, "_mapped", watched)
    assert world.sync(batch_size=3).upserted == 7
    assert sizes == [3, 3, 1]


@pytest.mark.slow
def test_hits_and_errors_of_chroma_name_the_table(world: World):
    from sync_pipelines.engine.errors import RunError
    from sync_pipelines.targets.search import best

    world.put("a", body="hello")
    world.sync()
    target = world.component.build_target(world.resources.chroma)
    assert [hit.table for hit in best(target, "hello")] == ["shop/article"]
    world.client.delete_collection("article")
    with pytest.raises(RunError, match=r"^shop/article: "):
        best(target, "hello")


@pytest.mark.slow
def test_a_source_without_triggers_stops_and_names_the_command(world: World):
    from sync_pipelines.sources.postgres.capture import remove

    world.put("a")
    remove(world.url, world.component.spec, schema="sync")
    result = world.materialize(raises=False)
    error = str(result.failure_data_for_node("shop__article").user_failure_data.description)
    assert "sync-pipelines capture install" in error


@pytest.mark.slow
def test_a_sync_that_is_not_configured_says_which_variable(world: World, monkeypatch):
    monkeypatch.delenv("CHROMA_URL")
    result = world.materialize(raises=False)
    assert "CHROMA_URL" in str(result.failure_data_for_node("shop__article").user_failure_data.description)


@pytest.mark.slow
def test_a_command_that_was_killed_before_it_wrote_does_not_stop_the_sensor_for_ever(world: World):
    from sync_pipelines.automation import read_facts
    from sync_pipelines.launch import OWN_PROCESS
    from sync_pipelines_tests.dagster.project import definitions

    world.put("a")
    job = definitions(world.component).resolve_job_def("shop_incremental")
    tags = {OWN_PROCESS: "true", "sync/table": "shop/article"}  # as older versions wrote it
    run = world.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTING, tags=tags)
    assert read_facts(world.component, world.resources, world.instance).active_runs == (run.run_id,)
    world.instance.report_dagster_event(
        dg.DagsterEvent(event_type_value="PIPELINE_START", job_name=job.name), run_id=run.run_id
    )
    facts = read_facts(world.component, world.resources, world.instance)
    assert facts.active_runs == ()
    assert facts.pending
    closed = world.instance.get_run_by_id(run.run_id)
    assert closed is not None
    assert closed.status == dg.DagsterRunStatus.FAILURE


@pytest.mark.slow
def test_a_schedule_asks_for_no_second_run_of_a_table_while_one_waits_or_runs(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from sync_pipelines_tests.dagster.project import definitions

    monkeypatch.setenv("DAGSTER_HOME", str(fresh_home(tmp_path)))
    world.instance = dg.DagsterInstance.get()

    def told(name: str) -> str | None:
        return world.schedule_tick(f"shop_{name}_schedule").skip_message

    def ask(**more: Any) -> str:
        job = definitions(world.component).resolve_job_def("shop_incremental")
        tags, starting = {"sync/table": "shop/article"}, dg.DagsterRunStatus.STARTING
        run = world.instance.create_run_for_job(job, status=starting, tags=tags, **more)
        return f"shop/article: run {run.run_id} is queued or running"

    assert (told("incremental"), told("full")) == (None, None)
    first = ask()
    assert told("incremental") == first
    assert told("full") is None, "what waits is no full run"
    full = ask(run_config={"ops": {world.component.op_name: {"config": {"mode": "full"}}}})
    assert told("full") == full


@pytest.mark.parametrize(
    ("tags", "trigger"),
    [
        ({"sync/trigger": "cli"}, "cli"),
        ({"dagster/schedule_name": "x"}, "schedule"),
        ({"sync/trigger": "cli", "dagster/parent_run_id": "a"}, "manual"),
        ({"sync/trigger": "cli", "dagster/parent_run_id": "a", "dagster/retry_number": "1"}, "cli"),
    ],
)
def test_who_runs_it_again_asks_anew_and_a_retry_does_not(tags: dict[str, str], trigger: str):
    from sync_pipelines.components.assets import trigger_of

    assert trigger_of(tags) == trigger
