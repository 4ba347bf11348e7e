"""`sync-pipelines check` and `repair` (or `reconcile`): prove that both sides are equal, and mend what is not."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sync_pipelines.commands import each, output, progress, selection
from sync_pipelines.commands.output import AsJson, Named
from sync_pipelines.engine.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sync_pipelines.check_results import Anew
    from sync_pipelines.client import RunStatus
    from sync_pipelines.engine.ledger.ledger import ProofRecord
    from sync_pipelines.engine.proof import Proof
    from sync_pipelines.engine.repair import RepairPlan
    from sync_pipelines.registry import BoundTable

KINDS = ("missing", "stale", "extra")
LEFT_OUT = ("pending", "quarantined", "excluded")

Several = Annotated[
    list[str],
    typer.Argument(metavar="SYNC[/TABLE]", help="A sync, or one of its tables, or several of them."),
]
Deep = Annotated[bool, typer.Option("--deep", help="Compare the values themselves, read back from the target.")]


def check(selector: Named, deep: Deep = False, as_json: AsJson = False) -> None:
    """Prove source and target equal now, key by key, and keep the proof; the UI shows it as its checks' result.

    Exit code 1 when a table differs; up to 20 keys of each kind are named.
    """
    samples: dict[str, str | None] = {}

    def prove(bound: BoundTable) -> Proof:
        proof, anew = _prove(bound, deep=deep)
        samples[bound.path] = anew.sentence if anew else None
        return proof

    proofs, problems = each.of_each([selector], prove)
    equal = _equal(proofs) and not problems
    if as_json:
        tables = {path: {**_plain(proof), "sample": samples.get(path)} for path, proof in proofs.items()}
        output.print_json({"equal": equal, "tables": tables, **each.told(problems)})
    else:
        for path, proof in proofs.items():
            _show_proof(path, proof)
            if told := samples.get(path):
                output.console().print(f"  {told}", markup=False)
    each.leave(problems, good=equal)


def _prove(bound: BoundTable, *, deep: bool) -> tuple[Proof, Anew | None]:
    """The proof and what a sample shows, in the ledger and, where there is an instance of Dagster, in its event log."""
    from sync_pipelines.launch import optional_instance

    proof = bound.prove("deep" if deep else "quick")
    anew = _anew(bound) if deep else None
    with optional_instance() as instance:
        if instance is not None:
            from sync_pipelines.checks import report

            names = ("count", "content", *(("deep",) if deep else ()))
            report(instance, bound.component, proof, *names, anew=anew)
    return proof, anew


def _anew(bound: BoundTable) -> Anew | None:
    """What a sample that is fetched anew shows; an API that does not answer takes nothing from the proof."""
    from sync_pipelines.check_results import Anew

    try:
        with closing(bound.binding()) as binding:
            return bound.component.looked_anew(binding)
    except SyncError as error:
        return Anew(numbers={}, sentence=f"No sample could be fetched anew: {error}")


def _equal(proofs: dict[str, Proof]) -> bool:
    return all(proof.equal for proof in proofs.values())


def _plain(proof: Proof) -> dict[str, Any]:
    return {"equal": proof.equal, **asdict(proof)}


def _show_proof(path: str, proof: Proof) -> None:
    from rich.text import Text

    from sync_pipelines.check_results import describe

    console = output.console()
    console.print(Text(f"{path}: {describe(proof)}", style="green" if proof.equal else "red"))
    notes = {"in quarantine": proof.quarantined, "left out on purpose": proof.excluded, "pending": proof.pending}
    if any(notes.values()):
        console.print("  " + ", ".join(f"{count} {what}" for what, count in notes.items() if count))
    _show_keys(proof)


def _show_keys(found: Proof | RepairPlan) -> None:
    from rich.text import Text

    console = output.console()
    for kind in KINDS:
        for key in found.samples.get(kind, ()):
            why = f" ({found.reasons[key]})" if key in found.reasons else ""
            console.print(Text(f"  {kind}: {key}{why}"))


def repair(
    selectors: Several,
    deep: Deep = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written and deleted, and why.")] = False,
    keys: selection.Keys = None,
    key: selection.Key = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, help="Records a batch; else SYNC_BATCH_SIZE and its like, then the kind's."),
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return the run's id at once.")] = False,
    allow_mass_delete: Annotated[
        bool, typer.Option("--allow-mass-delete", help="Let this run delete more than the guard's share.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Mend what differs and nothing else, as Dagster runs, one a table; then prove again. `reconcile` is the same.

    Without --deep it mends what keys and fingerprints show, and the keys that the last deep check named.
    Exit code 1 when a run failed, or a table still differs; with --dry-run when there is something to mend.
    """
    if dry_run and no_wait:
        raise output.wrong_usage("--dry-run and --no-wait exclude each other: a dry run starts nothing.")
    wanted = selection.keys_of(selectors, keys, key)
    if dry_run:
        _plan(selectors, deep=deep, keys=wanted, allow=allow_mass_delete, as_json=as_json)
        return
    options = {"deep": deep, "keys": wanted, "batch_size": batch_size, "allow_mass_delete": allow_mass_delete}
    if no_wait:
        selection.hand_over(selectors, options, "repair", as_json=as_json)
    else:
        _repair_here(selectors, options, as_json=as_json)


def _plan(selectors: Sequence[str], *, deep: bool, keys: list[str] | None, allow: bool, as_json: bool) -> None:
    from sync_pipelines.engine.naming import known_keys
    from sync_pipelines.engine.repair import Wanted, plan_repair

    def planned(bound: BoundTable) -> RepairPlan:
        binding = bound.binding()
        with binding.ledger:
            wanted = Wanted(deep=deep, keys=known_keys(binding, keys) if keys else None)
            return plan_repair(binding, wanted, allow_mass_delete=allow)

    plans, problems = each.of_each(selectors, planned)
    if as_json:
        output.print_json({"tables": {path: plan.as_dict() for path, plan in plans.items()}, **each.told(problems)})
    else:
        for plan in plans.values():
            _show_plan(plan)
    each.leave(problems, good=not any(plan.missing + plan.stale + plan.extra + plan.copies for plan in plans.values()))


def _show_plan(plan: RepairPlan) -> None:
    from rich.text import Text

    console = output.console()
    writes = plan.missing + plan.stale
    console.print(
        f"{plan.table}: would write {writes} ({plan.missing} missing, {plan.stale} stale) and delete {plan.extra}"
    )
    if plan.copies:
        console.print(f"  and put {_copies(plan.copies)} into the trash, unless somebody has touched them")
    _show_keys(plan)
    if plan.refused:
        console.print(Text(f"  {plan.refused}", style="yellow"))


def _repair_here(selectors: Sequence[str], options: dict[str, Any], *, as_json: bool) -> None:
    from sync_pipelines import client

    chosen = sorted(selection.configured(*selectors), key=lambda bound: bound.spec.ends is not None)  # nodes first
    outcomes = []

    def mend(bound: BoundTable) -> None:
        with progress.shown(bound.path) as show:
            run_id = client.repair(
                bound.component.sync, table=bound.component.table_name, wait=True, on_progress=show, **options
            )
        outcomes.append(_outcome(bound, client.status(run_id)))
        if not as_json:
            _show_outcome(bound.path, *outcomes[-1])

    problems = each.in_turn(chosen, mend)
    if as_json:
        output.print_json({"runs": [_plain_outcome(*outcome) for outcome in outcomes], **each.told(problems)})
    each.leave(problems, good=all(_is_good(run, after) for run, _, after in outcomes))


def _outcome(bound: BoundTable, run: RunStatus) -> tuple[RunStatus, ProofRecord | None, ProofRecord | None]:
    """How the run ended, what it has found and mended, and the proof that followed."""
    place = (bound.spec.sync, bound.spec.name)
    with bound.resources.ledger.ledger() as ledger:
        done, after = ledger.last_repair(*place, run_id=run.run_id), ledger.proof_of_run(*place, run.run_id)
    return run, done, after


def _is_good(run: RunStatus, after: ProofRecord | None) -> bool:
    return run.state == "completed" and (after is None or after.equal)


def _plain_outcome(run: RunStatus, done: ProofRecord | None, after: ProofRecord | None) -> dict[str, Any]:
    found = {kind: getattr(done, kind) for kind in KINDS} if done else None
    return {
        **run.as_dict(),
        "found": found,
        "repaired": done.repaired if done else None,
        "left_out": {kind: getattr(done, kind) for kind in LEFT_OUT} if done else None,
        "audit_id": done.id if done else None,
        "buckets": done.buckets if done else None,
        "proof": {"equal": after.equal, **{kind: getattr(after, kind) for kind in KINDS}} if after else None,
    }


def _mended(done: ProofRecord) -> str:
    """What of that which was found is good now, and beside it what the sync itself had made too much."""
    found = sum(mended for _, mended in done.buckets.values())
    surplus = done.repaired - found
    return f"{found} mended" + (f", {_copies(surplus)} removed" if surplus > 0 else "")


def _copies(number: int) -> str:
    return f"{number} {'copy' if number == 1 else 'copies'} of the sync's own"


def _show_outcome(path: str, run: RunStatus, done: ProofRecord | None, after: ProofRecord | None) -> None:
    from rich.text import Text

    found = f", {done.missing} missing, {done.stale} stale, {done.extra} extra found" if done else ""
    mended = f", {_mended(done)}" if done else ""
    style = "green" if _is_good(run, after) else "red"
    output.console().print(Text(f"{path}: repair {run.state}{found}{mended} (run {run.run_id})", style=style))
    if after and not after.equal:
        output.console().print(
            Text(f"  differs: {after.missing} missing, {after.stale} stale, {after.extra} extra", "red")
        )
    if run.error:
        output.say(run.error)
