"""Start, watch and cancel syncs from Python.

    from sync_pipelines import client

    run_id = client.trigger("knowledge", table="knowledge_reference", full=True)
    client.status(run_id).state           # queued, running, completed, failed or cancelled
    client.trigger("knowledge")           # the whole sync: a list of run ids, one a table

Every run is a Dagster run of the instance in DAGSTER_HOME, in the UI under its job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, overload

from sync_pipelines import execution, launch
from sync_pipelines.engine.errors import ConfigurationError, NotConfiguredError, SyncError
from sync_pipelines.engine.naming import known_keys
from sync_pipelines.engine.sensitive import mask_of
from sync_pipelines.run_ending import ask_for_end, close_dead
from sync_pipelines.run_status import RunStatus, listed, newest, record_of, status_of, with_numbers
from sync_pipelines.user_partitions import ensure

if TYPE_CHECKING:
    import dagster as dg

    from sync_pipelines.execution import Listener
    from sync_pipelines.registry import BoundTable

__all__ = ["RunStatus", "active", "cancel", "recent", "repair", "status", "trigger"]

_log = logging.getLogger(__name__)


@overload
def trigger(
    sync: str,
    *,
    table: str,
    full: bool = ...,
    rebuild: bool = ...,
    reparse: bool = ...,
    keys: Sequence[str] | None = ...,
    user: str | None = ...,
    allow_mass_delete: bool = ...,
    wait: bool = ...,
    tags: Mapping[str, str] | None = ...,
    on_progress: Listener | None = ...,
) -> str: ...
@overload
def trigger(
    sync: str,
    *,
    table: None = None,
    full: bool = ...,
    rebuild: bool = ...,
    reparse: bool = ...,
    keys: Sequence[str] | None = ...,
    user: str | None = ...,
    allow_mass_delete: bool = ...,
    wait: bool = ...,
    tags: Mapping[str, str] | None = ...,
    on_progress: Listener | None = ...,
) -> str | list[str]: ...
def trigger(
    sync: str,
    *,
    table: str | None = None,
    full: bool = False,
    rebuild: bool = False,
    reparse: bool = False,
    keys: Sequence[str] | None = None,
    user: str | None = None,
    allow_mass_delete: bool = False,
    wait: bool = False,
    tags: Mapping[str, str] | None = None,
    on_progress: Listener | None = None,
) -> str | list[str]:
    """Start a sync.

    Without `wait` it goes to the daemon's queue where a daemon is alive, else to a process of its own that
    outlives this one. With `wait` it runs here, one table after the other, and this returns when the last has
    ended, well or not: `status` tells. Ctrl-C in the main thread cancels the run under way and starts no more.

    Args:
        sync: `knowledge`, or `knowledge/knowledge_reference`.
        table: one table of the sync; all of them if left out.
        full: one snapshot of the whole table instead of what is pending; rebuild: built anew and swapped.
        reparse: rows made anew from the stored payloads of an API, which is not asked.
        keys: just these records of one table, at once; a composite key as a JSON array of texts.
        user: of a table with users this one's part; `sync/table:user` says the same. All of them if left out.
        allow_mass_delete: let this run delete more than the guard's share.
        tags: further tags of the run.
        on_progress: called about once a second, from another thread, while a waiting run goes on.

    Returns:
        The run's id where one table is named (by `table`, `sync/table` or `keys`; of one with users, where the user
        is), else a list of ids, a run a table, or a user. Tables that are not configured here are left out where a
        whole sync is named.

    Raises:
        ConfigurationError: no such sync, DAGSTER_HOME is not set, contradictory arguments.
        NotConfiguredError: the far system's variable is not set.
        MigrationDueError: `sync-pipelines db upgrade` is due.
        UnknownRecordError: neither source nor target has a record of one of the keys; nothing is started.
        TransientError: the ledger's database cannot be reached.

    A table or user whose run cannot be started keeps no other from theirs: the error is raised when those are started,
    and has their ids in `started`.
    """
    mode = _mode(full=full, rebuild=rebuild, reparse=reparse, keys=keys)
    chosen, single = _chosen(sync, table, keys, user=user)
    options: Any = {"allow_mass_delete": allow_mass_delete, "tags": {"sync/trigger": "cli", **(tags or {})}}

    def order(bound: BoundTable) -> launch.Order:
        if keys:
            return launch.records_order(bound.component, _shown_keys(bound, keys), **options)
        bound.component.require_mode(mode)
        return launch.table_order(bound.component, mode=mode, **options)

    run_ids = _start_all(chosen, order, wait=wait, on_progress=on_progress)
    return run_ids[0] if single else run_ids


@overload
def repair(
    sync: str,
    *,
    table: str,
    deep: bool = ...,
    keys: Sequence[str] | None = ...,
    batch_size: int | None = ...,
    allow_mass_delete: bool = ...,
    wait: bool = ...,
    tags: Mapping[str, str] | None = ...,
    on_progress: Listener | None = ...,
) -> str: ...
@overload
def repair(
    sync: str,
    *,
    table: None = None,
    deep: bool = ...,
    keys: Sequence[str] | None = ...,
    batch_size: int | None = ...,
    allow_mass_delete: bool = ...,
    wait: bool = ...,
    tags: Mapping[str, str] | None = ...,
    on_progress: Listener | None = ...,
) -> str | list[str]: ...
def repair(
    sync: str,
    *,
    table: str | None = None,
    deep: bool = False,
    keys: Sequence[str] | None = None,
    batch_size: int | None = None,
    allow_mass_delete: bool = False,
    wait: bool = False,
    tags: Mapping[str, str] | None = None,
    on_progress: Listener | None = None,
) -> str | list[str]:
    """Start a repair: what differs is mended, nothing else is touched, and both sides are proven again.

    Args:
        deep: compare the values of everything; else keys and fingerprints, and the values of those keys that
            the last deep check named.
        keys: just these records of one table, by their values.
        batch_size: records a batch; by default sync_settings, <SYNC>_BATCH_SIZE, SYNC_BATCH_SIZE, YAML, the kind's.
        sync, table, allow_mass_delete, wait, tags, on_progress: as of `trigger`, as is what it returns and raises.
    """
    _some_keys(keys)
    chosen, single = _chosen(sync, table, keys)
    options: Any = {"allow_mass_delete": allow_mass_delete, "tags": {"sync/trigger": "cli", **(tags or {})}}

    def order(bound: BoundTable) -> launch.Order:
        shown = None if keys is None else _shown_keys(bound, keys)
        return launch.repair_order(bound.component, deep=deep, keys=shown, batch_size=batch_size, **options)

    run_ids = _start_all(chosen, order, wait=wait, on_progress=on_progress)
    return run_ids[0] if single else run_ids


@overload
def status(run_id: str) -> RunStatus: ...
@overload
def status(run_id: Sequence[str]) -> list[RunStatus]: ...
def status(run_id: str | Sequence[str]) -> RunStatus | list[RunStatus]:
    """How a run is; for a list of ids, a list.

    Raises:
        ConfigurationError: DAGSTER_HOME is not set, or holds no such run.
    """
    with launch.dagster_instance() as instance:
        if isinstance(run_id, str):
            return with_numbers([status_of(instance, record_of(instance, run_id))])[0]
        return with_numbers([status_of(instance, record_of(instance, one)) for one in run_id])


def active(sync: str | None = None) -> list[RunStatus]:
    """The runs of this project that are queued or running, the newest first.

    A run whose process died is closed before, in Dagster and in the ledger.

    Args:
        sync: only those of this sync, or of this `sync/table`.
    """
    return [found for found in recent(sync, limit=None, under_way=True) if not found.over]


def recent(sync: str | None = None, *, limit: int | None = 20, under_way: bool = False) -> list[RunStatus]:
    """The newest runs of this project, the newest first; see `active`."""
    import dagster as dg

    from sync_pipelines.dead_runs import UNDER_WAY

    chosen = listed(sync)
    with launch.dagster_instance() as instance:
        _close_dead_if_possible(instance)
        filters = dg.RunsFilter(statuses=list(UNDER_WAY)) if under_way else None
        records = newest(instance, chosen, filters, limit=limit)
        return with_numbers([status_of(instance, record, chosen) for record in records])


def _close_dead_if_possible(instance: dg.DagsterInstance) -> None:
    """A list must not fail because the ledger cannot be asked who is dead."""
    from sync_pipelines.registry import tables

    try:
        close_dead(instance, tables())
    except SyncError as error:
        _log.warning("dead runs are not closed: %s", error)


def cancel(run_id: str, *, timeout: float = 0.0) -> RunStatus:
    """Ask for a run's end; how it is now.

    A queued run ends at once. A running one ends at its next batch, and keeps nothing half done: the next
    run takes it up.

    Args:
        timeout: seconds to wait for its end.

    Raises:
        ConfigurationError: there is no such run.
        TransientError: the code server that runs it does not answer.
    """
    with launch.dagster_instance() as instance:
        ask_for_end(instance, record_of(instance, run_id).dagster_run)
        deadline = time.monotonic() + timeout
        while not (found := status_of(instance, record_of(instance, run_id))).over and time.monotonic() < deadline:
            time.sleep(0.25)
        return with_numbers([found])[0]


def _mode(*, full: bool, rebuild: bool, reparse: bool, keys: Sequence[str] | None) -> str:
    _some_keys(keys)
    if sum((full, rebuild, reparse, keys is not None)) > 1:
        raise ConfigurationError("full, rebuild, reparse and keys exclude each other.", remedy="Give one of them.")
    return "rebuild" if rebuild else "reparse" if reparse else "full" if full else "incremental"


def _some_keys(keys: Sequence[str] | None) -> None:
    if isinstance(keys, str) or not all(isinstance(key, str) for key in keys or ()):
        raise ConfigurationError("keys is no list of texts.", remedy=f"Give a list, such as keys=[{str(keys)!r}].")
    if keys is not None and not keys:
        raise ConfigurationError("keys names no record.", remedy="Name at least one key, or leave keys out.")


def _shown_keys(bound: BoundTable, keys: Sequence[str]) -> list[str]:
    """The keys as a run's config may hold them: it stands in Dagster's storage, and the run finds masked ones again.

    Raises:
        ConfigurationError, UnknownRecordError: see `engine.naming.known_keys`.
    """
    with closing(bound.binding()) as binding:
        return mask_of(bound.spec).keys(known_keys(binding, keys))


def one_table_for_keys(sync: str, found: Sequence[BoundTable], keys: Sequence[str] | None) -> None:
    """Refuse keys for several tables: they belong to one.

    Raises:
        ConfigurationError: with the tables that could be named.
    """
    if keys is not None and len(found) > 1:
        raise ConfigurationError(
            f"{sync} has several tables, and keys belong to one.",
            remedy=f"Name it: {' or '.join(bound.path for bound in found)}.",
        )


def _chosen(
    sync: str, table: str | None, keys: Sequence[str] | None, *, user: str | None = None
) -> tuple[list[BoundTable], bool]:
    """The tables to run, and whether the caller named one."""
    from sync_pipelines.registry import tables

    found = tables(f"{sync}/{table}" if table else sync, user=user)
    one_table_for_keys(sync, found, keys)
    reasons = {bound.path: bound.not_configured() for bound in found}
    usable = [bound for bound in found if not reasons[bound.path]]
    if not usable:
        raise NotConfiguredError(f"{sync}: {next(iter(reasons.values()))}.")
    with usable[0].resources.ledger.ledger() as ledger:
        ledger.check()
    if keys is not None or (user is not None and len(usable) == 1):
        return usable, True
    every_user = usable[0].component.by_user and ":" not in f"{sync}{table or ''}"
    return usable, (table is not None or "/" in sync) and not every_user


def _start_all(
    chosen: Sequence[BoundTable],
    order: Callable[[BoundTable], launch.Order],
    *,
    wait: bool,
    on_progress: Listener | None,
) -> list[str]:
    """Start a run of each; one that cannot be started keeps no other from it.

    Raises:
        SyncError: the first that could not be started; it names the runs that were (`started`).
    """
    started: list[str] = []
    failed: list[SyncError] = []
    with launch.dagster_instance() as instance:
        for bound in chosen:
            try:
                started.append(_start(instance, bound, order(bound), wait=wait, on_progress=on_progress))
            except SyncError as error:
                failed.append(error)
    for error in failed[1:]:
        _log.error("%s", error)
    if failed:
        raise failed[0].beside(started)
    return started


def _start(
    instance: dg.DagsterInstance,
    bound: BoundTable,
    order: launch.Order,
    *,
    wait: bool,
    on_progress: Listener | None,
) -> str:
    close_dead(instance, [bound])
    ensure(instance, bound.component)
    queue = not wait and launch.can_queue(instance)
    run = launch.create(instance, order, own_process=not queue)
    how = "starting" if wait else "queued" if queue else "starting in a process of its own"
    _log.info("%s: %s (run %s of %s)", order.table, how, run.run_id, order.job)
    if queue:
        launch.submit(instance, run)
    elif wait:
        binding = bound.binding()
        with binding.ledger:
            execution.execute(instance, run.run_id, binding, on_progress=on_progress)
    else:
        launch.detach(run)
    return run.run_id
