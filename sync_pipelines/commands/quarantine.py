"""`sync-pipelines quarantine …`: records that could not reach their target, and what to do with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sync_pipelines.commands import output, progress, selection
from sync_pipelines.commands.output import AsJson, Named, Selector
from sync_pipelines.engine.errors import ConfigurationError, SyncError
from sync_pipelines.engine.sensitive import mask_of

if TYPE_CHECKING:
    from sync_pipelines.engine.ledger.ledger import Ledger, QuarantinedRecord, RecordEvent
    from sync_pipelines.engine.spec import TableSpec

app = typer.Typer(
    help="Records that could not reach their target. One that becomes good leaves by itself at its next sync.",
    no_args_is_help=True,
)

Keys = Annotated[list[str] | None, typer.Option("--key", help="Only this record; may be given several times.")]


@app.command("list")
def list_(
    selector: Selector = None,
    key: Keys = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many records of a table.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List records with reason and attempts; dropped ones too, which count as excluded."""
    ledger = _ledger()
    records = [record for spec in _specs(selector) for record in _found(ledger, spec, key, limit=limit)]
    if as_json:
        output.print_json({"records": [asdict(record) for record in records]})
    else:
        _show_records(records)


@app.command()
def show(selector: Named, key: Keys = None, as_json: AsJson = False) -> None:
    """Show records whole, each with its history. Exit code 1 when none of them is in quarantine."""
    ledger = _ledger()
    found = [
        (mask.record(record), [mask.record(event) for event in _events(ledger, record)])
        for spec, mask in [(spec, mask_of(spec)) for spec in _specs(selector)]
        for record in _listed(ledger, spec, key, limit=None if key else 100)
    ]
    if as_json:
        records = [{**asdict(record), "events": [asdict(event) for event in events]} for record, events in found]
        output.print_json({"records": records})
    else:
        for record, events in found:
            _show_record(record, events)
    if not found:
        output.say("Nothing of it is in quarantine.")
    output.leave(good=bool(found))


@app.command()
def replay(
    selector: Named,
    key: Keys = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Start the runs and do not wait for them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Sync records again now, in runs of their own: those of --key, else all that are not dropped.

    Exit code 1 when a run failed, a record is still in quarantine after it, or one of --key was not in it.
    """
    ledger = _ledger()
    absent = _absent(ledger, selector, key)
    runs = [
        _replayed(ledger, spec, keys, wait=not no_wait)
        for spec in _specs(selector)
        if (keys := _to_replay(ledger, spec, key))
    ]
    if as_json:
        output.print_json({"runs": runs})
    else:
        _show_runs(runs)
    if not (runs or absent or as_json):
        typer.echo(_nothing(ledger, selector))
    _tell_absent(selector, absent)
    output.leave(
        good=not absent and (no_wait or all(run["status"] == "completed" and not run["still_out"] for run in runs))
    )


def _to_replay(ledger: Ledger, spec: TableSpec, named: Sequence[str] | None) -> list[str]:
    records = _listed(ledger, spec, named, limit=None)
    return [record.key for record in records if named or record.dropped_at is None]


def _nothing(ledger: Ledger, selector: str) -> str:
    dropped = sum(ledger.quarantine_counts(spec.sync, spec.name).excluded for spec in _specs(selector))
    if not dropped:
        return "Nothing of it is in quarantine."
    return (
        f"Nothing of it is to be tried again: {dropped} dropped, until their source rows change. "
        f"`sync-pipelines quarantine replay {selector} --key KEY` tries one all the same."
    )


def _replayed(ledger: Ledger, spec: TableSpec, keys: list[str], *, wait: bool) -> dict[str, Any]:
    from sync_pipelines import client

    sync, table, mask = spec.sync, spec.name, mask_of(spec)
    with progress.shown(f"{sync}/{table}") if wait else nullcontext() as show:
        run_id = client.trigger(sync, table=table, keys=keys, wait=wait, on_progress=show)
    run = {"sync": sync, "table": table, "keys": mask.keys(keys), "run_id": run_id}
    if not wait:
        return run
    status = client.status(run_id)
    still_out = mask.keys(sorted(ledger.quarantined_among(sync, table, keys)))
    return run | {"status": status.state, "error": status.error, "still_out": still_out}


def _show_runs(runs: list[dict[str, Any]]) -> None:
    for run in runs:
        end = f", {run['status']}, {len(run['still_out'])} still in quarantine" if "status" in run else ""
        typer.echo(f"{run['sync']}/{run['table']}: {len(run['keys'])} records, run {run['run_id']}{end}")
        if run.get("error"):
            output.say(run["error"])


@app.command()
def drop(
    selector: Named,
    key: Keys = None,
    every: Annotated[bool, typer.Option("--all", help="All records of it that are in quarantine.")] = False,
    as_json: AsJson = False,
) -> None:
    """Accept that records stay out until their source rows change; proofs leave them out from now on.

    Exit code 1 when a record of --key is not in quarantine.
    """
    if bool(key) == every:
        raise output.wrong_usage("Say which records are dropped: give --key KEY, or --all.")
    ledger = _ledger()
    absent = _absent(ledger, selector, key)
    dropped = [
        {"sync": spec.sync, "table": spec.name, "keys": mask_of(spec).keys(keys)}
        for spec in _specs(selector)
        if (keys := ledger.drop_quarantined(spec.sync, spec.name, _real(ledger, spec, key)))
    ]
    for item in dropped:
        _let_go_on(f"{item['sync']}/{item['table']}")
    if as_json:
        output.print_json({"dropped": dropped})
    else:
        _show_dropped(dropped, quiet=bool(absent))
    _tell_absent(selector, absent)
    output.leave(good=not absent)


def _show_dropped(dropped: list[dict[str, Any]], *, quiet: bool) -> None:
    for item in dropped:
        typer.echo(f"{item['sync']}/{item['table']}: {len(item['keys'])} dropped")
    if not dropped and not quiet:
        typer.echo("Nothing of it is in quarantine.")


def _let_go_on(path: str) -> None:
    """Events that stood behind a dropped record's go on at once, not with the next run."""
    from sync_pipelines.engine.freeing import look_again
    from sync_pipelines.registry import tables

    for bound in tables(path):
        if bound.spec.capture == "outbox" and not bound.not_configured():
            try:
                with closing(bound.binding()) as binding:
                    assert binding.outbox is not None
                    look_again(binding, binding.outbox)
            except SyncError as error:
                output.say(f"{path}: what stood behind it goes on with the next run: {error}")


def _absent(ledger: Ledger, selector: str, named: Sequence[str] | None) -> list[str]:
    """Those of the named records that are not in quarantine.

    Raises:
        ConfigurationError, UnknownRecordError: one of them is no record at all, see `selection.held`.
    """
    specs = _specs(selector)
    found = [key for key in named or () if not any(_listed(ledger, spec, [key], limit=1) for spec in specs)]
    for key in found:
        selection.held(selector, key)
    return found


def _tell_absent(selector: str, keys: Sequence[str]) -> None:
    for key in keys:
        output.say(
            f"{selector}: the record {key!r} is not in quarantine. "
            f"`sync-pipelines quarantine list {selector}` lists those that are."
        )


def _ledger() -> Ledger:
    from sync_pipelines import registry

    ledger = registry.ledger()
    ledger.check()
    return ledger


def _specs(selector: str | None) -> list[TableSpec]:
    from sync_pipelines import registry

    return [table.spec for table in registry.tables(selector)]


def _found(ledger: Ledger, spec: TableSpec, named: Sequence[str] | None, *, limit: int) -> list[QuarantinedRecord]:
    """Records as they are shown."""
    mask = mask_of(spec)
    return [mask.record(record) for record in _listed(ledger, spec, named, limit=limit)]


def _listed(
    ledger: Ledger, spec: TableSpec, named: Sequence[str] | None, *, limit: int | None
) -> list[QuarantinedRecord]:
    """Records with their own keys; `named` may be masked."""
    return ledger.list_quarantine(spec.sync, spec.name, keys=_real(ledger, spec, named), limit=limit)


def _real(ledger: Ledger, spec: TableSpec, named: Sequence[str] | None) -> Sequence[str] | None:
    mask = mask_of(spec)
    if named is None:
        return None
    if not mask.hides_keys:
        return [form for key in named for form in _spellings(spec, key)]
    known = [record.key for record in ledger.list_quarantine(spec.sync, spec.name, limit=None)]
    found = mask.real(named, known)
    return [found.get(key, form) for key in named for form in _spellings(spec, key)]


def _spellings(spec: TableSpec, key: str) -> list[str]:
    """A key as it was given, and as the ledger would have it: another JSON writer puts no space behind a comma."""
    from sync_pipelines.engine.keys import is_text
    from sync_pipelines.engine.naming import normal_key

    try:
        return list(dict.fromkeys([key, normal_key(spec, key)]))
    except ConfigurationError:
        return [key] if is_text(key) else []


def _events(ledger: Ledger, record: QuarantinedRecord) -> list[RecordEvent]:
    return ledger.record_events(record.sync, record.table, key=record.key)


def _show_records(records: Sequence[QuarantinedRecord]) -> None:
    if not records:
        typer.echo("Nothing is in quarantine.")
        return
    from rich.text import Text

    columns = ("table", "key", "stage", "tries", "last seen (UTC)", "state", "reason")
    table = output.table(*columns)
    for record in records:
        # Text: keys and reasons are the user's, and may hold what rich takes for markup.
        table.add_row(
            f"{record.sync}/{record.table}",
            Text(record.key),
            record.stage,
            str(record.attempts),
            output.moment(record.last_seen),
            "dropped" if record.dropped_at else "quarantined",
            Text(record.reason),
        )
    output.console().print(table)


def _show_record(record: QuarantinedRecord, events: Iterable[RecordEvent]) -> None:
    state = f"dropped {output.moment(record.dropped_at)} UTC" if record.dropped_at else "in quarantine"
    typer.echo(f"{record.sync}/{record.table} {record.key!r}: {state}")
    typer.echo(f"  {record.stage}: {record.reason}")
    typer.echo(f"  {record.attempts} tries since {output.moment(record.first_seen)} UTC")
    for event in events:
        run = f" run {event.run_id}" if event.run_id else ""
        typer.echo(f"  {output.moment(event.at)} {event.event}{run} {event.reason or ''}".rstrip())
