"""`sync-pipelines logs` and `stats`: what the ledger remembers, and what the targets hold."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sync_pipelines.commands import each, output, progress, selection
from sync_pipelines.commands.output import AsJson, Selector

if TYPE_CHECKING:
    from sync_pipelines.engine.ledger.ledger import Ledger, ProofRecord, RecordEvent, RunRecord
    from sync_pipelines.engine.sensitive import Mask
    from sync_pipelines.stats import TableStats


def logs(
    selector: Selector = None,
    key: Annotated[str | None, typer.Option("--key", help="The history of this record instead of the runs.")] = None,
    proofs: Annotated[
        bool, typer.Option("--proofs", help="The proofs and repairs instead: what was found, mended and left out.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 20,
    offset: Annotated[int, typer.Option(min=0, help="Leave out so many of the newest.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show the runs of a sync or table; with --key when one record failed and recovered, with --proofs its proofs.

    Exit code 1 when neither the ledger nor source or target know the record of --key.
    """
    from sync_pipelines import registry

    if proofs and key is not None:
        raise output.wrong_usage("--proofs and --key exclude each other.")
    sync, table = _place(selector)
    with registry.ledger() as ledger:
        ledger.check()
        if proofs:
            _proofs(ledger.proofs(sync, table, limit=limit, offset=offset), _masks(selector), as_json=as_json)
            return
        if key is None:
            _runs(ledger.logs(sync, table, limit=limit, offset=offset), as_json=as_json)
            return
        masks = _masks(selector)
        found = [_shown(event, masks) for event in _history(ledger, selector, key, limit=limit, offset=offset)]
    _events(found, as_json=as_json)
    if not found:
        output.say("No failure of this record is remembered.")


def stats(
    selector: Selector = None,
    days: Annotated[int, typer.Option(min=1, max=3660, help="Sum so many days with runs, the newest ones.")] = 14,
    as_json: AsJson = False,
) -> None:
    """Show what each target holds and how it was made, and what its runs did, used and cost, by day and in all.

    Sums are of the runs that the ledger remembers. Cost is that of the prices that are set.
    """
    from sync_pipelines.stats import stats_of

    found: list[TableStats] = []
    problems = each.in_turn(_configured(selector), lambda bound: found.append(stats_of(bound, days=days)))
    if as_json:
        output.print_json({"tables": {one.path: one.as_dict() for one in found}, **each.told(problems)})
    else:
        _show_stats(found)
        _show_days(found)
    each.leave(problems, good=True)


def _configured(selector: str | None) -> list[Any]:
    from sync_pipelines.registry import tables

    return [bound for bound in tables(selector) if not bound.not_configured()]


def _place(selector: str | None) -> tuple[str | None, str | None]:
    """Sync and table of a selector; it must name something, since a typo would show an empty history."""
    from sync_pipelines.registry import tables

    if selector is None:
        return None, None
    found = tables(selector)
    sync, _, table = selector.partition("/")
    if table and found[0].component.by_user and ":" not in table:
        return sync, f"{table}:"  # all of its users
    return sync, table or None


def _masks(selector: str | None) -> dict[tuple[str, str], Mask]:
    """How keys are shown, by sync and table."""
    from sync_pipelines.engine.sensitive import mask_of
    from sync_pipelines.registry import tables

    return {(bound.spec.sync, bound.spec.name): mask_of(bound.spec) for bound in tables(selector)}


def _history(ledger: Ledger, selector: str | None, key: str, **page: int) -> list[RecordEvent]:
    """The events of a record, however its key is spelled.

    Raises:
        ConfigurationError, UnknownRecordError: see `selection.held`; only where the ledger has no event of it.
    """
    from sync_pipelines.engine.keys import is_text

    sync, table = _place(selector)
    for form in filter(is_text, (_real_key(ledger, _masks(selector), key), *selection.forms(selector, key))):
        if found := ledger.record_events(sync, table, key=form, limit=page["limit"]):
            return found if not page["offset"] else ledger.record_events(sync, table, key=form, **page)
    held = [(bound.spec, stored) for bound, stored in selection.held(selector, key)]
    return [event for spec, stored in held for event in ledger.record_events(spec.sync, spec.name, key=stored, **page)]


def _real_key(ledger: Ledger, masks: dict[tuple[str, str], Mask], key: str) -> str:
    """The key of a record that is named as it is shown."""
    from sync_pipelines.engine.sensitive import is_masked

    hidden = [(place, mask) for place, mask in masks.items() if mask.hides_keys and is_masked(key)]
    found = (mask.real([key], ledger.keys_with_events(*place)).get(key) for place, mask in hidden)
    return next(filter(None, found), key)


def _shown(event: RecordEvent, masks: dict[tuple[str, str], Mask]) -> RecordEvent:
    mask = masks.get((event.sync, event.table))
    return event if mask is None else mask.record(event)


def _runs(found: list[RunRecord], *, as_json: bool) -> None:
    if as_json:
        output.print_json({"runs": [_plain_run(run) for run in found]})
        return
    shown = output.table("started (UTC)", "table", "mode", "trigger", "status", "what", "took", "run")
    for run in found:
        shown.add_row(
            output.moment(run.started_at),
            f"{run.sync}/{run.table}",
            run.mode,
            run.trigger,
            run.status,
            _what(run),
            output.span(run.duration_seconds),
            run.run_id,
        )
    output.console().print(shown)


def _proofs(found: list[ProofRecord], masks: dict[tuple[str, str], Mask], *, as_json: bool) -> None:
    if as_json:
        known = [(proof, masks.get((proof.sync, proof.table))) for proof in found]
        output.print_json({"proofs": [asdict(mask.proof(proof) if mask else proof) for proof, mask in known]})
        return
    headings = ("started (UTC)", "table", "kind", "asked by", "found", "mended", "left out", "took", "id", "run")
    shown = output.table(*headings)
    for proof in found:
        shown.add_row(
            output.moment(proof.started_at),
            f"{proof.sync}/{proof.table}",
            f"{proof.kind} ({proof.scope})" if proof.scope else proof.kind,
            proof.trigger or "-",
            _found(proof),
            output.number(proof.repaired) if proof.kind == "repair" else "-",
            _counted(proof, "pending", "quarantined", "excluded") or "-",
            output.span(proof.seconds) if proof.finished_at else "-",
            str(proof.id),
            proof.run_id or "-",
        )
    output.console().print(shown)


def _found(proof: ProofRecord) -> Any:
    from rich.text import Text

    if proof.finished_at is None:
        return Text("it has not ended", style="yellow")
    if proof.error:
        return Text(proof.error, style="red")
    return Text(_counted(proof, "missing", "stale", "extra") or "equal")


def _counted(proof: ProofRecord, *names: str) -> str:
    return ", ".join(f"{getattr(proof, name)} {name}" for name in names if getattr(proof, name))


def _what(run: RunRecord) -> Any:
    from rich.text import Text

    return Text(run.error or progress.numbers(run.counts) or "-")


def _plain_run(run: RunRecord) -> dict[str, Any]:
    values = asdict(run)
    values["sync_id"] = str(run.sync_id)
    values["cost"] = None if run.cost is None else float(run.cost)
    return values


def _events(found: list[RecordEvent], *, as_json: bool) -> None:
    from rich.text import Text

    if as_json:
        output.print_json({"events": [asdict(event) for event in found]})
        return
    shown = output.table("at (UTC)", "table", "key", "event", "stage", "reason", "run")
    for event in found:
        place, reason = f"{event.sync}/{event.table}", Text(event.reason or "")
        at, stage = output.moment(event.at), event.stage or "-"
        shown.add_row(at, place, Text(event.key), event.event, stage, reason, event.run_id)
    output.console().print(shown)


def _show_days(found: list[TableStats]) -> None:
    headings = (
        "day (UTC)",
        "table",
        "runs",
        "read",
        "written",
        "deleted",
        "took",
        "CPU",
        "memory",
        "warehouse",
        "cost",
    )
    shown = output.table(*headings)
    for path, day in ((one.path, day) for one in found for day in one.days):
        shown.add_row(
            day.day.isoformat(),
            path,
            output.number(day.runs),
            output.number(day.counts.read),
            output.number(day.counts.upserted + day.counts.metadata_only),
            output.number(day.counts.deleted),
            output.span(day.usage.seconds),
            output.span(day.usage.cpu_seconds),
            "-" if day.usage.peak_memory is None else f"{day.usage.peak_memory / 2**20:,.0f} MiB",
            output.span(day.usage.warehouse_seconds),
            "-" if day.cost is None else f"{day.cost:,.4f}",
        )
    output.console().print(shown)


def _show_stats(found: list[TableStats]) -> None:
    shown = output.table("table", "records", "the target says", "last sync (UTC)", "runs", "upserted")
    for one in found:
        held = one.holdings
        shown.add_row(
            one.path,
            output.number(held.get("records")),
            ", ".join(f"{name} {value}" for name, value in held.items() if name != "records" and value is not None),
            output.moment(one.last_sync),
            output.number(one.totals["runs"]),
            output.number(one.totals["records_upserted"]),
        )
    output.console().print(shown)
