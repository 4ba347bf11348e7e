"""Starting and stopping a sync: Dagster's own state of its sensors and schedules, so that CLI and UI tell one truth."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sync_pipelines.engine.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.remote_origin import CodeLocationOrigin

_TRIES = 5
_MOMENT = 0.2
"""Seconds in which a daemon that has read a state writes it."""


@dataclass(frozen=True, kw_only=True)
class Switch:
    """A sensor or schedule that asks for runs of a sync, and whether it does now."""

    name: str
    kind: Literal["sensor", "schedule"]
    running: bool


def switches(instance: dg.DagsterInstance, sync: str) -> list[Switch]:
    """What asks for runs of a sync: the sensors of its tables, its incremental and its full schedules.

    Its checks are not among them: they write nothing, and tell what became of a sync that is stopped.

    Raises:
        ConfigurationError: there is no such sync, or nothing asks for runs of it.
    """
    found = [_switch(instance, definition, kind, _locations(instance, sync)) for kind, definition in _of(sync)]
    if not found:
        raise ConfigurationError(
            f"{sync}: no sensor or schedule asks for runs of it.",
            remedy="Give its documents `schedules` or a `sensor`.",
        )
    return found


def switch(instance: dg.DagsterInstance, sync: str, *, on: bool) -> list[Switch]:
    """Start or stop all of them, in each code location that knows this project.

    A daemon that ends a tick meanwhile writes the state that it has read before (Dagster 1.13): looked at again, and
    switched again, until they are as they shall be.

    Raises:
        TransientError: one of them is not, after all tries.
    """
    switches(instance, sync)
    for _ in range(_TRIES):
        for kind, definition in _of(sync):
            for location in _locations(instance, sync):
                _set(instance, definition, kind, location, on=on)
        time.sleep(_MOMENT)
        found = switches(instance, sync)
        if not (left := [item.name for item in found if item.running != on]):
            return found
    state = "started" if on else "stopped"
    raise TransientError(
        f"{sync}: {', '.join(left)} could not be {state}: Dagster's daemon writes over it.",
        remedy="Try again.",
    )


def started(instance: dg.DagsterInstance) -> dict[str, bool]:
    """Whether anything asks for runs, of each sync."""
    from sync_pipelines.registry import project

    found: dict[str, bool] = {}
    for sync in sorted({item.sync for item in project()[1] if item.enabled}):
        try:
            found[sync] = any(item.running for item in switches(instance, sync))
        except ConfigurationError:
            found[sync] = False
    return found


def _of(sync: str) -> Iterator[tuple[Literal["sensor", "schedule"], Any]]:
    from sync_pipelines.registry import project

    definitions, components = project()
    tables = [item for item in components if item.sync == sync and item.enabled]
    if not tables:
        known = ", ".join(sorted({item.sync for item in components if item.enabled}))
        raise ConfigurationError(f"There is no sync {sync!r}.", remedy=f"There are: {known}.")
    sensors = {f"{table.op_name}_changes" for table in tables}
    yield from (("sensor", item) for item in definitions.sensors or () if item.name in sensors)
    jobs = {f"{sync}_incremental", f"{sync}_full"}
    for item in definitions.schedules or ():
        if getattr(item, "job_name", None) in jobs:
            yield "schedule", item


def _locations(instance: dg.DagsterInstance, sync: str) -> Sequence[CodeLocationOrigin]:
    from sync_pipelines.launch import locations

    return locations(instance, sync)


def _switch(
    instance: dg.DagsterInstance,
    definition: Any,
    kind: Literal["sensor", "schedule"],
    locations: Sequence[CodeLocationOrigin],
) -> Switch:
    """Running, as it was declared, unless somebody has said otherwise."""
    from dagster._core.scheduler.instigation import InstigatorStatus

    states = [state for location in locations if (state := _state(instance, definition, kind, location)) is not None]
    declared = definition.default_status.value == "RUNNING"
    stopped = any(state.status == InstigatorStatus.STOPPED for state in states)
    started = declared or any(state.status == InstigatorStatus.RUNNING for state in states)
    return Switch(name=definition.name, kind=kind, running=started and not stopped)


def _origin(definition: Any, location: CodeLocationOrigin) -> Any:
    from dagster._core.definitions.repository_definition.valid_definitions import SINGLETON_REPOSITORY_NAME
    from dagster._core.remote_origin import RemoteInstigatorOrigin, RemoteRepositoryOrigin

    return RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME), definition.name)


def _state(instance: dg.DagsterInstance, definition: Any, kind: str, location: CodeLocationOrigin) -> Any:
    origin = _origin(definition, location)
    return instance.get_instigator_state(origin.get_id(), origin.get_selector().get_id())


def _set(
    instance: dg.DagsterInstance,
    definition: Any,
    kind: Literal["sensor", "schedule"],
    location: CodeLocationOrigin,
    *,
    on: bool,
) -> None:
    from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus

    status = InstigatorStatus.RUNNING if on else InstigatorStatus.STOPPED
    held = _state(instance, definition, kind, location)
    if held is not None:
        data = _data(definition, kind, on=on, held=held.instigator_data)
        instance.update_instigator_state(held.with_status(status).with_data(data))
        return
    data = _data(definition, kind, on=on, held=None)
    instance.add_instigator_state(InstigatorState(_origin(definition, location), _kind(kind), status, data))


def _kind(kind: str) -> Any:
    from dagster._core.definitions.run_request import InstigatorType

    return InstigatorType.SENSOR if kind == "sensor" else InstigatorType.SCHEDULE


def _data(definition: Any, kind: str, *, on: bool, held: Any) -> Any:
    """A schedule that is started counts from now: what it missed is not made up for. A sensor keeps its cursor."""
    from dagster._core.scheduler.instigation import ScheduleInstigatorData, SensorInstigatorData

    if kind == "schedule":
        return ScheduleInstigatorData(definition.cron_schedule, time.time() if on else None)
    if held is not None:
        return held
    return SensorInstigatorData(min_interval=definition.minimum_interval_seconds, sensor_type=definition.sensor_type)
