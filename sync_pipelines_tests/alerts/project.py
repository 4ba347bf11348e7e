"""A small code location: one asset whose run and checks do what a file says, and the alerts of the package."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg

from sync_pipelines.alerts.definitions import build_alerts
from sync_pipelines.alerts.sensor import build_sensor
from sync_pipelines.components.base import SyncComponent
from sync_pipelines.definitions import default_resources
from sync_pipelines_tests.dagster.project import definitions as whole_project

KEY = dg.AssetKey(["shop", "thing"])
CHECKS = ("count", "deep")


def order(**orders: Any) -> None:
    """Say what the next runs do: `run="fail" | "die"`, `count=` and `deep=` the parts of a check's result."""
    Path(os.environ["ORDERS"]).write_text(json.dumps(orders))


def _orders() -> dict[str, Any]:
    return json.loads(Path(os.environ["ORDERS"]).read_text())


@dg.asset(key=KEY)
def thing() -> None:
    what = _orders().get("run")
    if what == "die":
        os._exit(9)
    if what == "fail":
        raise dg.Failure("The far system said no: postgresql://app:s3cret-word@db/app", allow_retries=False)


def _check(name: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=KEY, name=name)
    def check() -> dg.AssetCheckResult:
        found = _orders().get(name, {})
        samples = [dg.TableRecord({"difference": kind, "key": key}) for kind, key in found.get("samples", [])]
        table = {"samples": dg.MetadataValue.table(samples)} if samples else {}
        return dg.AssetCheckResult(
            passed=not found,
            severity=dg.AssetCheckSeverity(found.get("severity", "ERROR")),
            description=found.get("says", "Equal."),
            metadata={**found.get("numbers", {}), **table},
        )

    return check


def _job(name: str, selection: dg.AssetSelection) -> Any:
    return dg.define_asset_job(f"shop_{name}", selection=selection, tags={"sync": "shop"})


@dg.job(name="sync_something", executor_def=dg.in_process_executor)
def something():
    pass


def definitions(*components: SyncComponent, every_seconds: int) -> dg.Definitions:
    """The asset, its checks and jobs, and the alerts; these tables are asked for their lag too."""
    own = dg.Definitions(
        assets=[thing],
        asset_checks=[_check(name) for name in CHECKS],
        jobs=[
            _job("incremental", dg.AssetSelection.assets(KEY).without_checks()),
            _job("full", dg.AssetSelection.assets(KEY).without_checks()),
            _job("check", dg.AssetSelection.checks_for_assets(KEY)),
        ],
        resources=default_resources(),
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(own, build_alerts(components, every_seconds=every_seconds))


def of_table(table: SyncComponent, *, every_seconds: int) -> dg.Definitions:
    """What the package makes of a document, without its schedules, and with a sensor that looks more often."""
    made = whole_project(table)
    return dg.Definitions(
        assets=made.assets,
        asset_checks=made.asset_checks,
        jobs=made.jobs,
        sensors=[build_sensor([table], every_seconds=every_seconds)],
        resources=made.resources,
        executor=made.executor,
    )


def run(instance: dg.DagsterInstance, job: str) -> dg.ExecuteInProcessResult:
    """Execute a job of this location here; its events are what the daemon's sensor reads."""
    found = definitions(every_seconds=30).resolve_job_def(f"shop_{job}")
    return found.execute_in_process(instance=instance, raise_on_error=False)


def report_step_failure(instance: dg.DagsterInstance, run_id: str, step: str) -> None:
    """Write down that a step of a run failed, which was not executed."""
    from dagster._core.execution.plan.objects import StepFailureData
    from dagster._utils.error import SerializableErrorInfo

    error = SerializableErrorInfo(message="The table is gone.", stack=[], cls_name="RunError")
    data = StepFailureData(error=error, user_failure_data=None)
    event = dg.DagsterEvent("STEP_FAILURE", job_name="shop", step_key=step, event_specific_data=data)
    instance.report_dagster_event(event, run_id=run_id)
