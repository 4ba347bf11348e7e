"""What alerts add to a project's definitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from sync_pipelines.alerts.heartbeat import build_heartbeat
from sync_pipelines.alerts.sensor import EVERY_SECONDS, build_sensor

if TYPE_CHECKING:
    from sync_pipelines.components.base import SyncComponent


def build_alerts(components: Sequence[SyncComponent], *, every_seconds: int = EVERY_SECONDS) -> dg.Definitions:
    """The sensor `sync_alerts` and the schedule `sync_heartbeat`."""
    sensor = build_sensor(components, every_seconds=every_seconds)
    return dg.Definitions.merge(dg.Definitions(sensors=[sensor]), build_heartbeat())
