"""Which tables and keys a command works on, and handing its runs over with `--no-wait`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import typer

from sync_pipelines.commands import output
from sync_pipelines.engine.errors import NotConfiguredError

if TYPE_CHECKING:
    from sync_pipelines.client import RunStatus
    from sync_pipelines.registry import BoundTable


def keys_of(joined: str | None, single: list[str] | None) -> list[str] | None:
    """`--keys a,b` and every `--key`, each once; None where neither is given."""
    if joined is None and not single:
        return None
    given = [part.strip() for part in (joined or "").split(",")] + list(single or ())
    return list(dict.fromkeys(part for part in given if part))


def configured(selector: str) -> list[BoundTable]:
    """The tables to work on; those that are not configured are named on standard error and left out.

    Raises:
        NotConfiguredError: none of them is.
    """
    from sync_pipelines.registry import tables

    found = [(bound, bound.not_configured()) for bound in tables(selector)]
    chosen = [bound for bound, reason in found if not reason]
    if not chosen:
        raise NotConfiguredError(f"{selector}: {found[0][1]}.")
    for bound, reason in found:
        if reason:
            output.say(f"{bound.path}: {reason}")
    return chosen


def hand_over(selector: str, options: dict[str, Any], what: Literal["trigger", "repair"], *, as_json: bool) -> None:
    """Start runs and say which, without waiting for them."""
    from sync_pipelines import client

    started = getattr(client, what)(selector, **options)
    runs = [client.status(run_id) for run_id in ([started] if isinstance(started, str) else started)]
    if as_json:
        output.print_json({"runs": [run.as_dict() for run in runs]})
        return
    for run in runs:
        typer.echo(f"{path_of(run)}: run {run.run_id} {run.state}")


def path_of(run: RunStatus) -> str:
    """`sync/table` of a run."""
    return "/".join(part for part in (run.sync, run.table) if part)
