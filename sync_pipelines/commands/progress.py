"""What a terminal, or a log, sees of a run that this process executes, or of tables that a command asks."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from sync_pipelines.commands import output
from sync_pipelines.silence import silenced

if TYPE_CHECKING:
    from sync_pipelines.engine.model import Counts
    from sync_pipelines.execution import Progress

LINE_SECONDS = 10.0
"""Between two lines about one run where there is no terminal."""

_log = logging.getLogger(__name__)

Show = Callable[["Progress"], None]


@contextmanager
def shown(table: str) -> Generator[Show]:
    """A listener for `client.trigger` that shows how far the run is, on standard error.

    A terminal gets one line that moves; anything else gets a timestamped line now and then, and our log lines.
    Nothing else of the run comes through: Dagster prints every event, and standard output is the answer's.
    """
    with silenced() as stream:
        shower = _moving if stream.isatty() else _lines
        with shower(table, stream) as show:
            yield _remembering(show)


@contextmanager
def asking() -> Generator[Callable[[str], None]]:
    """A listener for the table that a command asks now: a terminal shows it, and for how long; others see nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with _line(sys.stderr) as write:
        yield lambda table: write(f"asking {table}")


@contextmanager
def _moving(table: str, stream: TextIO) -> Generator[Show]:
    with _line(stream) as write:
        write(f"{table}: starting")
        yield lambda progress: write(describe(progress))


@contextmanager
def _line(stream: TextIO) -> Generator[Callable[[str], None]]:
    """A line that moves, with the time that has passed, and is gone at the end."""
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    bar = Bar(
        *columns,
        console=Console(file=stream, highlight=False),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with bar:
        line = bar.add_task("", total=None)
        yield lambda text: bar.update(line, description=text)


@contextmanager
def _lines(table: str, stream: TextIO) -> Generator[Show]:
    handler = logging.StreamHandler(stream)
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    package = logging.getLogger("sync_pipelines")
    package.addHandler(handler)
    try:
        yield _now_and_then()
    finally:
        package.removeHandler(handler)


def _remembering(show: Show) -> Show:
    """Between its writing and its end a run is checked: its books are closed, its numbers are those of before."""
    written: Progress | None = None

    def remember(progress: Progress) -> None:
        nonlocal written
        if progress.counts is not None:
            written = progress
        elif written is not None:
            progress = replace(progress, phase="checking", counts=written.counts, embedded=written.embedded)
        show(progress)

    return remember


def _now_and_then() -> Show:
    last = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            _log.info("%s, %s", describe(progress), output.span(progress.seconds))

    return show


def describe(progress: Progress) -> str:
    """One line: where the run is, and its numbers so far."""
    if progress.phase == "waiting":
        # tables of one graph, or of one API, take one lock
        holder = f" (run {progress.holder})" if progress.holder else ""
        return f"{progress.table}: waiting for the run that has its lock{holder}"
    if progress.counts is None:
        return f"{progress.table}: starting"
    counts = replace(progress.counts, embedded_texts=max(progress.counts.embedded_texts, progress.embedded))
    first = "" if progress.counts.read else "at its first batch"
    if progress.phase == "checking":
        first = "checking"
    return f"{progress.table}: {', '.join(filter(None, (first, numbers(counts))))}"


def numbers(counts: Counts) -> str:
    """`120 read, 80 upserted, 40 unchanged`: what is not 0."""
    named = {
        "read": counts.read,
        "upserted": counts.upserted,
        "metadata only": counts.metadata_only,
        "unchanged": counts.unchanged,
        "deleted": counts.deleted,
        "quarantined": counts.quarantined,
        "texts embedded": counts.embedded_texts,
    }
    return ", ".join(f"{count:,} {name}" for name, count in named.items() if count)
