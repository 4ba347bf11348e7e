"""`sync-pipelines quarantine …`: records that could not reach their target, and what to do with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from sync_pipelines.engine.errors import ConfigurationError

if TYPE_CHECKING:
    from sync_pipelines.engine.ledger import Ledger, QuarantinedRecord, RecordEvent

app = typer.Typer(
    help="Records that could not reach their target. One that becomes good leaves by itself at its next sync.",
    no_args_is_help=True,
)

Selector = Annotated[str, typer.Argument(metavar="SYNC[/TABLE]", help="A sync, or one of its tables.")]
OptionalSelector = Annotated[
    str | None, typer.Argument(metavar="[SYNC[/TABLE]]", help="A sync, or one of its tables; all by default.")
]
Keys = Annotated[list[str] | None, typer.Option("--key", help="Only this record; may be given several times.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]


@app.command("list")
def list_(
    selector: OptionalSelector = None,
    key: Keys = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many records of a table.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List records with reason and attempts; dropped ones too, which count as excluded."""
    ledger = _ledger()
    records = [
        record for place in _places(selector) for record in ledger.list_quarantine(*place, keys=key, limit=limit)
    ]
    if as_json:
        _print_json({"records": [_plain(record) for record in records]})
    else:
        _show_records(records)


@app.command()
def show(selector: Selector, key: Keys = None, as_json: AsJson = False) -> None:
    """Show records whole, each with its history. Exit code 1 when none of them is in quarantine."""
    ledger = _ledger()
    found = [
        (record, ledger.record_events(record.sync, record.table, key=record.key))
        for place in _places(selector)
        for record in ledger.list_quarantine(*place, keys=key, limit=None if key else 100)
    ]
    if as_json:
        records = [{**_plain(record), "events": [_plain(event) for event in events]} for record, events in found]
        _print_json({"records": records})
    else:
        for record, events in found:
            _show_record(record, events)
    if not found:
        typer.echo("Nothing of it is in quarantine.", err=True)
        raise typer.Exit(1)


@app.command()
def replay(selector: Selector, key: Keys = None, as_json: AsJson = False) -> None:
    """Sync records again now, in a run of their own: those of --key, else all that are not dropped."""
    from sync_pipelines import client

    ledger = _ledger()
    runs = []
    for sync, table in _places(selector):
        records = ledger.list_quarantine(sync, table, keys=key, limit=None)
        keys = [record.key for record in records if key or record.dropped_at is None]
        if keys:
            run_id = client.trigger(sync, table=table, keys=keys)
            runs.append({"sync": sync, "table": table, "keys": keys, "run_id": run_id})
    if as_json:
        _print_json({"runs": runs})
        return
    for run in runs:
        typer.echo(f"{run['sync']}/{run['table']}: {len(run['keys'])} records, run {run['run_id']}")
    if not runs:
        typer.echo("Nothing of it is in quarantine.")


@app.command()
def drop(
    selector: Selector,
    key: Keys = None,
    every: Annotated[bool, typer.Option("--all", help="All records of it that are in quarantine.")] = False,
    as_json: AsJson = False,
) -> None:
    """Accept that records stay out until their source rows change; proofs leave them out from now on."""
    if bool(key) == every:
        raise ConfigurationError("Say which records are dropped.", remedy="Give --key KEY, or --all.")
    ledger = _ledger()
    dropped = [
        {"sync": sync, "table": table, "keys": keys}
        for sync, table in _places(selector)
        if (keys := ledger.drop_quarantined(sync, table, key))
    ]
    if as_json:
        _print_json({"dropped": dropped})
        return
    for item in dropped:
        typer.echo(f"{item['sync']}/{item['table']}: {len(item['keys'])} dropped")
    if not dropped:
        typer.echo("Nothing of it is in quarantine.")


def _ledger() -> Ledger:
    from sync_pipelines import registry

    ledger = registry.ledger()
    ledger.check()
    return ledger


def _places(selector: str | None) -> list[tuple[str, str]]:
    from sync_pipelines import registry

    return [(table.spec.sync, table.spec.name) for table in registry.tables(selector)]


def _plain(item: QuarantinedRecord | RecordEvent) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(item).items()}


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _show_records(records: Sequence[QuarantinedRecord]) -> None:
    if not records:
        typer.echo("Nothing is in quarantine.")
        return
    reason = Column("reason", overflow="fold", ratio=1)
    table = Table(
        "table", Column("key", overflow="fold"), "stage", "tries", "last seen (UTC)", "state", reason, box=None
    )
    for record in records:
        # Text: keys and reasons are the user's, and may hold what rich takes for markup.
        table.add_row(
            f"{record.sync}/{record.table}",
            Text(record.key),
            record.stage,
            str(record.attempts),
            f"{record.last_seen:%Y-%m-%d %H:%M:%S}",
            "dropped" if record.dropped_at else "quarantined",
            Text(record.reason),
        )
    Console().print(table, highlight=False)


def _show_record(record: QuarantinedRecord, events: Iterable[RecordEvent]) -> None:
    state = f"dropped {record.dropped_at:%Y-%m-%d %H:%M:%S} UTC" if record.dropped_at else "in quarantine"
    typer.echo(f"{record.sync}/{record.table} {record.key!r}: {state}")
    typer.echo(f"  {record.stage}: {record.reason}")
    typer.echo(f"  {record.attempts} tries from {record.first_seen:%Y-%m-%d %H:%M:%S} UTC")
    for event in events:
        run = f" run {event.run_id}" if event.run_id else ""
        typer.echo(f"  {event.at:%Y-%m-%d %H:%M:%S} {event.event}{run} {event.reason or ''}".rstrip())
