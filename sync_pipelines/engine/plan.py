"""A dry run: what would be written, embedded and deleted, without a lock, a ledger row or a write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from sync_pipelines.engine.batches import among, prints_of
from sync_pipelines.engine.binding import Binding
from sync_pipelines.engine.conflicts import kept_by, without
from sync_pipelines.engine.deleting import Deletes
from sync_pipelines.engine.ground import due_scope, ground_of
from sync_pipelines.engine.listing import StreamListing, changed_since
from sync_pipelines.engine.measure import held_before
from sync_pipelines.engine.model import BY_TARGET, ChangeSet, Counts, Scope, Target, Watermark
from sync_pipelines.engine.overwriting import due_whole
from sync_pipelines.engine.refusals import Refusals
from sync_pipelines.engine.waiting import with_waiting


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do, in records; `embed_seconds` is an estimate from a sample, None where unknown.

    What the target has refused counts as `quarantined` again as long as its row is as it was: nothing is tried.
    Of an API nothing is fetched for a plan: `requests` is what would be sent, and `fetch_seconds` what that takes at
    the rate that is allowed; the other numbers are of what is kept of those records, as if each answered as before.
    `embeds`: whether the target embeds texts at all.
    """

    table: str
    mode: str
    reason: str
    read: int
    upserts: int
    metadata_only: int
    unchanged: int
    deletes: int
    quarantined: int
    embed_texts: int
    embed_characters: int
    embed_tokens: int
    embed_seconds: float | None
    refused: str | None
    requests: int | None = None
    fetch_seconds: float | None = None
    embeds: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """How many requests a run would send, and how long that takes; None where nothing is fetched."""

    requests: int | None = None
    seconds: float | None = None


@runtime_checkable
class Fetching(Protocol):
    """A source that has to be asked record by record, at a rate."""

    def estimate(self, scope: Scope, since: Watermark | None) -> Estimate:
        """What a run of this scope would send."""
        ...


def plan(binding: Binding, *, mode: str = "incremental", scope: Scope | None = None) -> Plan:
    """What a run of this mode would do now.

    Args:
        scope: what to read; from the mode where left out.
    """
    binding.ledger.check()
    stored, reason = mode == "reparse", "" if mode == "incremental" else f"mode: {mode}"
    wanted = scope or Scope(full=mode != "incremental", stored=stored, reason=reason)
    since, held = binding.ledger.watermark(*binding.place), binding.target.count()
    if mode != "rebuild":
        wanted = due_whole(due_scope(wanted, ground_of(binding, since), held=held), binding.target)
        wanted = with_waiting(binding, wanted, since)
    source = binding.source
    fetching = source.estimate(wanted, since) if isinstance(source, Fetching) else Estimate()
    if fetching.requests is not None and not wanted.stored:
        wanted = replace(wanted, stored=True, planned=True)
    with source.changes(wanted, since=since) as changes:
        counts, refusals = Counts(), Refusals(guard=binding.guard, due=changes.rows, whole=changes.full)
        lost = _Lost(binding.target if mode == "rebuild" else None)
        mapped = _mapped(binding, changes, counts, refusals, lost)
        # what is built beside is another target: nothing was refused by it
        batches = mapped if mode == "rebuild" else _untried(binding, mapped, counts, refusals)
        result = binding.target.plan(batches, rebuild=mode == "rebuild")
        counts += result.counts
        refused = Deletes(binding.spec, binding.ledger)
        deletes = _deletes(binding.target, changes, refused) + lost.records
        stopped = binding.guard.refuses(
            deletes=deletes, held=held_before(binding, held, since), source_empty=changes.source_empty
        )
        return Plan(
            table=binding.spec.path,
            mode=mode,
            reason=changes.reason or wanted.reason,
            read=counts.read,
            upserts=counts.upserted,
            metadata_only=counts.metadata_only,
            unchanged=counts.unchanged,
            deletes=deletes,
            quarantined=counts.quarantined + refused.known,
            embed_texts=counts.embedded_texts,
            embed_characters=counts.embedded_characters,
            embed_tokens=counts.embedded_tokens,
            embed_seconds=result.seconds,
            refused=_refused(stopped, refusals),
            requests=fetching.requests,
            fetch_seconds=fetching.seconds,
            embeds=result.embeds,
        )


def _refused(stopped: bool, refusals: Refusals) -> str | None:
    if refusals.excessive:
        return f"so many records would be refused ({refusals.new}) that the run would stop"
    return "the mass-delete guard would stop it" if stopped else None


@dataclass
class _Lost:
    """What a rebuild would lose: records that the old collection holds and that are refused now."""

    target: Target | None
    records: int = 0

    def add(self, keys: list[str]) -> None:
        if self.target is not None and keys:
            self.records += len(self.target.existing(keys))


def _mapped(
    binding: Binding, changes: ChangeSet, counts: Counts, refusals: Refusals, lost: _Lost
) -> Iterator[pa.RecordBatch]:
    """Batches for the target. What its embedding would refuse is not known before it is asked."""
    for batch in changes.upserts:
        mapped, rejected = binding.mapper(batch)
        keys = list(dict.fromkeys(rejection.key for rejection in rejected))
        counts.read += batch.num_rows
        counts.quarantined += len(rejected) - _dropped(binding, batch, keys)
        refusals.add(rejected, new=set(keys) - binding.ledger.quarantined_among(*binding.place, keys))
        lost.add(keys)
        if mapped.num_rows:
            yield mapped


def _untried(
    binding: Binding, batches: Iterable[pa.RecordBatch], counts: Counts, refusals: Refusals
) -> Iterator[pa.RecordBatch]:
    """The batches without the rows that the target refused as they are now: it is expected to refuse them again."""
    for batch in batches:
        prints = prints_of(batch)
        noted = binding.ledger.list_quarantine(*binding.place, keys=list(prints), limit=None)
        same = [item for item in noted if item.stage in BY_TARGET and item.fingerprint == prints[item.key]]
        counts.quarantined += sum(item.dropped_at is None for item in same)
        refusals.known += len(same)
        rest = among(batch, {item.key for item in same}, outside=True) if same else batch
        if rest.num_rows:
            yield rest


def _dropped(binding: Binding, batch: pa.RecordBatch, keys: Sequence[str]) -> int:
    """How many of these refused records somebody has dropped, and are what they were then."""
    found = binding.ledger.list_quarantine(*binding.place, keys=keys, limit=None) if keys else []
    prints = prints_of(batch) if found else {}
    return sum(record.dropped_at is not None and record.fingerprint == prints.get(record.key) for record in found)


def _deletes(target: Target, changes: ChangeSet, refused: Deletes) -> int:
    """Records that would go; those that the target did not let go before are expected to stay."""

    def going(pages: Iterable[Sequence[str]]) -> int:
        return sum(len(refused.fresh(without(keys, kept_by(target, keys)))) for keys in pages)

    if not changes.full:
        return going(map(target.existing, changes.deletes))
    with changed_since(StreamListing(changes.upserts), target) as differences:
        return going(differences.keys("extra"))
