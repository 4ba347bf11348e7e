"""A proof: source and target are asked what they hold, and every difference is named or explained.

Three depths: `count` (both sides are asked how many), `quick` (keys and fingerprints), `deep` (the values
themselves). Each is written to `reconciliation_runs`, where `status`, checks and repairs find it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from sync_pipelines.engine import differences as find
from sync_pipelines.engine.compare import Comparison, Difference
from sync_pipelines.engine.conflicts import KEPT
from sync_pipelines.engine.differences import KINDS, Found, Provable
from sync_pipelines.engine.excusing import put_on_record
from sync_pipelines.engine.ledger.proofs import TOUCHED
from sync_pipelines.engine.listing import Listed
from sync_pipelines.engine.memory import hold_little
from sync_pipelines.engine.model import Listing
from sync_pipelines.engine.sensitive import mask_of

SAMPLES = 20
_LOOKS = 3


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Records on both sides, and the differences that nothing explains; `pending` keys wait for a sync.

    The counts are of keys, and both sides are asked for them apart from the keys' comparison. Whether they may
    differ is not guessed from the numbers of quarantined, excluded and pending keys, since such a key can be on both
    sides (with an old version), on one, or on none: `accounted` is by how many the keys say that the source holds
    more, each counted as it was listed.

    Args:
        accounted: None where only some keys were compared, so that nothing is known of the others.
        samples: up to 20 keys of each kind; reasons: what a look at the values of those found.
        full_sync_due: why the next run reads everything, where pending records wait for that.
    """

    source_count: int
    target_count: int
    missing: int = 0
    stale: int = 0
    extra: int = 0
    quarantined: int = 0
    excluded: int = 0
    pending: int = 0
    accounted: int | None = 0
    samples: dict[str, list[str]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    full_sync_due: str = ""

    @property
    def equal(self) -> bool:
        """Whether nothing differs, and the counts are as the keys say."""
        return self.missing == self.stale == self.extra == 0 == self.unaccounted

    @property
    def unaccounted(self) -> int:
        """By how many records the source's count is larger than the target's, beyond what the keys say."""
        return 0 if self.accounted is None else self.source_count - self.target_count - self.accounted


def counted(table: Provable, *, above: int = 0) -> Proof | None:
    """Counts alone, where the table holds more than `above` records and they agree; else None."""
    with table.source.at_snapshot() as snapshot:
        source_count = snapshot.count()
    target_count = table.target.count()
    quarantined, excluded = table.ledger.quarantine_counts(*_place(table))
    if source_count <= above or source_count != target_count or quarantined or excluded:
        return None
    return Proof(source_count=source_count, target_count=target_count)


def prove(table: Provable) -> Proof:
    """Compare keys and fingerprints of both sides, the source at one snapshot."""
    with find.quick(table) as found:
        return proof_of(table, found)


def prove_and_record(
    table: Provable, kind: Literal["count", "quick", "deep"] = "quick", *, run_id: str | None = None
) -> Proof:
    """Prove the whole table and write the proof down. A count that does not agree becomes a quick proof.

    A quick one looks again at the values of the keys that the last deep one named, so that it does not call equal
    what was found edited and is not mended.

    Args:
        kind: how deep. run_id: the Dagster run that asked.
    """
    hold_little()
    started = table.ledger.now()
    if kind == "count":
        if (proof := counted(table)) is not None:
            _record(table, "count", started, proof, run_id=run_id)
            return proof
        kind = "quick"
    ways: dict[str, AbstractContextManager[Found]] = {
        "quick": find.quick(table, named=True),
        "deep": find.deep(table),
    }
    with ways[kind] as found:
        proof = proof_of(table, found)
        # a proof counts when its keys are noted: killed in between it is none
        named = (lambda: found.differences.named(*KINDS)) if kind == "deep" else None
        close(table, found, proof_id=_record(table, kind, started, proof, run_id=run_id, named=named))
        return proof


def close(table: Provable, found: Found, *, proof_id: int) -> None:
    """Bring the ledger's lists up to what a look at the whole table has found; a dry run does not come here.

    Args:
        proof_id: the look's row in `reconciliation_runs`.
    """
    for keys in found.differences.keys("righted", "arrived", "gone"):
        table.ledger.forget_differences(*_place(table), keys)
    put_on_record(table, found.differences, proof_id=proof_id)


def prove_touched(table: Provable, batches: Iterable[Sequence[str]], *, run_id: str | None = None) -> Proof:
    """Prove the keys that a run has touched, and write it down as that: it says nothing of the others."""
    started = table.ledger.now()
    with find.of_keys(table, batches) as found:
        proof = proof_of(table, found)
    _record(table, "quick", started, proof, run_id=run_id, scope=TOUCHED)
    return proof


def proof_of(table: Provable, found: Found) -> Proof:
    """What was found, in numbers and samples; the target is asked for its count now.

    A count that no key accounts for stands among the missing (or extra) ones, without a sample: it is as bad, and
    whoever reads the ledger must see it.
    """
    differences = found.differences
    quarantined, excluded = table.ledger.quarantine_counts(*_place(table))
    target_count, accounted = _counted(table, found)
    samples = samples_of(differences)
    proof = Proof(
        source_count=found.source_count,
        target_count=target_count,
        missing=differences.count("missing"),
        stale=differences.count("stale"),
        extra=differences.count("extra"),
        quarantined=quarantined,
        excluded=excluded + differences.count(KEPT),
        pending=differences.count("pending"),
        accounted=accounted,
        samples=samples,
        reasons=differences.reasons(key for keys in samples.values() for key in keys),
        full_sync_due=differences.full_sync_due,
    )
    odd = proof.unaccounted
    proof = replace(proof, missing=proof.missing + max(odd, 0), extra=proof.extra + max(-odd, 0))
    return mask_of(table.spec).proof(proof)


def _counted(table: Provable, found: Found) -> tuple[int, int | None]:
    """Records in the target, and by how many the keys say that the source holds more, where all were compared."""
    listed = found.differences.target_count
    if listed is None:
        return table.target.count(), None
    return _own_count(table.target, listed), found.differences.accounted()


def _own_count(target: Listing, listed: int) -> int:
    """What the target counts by itself; what it has listed, where it is written to meanwhile.

    A count is taken after the listing. If it is another, both are asked again: agreeing now, they were only taken at
    two moments. A store that goes on counting the same, and otherwise than it lists, has lost something; one whose
    count changes from look to look is written to (an incremental run in batches of 20 was called 440 extra).
    """
    if isinstance(target, Listed):
        return listed  # it counts by listing the same once more
    counts = [target.count()]
    for _ in range(_LOOKS):
        if counts[-1] == listed:
            return listed
        again = sum(batch.num_rows for batch in target.fingerprints())
        counts.append(target.count())
        if counts[-1] == again:
            return listed
    return counts[-1] if len(set(counts[1:])) == 1 else listed


def samples_of(differences: Comparison) -> dict[str, list[str]]:
    """Up to 20 keys of each kind of difference; kinds without any are left out."""
    return {kind: keys for kind in KINDS if (keys := differences.sample(kind, SAMPLES))}


def _place(table: Provable) -> tuple[str, str]:
    return table.spec.sync, table.spec.name


def _record(
    table: Provable,
    kind: Literal["count", "quick", "deep"],
    started: datetime,
    proof: Proof,
    *,
    run_id: str | None,
    scope: str = "",
    named: Callable[[], Iterable[Sequence[Difference]]] | None = None,
) -> int:
    return table.ledger.record_proof(
        *_place(table), kind=kind, started_at=started, proof=proof, run_id=run_id, scope=scope, named=named
    )
