"""What Dagster 1.13 leaves behind where a run is deleted: rows of its checks, its file, and events without a run.

`DagsterInstance.delete_run` takes a run's events; the results of its checks stay in `asset_check_executions`, SQLite's
file of its events stays, empty, and what is reported without a run (`check`, `repair`) belongs to none. Dagster has no
call for any of them, so its tables are named here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
import sqlalchemy as sa

if TYPE_CHECKING:
    from dagster._core.storage.event_log import SqlEventLogStorage

_NO_RUN = ""
"""What Dagster writes for the run of an event that has none."""


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run with its events, its checks' results, its compute logs and its file; a second call does nothing.

    The run itself goes last: where this is killed, the next clean-up finds it, and with it what is left.
    """
    if not instance.has_run(run_id):
        return
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    if (storage := _sql(instance)) is None:
        instance.delete_run(run_id)
        return
    storage.delete_events(run_id)
    checks = _tables().AssetCheckExecutionsTable
    with storage.index_connection() as connection:
        connection.execute(sa.delete(checks).where(checks.c.run_id == run_id))
    _delete_file(storage, run_id)
    instance.run_storage.delete_run(run_id)  # `instance.delete_run` would open the file again, and so make it


def delete_loose(instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey], *, before: datetime) -> int:
    """Delete what was reported of these assets without a run; how many events.

    The newest of each asset, partition and check stays, however old.

    Args:
        before: what is older goes, UTC.
    """
    storage, names = _sql(instance), [key.to_string() for key in keys]
    if storage is None or not names:
        return 0
    since = before.astimezone(UTC).replace(tzinfo=None)
    with storage.index_connection() as connection:
        gone = _delete_results(connection, names, since) + _delete_asset_events(connection, names, since)
    if _has_files(storage):  # the same events once more, in a file that nobody reads
        events = _tables().SqlEventLogStorageTable
        with storage.run_connection(_NO_RUN) as connection:
            connection.execute(sa.delete(events).where(events.c.run_id == _NO_RUN, events.c.timestamp < since))
    return gone


def _delete_results(connection: Any, names: Sequence[str], since: datetime) -> int:
    """Results of checks, and the events that brought them, which name no asset."""
    checks, events = _tables().AssetCheckExecutionsTable, _tables().SqlEventLogStorageTable
    newest = sa.select(sa.func.max(checks.c.id)).group_by(checks.c.asset_key, checks.c.check_name)
    own = (checks.c.run_id == _NO_RUN, checks.c.asset_key.in_(names))
    old = (*own, checks.c.evaluation_event_timestamp < since, checks.c.id.not_in(newest))
    brought = sa.select(checks.c.evaluation_event_storage_id).where(*old)
    gone = connection.execute(sa.delete(events).where(events.c.run_id == _NO_RUN, events.c.id.in_(brought))).rowcount
    connection.execute(sa.delete(checks).where(*old))
    return gone


def _delete_asset_events(connection: Any, names: Sequence[str], since: datetime) -> int:
    """Materializations and observations, with their tags."""
    events, tags = _tables().SqlEventLogStorageTable, _tables().AssetEventTagsTable
    own = (events.c.run_id == _NO_RUN, events.c.asset_key.in_(names))
    groups = (events.c.asset_key, events.c.dagster_event_type, events.c.partition)
    newest = sa.select(sa.func.max(events.c.id)).where(*own).group_by(*groups)
    old = (*own, events.c.timestamp < since, events.c.id.not_in(newest))
    connection.execute(sa.delete(tags).where(tags.c.event_id.in_(sa.select(events.c.id).where(*old))))
    return connection.execute(sa.delete(events).where(*old)).rowcount


def _delete_file(storage: SqlEventLogStorage, run_id: str) -> None:
    if _has_files(storage):
        cast("Any", storage)._initialized_dbs.discard(run_id)  # where it is opened again, its tables are made anew
        for end in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{cast('Any', storage).path_for_shard(run_id)}{end}").unlink()


def _has_files(storage: SqlEventLogStorage) -> bool:
    """Whether each run's events stand in a file of their own."""
    from dagster._core.storage.event_log import SqliteEventLogStorage

    return isinstance(storage, SqliteEventLogStorage)


def _sql(instance: dg.DagsterInstance) -> SqlEventLogStorage | None:
    """The storage, where it is one of tables; where it is of a vendor's service, that one looks after it."""
    from dagster._core.storage.event_log import SqlEventLogStorage
    from dagster._core.storage.legacy_storage import LegacyEventLogStorage

    storage: Any = instance.event_log_storage
    if isinstance(storage, LegacyEventLogStorage):
        storage = storage._storage.event_log_storage
    return storage if isinstance(storage, SqlEventLogStorage) else None


def _tables() -> Any:
    from dagster._core.storage.event_log import schema

    return schema
