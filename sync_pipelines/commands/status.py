"""`sync-pipelines status`: how the tables are, by the last proof or by one of now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipelines.commands import output
from sync_pipelines.commands.output import AsJson, Selector

if TYPE_CHECKING:
    from sync_pipelines.status import Report, TableStatus

KINDS = ("missing", "stale", "extra")


def status(
    selector: Selector = None,
    live: Annotated[bool, typer.Option("--live", help="Prove each table now: ask source and target.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say how each table is: counts and differences of its last proof, lag, last sync.

    Exit code 1 when a table is unhealthy; one that is not configured here does not count.
    """
    from sync_pipelines.reporting import status_report

    report = status_report(selector, live=live)
    if as_json:
        output.print_json(report.as_dict())
    else:
        _show(report)
    output.leave(good=report.healthy)


def _show(report: Report) -> None:
    from rich.text import Text

    left_out, times = ("quarantine", "excluded"), ("lag", "last sync (UTC)", "next run (UTC)")
    shown = output.table("table", "state", "source", "target", *KINDS, *left_out, *times)
    for path, found in report.assets.items():
        shown.add_row(path, _state(found), *_cells(found))
        for user, one in (found.users or {}).items():
            shown.add_row(f"  {user}", _state(one), *_cells(one))
    console = output.console()
    console.print(shown)
    for path, found in report.assets.items():
        for problem in found.problems:
            console.print(Text(_of(path, problem), style="red"))
        if found.last_error and found.last_error not in found.problems:
            console.print(Text(_of(path, found.last_error), style="red"))
        for warning in found.warnings:
            console.print(Text(_of(path, warning), style="yellow"))
        if found.reason:
            console.print(Text(_of(path, found.reason), style="dim"))


def _of(path: str, sentence: str) -> str:
    """A sentence that names its table; an error does so by itself."""
    return sentence if sentence.startswith(f"{path}: ") else f"{path}: {sentence}"


def _state(found: TableStatus) -> str:
    if not found.configured:
        return "[dim]not configured[/]"
    word = "[green]healthy[/]" if found.healthy else "[red]unhealthy[/]"
    return f"{word}, running" if found.running else word


def _cells(found: TableStatus) -> list[str]:
    sides, differences = (found.source_count, found.target_count), (found.missing, found.stale, found.extra)
    return [
        *map(output.number, (*sides, *differences, found.quarantined, found.excluded)),
        output.span(found.lag_seconds),
        output.moment(found.last_success),
        output.moment(found.next_run),
    ]
