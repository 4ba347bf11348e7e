"""What every command shares: its options, what it prints and where, and its exit code.

Standard output is the answer's; with `--json` it holds one document and nothing else. Progress, warnings and
errors go to standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sync_pipelines.engine.errors import (
    CaptureMissingError,
    ConfigurationError,
    MigrationDueError,
    SyncError,
    TargetBusyError,
    TransientError,
    redact,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PLAIN_WIDTH = 200
"""Columns of a table where nobody says how wide the output is; 80 would fold every key."""

Selector = Annotated[
    str | None, typer.Argument(metavar="SYNC[/TABLE]", help="A sync, or one of its tables; all by default.")
]
Named = Annotated[str, typer.Argument(metavar="SYNC[/TABLE]", help="A sync, or one of its tables.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]


class ExitCode(IntEnum):
    """What the console script ends with."""

    GOOD = 0
    BAD = 1
    USAGE = 2
    CONFIGURATION = 3
    UNREACHABLE = 4
    INTERRUPTED = 130


EXIT_CODES = (
    "Exit codes: 0 good; 1 unhealthy, different, or a run that failed or was cancelled; 2 wrong usage; "
    "3 a setting, a name or an installation step is missing or wrong; 4 a system cannot be reached; "
    "130 interrupted."
)


def code_of(error: SyncError) -> ExitCode:
    """The exit code of an expected error."""
    if isinstance(error, ConfigurationError | MigrationDueError | CaptureMissingError):
        return ExitCode.CONFIGURATION
    return ExitCode.UNREACHABLE if isinstance(error, TransientError | TargetBusyError) else ExitCode.BAD


def worst(errors: Iterable[SyncError]) -> ExitCode:
    """The exit code for several: a setting to correct says more than an outage, and that more than the rest."""
    found = set(map(code_of, errors))
    order = (ExitCode.CONFIGURATION, ExitCode.UNREACHABLE, ExitCode.BAD)
    return next((code for code in order if code in found), ExitCode.GOOD)


def wrong_usage(text: str) -> Exception:
    """What to raise for options that contradict each other, or a value that has not an option's form (code 2)."""
    return typer.BadParameter(text)


def say(text: str) -> None:
    """A line for people, on standard error, without secrets."""
    typer.echo(redact(text), err=True)


def print_json(document: Any) -> None:
    """The document on standard output."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def console() -> Console:
    """Standard output for people: as wide as the terminal, or wide enough for keys."""
    from rich.console import Console

    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def table(*columns: Any, title: str | None = None) -> Table:
    """A table without lines, as the other commands print it."""
    from rich.table import Table

    return Table(*columns, title=title, box=None, pad_edge=False, title_justify="left")


def moment(value: datetime | None) -> str:
    """2026-01-31 09:15:00 (UTC), or a dash."""
    return f"{value:%Y-%m-%d %H:%M:%S}" if value else "-"


def number(value: int | None) -> str:
    """1,234 or a dash."""
    return "-" if value is None else f"{value:,}"


def span(seconds: float | None) -> str:
    """0:01:05 for people, or a dash; fractions below ten seconds."""
    if seconds is None:
        return "-"
    return f"{seconds:.1f} s" if seconds < 10 else str(timedelta(seconds=round(seconds)))


def leave(*, good: bool) -> None:
    """End with 0 or 1."""
    raise typer.Exit(ExitCode.GOOD if good else ExitCode.BAD)
