"""A repair: what differs, and nothing else, is written or deleted; first as a plan, then in earnest.

A repair holds the target's lock, reads each record anew from the source, moves no watermark, and leaves alone
what is pending, quarantined or excluded. It looks for what to do when it starts, so one that was cut off and is
run again ends equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

from sync_pipelines.engine import differences as find
from sync_pipelines.engine.compare import Comparison
from sync_pipelines.engine.conflicts import KEPT, without
from sync_pipelines.engine.differences import KINDS, Found
from sync_pipelines.engine.errors import SyncError, TransientError
from sync_pipelines.engine.keys import texts
from sync_pipelines.engine.measure import held_before
from sync_pipelines.engine.model import Counts, Doubt, RecordStream, Scope
from sync_pipelines.engine.proof import Proof, close, proof_of, samples_of
from sync_pipelines.engine.run import Binding, Request, Run
from sync_pipelines.engine.sensitive import mask_of
from sync_pipelines.engine.spool import RecordWriter, Spool


@runtime_checkable
class Tidying(Protocol):
    """A target that may hold a record twice by the sync's own doing."""

    def surplus(self) -> int:
        """How many records it seems to hold too often so; writes nothing."""
        ...

    def tidy(self) -> int:
        """Remove what the sync itself has made too much; how many records that were."""
        ...


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a repair looks at.

    Args:
        deep: compare the values of everything; else keys and fingerprints of everything, and the values of
            those keys that the last deep proof named.
        keys: just these records, by their values.
    """

    deep: bool = False
    keys: tuple[str, ...] | None = None

    @property
    def scope(self) -> str:
        """How `reconciliation_runs` names it; empty is the whole table."""
        return "" if self.keys is None else f"{len(self.keys)} keys"


@dataclass(frozen=True, kw_only=True)
class RepairPlan:
    """What a repair would do: records to write (`missing`, `stale`) and to delete (`extra`), with samples and why.

    Args:
        copies: what the sync itself has made too much, which goes too where nobody has touched it.
    """

    table: str
    missing: int
    stale: int
    extra: int
    samples: dict[str, list[str]]
    reasons: dict[str, str]
    refused: str | None
    copies: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What a repair has found and done; `buckets`: bucket of keys → (found, repaired).

    `repaired` counts records that the target held twice, too.
    """

    found: Proof
    repaired: int
    counts: Counts
    buckets: dict[int, tuple[int, int]] = field(default_factory=dict)


def plan_repair(binding: Binding, wanted: Wanted, *, allow_mass_delete: bool = False) -> RepairPlan:
    """What a repair would do now; takes no lock and writes nothing."""
    binding.ledger.check()
    guard = replace(binding.guard, allow=allow_mass_delete)
    with _looked_for(binding, wanted) as found:
        differences = found.differences
        counts = {kind: differences.count(kind) for kind in KINDS}
        held = held_before(binding, binding.target.count(), binding.ledger.watermark(*binding.place))
        refused = guard.refuses(deletes=counts["extra"], held=held, source_empty=not found.source_count)
        samples = samples_of(differences)
        plan = RepairPlan(
            table=binding.spec.path,
            **counts,
            samples=samples,
            reasons=differences.reasons(key for keys in samples.values() for key in keys),
            refused="the mass-delete guard would stop the deletion" if refused else None,
            copies=_surplus(binding) if wanted.keys is None else 0,
        )
        return mask_of(binding.spec).proof(plan)


def repair(
    binding: Binding, request: Request, wanted: Wanted, *, keep: Callable[[Run], object] = lambda _: None
) -> Repair:
    """Mend what differs; the books are closed and written down whatever happens.

    Args:
        keep: gets the run before it holds anything, see `engine.run.open_run`.

    Raises:
        LockBusyError: another writer works on the target.
        MassDeleteError: the guard stopped the deletion; what was to be written has been written.
        MassRefusalError: too many records were refused; nothing was deleted.
        TransientError: records still differ after they were mended; the next repair looks again.
    """
    started = datetime.now(UTC)
    with Run(binding=binding, request=request) as run:
        keep(run)
        run.begin()
        opened = binding.ledger.open_repair(*run.place, started_at=started, run_id=request.run_id, scope=wanted.scope)
        try:
            done = _mend_all(run, wanted, opened)
            _record(run, wanted, started, done, opened=opened)
            run.complete()
        except BaseException as error:
            with suppress(SyncError):  # the error that counts is the one that ended the repair
                _record_failure(run, wanted, started, error, opened=opened)
            raise
    return done


def _looked_for(binding: Binding, wanted: Wanted) -> AbstractContextManager[Found]:
    if wanted.keys is not None:
        return find.of_keys(binding, [wanted.keys], values=True)
    return find.deep(binding) if wanted.deep else find.quick(binding, named=True)


def _mend_all(run: Run, wanted: Wanted, opened: int) -> Repair:
    binding = run.binding
    run.measure()
    with _looked_for(binding, wanted) as found:
        proof = proof_of(binding, found)
        if wanted.keys is None:
            close(binding, found, proof_id=opened)
        differences = found.differences
        run.refusals.due = differences.count("missing") + differences.count("stale")
        run.refusals.whole = True  # nothing waits behind a repair: half of it refused is reason enough to stop
        run.guard_first(lambda: differences.count("extra"), source_empty=not found.source_count)
        run.measure_before(differences.count("extra"))
        _write(run, differences, broken=False, doubt="values")
        _write(run, differences, broken=True, doubt="all")
        _delete(run, differences, source_empty=not found.source_count)
        before = differences.by_bucket(*KINDS)
        left = _still_different(run, differences)
        tidied = _tidy(run) if wanted.keys is None else 0
    buckets = {bucket: (number, number - left.get(bucket, 0)) for bucket, number in before.items()}
    return Repair(
        found=proof,
        repaired=sum(mended for _, mended in buckets.values()) + tidied,
        counts=run.counts,
        buckets=buckets,
    )


def _write(run: Run, differences: Comparison, *, broken: bool, doubt: Doubt) -> None:
    """Read what is missing or stale anew, and write it as one stream: a target groups it as it does a run's."""
    named = ([item.key for item in page if item.broken == broken] for page in differences.named("missing", "stale"))
    with closing(Spool(run.binding.spool)) as spool:
        rows = _read(run, (keys for keys in named if keys), spool)
        if rows is not None:
            run.upsert(run.binding.target, rows, doubt=doubt)


def _read(run: Run, pages: Iterable[Sequence[str]], spool: Spool) -> RecordStream | None:
    """The rows of these keys, spooled; None where there are no keys. Memory: one page."""
    writer: RecordWriter | None = None
    with ExitStack() as stack:
        for keys in pages:
            run.lock.check()
            changes = run.binding.source.changes(Scope(keys=tuple(keys), stored=True), since=None)
            with changes:
                writer = writer or stack.enter_context(RecordWriter(spool, "repair", changes.upserts.schema))
                for batch in changes.upserts:
                    writer.write(batch)
    return None if writer is None else writer.records()


def _delete(run: Run, differences: Comparison, *, source_empty: bool) -> None:
    """Delete what the source lacks; each key that it can hold is asked for once more, just before."""
    run.guard(deletes=differences.count("extra"), source_empty=source_empty)
    for keys in differences.keys("extra"):
        known = texts(keys)
        if strange := sorted(set(keys).difference(known)):
            run.delete(run.binding.target, strange)
        with run.binding.source.changes(Scope(keys=tuple(known), stored=True), since=None) as changes:
            for gone in changes.deletes:
                run.delete(run.binding.target, gone)
    run.end_deletes(run.binding.target)


def _surplus(binding: Binding) -> int:
    return binding.target.surplus() if isinstance(binding.target, Tidying) else 0


def _tidy(run: Run) -> int:
    target = run.binding.target
    return target.tidy() if isinstance(target, Tidying) else 0


def _still_different(run: Run, differences: Comparison) -> dict[int, int]:
    """Ask both sides again for what was mended: by bucket, how many records still differ; the rest is forgotten.

    A record that was refused, to be written or to go (it is in quarantine now), or has changed in the source meanwhile
    (it is pending), is no longer a difference, and was not mended either.
    """
    left: dict[int, int] = {}
    with find.of_keys(run.binding, differences.keys(*KINDS), values=True) as again:
        for kind in (*KINDS, "pending", "quarantined", "excluded", KEPT):
            for bucket, number in again.differences.by_bucket(kind).items():
                left[bucket] = left.get(bucket, 0) + number
        _must_be_equal(run, again.differences)
        _note_arrived(run, differences, again.differences)
    for keys in differences.keys(*KINDS):
        run.binding.ledger.forget_differences(*run.place, keys)
    return left


def _note_arrived(run: Run, mended: Comparison, left: Comparison) -> None:
    """The entities of what was mended are where the source is: no event tells it of what was held back before."""
    for kind in KINDS:
        for keys in mended.keys(kind):
            equal = texts(without(keys, left.labels(keys)))
            run.binding.ledger.bring_forward(*run.place, equal, gone=kind == "extra")


def _must_be_equal(run: Run, differences: Comparison) -> None:
    # Chroma can lose what it has acknowledged (chroma#6975): ask the store, not the writer.
    if samples := samples_of(differences):
        sync, table = run.place
        keys = mask_of(run.binding.spec).keys([key for found in samples.values() for key in found][:5])
        raise TransientError(
            f"{sum(differences.count(kind) for kind in KINDS)} records still differ after they were mended "
            f"(such as {keys}).",
            sync=sync,
            table=table,
            remedy="The next repair looks again; `sync-pipelines check --deep` says what differs.",
        )


def _record(run: Run, wanted: Wanted, started: datetime, done: Repair, *, opened: int) -> None:
    run.binding.ledger.record_proof(
        *run.place,
        kind="repair",
        started_at=started,
        proof=done.found,
        run_id=run.request.run_id,
        scope=wanted.scope,
        repaired=done.repaired,
        buckets=done.buckets,
        opened=opened,
    )


def _record_failure(run: Run, wanted: Wanted, started: datetime, error: BaseException, *, opened: int) -> None:
    run.binding.ledger.record_proof(
        *run.place,
        kind="repair",
        started_at=started,
        run_id=run.request.run_id,
        scope=wanted.scope,
        error=str(error) or type(error).__name__,
        opened=opened,
    )
