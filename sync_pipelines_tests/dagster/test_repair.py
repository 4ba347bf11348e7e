"""Repairs: what differs is mended and nothing else, whatever cuts them off."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from sync_pipelines.engine.ledger.proofs import ProofBook
from sync_pipelines.engine.repair import Wanted, plan_repair
from sync_pipelines.engine.run import Run
from sync_pipelines_tests.dagster.project import article, definitions
from sync_pipelines_tests.dagster.test_checks import check
from sync_pipelines_tests.dagster.world import World


def repair(world: World, *, raises: bool = True, **config: Any) -> dg.ExecuteInProcessResult:
    """Run the job `<sync>_repair` for the world's table."""
    sync = world.component.sync
    return (
        definitions(world.component)
        .resolve_job_def(f"{sync}_repair")
        .execute_in_process(
            instance=world.instance,
            run_config={"ops": {f"{sync}_repair_tables": {"config": {"table": "article", **config}}}},
            raise_on_error=raises,
        )
    )


def plan(world: World, wanted: Wanted | None = None) -> Any:
    binding = world.component.bind(world.resources)
    with binding.ledger:
        return plan_repair(binding, wanted or Wanted())


def last_repair(world: World) -> Any:
    with world.resources.ledger.ledger() as ledger:
        return ledger.last_repair("shop", "article")


@pytest.fixture
def tampered(world: World) -> World:
    """20 articles; behind the sync's back one was removed, one lost its fingerprint, one is a stranger."""
    for number in range(20):
        world.put(f"k{number:02}", body=f"the body of {number}")
    world.sync()
    world.collection.delete(ids=["k01"])
    world.collection.update(ids=["k02"], metadatas=[{"sync_fingerprint": "another"}])
    world.collection.add(ids=["stranger"], documents=["x"], embeddings=[[0.1] * 16])
    return world


def test_a_plan_says_what_would_be_written_and_deleted_and_does_nothing(tampered: World):
    found = plan(tampered)
    assert (found.missing, found.stale, found.extra) == (1, 1, 1)
    assert found.samples == {"missing": ["k01"], "stale": ["k02"], "extra": ["stranger"]}
    assert "stranger" in tampered.stored()
    assert "k01" not in tampered.stored()


@pytest.mark.slow
def test_a_repair_mends_exactly_what_differs_and_writes_that_down_by_bucket(tampered: World):
    before = tampered.watermark()
    assert repair(tampered).success
    assert set(tampered.stored()) == {f"k{number:02}" for number in range(20)}
    counts = tampered.last_run().counts
    assert (counts.read, counts.upserted + counts.metadata_only, counts.deleted) == (2, 2, 1)
    assert counts.embedded_texts == 1
    done = last_repair(tampered)
    assert (done.missing, done.stale, done.extra, done.repaired) == (1, 1, 1, 3)
    assert sum(found for found, _ in done.buckets.values()) == 3
    assert sum(mended for _, mended in done.buckets.values()) == 3
    assert tampered.watermark() == before
    assert tampered.prove().equal


@pytest.mark.slow
def test_a_repair_writes_in_batches_of_the_size_that_its_config_or_a_variable_says(
    tampered: World, monkeypatch: pytest.MonkeyPatch
):
    from sync_pipelines.engine import run as engine

    sizes = []
    resized = engine.resized
    monkeypatch.setattr(engine, "resized", lambda batches, rows: sizes.append(rows) or resized(batches, rows))
    monkeypatch.setenv("SHOP_BATCH_SIZE", "7")
    repair(tampered, batch_size=2)
    tampered.collection.delete(ids=["k05"])
    repair(tampered)
    assert list(dict.fromkeys(sizes)) == [2, 7]


@pytest.mark.slow
def test_a_repair_turns_the_checks_green_in_dagster(tampered: World):
    assert not check(tampered)["content"].passed
    assert repair(tampered).success
    key = dg.AssetCheckKey(tampered.component.asset_key, "content")
    latest = tampered.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert latest.event.dagster_event.asset_check_evaluation_data.passed


@pytest.mark.slow
def test_a_repair_over_an_equal_table_writes_nothing(world: World):
    world.put("a")
    world.sync()
    assert repair(world, deep=True).success
    counts = world.last_run().counts
    assert (counts.read, counts.upserted, counts.metadata_only, counts.deleted, counts.embedded_texts) == (0,) * 5


@pytest.mark.slow
def test_without_deep_it_mends_what_the_last_deep_check_named(world: World):
    for key in "abcd":
        world.put(key, body=f"the body of {key}")
    world.sync()
    world.collection.update(ids=["a"], documents=["edited"], embeddings=[[0.1] * 16])
    world.collection.update(ids=["b"], embeddings=[[9.0, -9.0] * 8])
    assert repair(world).success
    assert world.stored()["a"] == "edited"
    assert not check(world, "check_deep")["deep"].passed
    assert repair(world).success
    assert world.stored()["a"].endswith("the body of a")
    assert world.last_run().counts.read == 2
    assert check(world, "check_deep")["deep"].passed


@pytest.mark.slow
def test_deep_mends_by_the_values_themselves(world: World):
    for key in "abc":
        world.put(key, body=f"the body of {key}")
    world.sync()
    world.collection.update(ids=["a"], documents=["edited"], embeddings=[[0.1] * 16])
    world.collection.update(ids=["c"], metadatas=[{"stock": 5}])
    assert repair(world, deep=True).success
    assert world.stored()["a"].endswith("the body of a")
    assert world.metadata("c")["stock"] == 1
    assert world.last_run().counts.embedded_texts == 1


@pytest.mark.slow
def test_only_the_keys_that_are_asked_for_are_mended(tampered: World):
    assert repair(tampered, keys=["k02", "stranger"]).success
    assert "k01" not in tampered.stored()
    assert "stranger" not in tampered.stored()
    assert last_repair(tampered).scope == "2 keys"


@pytest.mark.slow
def test_a_pending_change_is_no_repairs_business(world: World):
    world.put("a")
    world.sync()
    world.put("a", body="changed")
    world.put("b")
    assert repair(world).success
    assert world.last_run().counts.read == 0
    assert "b" not in world.stored()
    assert world.sync().read == 2


@pytest.mark.slow
def test_what_comes_into_the_source_just_before_its_deletion_stays_and_is_not_called_mended(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    world.put("a")
    world.sync()
    world.collection.add(ids=["late"], documents=["x"], embeddings=[[0.1] * 16])
    guard = Run.guard

    def late(run: Run, **asked: Any) -> None:
        world.put("late")
        guard(run, **asked)

    monkeypatch.setattr(Run, "guard", late)
    assert repair(world).success
    done = last_repair(world)
    assert (done.extra, done.repaired) == (1, 0)
    assert world.last_run().counts.deleted == 0
    assert "late" in world.stored()


@pytest.mark.slow
def test_a_quarantined_and_a_dropped_record_stay_as_they_are(world: World):
    world.execute("""ALTER TABLE "Article" ADD COLUMN weight float8""")
    world.component = article(metadata=["stock", "weight"])
    for key in ("good", "bad", "dropped"):
        world.put(key)
    world.execute("""UPDATE "Article" SET weight = 'NaN' WHERE id IN ('bad', 'dropped')""")
    world.sync()
    with world.resources.ledger.ledger() as ledger:
        ledger.drop_quarantined("shop", "article", ["dropped"])
    assert repair(world, deep=True).success
    proof = world.prove()
    assert (proof.quarantined, proof.excluded, proof.missing) == (1, 1, 0)
    assert world.last_run().counts.read == 0


@pytest.mark.slow
def test_the_guard_stops_a_repairs_deletion_and_the_upserts_still_arrive(world: World):
    world.component = article(checks={"mass_delete": {"share": 0.1, "records": 3}})
    for key in "abcdefgh":
        world.put(key)
    world.sync()
    world.collection.delete(ids=["a"])
    strangers = [f"s{number}" for number in range(5)]
    world.collection.add(ids=strangers, documents=strangers, embeddings=[[0.1] * 16] * 5)
    assert plan(world).refused
    failed = repair(world, raises=False)
    assert not failed.success
    assert set(strangers) <= set(world.stored())
    assert "a" in world.stored()
    assert repair(world, allow_mass_delete=True).success
    assert set(world.stored()) == set("abcdefgh")


@pytest.mark.slow
def test_an_interrupted_repair_that_is_run_again_ends_equal(tampered: World, monkeypatch: pytest.MonkeyPatch):
    from sync_pipelines.targets.chroma.target import ChromaTarget

    def broken(*_: object) -> int:
        raise KeyboardInterrupt  # as Ctrl-C in the middle of a deletion

    with monkeypatch.context() as patched:
        patched.setattr(ChromaTarget, "delete", broken)
        with pytest.raises((KeyboardInterrupt, dg.DagsterExecutionInterruptedError)):
            repair(tampered)
    assert tampered.last_run().status in ("cancelled", "failed")
    assert repair(tampered).success
    assert tampered.prove().equal


@pytest.mark.slow
def test_a_store_that_loses_what_it_acknowledged_is_told_and_not_called_mended(
    tampered: World, monkeypatch: pytest.MonkeyPatch
):
    from sync_pipelines.targets.chroma.store import ChromaStore

    monkeypatch.setattr(ChromaStore, "write", lambda *_, **__: [])
    failed = repair(tampered, raises=False)
    assert not failed.success
    assert tampered.last_run().status == "failed"
    assert "still differ" in tampered.last_run().error


@pytest.mark.slow
def test_auto_repair_follows_the_scheduled_check_where_it_is_wanted(world: World):
    sensors = {it.name for it in definitions(article()).get_repository_def().sensor_defs}
    assert "shop_auto_repair" not in sensors
    wanted = article(checks={"auto_repair": True})
    assert "shop_auto_repair" in {it.name for it in definitions(wanted).get_repository_def().sensor_defs}
    cursor = article(source={**wanted.source.model_dump(), "capture": "cursor"})
    assert cursor.auto_repair
    assert not article(
        source={**wanted.source.model_dump(), "capture": "cursor"}, checks={"auto_repair": False}
    ).auto_repair


def scheduled_check(world: World, name: str = "shop_check") -> dg.ExecuteInProcessResult:
    """A proof, as its schedule asks for it."""
    request = world.schedule_tick(f"{name}_schedule").run_requests[0]
    job = definitions(world.component).resolve_job_def(name)
    return job.execute_in_process(instance=world.instance, tags=request.tags, raise_on_error=False)


def asked_after(world: World, proven: dg.ExecuteInProcessResult, sensor: str = "shop_auto_repair") -> list[str]:
    """The tables of which the sensor asks a repair after this run."""
    project = definitions(world.component)
    with dg.build_run_status_sensor_context(
        sensor_name=sensor,
        dagster_instance=world.instance,
        dagster_run=proven.dagster_run,
        dagster_event=proven.all_events[-1],
        resources={"ledger": world.resources.ledger},
    ) as context:
        found = project.get_repository_def().get_sensor_def(sensor)(context)
    return [request.tags["sync/table"] for request in found] if isinstance(found, list) else []


@pytest.mark.slow
def test_what_the_scheduled_check_found_is_repaired_also_when_a_run_came_between(world: World):
    world.component = article(checks={"auto_repair": True, "content_limit": 1})
    for key in "abc":
        world.put(key)
    world.sync()
    assert asked_after(world, scheduled_check(world)) == []
    world.collection.delete(ids=["a"])
    proven = scheduled_check(world)
    world.put("b", body="changed")
    world.sync()
    assert asked_after(world, proven) == ["shop/article"]
    assert asked_after(world, proven, "shop_auto_repair_of_the_others") == ["shop/article"]


@pytest.mark.slow
def test_what_only_a_look_at_the_values_finds_is_repaired_after_the_deep_check_that_found_it(world: World):
    world.component = article(checks={"auto_repair": True, "deep": "daily"})
    for key in "ab":
        world.put(key)
    world.sync()
    sensor = definitions(world.component).get_repository_def().get_sensor_def("shop_auto_repair")
    assert "shop_check_deep" in {job.name for job in sensor._monitored_jobs}
    assert asked_after(world, scheduled_check(world, "shop_check_deep")) == []
    world.collection.update(ids=["a"], documents=["edited"], embeddings=[[0.1] * 16])
    assert asked_after(world, scheduled_check(world)) == []
    assert asked_after(world, scheduled_check(world, "shop_check_deep")) == ["shop/article"]


@pytest.mark.slow
def test_a_repair_that_dies_has_its_beginning_on_the_record(world: World, monkeypatch: pytest.MonkeyPatch):
    world.put("a")
    world.sync()
    began = []
    keep = ProofBook.record_proof

    def dies(book: Any, *place: str, **row: Any) -> int:
        if row["kind"] == "repair":
            began.append(world.execute("SELECT finished_at, error FROM sync.reconciliation_runs WHERE kind = 'repair'"))
        return keep(book, *place, **row)

    monkeypatch.setattr(ProofBook, "record_proof", dies)
    repair(world)
    assert began == [[(None, None)]]
    ((finished,),) = world.execute("SELECT finished_at FROM sync.reconciliation_runs WHERE kind = 'repair'")
    assert finished is not None


@pytest.mark.slow
def test_a_proof_that_nobody_scheduled_asks_for_no_repair(world: World):
    world.component = article(checks={"auto_repair": True})
    world.put("a")
    world.sync()
    world.collection.delete(ids=["a"])
    job = definitions(world.component).resolve_job_def("shop_check")
    assert asked_after(world, job.execute_in_process(instance=world.instance)) == []


@pytest.mark.slow
def test_the_guards_remedy_is_the_command_that_does_it(world: World):
    world.component = article(checks={"mass_delete": {"share": 0.1, "records": 3}})
    for key in "abc":
        world.put(key)
    world.sync()
    strangers = [f"s{number}" for number in range(5)]
    world.collection.add(ids=strangers, documents=strangers, embeddings=[[0.1] * 16] * 5)
    repair(world, raises=False)
    assert "sync-pipelines repair shop/article --allow-mass-delete" in world.last_run().error
    assert "5 of the target's 8 records would be deleted (3 after the last confirmed sync)" in world.last_run().error
    world.materialize(mode="full", raises=False)
    assert "sync-pipelines sync shop/article --full --allow-mass-delete" in world.last_run().error


@pytest.mark.slow
def test_auto_repair_follows_a_difference_that_the_counts_do_not_show(world: World):
    world.component = article(checks={"auto_repair": True})
    for key in "abc":
        world.put(key)
    world.sync()
    world.collection.update(ids=["a"], metadatas=[{"sync_fingerprint": "another"}])
    assert asked_after(world, scheduled_check(world)) == ["shop/article"]


def test_an_empty_list_of_keys_is_refused_and_repairs_nothing(tampered: World):
    failed = repair(tampered, raises=False, keys=[])
    assert not failed.success
    assert "names no record" in failed.failure_data_for_node("shop_repair_tables").user_failure_data.description
    assert "k01" not in tampered.stored()


def test_keys_without_their_table_are_refused(tampered: World):
    failed = repair(tampered, raises=False, keys=["k02"], table=None)
    assert not failed.success
    assert "table" in failed.failure_data_for_node("shop_repair_tables").user_failure_data.description
    assert tampered.metadata("k02")["sync_fingerprint"] == "another"
