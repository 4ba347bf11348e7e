"""`sync-pipelines start` and `stop`: whether a sync runs by itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipelines.commands import output
from sync_pipelines.commands.output import AsJson
from sync_pipelines.engine.errors import ConfigurationError

if TYPE_CHECKING:
    from sync_pipelines.switching import Switch

Sync = Annotated[str, typer.Argument(metavar="SYNC", help="A sync.")]


def start(
    sync: Sync,
    interval: Annotated[
        str | None, typer.Option("--interval", metavar="24h", help="And store how often it fetches (a REST sync).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a sync run by itself: its sensors and schedules are started in Dagster, as the UI does it."""
    if interval is not None:
        _store_interval(sync, interval)
    _switch(sync, on=True, as_json=as_json)


def stop(sync: Sync, as_json: AsJson = False) -> None:
    """Let a sync rest: its sensors and schedules are stopped in Dagster, as the UI does it; its checks go on."""
    _switch(sync, on=False, as_json=as_json)


def _store_interval(sync: str, interval: str) -> None:
    from sync_pipelines.commands.settings import settings_of, store

    if "sync_interval" not in settings_of(sync):
        raise ConfigurationError(
            f"{sync} stores no interval: that is for syncs of a REST API.",
            remedy="Start it without --interval; how often it runs, `schedules` in its documents says.",
        )
    store(sync, "sync_interval", interval)


def _switch(sync: str, *, on: bool, as_json: bool) -> None:
    from sync_pipelines.launch import dagster_instance
    from sync_pipelines.switching import switch

    with dagster_instance() as instance:
        found = switch(instance, sync, on=on)
    if as_json:
        output.print_json({"sync": sync, "running": on, "switches": [asdict(item) for item in found]})
        return
    _show(found)


def _show(found: list[Switch]) -> None:
    table = output.table("name", "kind", "state")
    for item in found:
        table.add_row(item.name, item.kind, "[green]running[/]" if item.running else "[dim]stopped[/]")
    output.console().print(table)
