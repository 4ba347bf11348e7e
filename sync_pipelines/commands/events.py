"""`sync-pipelines consume` and `trace`: what changes for a graph, brought and looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipelines.commands import output
from sync_pipelines.commands.output import AsJson, Named

if TYPE_CHECKING:
    from sync_pipelines.tracing import TracedEvent

_COLOURS = {"COMPLETED": "green", "FAILED": "red", "BLOCKED": "yellow", "PROCESSING": "cyan", "PENDING": "dim"}


def consume(
    selector: Named,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, help="Events a transaction; else SYNC_BATCH_SIZE and its like, then 50."),
    ] = None,
    poll_interval: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=86_400,
            help="Seconds between two looks where nothing notifies; else SYNC_POLL_INTERVAL, or 5.",
        ),
    ] = None,
) -> None:
    """Bring the events of an outbox as they are published, and what triggers have logged, until SIGTERM or Ctrl-C.

    What is under way is finished then. It may run twice, and beside scheduled runs; while it runs, the sensors of its
    tables rest.
    """
    from sync_pipelines.consumer import run_consumer

    run_consumer(batch_size, poll_interval, sync=selector)


def trace(
    correlation_id: Annotated[
        str, typer.Argument(metavar="CORRELATION_ID", help="As the application gave it, or the id of one event.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show the way of each event of a correlation id, or of the one event of this id.

    Exit code 1 when no outbox holds one.
    """
    from sync_pipelines import tracing

    found = tracing.trace(correlation_id)
    if as_json:
        output.print_json({"correlation_id": correlation_id, "events": [event.as_dict() for event in found]})
    else:
        _show(found)
    output.leave(good=bool(found))


def _show(found: list[TracedEvent]) -> None:
    if not found:
        output.say("No outbox holds an event of this id: completed ones are kept 90 days.")
        return
    from rich.text import Text  # ids and notes are the application's, and may hold what rich takes for markup

    table = output.table(
        "event", "entity", "version", "status", "published (UTC)", "took", "tries", "target has", "note"
    )
    for event in found:
        colour = _COLOURS.get(event.status, "")
        table.add_row(
            event.event_type,
            Text(f"{event.table or event.entity_type} {event.entity_id}"),
            str(event.version),
            f"[{colour}]{event.status}[/]",
            output.moment(event.published_at),
            output.span(event.seconds),
            str(event.attempts),
            "-" if event.target_version is None else str(event.target_version),
            Text(event.quarantined or event.note or ""),
        )
    output.console().print(table)
