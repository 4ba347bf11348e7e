"""`sync-pipelines sync` and `plan`: run a sync, or say what a run would do."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sync_pipelines.commands import each, output, progress, selection
from sync_pipelines.commands.output import AsJson, Named

if TYPE_CHECKING:
    from sync_pipelines.client import RunStatus
    from sync_pipelines.engine.ledger.ledger import Ledger, ProofRecord, RunRecord
    from sync_pipelines.engine.plan import Plan
    from sync_pipelines.registry import BoundTable

Full = Annotated[bool, typer.Option("--full", help="One snapshot of the whole table, not just what is pending.")]
Rebuild = Annotated[bool, typer.Option("--rebuild", help="Build anew beside the old target, prove, swap.")]


def sync(
    selector: Named,
    full: Full = False,
    rebuild: Rebuild = False,
    keys: selection.Keys = None,
    key: selection.Key = None,
    user: selection.User = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, as `plan` does.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return the run's id at once.")] = False,
    allow_mass_delete: Annotated[
        bool, typer.Option("--allow-mass-delete", help="Let this run delete more than the guard's share.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sync what is pending (or everything), as Dagster runs that the UI shows, one a table, or a user.

    It waits for their end and shows how far they are; Ctrl-C cancels the one under way. With --no-wait they
    go to the daemon's queue, or, where no daemon is alive, to a process of their own. Exit code 1 when a run
    failed or was cancelled, or source and target differ after it.
    """
    mode = _mode(full=full, rebuild=rebuild, some_keys=keys is not None or bool(key))
    if dry_run and no_wait:
        raise output.wrong_usage("--dry-run and --no-wait exclude each other: a dry run starts nothing.")
    wanted = selection.keys_of([selector], keys, key, user=user)
    if dry_run:
        _plan(selector, mode=mode, keys=wanted, user=user, as_json=as_json)
        return
    options = {"full": full, "rebuild": rebuild, "keys": wanted, "allow_mass_delete": allow_mass_delete}
    if no_wait:
        selection.hand_over([selector], {**options, "user": user}, "trigger", as_json=as_json)
    else:
        _run_here(selector, options, user=user, as_json=as_json)


def reparse(
    selector: Named,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return the run's id at once.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make all rows anew from the payloads that are kept of an API, which is not asked: after a new column or mapping.

    It runs and ends as `sync` does.
    """
    if no_wait:
        selection.hand_over(selector, {"reparse": True}, "trigger", as_json=as_json)
    else:
        _run_here(selector, {"reparse": True}, as_json=as_json)


def plan(selector: Named, full: Full = False, rebuild: Rebuild = False, as_json: AsJson = False) -> None:
    """Say what a run would read, write, delete and, of Chroma, embed, and how long that takes. Writes nothing."""
    _plan(selector, mode=_mode(full=full, rebuild=rebuild), keys=None, as_json=as_json)


def _mode(*, full: bool, rebuild: bool, some_keys: bool = False) -> str:
    if full + rebuild + some_keys > 1:
        raise output.wrong_usage("--full, --rebuild and --key or --keys exclude each other: give one of them.")
    return "rebuild" if rebuild else "full" if full else "incremental"


def _run_here(selector: str, options: dict[str, Any], *, as_json: bool, user: str | None = None) -> None:
    """One table after the other; one that fails does not keep the others from their turn."""
    from sync_pipelines import client

    outcomes: list[Outcome] = []

    def run(bound: BoundTable) -> None:
        with progress.shown(bound.path) as show:
            run_id = client.trigger(
                bound.component.sync, table=bound.component.table_name, wait=True, on_progress=show, **options
            )
        outcomes.append(_outcome(bound, client.status(run_id)))
        if not as_json:
            _show_outcome(outcomes[-1], _told(bound, outcomes[-1]))

    problems = each.in_turn(selection.configured(selector, user=user), run)
    if as_json:
        output.print_json({"runs": [_plain(*outcome) for outcome in outcomes], **each.told(problems)})
    each.leave(problems, good=all(_is_good(run, proof) for run, _, proof in outcomes))


Outcome = tuple["RunStatus", "RunRecord | None", "ProofRecord | None"]


def _outcome(bound: BoundTable, run: RunStatus) -> Outcome:
    """How the run ended, its row in the ledger, and the proof that it ended with."""
    place = (bound.spec.sync, bound.spec.name)
    with bound.resources.ledger.ledger() as ledger:
        records = ledger.logs(*place, run_id=run.run_id, limit=1)
        proof = _proof_of(ledger, place, run.run_id)
    return run, records[0] if records else None, proof


def _told(bound: BoundTable, outcome: Outcome) -> str | None:
    _, record, _ = outcome
    return bound.component.told_of_run(bound.resources, record.started_at) if record else None


def _proof_of(ledger: Ledger, place: tuple[str, str], run_id: str) -> ProofRecord | None:
    """What the run's `content` check went by: a proof of all, of what the run touched, or one that still stands."""
    from sync_pipelines.engine.ledger.proofs import TOUCHED

    whole = ledger.proof_of_run(*place, run_id)
    touched = ledger.proof_of_run(*place, run_id, scope=TOUCHED)
    if touched is None or (whole is not None and whole.kind != "count"):
        return whole  # counts that disagreed have become a proof of all, which is newer than the one of touched keys
    standing = ledger.last_proof(*place, "quick")
    return standing if touched.equal and standing is not None and not standing.equal else touched


def _is_good(run: RunStatus, proof: ProofRecord | None) -> bool:
    return run.state == "completed" and (proof is None or proof.equal)


def _plain(run: RunStatus, record: RunRecord | None, proof: ProofRecord | None) -> dict[str, Any]:
    differences = {kind: getattr(proof, kind) for kind in ("missing", "stale", "extra")} if proof else None
    return {
        **run.as_dict(),
        "counts": asdict(record.counts) if record else None,
        "reason": record.reason if record else None,
        "duration_seconds": record.duration_seconds if record else None,
        "proof": differences and {"equal": proof is not None and proof.equal, **differences},
    }


def _show_outcome(outcome: Outcome, told: str | None) -> None:
    from rich.text import Text

    run, record, proof = outcome
    console = output.console()
    good = _is_good(run, proof)
    console.print(Text(_sentence(run, record), style="green" if good else "red"))
    if record and record.reason:
        console.print(Text(f"  it read everything: {record.reason}"))
    if told:
        console.print(Text(f"  {told}"))
    if record and record.counts.quarantined:
        console.print(Text(f"  in quarantine: sync-pipelines quarantine list {selection.path_of(run)}", style="yellow"))
    if proof and not proof.equal:
        console.print(Text(f"  differs: {proof.missing} missing, {proof.stale} stale, {proof.extra} extra", "red"))
    if run.error:
        output.say(run.error)


def _sentence(run: RunStatus, record: RunRecord | None) -> str:
    done = progress.numbers(record.counts) if record else "nothing was done"
    if record and not done:
        done = "nothing to do" if run.state == "completed" else "nothing was written"
    lasted = f" in {output.span(record.duration_seconds)}" if record and record.duration_seconds else ""
    return f"{selection.path_of(run)}: {run.state}: {done}{lasted} (run {run.run_id})"


def _plan(selector: str, *, mode: str, keys: list[str] | None, as_json: bool, user: str | None = None) -> None:
    from sync_pipelines.engine.model import Scope
    from sync_pipelines.engine.naming import known_keys
    from sync_pipelines.engine.plan import plan as plan_run

    def planned(bound: BoundTable) -> Plan:
        with closing(bound.binding()) as binding:
            binding.ledger.check()
            asked = replace(binding, **bound.component.run_settings(binding.ledger))
            scope = None if keys is None else Scope(keys=known_keys(asked, keys), reason="keys")
            return plan_run(asked, mode=mode, scope=scope)

    plans, problems = each.of_each([selector], planned, user=user)
    if as_json:
        output.print_json({"plans": [found.as_dict() for found in plans.values()], **each.told(problems)})
    else:
        for found in plans.values():
            _show_plan(found)
    each.leave(problems, good=True)


def _planned_rows(found: Plan) -> dict[str, int]:
    """The numbers that this kind has: only a target that embeds texts tells those from their metadata."""
    rest = {"unchanged": found.unchanged, "to delete": found.deletes, "to quarantine": found.quarantined}
    if not found.embeds:
        return {"records read": found.read, "to write": found.upserts + found.metadata_only, **rest}
    return {
        "records read": found.read,
        "to write with new text": found.upserts,
        "metadata only": found.metadata_only,
        **rest,
        "texts to embed": found.embed_texts,
        "characters": found.embed_characters,
        "tokens": found.embed_tokens,
    }


def _show_plan(found: Plan) -> None:
    from rich.text import Text

    console = output.console()
    reason = f" ({found.reason})" if found.reason else ""
    console.print(Text(f"{found.table}: {found.mode}{reason}", style="bold"))
    shown = output.table("", "")
    for name, count in _planned_rows(found).items():
        shown.add_row(f"  {name}", output.number(count))
    if found.embeds:
        shown.add_row("  embedding takes about", output.span(found.embed_seconds))
    if found.requests is not None:
        shown.add_row("  requests", output.number(found.requests))
        shown.add_row("  fetching takes about", output.span(found.fetch_seconds))
    console.print(shown)
    if found.refused:
        console.print(Text(f"  {found.refused}: --allow-mass-delete allows it once", style="red"))
