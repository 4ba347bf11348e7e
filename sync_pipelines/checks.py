"""Asset checks: source and target are asked themselves, never the writer.

| check | asks | when |
|---|---|---|
| `count` | both sides how many records they hold | after each run, daily |
| `content` | keys and fingerprints: of all, or of a large table of those that the run touched | after each run, daily |
| `deep` | the values themselves, read back | at its own cadence, never within a sync's run |
| `schema` | whether source and target are still shaped as the document says | after each run, daily |
| `backlog` | the oldest pending change, and the quarantine | after each run, and on a schedule of its own |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from sync_pipelines.check_results import backlog_result, drift_result, result_of
from sync_pipelines.engine.ledger.history import PARTIAL_MODES
from sync_pipelines.engine.ledger.proofs import TOUCHED
from sync_pipelines.engine.model import Pending
from sync_pipelines.engine.proof import prove_and_record, prove_touched
from sync_pipelines.engine.sensitive import mask_of
from sync_pipelines.failures import working_on
from sync_pipelines.unfollowed import unfollowed
from sync_pipelines.user_checks import among_all, ask_each

if TYPE_CHECKING:
    from sync_pipelines.check_results import Anew
    from sync_pipelines.components.base import SyncComponent
    from sync_pipelines.engine.ledger.ledger import Ledger, RunRecord
    from sync_pipelines.engine.model import Watermark
    from sync_pipelines.engine.proof import Proof
    from sync_pipelines.engine.run import Binding

AFTER_A_RUN = ("count", "content", "schema", "backlog")
"""The checks that a sync's own run makes; `deep` reads every value of both sides."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a check is given: the table, the Dagster run, and that run's row if it is a sync of this table."""

    component: SyncComponent
    binding: Binding
    context: Any
    sync_run: RunRecord | None

    @property
    def run_id(self) -> str:
        return self.context.run.run_id


Work = Callable[[Asked], "dg.AssetCheckResult | None"]


def build_checks(component: SyncComponent) -> list[dg.AssetChecksDefinition]:
    """The checks of one table; unpartitioned, since partitioned ones break with runs over a range."""
    every = {**_CHECKS, **component.more_checks()}
    return [_build(component, name, description, work) for name, (description, work) in every.items()]


def _build(component: SyncComponent, name: str, description: str, work: Work) -> dg.AssetChecksDefinition:
    # can_subset: a check that is selected and has nothing to say may say nothing, and its last result stands
    @dg.multi_asset_check(
        name=f"{component.op_name}_{name}",
        specs=[dg.AssetCheckSpec(name, asset=component.asset_key, description=description)],
        required_resource_keys=set(component.resource_keys),
        can_subset=True,
    )
    def check(context) -> Iterator[dg.AssetCheckResult]:
        if component.by_user:
            found = ask_each(component, context, name, lambda part: ask(part, context, work, attempt=None))
        else:
            found = ask(component, context, work, attempt=context.op_execution_context.retry_number)
        if found is not None:
            yield found._replace(asset_key=component.asset_key, check_name=name)

    return check


def ask(component: SyncComponent, context: Any, work: Work, *, attempt: int | None) -> dg.AssetCheckResult | None:
    """One check of one table, or of one user's part of it; `attempt` is that of `failures.working_on`."""
    if reason := component.not_configured(context.resources):
        return dg.AssetCheckResult(passed=True, metadata={"skipped": reason})
    with (
        working_on(component.sync, component.table_name, run_id=context.run.run_id, attempt=attempt),
        closing(component.bind(context.resources)) as binding,
    ):
        binding.ledger.check()
        if work is not _deep:  # which takes so long that it asks for itself
            component.share(binding, context.resources, run_id=context.run.run_id)
        found = binding.ledger.logs(*binding.place, run_id=context.run.run_id, limit=1)
        ours = next((record for record in found if record.mode not in PARTIAL_MODES), None)
        return work(Asked(component=component, binding=binding, context=context, sync_run=ours))


def _count(asked: Asked) -> dg.AssetCheckResult:
    return _result(asked, prove_and_record(asked.binding, "count", run_id=asked.run_id))


def _content(asked: Asked) -> dg.AssetCheckResult:
    """Everything, unless a run over what was pending asks of a table that is too large for that."""
    run, ledger, place = asked.sync_run, asked.binding.ledger, asked.binding.place
    if run is None or not _read_what_was_pending(asked, run) or _is_small(asked) or _left_unproven(asked):
        return _result(asked, prove_and_record(asked.binding, "quick", run_id=asked.run_id))
    since = ledger.touched_since(*place, asked.run_id)
    if since is None and (run.counts.read or run.counts.deleted):
        # another run has confirmed meanwhile: what this one touched is no longer known
        return _result(asked, prove_and_record(asked.binding, "quick", run_id=asked.run_id))
    return _touched(asked, since)


def _read_what_was_pending(asked: Asked, run: RunRecord) -> bool:
    """Whether the run read just that: not the whole table for a reason of its own, nor an older window."""
    return run.mode == "incremental" and not run.reason and asked.component.reads_what_waits(asked.context.run.tags)


def _is_small(asked: Asked) -> bool:
    with asked.binding.source.at_snapshot() as snapshot:
        return snapshot.count() <= asked.component.checks.content_limit


def _left_unproven(asked: Asked) -> bool:
    """Whether a proof of touched keys found something after the last proof of the whole table: those keys stand."""
    ledger, place = asked.binding.ledger, asked.binding.place
    touched, whole = (ledger.last_proof(*place, "quick", scope=scope) for scope in (TOUCHED, ""))
    return touched is not None and not touched.equal and (whole is None or whole.id < touched.id)


def _touched(asked: Asked, since: Watermark | None) -> dg.AssetCheckResult:
    """The keys that the run touched; differences of the last whole proof stand until another one clears them."""
    binding = asked.binding
    proof = prove_touched(binding, binding.source.pending_keys(since) if since else (), run_id=asked.run_id)
    standing = binding.ledger.last_proof(*binding.place, "quick")
    if proof.equal and standing is not None and not standing.equal:
        return _result(asked, standing, note="The last proof of the whole table stands")
    return _result(asked, proof, note="Of the keys that this run touched", scope=TOUCHED)


def _deep(asked: Asked) -> dg.AssetCheckResult | None:
    if asked.sync_run is not None:
        return None  # "materialize" in the UI selects every check of an asset
    result = _result(asked, prove_and_record(asked.binding, "deep", run_id=asked.run_id))
    anew = asked.component.looked_anew(asked.binding)
    return result if anew is None else anew.beside(result)


def _result(asked: Asked, proof: Proof | Any, *, note: str = "", scope: str = "") -> dg.AssetCheckResult:
    shown = mask_of(asked.component.spec).proof(proof)  # one that is older than `sensitive:` in the document
    return result_of(shown, error_above=asked.component.checks.error_above, note=note, scope=scope)


def _schema(asked: Asked) -> dg.AssetCheckResult:
    event = asked.context.instance.get_latest_materialization_event(asked.component.asset_key)
    known = event.asset_materialization.metadata.get("dagster/column_schema") if event else None
    return drift_result(
        source=asked.binding.source.inspect(),
        spec=asked.binding.spec,
        known={column.name: column.type for column in known.value.columns} if known else {},
        target=asked.binding.target.drift(),
    )


def _backlog(asked: Asked) -> dg.AssetCheckResult:
    ledger, place, mask = asked.binding.ledger, asked.binding.place, mask_of(asked.component.spec)
    waiting = ledger.list_quarantine(*place, dropped=False, limit=20)
    source = asked.binding.source
    resting = source.resting()
    return backlog_result(
        pending=Pending() if resting else source.pending(ledger.watermark(*place)),
        resting=resting,
        quarantined=[mask.record(record) for record in waiting],
        reviews=[mask.record(conflict) for conflict in ledger.reviews(*place, limit=20)],
        in_review=ledger.review_count(*place),
        notes=unfollowed(asked.component.path) if asked.binding.outbox is not None else (),
        counts=ledger.left_out(*place),
        limits=asked.component.checks,
        last_success=_last_success(ledger, place),
    )


def _last_success(ledger: Any, place: tuple[str, str]) -> Any:
    state = ledger.state(*place)
    return state.last_sync_timestamp if state else None


_CHECKS: dict[str, tuple[str, Work]] = {
    "count": ("How many records the source and the target hold, both asked.", _count),
    "content": ("Keys and fingerprints of both sides; what is missing, stale or extra is named.", _content),
    "deep": ("The values themselves, read back and compared; a sample is found by a search.", _deep),
    "schema": ("Whether source and target are still shaped as the document says.", _schema),
    "backlog": ("The oldest change that waits, and the records in quarantine or in review.", _backlog),
}


def report(
    instance: dg.DagsterInstance,
    component: SyncComponent,
    proof: Proof,
    *names: str,
    ledger: Ledger | None = None,
    anew: Anew | None = None,
) -> None:
    """Write a proof that was made outside of a check as the result of these checks, so that the UI shows it.

    Args:
        ledger: of a part of a table with users, what the others' last proofs are taken from; by default the
            environment's.
        anew: what a deep look has shown beside it.
    """
    for name in names:
        found = result_of(proof, error_above=component.checks.error_above)
        found = anew.beside(found) if anew is not None and name == "deep" else found
        if component.user is not None:
            found = among_all(component, found, name, instance, ledger)
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=component.asset_key,
                check_name=name,
                passed=found.passed,
                metadata=found.metadata,
                severity=found.severity,
                description=found.description,
            )
        )
