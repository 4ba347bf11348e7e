"""Runs made beside the daemon: created with their job, then queued, or executed by a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.errors import ConfigurationError

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.origin import JobPythonOrigin
    from dagster._core.remote_origin import CodeLocationOrigin, RemoteJobOrigin

    from sync_pipelines.components.base import SyncComponent

MODULE = "sync_pipelines.definitions"
CHECKOUT = Path(__file__).resolve().parent.parent

OWN_PROCESS = "sync/own_process"
"""Tag of a run that no daemon watches: its process holds the run's lock from before its first step.

Its value is the run's own id: Dagster copies tags to the run that it starts in place of a killed one, and to one
that is executed again from the UI, and those are a daemon's (`has_own_process`).
"""

HEARTBEAT_SECONDS = 75.0
"""A daemon writes a heartbeat every 30 s; after two missed ones nothing should be handed to it."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """A run to be made.

    Args:
        job: the job's name; table: `sync/table`, for messages and the run's tag.
        assets: the keys of the assets that it materializes; empty for a job of ops.
        checks: the keys of the checks that follow.
        run_config, tags: as Dagster takes them.
    """

    job: str
    table: str
    assets: frozenset[dg.AssetKey] = frozenset()
    checks: frozenset[dg.AssetCheckKey] = frozenset()
    run_config: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def table_order(
    component: SyncComponent, *, mode: str, allow_mass_delete: bool = False, tags: Mapping[str, str] | None = None
) -> Order:
    """A run of one table over its newest window, as a schedule would ask for it.

    Args:
        mode: incremental, full, rebuild or reparse.
    """
    from sync_pipelines.automation import run_request

    request = run_request(component, mode=mode, tags=tags)
    config = {"mode": mode, **({"allow_mass_delete": True} if allow_mass_delete else {})}
    return Order(
        job=f"{component.sync}_{'incremental' if mode == 'incremental' else 'full'}",
        table=component.path,
        assets=frozenset({component.asset_key}),
        checks=frozenset(request.asset_check_keys or ()),
        run_config={"ops": {component.op_name: {"config": config}}},
        tags={**request.tags, "dagster/partition": request.partition_key},
    )


def records_order(
    component: SyncComponent,
    keys: Sequence[str],
    *,
    allow_mass_delete: bool = False,
    tags: Mapping[str, str] | None = None,
) -> Order:
    """A run over single records of one table."""
    config: dict[str, Any] = {"table": component.table_name, "keys": list(keys)}
    if allow_mass_delete:
        config["allow_mass_delete"] = True
    return Order(
        job=f"{component.sync}_records",
        table=component.path,
        run_config={"ops": {f"{component.sync}_sync_records": {"config": config}}},
        tags={"sync/table": component.path, **component.run_tags(), **(tags or {})},
    )


def repair_order(
    component: SyncComponent,
    *,
    deep: bool = False,
    keys: Sequence[str] | None = None,
    batch_size: int | None = None,
    allow_mass_delete: bool = False,
    tags: Mapping[str, str] | None = None,
) -> Order:
    """A repair of one table."""
    config: dict[str, Any] = {"table": component.table_name, "deep": deep, "allow_mass_delete": allow_mass_delete}
    if keys is not None:
        config["keys"] = list(keys)
    if batch_size is not None:
        config["batch_size"] = batch_size
    return Order(
        job=f"{component.sync}_repair",
        table=component.path,
        run_config={"ops": {f"{component.sync}_repair_tables": {"config": config}}},
        tags={"sync/table": component.path, **component.run_tags(), **(tags or {})},
    )


@contextmanager
def optional_instance() -> Generator[dg.DagsterInstance | None]:
    """The instance of DAGSTER_HOME, or None where that is not set: some commands work without."""
    if not os.environ.get("DAGSTER_HOME", "").strip():
        yield None
        return
    with dagster_instance() as instance:
        yield instance


def dagster_instance() -> dg.DagsterInstance:
    """The instance of DAGSTER_HOME; a context manager.

    Raises:
        ConfigurationError: DAGSTER_HOME is not set, relative or no folder, or its dagster.yaml is wrong.
    """
    import dagster as dg
    from dagster._core.errors import DagsterError

    home = os.environ.get("DAGSTER_HOME", "").strip()
    if not home:
        raise ConfigurationError(
            "DAGSTER_HOME is not set, so there is nowhere to record a run.",
            remedy='Set it to an absolute path (for the sandbox: eval "$(sync-pipelines sandbox env)").',
        )
    if not os.path.isabs(home) or not os.path.isdir(home):
        raise ConfigurationError(
            f"DAGSTER_HOME is {home!r}, which is no folder by its absolute path.", remedy="Make it, or correct it."
        )
    try:
        return dg.DagsterInstance.get()
    except DagsterError as error:
        raise ConfigurationError(f"Dagster's instance in {home} cannot be opened: {error}") from error


def has_own_process(run: dg.DagsterRun) -> bool:
    """Whether no daemon watches this run; see `OWN_PROCESS`."""
    tag = run.tags.get(OWN_PROCESS)
    by_older_version = tag == "true" and run.parent_run_id is None
    return tag == run.run_id or by_older_version


def create(instance: dg.DagsterInstance, order: Order, *, own_process: bool) -> dg.DagsterRun:
    """Write the run down, not started, so that the UI shows it with its job.

    Args:
        own_process: no daemon will watch it; see `OWN_PROCESS`.
    """
    from dagster._core.execution.api import create_execution_plan
    from dagster._core.snap import snapshot_from_execution_plan
    from dagster._core.utils import make_new_run_id

    whole = job_definition(order.job)
    # `create_run_for_job` would take every check of the assets, the deep one too
    part = whole.get_subset(asset_selection=order.assets, asset_check_selection=order.checks) if order.assets else None
    job = part or whole
    run_id = make_new_run_id()
    tags = {**whole.run_tags, **order.tags, **({OWN_PROCESS: run_id} if own_process else {})}
    config = dict(order.run_config)
    reference = instance.get_ref() if instance.is_persistent else None
    plan = create_execution_plan(job=job, run_config=config, instance_ref=reference, tags=tags)
    return instance.create_run(
        job_name=job.name,
        run_id=run_id,
        run_config=config,
        status=None,
        tags=tags,
        root_run_id=None,
        parent_run_id=None,
        step_keys_to_execute=plan.step_keys_to_execute,
        execution_plan_snapshot=snapshot_from_execution_plan(plan, job.get_job_snapshot_id()),
        job_snapshot=job.get_job_snapshot(),
        parent_job_snapshot=job.get_parent_job_snapshot(),
        asset_selection=order.assets or None,
        asset_check_selection=order.checks if order.assets else None,
        resolved_op_selection=None,
        op_selection=None,
        remote_job_origin=_remote_origin(instance, order.job),
        job_code_origin=_python_origin(order.job),
        asset_graph=job.asset_layer.asset_graph,
    )


def job_definition(name: str) -> dg.JobDefinition:
    """A job of this project by its name."""
    from sync_pipelines.registry import project

    return project()[0].resolve_job_def(name)


def daemon_is_alive(instance: dg.DagsterInstance, *, now: float | None = None) -> bool:
    """Whether a daemon takes runs from the queue: its heartbeat is young."""
    from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

    heartbeat = instance.get_daemon_heartbeats().get(QueuedRunCoordinatorDaemon.daemon_type())
    return heartbeat is not None and (now or time.time()) - heartbeat.timestamp < HEARTBEAT_SECONDS


def can_queue(instance: dg.DagsterInstance) -> bool:
    """Whether a run can be handed to a daemon's queue."""
    from dagster._core.run_coordinator import QueuedRunCoordinator

    return isinstance(instance.run_coordinator, QueuedRunCoordinator) and daemon_is_alive(instance)


def submit(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Put a run into the daemon's queue. The queue needs the run alone, so no workspace is loaded for it."""
    from dagster._core.run_coordinator import SubmitRunContext

    instance.run_coordinator.submit_run(SubmitRunContext(run, workspace=None))  # ty: ignore[invalid-argument-type]


def detach(run: dg.DagsterRun) -> None:
    """Execute a run in a process of its own, which outlives this one; its output goes to Dagster's logs."""
    subprocess.Popen(
        [sys.executable, "-m", "sync_pipelines.execution", run.run_id],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _python_origin(job: str) -> JobPythonOrigin:
    from dagster._core.definitions.reconstruct import ReconstructableRepository

    repository = ReconstructableRepository.for_module(MODULE, "defs", working_directory=str(CHECKOUT))
    return repository.get_reconstructable_job(job).get_python_origin()


def _remote_origin(instance: dg.DagsterInstance, job: str) -> RemoteJobOrigin:
    from dagster._core.definitions.repository_definition.valid_definitions import SINGLETON_REPOSITORY_NAME
    from dagster._core.remote_origin import RemoteJobOrigin, RemoteRepositoryOrigin

    location = _location_of_daemon(instance, job) or _location_of_checkout()
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME), job)


def _location_of_daemon(instance: dg.DagsterInstance, job: str) -> CodeLocationOrigin | None:
    """The code location under which a daemon knows this project: a run that names another is never launched.

    `dagster dev` takes its name from pyproject.toml, `-w workspace.yaml` and a cluster give others. The
    daemon writes it down with every schedule and sensor; where there are several, the last to tick counts.
    """
    known = _locations_of_daemons(instance, job.rpartition("_")[0])
    return max(known.values(), key=lambda it: it[0])[1] if known else None


def _locations_of_daemons(instance: dg.DagsterInstance, sync: str) -> dict[str, tuple[float, CodeLocationOrigin]]:
    """Each location that knows a sync, by name, and when it last ticked (seconds of the epoch; 0 for never)."""
    known: dict[str, tuple[float, CodeLocationOrigin]] = {}
    for state in instance.all_instigator_state():
        if not state.instigator_name.startswith(f"{sync}_"):
            continue
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        location = state.origin.repository_origin.code_location_origin
        found = (ticks[0].timestamp if ticks else 0.0, location)
        known[location.location_name] = max(known.get(location.location_name, found), found, key=lambda it: it[0])
    return known


def locations(instance: dg.DagsterInstance, sync: str) -> list[CodeLocationOrigin]:
    """The code locations under which daemons know a sync; where none does, that of this checkout."""
    known = _locations_of_daemons(instance, sync)
    return [location for _, location in known.values()] or [_location_of_checkout()]


@cache
def _location_of_checkout() -> CodeLocationOrigin:
    """The code location that `dagster dev` makes of this checkout."""
    from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster._core.workspace.load_target import PyProjectFileTarget

    project = CHECKOUT / "pyproject.toml"
    if project.is_file() and (origins := PyProjectFileTarget(str(project)).create_origins()):
        return origins[0]
    target = LoadableTargetOrigin(executable_path=sys.executable, module_name=MODULE)
    # a named tuple whose fields implement what the checker takes for abstract
    return ManagedGrpcPythonEnvCodeLocationOrigin(target, "sync_pipelines")  # ty: ignore[abstract-class-instantiation]
