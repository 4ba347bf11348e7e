"""What tests of runs do to Dagster's side of a shop: orders, heartbeats, slow writes."""

from __future__ import annotations

import time

import pytest

from sync_pipelines import launch
from sync_pipelines_tests.cli.shop import Shop


def slow_writes(monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> None:
    """The target takes its first batch, and then takes long over the next word."""
    from sync_pipelines.engine.run import Run

    settle = Run.settle

    def slow(self, keys, **how):
        settle(self, keys, **how)
        self.binding.ledger.progress(self.record, self.counts)
        time.sleep(seconds)

    monkeypatch.setattr(Run, "settle", slow)


def order(shop: Shop) -> launch.Order:
    return launch.table_order(shop.bound().component, mode="incremental", tags={"sync/trigger": "cli"})


def heartbeat(shop: Shop, *, age: float = 0.0) -> None:
    from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
    from dagster._daemon.types import DaemonHeartbeat

    kind = QueuedRunCoordinatorDaemon.daemon_type()
    with shop.instance as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age, kind, "test", []))


def sensor_state(shop: Shop, *, location: str) -> None:
    from dagster._core.remote_origin import (
        ManagedGrpcPythonEnvCodeLocationOrigin,
        RemoteInstigatorOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    code = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="x"), location)
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(code, "__repository__"), "shop__article_changes")
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.DECLARED_IN_CODE)
    with shop.instance as instance:
        instance.add_instigator_state(state)
