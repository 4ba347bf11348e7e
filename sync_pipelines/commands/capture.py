"""`sync-pipelines capture …`: the triggers that log changes in the source databases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sync_pipelines.commands import output, selection
from sync_pipelines.commands.output import AsJson, Selector

if TYPE_CHECKING:
    from sync_pipelines.registry import BoundTable
    from sync_pipelines.sources.postgres.readers import Reader
    from sync_pipelines.sources.postgres.status import CaptureStatus

app = typer.Typer(help="Install, remove and look at the triggers that log changes in a source.", no_args_is_help=True)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the SQL and change nothing.")]


@app.command()
def install(selector: Selector = None, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Make the triggers that are missing, disabled or changed; run it again after a partition was attached.

    Tables with `capture: cursor`, or `events: outbox`, are left alone. Waits for each table's lock in short tries.
    """
    tables = [table for table in _captured(selector) if table.spec.capture not in ("cursor", "outbox")]
    _change(tables, lambda table: table.source().install_capture(dry_run=dry_run), dry_run=dry_run, as_json=as_json)


@app.command()
def remove(
    selector: Annotated[str, typer.Argument(metavar="SYNC[/TABLE]", help="A sync, or one of its tables.")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take syncs off their tables' readers; triggers and log go with a table's last reader."""
    tables = _captured(selector)
    _change(tables, lambda table: table.source().remove_capture(dry_run=dry_run), dry_run=dry_run, as_json=as_json)


@app.command()
def status(selector: Selector = None, as_json: AsJson = False) -> None:
    """Show how each table is captured. Exit code 1 when one cannot be, or has a warning."""
    found = {table.spec.path: table.source().capture_status() for table in _captured(selector)}
    if as_json:
        output.print_json({"tables": [{"table": path, **asdict(item)} for path, item in found.items()]})
    else:
        _show_status(found)
    output.leave(good=all(item.healthy for item in found.values()))


@app.command()
def lag(selector: Selector = None, as_json: AsJson = False) -> None:
    """Show what waits in each source: changes, the oldest one's age, or why all will be read."""
    from sync_pipelines import registry

    tables = _tables(selector)
    found = []
    if tables:
        with registry.ledger() as ledger:
            ledger.check()
            found = [_lag(table, ledger) for table in tables]
    if as_json:
        output.print_json({"tables": found})
    else:
        _show_lag(found)


def _lag(table: BoundTable, ledger: Any) -> dict[str, Any]:
    from sync_pipelines.decide import waited

    since = ledger.watermark(table.spec.sync, table.spec.name)
    waiting = table.source().pending(since)
    reason = waiting.full_reason or ("first run" if since is None else None)
    return {
        "table": table.spec.path,
        "changes": waiting.changes,
        "oldest": waiting.oldest,
        "lag_seconds": None if reason else waited(waiting, None, now=datetime.now(UTC)),
        "full_reason": reason,
    }


def _tables(selector: str | None) -> list[BoundTable]:
    """The tables that are in use here; one that is not configured is named on standard error.

    Raises:
        NotConfiguredError: none is of those that somebody has named. Of all tables it is no failure.
    """
    from sync_pipelines import registry

    if selector is not None:
        return selection.configured(selector)
    found = [(table, table.not_configured()) for table in registry.tables()]
    for table, reason in found:
        if reason:
            output.say(f"{table.path}: left out: {reason}.")
    return [table for table, reason in found if not reason]


def _captured(selector: str | None) -> list[BoundTable]:
    """Those of them that are captured in PostgreSQL; one that somebody has named and is not says so."""
    tables = _tables(selector)
    for table in tables if selector is not None else ():
        if not table.component.captures_in_postgres:
            output.say(f"{table.path}: left out: no trigger finds its changes.")
    return [table for table in tables if table.component.captures_in_postgres]


def _change(
    tables: Sequence[BoundTable], change: Callable[[BoundTable], list[str]], *, dry_run: bool, as_json: bool
) -> None:
    done = {table.spec.path: change(table) for table in tables}
    if as_json:
        items = [{"table": path, "dry_run": dry_run, "statements": sql} for path, sql in done.items()]
        output.print_json({"tables": items})
        return
    for path, statements in done.items():
        if dry_run:
            typer.echo("\n".join((f"-- {path}", *(f"{statement};" for statement in statements))))
        else:
            typer.echo(f"{path}: {f'{len(statements)} statements' if statements else 'nothing to do'}")


def _show_status(found: dict[str, CaptureStatus]) -> None:
    table = output.table("table", "capture", "using", "triggers", "log lines", "readers", "installed (UTC)")
    for path, item in found.items():
        table.add_row(
            path,
            item.configured,
            item.using or "[red]none[/red]",
            _triggers(item),
            output.number(item.log_lines),
            "\n".join(map(_reader, item.readers)),
            output.moment(item.installed_at),
        )
    output.console().print(table)
    for path, item in found.items():
        for text in (*item.warnings, *((item.error,) if item.error else ())):
            output.say(text if text.startswith(path) else f"{path}: {text}")


def _reader(reader: Reader) -> str:
    """A reader's name, and what it has not read."""
    if not reader.lines:
        return reader.reader
    return f"{reader.reader}: {output.number(reader.lines)} lines behind, {output.span(reader.age_seconds)}"


def _triggers(item: CaptureStatus) -> str:
    if not item.installed:
        return "not installed"
    return f"{len(item.relations) - len(item.missing)} of {len(item.relations)} relations"


def _show_lag(found: Sequence[dict[str, Any]]) -> None:
    table = output.table("table", "changes", "oldest (UTC)", "lag", "all will be read")
    for item in found:
        table.add_row(
            item["table"],
            output.number(item["changes"]),
            output.moment(item["oldest"]),
            output.span(item["lag_seconds"]),
            item["full_reason"] or "",
        )
    output.console().print(table)
