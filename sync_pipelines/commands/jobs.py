"""`sync-pipelines jobs …`: the runs of this project, in Dagster's words and ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipelines.commands import output
from sync_pipelines.commands.output import AsJson, Selector

if TYPE_CHECKING:
    from sync_pipelines.client import RunStatus

CANCEL_SECONDS = 15.0
"""How long `cancel` waits to see the end; the run ends at its next batch, whether somebody waits or not."""

_COLOURS = {"completed": "green", "failed": "red", "cancelled": "yellow", "running": "cyan", "queued": "dim"}

app = typer.Typer(help="List, watch and cancel runs.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="The run's id, as `jobs list` and the UI show it.")]


@app.command("list")
def list_(
    selector: Selector = None,
    active: Annotated[bool, typer.Option("--active", help="Only what is queued or running.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest runs. A run whose process died is closed first."""
    from sync_pipelines import client

    runs = client.active(selector)[:limit] if active else client.recent(selector, limit=limit)
    if as_json:
        output.print_json({"runs": [run.as_dict() for run in runs]})
        return
    _show(runs)


@app.command()
def status(run_id: RunId, as_json: AsJson = False) -> None:
    """Say how one run is. Exit code 1 when it failed or was cancelled."""
    from sync_pipelines import client

    run = client.status(run_id)
    if as_json:
        output.print_json(run.as_dict())
    else:
        _show([run])
        if run.error:
            output.say(run.error)
    output.leave(good=run.state not in ("failed", "cancelled"))


@app.command()
def cancel(run_id: RunId, as_json: AsJson = False) -> None:
    """End a run: at once where it is queued, at its next batch where it is running."""
    from sync_pipelines import client

    was_over = client.status(run_id).over
    run = client.cancel(run_id, timeout=CANCEL_SECONDS)
    if as_json:
        output.print_json(run.as_dict())
    elif was_over:
        typer.echo(f"Run {run.run_id} had ended before: {run.state}.")
    elif run.over:
        typer.echo(f"Run {run.run_id}: {run.state}.")
    else:
        typer.echo(f"Run {run.run_id}: it was asked to end, and ends at its next batch.")


def _show(runs: list[RunStatus]) -> None:
    from rich.text import Text

    if not runs:
        output.say("There are no such runs.")
        return
    shown = output.table("run", "table", "mode", "trigger", "state", "done", "failed", "created (UTC)", "took")
    for run in runs:
        state = "cancelling" if run.cancelling else run.state
        lasted = (run.ended_at - run.started_at).total_seconds() if run.ended_at and run.started_at else None
        shown.add_row(
            run.run_id,
            "/".join(part for part in (run.sync, run.table) if part) or run.job,
            run.mode or "-",
            run.trigger,
            Text(state, style=_COLOURS[run.state]),
            "-" if run.processed is None else f"{run.processed:,} of {run.total or 0:,}",
            output.number(run.failed),
            output.moment(run.created_at),
            output.span(lasted),
        )
    output.console().print(shown)
