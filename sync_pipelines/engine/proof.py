"""A proof: source and target are asked what they hold, and every difference is named or explained.

A change that is still waiting to be synced is lag, not a difference; a record that is quarantined or left
out on purpose is counted as that alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from sync_pipelines.engine.compare import Comparison, compare
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.model import FINGERPRINT, KEY, Listing, Target, Watermark
from sync_pipelines.engine.spec import TableSpec

SAMPLES = 20


class ProvableSource(Protocol):
    """What a proof asks of a source beside `Listing`."""

    def at_snapshot(self) -> AbstractContextManager[Listing]: ...
    def pending_keys(self, since: Watermark | None) -> Iterator[list[str]]: ...
    def values(self, keys: Sequence[str]) -> Iterator[Any]: ...


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Records on both sides, and the differences that nothing explains; `pending` keys wait for a sync."""

    source_count: int
    target_count: int
    missing: int = 0
    stale: int = 0
    extra: int = 0
    quarantined: int = 0
    excluded: int = 0
    pending: int = 0
    samples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        return self.missing == self.stale == self.extra == 0


class Provable(Protocol):
    """What a proof needs of a binding."""

    @property
    def spec(self) -> TableSpec: ...
    @property
    def source(self) -> ProvableSource: ...
    @property
    def target(self) -> Target: ...
    @property
    def ledger(self) -> Ledger: ...


def counted(binding: Provable, *, above: int) -> Proof | None:
    """Counts alone, where the table is larger than `above` records and they agree; else None."""
    place = (binding.spec.sync, binding.spec.name)
    with binding.source.at_snapshot() as snapshot:
        source_count = snapshot.count()
    target_count = binding.target.count()
    quarantined, excluded = binding.ledger.quarantine_counts(*place)
    if source_count <= above or source_count != target_count or quarantined or excluded:
        return None
    return Proof(source_count=source_count, target_count=target_count)


def prove(binding: Provable) -> Proof:
    """Compare keys and fingerprints of both sides, the source at one snapshot.

    Memory is constant. Keys that differ are looked at a second time on both sides, so that a change which
    was committed and synced while the proof ran is not reported.
    """
    place = (binding.spec.sync, binding.spec.name)
    source, target, ledger = binding.source, binding.target, binding.ledger
    with source.at_snapshot() as snapshot:
        source_count = snapshot.count()
        with compare(snapshot, target) as differences:
            for keys in source.pending_keys(ledger.watermark(*place)):
                differences.leave_out(keys, label="pending")
            _explain(differences, ledger, place)
            _second_look(differences, source, target)
            return _proof(differences, source_count, target.count(), ledger, place)


def _explain(differences: Comparison, ledger: Ledger, place: tuple[str, str]) -> None:
    for keys in differences.keys("missing", "stale", "extra"):
        differences.leave_out(ledger.quarantined_among(*place, keys), label="quarantined")
        differences.leave_out(ledger.excluded_among(*place, keys), label="excluded")


def _second_look(differences: Comparison, source: ProvableSource, target: Target) -> None:
    for keys in differences.keys("missing", "stale", "extra"):
        now, there = _prints(source.values(keys)), _prints(target.values(keys))
        # a stranger's fingerprint is None, which is not the same as not being there
        differences.drop(key for key in keys if now.get(key, "") == there.get(key, ""))


def _prints(batches: Iterator[Any]) -> dict[str, str | None]:
    return {
        key: mark
        for batch in batches
        for key, mark in zip(batch.column(KEY).to_pylist(), batch.column(FINGERPRINT).to_pylist(), strict=True)
    }


def _proof(
    differences: Comparison, source_count: int, target_count: int, ledger: Ledger, place: tuple[str, str]
) -> Proof:
    quarantined, excluded = ledger.quarantine_counts(*place)
    kinds = ("missing", "stale", "extra")
    return Proof(
        source_count=source_count,
        target_count=target_count,
        missing=differences.count("missing"),
        stale=differences.count("stale"),
        extra=differences.count("extra"),
        quarantined=quarantined,
        excluded=excluded,
        pending=differences.count("pending"),
        samples={kind: found for kind in kinds if (found := differences.sample(kind, SAMPLES))},
    )
