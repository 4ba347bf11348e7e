"""`sync-pipelines status`: how the tables are, by the last proof or by one of now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipelines.commands import output, progress
from sync_pipelines.commands.output import AsJson, Selector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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

    with progress.asking() as asking:
        report = status_report(selector, live=live, asking=asking)
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
    for sentence, style in sentences(report.assets):
        console.print(Text(sentence, style=style))


def sentences(assets: Mapping[str, TableStatus]) -> list[tuple[str, str]]:
    """What is to be said of the tables, and in which style: what holds for several of them is said once."""
    paths: dict[tuple[str, str], list[str]] = {}
    for path, found in assets.items():
        for sentence, style in _told(found):
            # an error names its table by itself; one of a whole system does not
            paths.setdefault((sentence.removeprefix(f"{path}: "), style), []).append(path)
    return [(f"{', '.join(those)}: {sentence}", style) for (sentence, style), those in paths.items()]


def _told(found: TableStatus) -> Iterator[tuple[str, str]]:
    for problem in found.problems:
        yield problem, "red"
    if found.last_error and found.last_error not in found.problems:
        yield found.last_error, "red"
    for warning in found.warnings:
        yield warning, "yellow"
    if found.reason:
        yield found.reason, "dim"


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
