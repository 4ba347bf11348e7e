"""Asking several tables: one that cannot be asked hides none of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import typer

from sync_pipelines.commands import output, progress, selection
from sync_pipelines.engine.errors import SyncError
from sync_pipelines.engine.patience import patience_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sync_pipelines.registry import BoundTable

Answer = TypeVar("Answer")

PATIENCE = 30.0
"""Seconds for which somebody at a terminal waits for a system that is away; a run waits longer."""


def in_turn(chosen: Sequence[BoundTable], work: Callable[[BoundTable], object]) -> dict[str, SyncError]:
    """Work on one table after the other; the problem of each that could not be begun, which keeps no other from its
    turn.

    Raises:
        SyncError: there is but one table, and it could not be.
    """
    problems = _problems(chosen, work)
    if problems and len(chosen) == 1:
        raise problems[chosen[0].path]
    return problems


def of_each(
    selectors: Sequence[str], ask: Callable[[BoundTable], Answer], *, user: str | None = None
) -> tuple[dict[str, Answer], dict[str, SyncError]]:
    """What each table answers, by its path, and the problem of each that cannot be asked.

    Args:
        user: see `registry.tables`.
    """
    found: dict[str, Answer] = {}
    with progress.asking() as asking, patience_of(PATIENCE):

        def answered(bound: BoundTable) -> None:
            asking(bound.path)
            found[bound.path] = ask(bound)

        problems = _problems(selection.configured(*selectors, user=user), answered)
    return found, problems


def _problems(chosen: Sequence[BoundTable], work: Callable[[BoundTable], object]) -> dict[str, SyncError]:
    from sync_pipelines.outages import Outages

    problems: dict[str, SyncError] = {}
    outages = Outages()
    for bound in chosen:
        try:
            outages.ask(bound, work)
        except SyncError as error:
            problems[bound.path] = error
    return problems


def told(problems: dict[str, SyncError]) -> dict[str, Any]:
    """What `--json` says of them beside the answers."""
    return {"problems": {path: str(error) for path, error in problems.items()}} if problems else {}


def leave(problems: dict[str, SyncError], *, good: bool) -> None:
    """End with the first problem's exit code, where there is one; all of them are said, each once."""
    for sentence in _sentences(problems):
        output.say(sentence)
    if problems:
        raise typer.Exit(output.code_of(next(iter(problems.values()))))
    output.leave(good=good)


def _sentences(problems: dict[str, SyncError]) -> list[str]:
    """What went wrong, with the tables that it kept from being asked: an outage of a system does not know them."""
    tables: dict[str, list[str]] = {}
    for path, error in problems.items():
        place = "/".join(part for part in (error.sync, error.table) if part)
        tables.setdefault(str(error).removeprefix(f"{place}: "), []).append(path)
    return [f"{', '.join(paths)}: {text}" for text, paths in tables.items()]
