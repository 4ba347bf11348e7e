"""`sync-pipelines health`: whether every system answers, and whether the tables fit their documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipelines.commands import output
from sync_pipelines.commands.output import AsJson

if TYPE_CHECKING:
    from sync_pipelines.health import Health

_COLOURS = {"up": "green", "down": "red"}


def health(
    connect: Annotated[
        bool,
        typer.Option(
            "--connect", help="Look at every table, its columns and triggers, the migrations and the YAML files too."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask every system whether it answers. Exit code 1 when one is down, or --connect finds something wrong."""
    from sync_pipelines.health import health as ask

    found = ask(connect=connect)
    if as_json:
        output.print_json(found.as_dict())
    else:
        _show(found)
    output.leave(good=found.status == "healthy")


def _show(found: Health) -> None:
    from rich.text import Text

    shown = output.table("system", "state", "latency", "where")
    for name, one in found.dependencies.items():
        latency = f"{one.latency_ms:.1f} ms" if one.latency_ms is not None else "-"
        shown.add_row(name, Text(one.status, style=_COLOURS.get(one.status, "dim")), latency, Text(one.detail or ""))
    console = output.console()
    console.print(shown)
    for name, one in found.dependencies.items():
        if one.error:
            console.print(Text(f"{name}: {one.error}", style="red"))
    _show_syncs(found)
    told = {(name, one.error) for name, one in found.dependencies.items()}
    for item in found.findings or ():
        if (item.where, item.problem) in told:
            continue
        console.print(Text(f"{item.where}: {item.problem}", style="red"))
    for item in found.warnings or ():
        console.print(Text(f"{item.where}: {item.problem}", style="yellow"))
    style = "green" if found.status == "healthy" else "red"
    console.print(Text(f"{found.status} (sync-pipelines {found.version})", style=style))


def _show_syncs(found: Health) -> None:
    from rich.text import Text

    shown = output.table("sync", "state", "by itself", "last sync", "next in", "interval", "summary")
    for name, one in found.syncs.items():
        state = "not configured" if not one.is_configured else "healthy" if one.is_healthy else "unhealthy"
        style = {"healthy": "green", "unhealthy": "red"}.get(state, "dim")
        words = f"{state}{', running' if one.is_running else ''}{', overdue' if one.is_overdue else ''}"
        own = "-" if one.is_started is None else "on" if one.is_started else "off"
        spans = (output.span(one.last_sync_age), output.span(one.next_sync_in), one.sync_interval or "-")
        shown.add_row(name, Text(words, style=style), own, *spans, Text(one.summary))
    output.console().print(shown)
