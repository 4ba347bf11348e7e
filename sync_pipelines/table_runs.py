"""Which of an instance's runs work on a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from sync_pipelines.dead_runs import UNDER_WAY

if TYPE_CHECKING:
    from sync_pipelines.components.base import SyncComponent


def unended(component: SyncComponent, instance: dg.DagsterInstance, mode: str) -> list[str]:
    """Ids of the runs that have not ended, work on this table and do what one of this mode would."""

    def does(run: dg.DagsterRun) -> bool:
        ops: Any = run.run_config.get("ops", {})
        asked = ops.get(component.op_name, {}).get("config", {}).get("mode")
        return mode == "incremental" or asked in (mode, "rebuild")

    runs = instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY))
    return [run.run_id for run in runs if does(run) and works_on(run, component)]


def works_on(run: dg.DagsterRun, component: SyncComponent) -> bool:
    """Whether a run materializes this table: by its tag, its selection, or its job's whole selection."""
    if named := run.tags.get("sync/table"):
        return named == component.path or (component.user is None and component.by_user and _is_part(named, component))
    if run.asset_selection is not None:
        return component.asset_key in run.asset_selection and component.is_of_run(run.tags)
    whole = run.job_name in (f"{component.sync}_incremental", f"{component.sync}_full")
    return whole and component.is_of_run(run.tags)


def _is_part(path: str, component: SyncComponent) -> bool:
    return path.startswith(f"{component.whole_path}:")
