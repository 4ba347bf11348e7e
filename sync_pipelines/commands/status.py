"""`sync-pipelines status` and `check`: how the tables are, by the last proof or by one of now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sync_pipelines.commands import output
from sync_pipelines.commands.output import AsJson, Named, Selector

if TYPE_CHECKING:
    from sync_pipelines.engine.proof import Proof
    from sync_pipelines.registry import BoundTable
    from sync_pipelines.status import Report, TableStatus

KINDS = ("missing", "stale", "extra")


def status(
    selector: Selector = None,
    live: Annotated[bool, typer.Option("--live", help="Prove each table now: ask source and target.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say how each table is: counts and differences of its last proof, lag, last sync.

    Exit code 1 when a table is unhealthy; one that is not configured here does not count.
    """
    from sync_pipelines.reporting import status_report

    report = status_report(selector, live=live)
    if as_json:
        output.print_json(report.as_dict())
    else:
        _show(report)
    output.leave(good=report.healthy)


def check(selector: Named, as_json: AsJson = False) -> None:
    """Prove source and target equal now, key by key, and keep the proof.

    Exit code 1 when a table differs; up to 20 keys of each kind are named.
    """
    from sync_pipelines.checks import prove_and_record
    from sync_pipelines.registry import tables

    chosen = _configured(selector, tables(selector))
    proofs = {bound.path: prove_and_record(bound.component, bound.resources, run_id=None) for bound in chosen}
    if as_json:
        output.print_json({"equal": _equal(proofs), "tables": {path: _plain(proof) for path, proof in proofs.items()}})
    else:
        for path, proof in proofs.items():
            _show_proof(path, proof)
    output.leave(good=_equal(proofs))


def _equal(proofs: dict[str, Proof]) -> bool:
    return all(proof.equal for proof in proofs.values())


def _configured(selector: str, found: list[BoundTable]) -> list[BoundTable]:
    from sync_pipelines.engine.errors import NotConfiguredError

    chosen = [bound for bound in found if not bound.not_configured()]
    if not chosen:
        raise NotConfiguredError(f"{selector}: {found[0].not_configured()}.")
    return chosen


def _plain(proof: Proof) -> dict[str, Any]:
    from dataclasses import asdict

    return {"equal": proof.equal, **asdict(proof)}


def _show_proof(path: str, proof: Proof) -> None:
    from rich.text import Text

    from sync_pipelines.checks import describe

    console = output.console()
    console.print(Text(f"{path}: {describe(proof)}", style="green" if proof.equal else "red"))
    notes = {"in quarantine": proof.quarantined, "left out on purpose": proof.excluded, "pending": proof.pending}
    if any(notes.values()):
        console.print("  " + ", ".join(f"{count} {what}" for what, count in notes.items() if count))
    for kind in KINDS:
        for key in proof.samples.get(kind, ()):
            console.print(Text(f"  {kind}: {key}"))


def _show(report: Report) -> None:
    from rich.text import Text

    columns = ("table", "state", "source", "target", *KINDS, "quarantine", "lag", "last sync (UTC)", "next run (UTC)")
    shown = output.table(*columns)
    for path, found in report.assets.items():
        shown.add_row(path, _state(found), *_cells(found))
    console = output.console()
    console.print(shown)
    for path, found in report.assets.items():
        for problem in found.problems:
            console.print(Text(f"{path}: {problem}", style="red"))
        if found.last_error and found.last_error not in found.problems:
            console.print(Text(f"{path}: {found.last_error}", style="red"))
        for warning in found.warnings:
            console.print(Text(f"{path}: {warning}", style="yellow"))
        if found.reason:
            console.print(Text(f"{path}: {found.reason}", style="dim"))


def _state(found: TableStatus) -> str:
    if not found.configured:
        return "[dim]not configured[/]"
    word = "[green]healthy[/]" if found.healthy else "[red]unhealthy[/]"
    return f"{word}, running" if found.running else word


def _cells(found: TableStatus) -> list[str]:
    numbers = (found.source_count, found.target_count, found.missing, found.stale, found.extra, found.quarantined)
    return [
        *map(output.number, numbers),
        output.span(found.lag_seconds),
        output.moment(found.last_success),
        output.moment(found.next_run),
    ]
