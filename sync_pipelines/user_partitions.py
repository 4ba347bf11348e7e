"""Users as Dagster's dynamic partitions: the ledger's credentials are the truth, the instance follows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.errors import SyncError

if TYPE_CHECKING:
    import dagster as dg

    from sync_pipelines.components.base import SyncComponent


def partitions_name(sync: str) -> str:
    """What Dagster calls the partitions of a sync whose partitions are its users."""
    return f"{sync}_users"


def present(component: SyncComponent, context: Any) -> Sequence[SyncComponent]:
    """The parts of a table that there are now; of a kind with users the instance knows just these afterwards.

    A request for a partition that the instance does not know is refused, and who was removed must not be asked for.

    Args:
        context: of the tick that asks.

    Raises:
        SyncError: the ledger cannot be asked who the users are.
    """
    parts = component.parts(context.resources)
    if component.by_user:
        set_partitions(context.instance, component.sync, [part.user for part in parts if part.user])
    return parts


def none_left(component: SyncComponent, context: Any) -> None:
    """`present` of a table that is not in use: with its last user the last partition goes, if the ledger says so."""
    if component.by_user:
        with suppress(SyncError):
            present(component, context)


def known_parts(component: SyncComponent, resources: Any) -> Sequence[SyncComponent]:
    """The parts that there are now; the table itself where it has no user, or the ledger does not say at once."""
    try:
        return component.parts(resources, patient=False) or [component]
    except SyncError:
        return [component]


def set_partitions(instance: dg.DagsterInstance, sync: str, users: Iterable[str]) -> None:
    """Let the instance have just these users of a sync as partitions. What it knows of the others' runs stays."""
    name, wanted = partitions_name(sync), set(users)
    known = set(instance.get_dynamic_partitions(name))
    if new := sorted(wanted - known):
        instance.add_dynamic_partitions(name, new)
    for gone in sorted(known - wanted):
        instance.delete_dynamic_partition(name, gone)


def ensure(instance: dg.DagsterInstance, component: SyncComponent) -> None:
    """Let the instance know this part's partition, before a run of it is made."""
    if component.user is not None:
        name = partitions_name(component.sync)
        if not instance.has_dynamic_partition(name, component.user):
            instance.add_dynamic_partitions(name, [component.user])


def follow(sync: str, users: Iterable[str]) -> bool:
    """`set_partitions` of the instance of DAGSTER_HOME, for commands; whether there is one.

    Where there is none, the next tick of a schedule does it.
    """
    from sync_pipelines.launch import optional_instance

    with optional_instance() as instance:
        if instance is not None:
            set_partitions(instance, sync, users)
        return instance is not None


def users_of(tags: Any) -> tuple[str, ...] | None:
    """The users whom a run was asked for by its partitions; None for all of them, or for a range that only Dagster
    can resolve.

    A single partition of a backfill comes as a range whose ends are the same (dagster 1.13).
    """
    if found := tags.get("dagster/partition"):
        return (found,)
    start, end = (tags.get(f"dagster/asset_partition_range_{side}") for side in ("start", "end"))
    return (start,) if start is not None and start == end else None
