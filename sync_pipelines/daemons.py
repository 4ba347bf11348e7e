"""Whether Dagster's own daemons live: by the heartbeats that they write every 30 s."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from sync_pipelines.launch import HEARTBEAT_SECONDS

if TYPE_CHECKING:
    import dagster as dg

WAITED_SECONDS = 60.0
_COUNTED_ON = ("SYNC_HEARTBEAT_URL", "SYNC_ALERT_URLS", "NOTIFICATION_WEBHOOK_URL")


def silent_daemons(instance: dg.DagsterInstance, *, now: float | None = None) -> list[str]:
    """The daemons that this instance needs and whose last heartbeat is old, by name.

    Of those that never wrote one only the queue's counts: all of them start together, and it starts runs.
    """
    from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

    beats = instance.get_daemon_heartbeats()
    oldest = (now or time.time()) - HEARTBEAT_SECONDS
    missing = {QueuedRunCoordinatorDaemon.daemon_type()} - set(beats)
    old = {kind for kind, beat in beats.items() if beat.timestamp <= oldest}
    return [kind.lower() for kind in sorted(instance.get_required_daemon_types()) if kind in missing | old]


def expected(instance: dg.DagsterInstance) -> str | None:
    """Why a daemon should run here although none ever did, or None: commands alone need none."""
    named = [name for name in _COUNTED_ON if os.environ.get(name, "").strip()]
    if named:
        return f"{named[0]} is set, and only a daemon acts on it"
    if waiting := _waiting(instance):
        return f"run {waiting} waits in the queue"
    return None


def _waiting(instance: dg.DagsterInstance) -> str | None:
    from datetime import UTC, datetime, timedelta

    import dagster as dg

    before = datetime.now(UTC) - timedelta(seconds=WAITED_SECONDS)
    waiting = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED], created_before=before)
    return next(iter(instance.get_run_ids(waiting, limit=1)), None)
