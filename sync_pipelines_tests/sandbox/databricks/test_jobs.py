"""Jobs: a script in a Volume runs on the one Spark, started by dagster-databricks' own Pipes clients."""

from __future__ import annotations

import io
import time
from textwrap import dedent

import dagster as dg
import pytest
from dagster_databricks import PipesDatabricksClient
from dagster_databricks.pipes import (
    PipesDatabricksServerlessClient,
    PipesUnityCatalogVolumesContextInjector,
    PipesUnityCatalogVolumesMessageReader,
)
from databricks.sdk.service import jobs

from sync_pipelines_tests.sandbox.databricks.shared import Schema

pytestmark = pytest.mark.slow

_PIPES = """
    import sys
    from dagster_pipes import PipesCliArgsParamsLoader, PipesUnityCatalogVolumesContextLoader
    from dagster_pipes import PipesEnvVarParamsLoader, PipesUnityCatalogVolumesMessageWriter, open_dagster_pipes
    from pyspark.sql import SparkSession

    loader = PipesCliArgsParamsLoader() if "--dagster-pipes-context" in sys.argv else PipesEnvVarParamsLoader()
    with open_dagster_pipes(
        params_loader=loader,
        context_loader=PipesUnityCatalogVolumesContextLoader(),
        message_writer=PipesUnityCatalogVolumesMessageWriter(),
    ) as pipes:
        spark = SparkSession.builder.getOrCreate()
        table = pipes.get_extra("table")
        spark.range(10).write.saveAsTable(table)
        spark.table(table).write.format("parquet").save(pipes.get_extra("copy"))
        pipes.log.info("ten rows are on their way")
        pipes.report_asset_materialization(metadata={"rows": spark.table(table).count()})
"""


@pytest.mark.parametrize("serverless", [True, False])
def test_a_job_reports_through_a_volume_to_the_asset_that_started_it(
    databricks_schema: Schema, serverless: bool
) -> None:
    @dg.asset
    def shop(context) -> dg.MaterializeResult:
        task = _task(databricks_schema, _PIPES, serverless=serverless)
        extras = {
            "table": f"main.{databricks_schema.name}.shop",
            "copy": f"{databricks_schema.volume}/copy",
        }
        submitted = {"environments": [jobs.JobEnvironment("default")]} if serverless else {}
        client = _pipes(databricks_schema, serverless=serverless)
        return client.run(context=context, extras=extras, task=task, submit_args=submitted).get_materialize_result()

    result = dg.materialize([shop])
    (event,) = result.asset_materializations_for_node("shop")
    assert event.metadata["rows"].value == 10
    assert databricks_schema.sql("SELECT count(*) FROM shop") == [["10"]]
    assert databricks_schema.sql(f"SELECT count(*) FROM parquet.`{databricks_schema.volume}/copy`") == [["10"]]


def test_a_failing_script_fails_its_run_and_says_why(databricks_schema: Schema) -> None:
    task = _task(databricks_schema, "print('so far'); import sync_pipelines")
    run = _ended(databricks_schema, _submit(databricks_schema, task))
    assert run.state.life_cycle_state is jobs.RunLifeCycleState.INTERNAL_ERROR
    output = databricks_schema.client.jobs.get_run_output(run.tasks[0].run_id)
    assert output.error == "ModuleNotFoundError: import of sync_pipelines halted; None in sys.modules"
    assert "so far" in output.logs


def test_cancelled_runs_end_their_scripts_and_what_they_run_on_spark(databricks_schema: Schema) -> None:
    script = f"""
        from pyspark.sql import SparkSession
        spark = SparkSession.builder.getOrCreate()
        endless = spark.sql("SELECT count(*) FROM range(1000000000000) WHERE sqrt(id) = 0.5")
        open("{databricks_schema.volume}/begun", "w").close()
        endless.collect()
    """
    numbers = []
    for _ in range(3):
        number = _submit(databricks_schema, _task(databricks_schema, script))
        _until(lambda: any(e.name == "begun" for e in _listed(databricks_schema)))
        databricks_schema.client.jobs.cancel_run(number)
        run = _ended(databricks_schema, number)
        assert run.state.result_state is jobs.RunResultState.CANCELED
        databricks_schema.client.files.delete(f"{databricks_schema.volume}/begun")
        numbers.append(number)
    time.sleep(2)  # what was still being planned begins after its run has ended
    _until(lambda: not any(databricks_schema.server.working(number) for number in numbers))
    assert databricks_schema.sql("SELECT sum(id) FROM range(1000)") == [["499500"]]


def test_a_run_submitted_again_with_its_token_is_not_started_again(databricks_schema: Schema) -> None:
    task = _task(databricks_schema, "open('/Volumes/none', 'w')")
    first, second = (_submit(databricks_schema, task, idempotency_token=databricks_schema.name) for _ in range(2))
    assert first == second
    databricks_schema.client.jobs.cancel_run(first)


def _task(schema: Schema, script: str, *, serverless: bool = True) -> jobs.SubmitTask:
    place = f"{schema.volume}/job.py"
    schema.client.files.upload(place, io.BytesIO(dedent(script).encode()), overwrite=True)
    where = {"environment_key": "default"} if serverless else {"new_cluster": {"num_workers": 1, "spark_version": "x"}}
    return jobs.SubmitTask.from_dict({"task_key": "main", "spark_python_task": {"python_file": place}, **where})


def _pipes(schema: Schema, *, serverless: bool) -> PipesDatabricksClient | PipesDatabricksServerlessClient:
    volume = {"client": schema.client, "volume_path": schema.volume}
    common = {
        "client": schema.client,
        "context_injector": PipesUnityCatalogVolumesContextInjector(**volume),
        "message_reader": PipesUnityCatalogVolumesMessageReader(**volume, interval=0.2),
        "poll_interval_seconds": 0.2,
    }
    if serverless:
        return PipesDatabricksServerlessClient(volume_path=schema.volume, **common)
    return PipesDatabricksClient(**common)


def _submit(schema: Schema, task: jobs.SubmitTask, **options: str) -> int:
    return schema.client.jobs.submit(run_name=schema.name, tasks=[task], **options).bind()["run_id"]


def _ended(schema: Schema, number: int) -> jobs.Run:
    _until(lambda: schema.client.jobs.get_run(number).end_time)
    return schema.client.jobs.get_run(number)


def _listed(schema: Schema) -> list:
    return list(schema.client.files.list_directory_contents(schema.volume))


def _until(done) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)
