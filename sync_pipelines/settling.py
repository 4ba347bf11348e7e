"""One record in conflict: what is known of it, and how a decision of a person is carried out."""

from __future__ import annotations

import getpass
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.conflicts import Judging, Strategy
from sync_pipelines.engine.deciding import Decision, Dispute, Disputing, Outcome, decide
from sync_pipelines.engine.errors import ConfigurationError, RunError, UnknownRecordError
from sync_pipelines.engine.fitting import require_fit
from sync_pipelines.engine.merging import leaves, merge, same_state, with_leaves

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_pipelines.engine.binding import Binding
    from sync_pipelines.engine.ledger.conflict_rows import Conflict

_LOCK_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """What was decided and done.

    Args:
        took: whose version stands now: `source`, `target` or `merge`.
        still: why the record is in conflict even now (somebody edited it meanwhile); None where it is not.
    """

    entity_type: str
    entity_id: str
    method: Strategy
    took: str
    resolved_by: str
    resolution_notes: str | None = None
    still: str | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """A record of one table, with all that is known of it.

    Args:
        row: the source's, mapped; None where it has none. dispute: what the table's strategy would decide now; None of
            a target that knows no bases by value. noted: the conflict that the ledger holds open.
    """

    binding: Binding
    key: str
    row: pa.RecordBatch | None
    dispute: Dispute | None
    noted: Conflict | None

    @property
    def in_conflict(self) -> bool:
        """Whether both sides have changed and nobody has accepted one."""
        if self.dispute is not None:
            return self.dispute.decision.conflict and not self.dispute.accepted
        return self.noted is not None and self.noted.accepted_at is None


def look(binding: Binding, key: str) -> Case:
    """What is known of a record now, both sides asked."""
    rows = [
        mapped for batch in binding.source.values([key]) for mapped in [binding.mapper(batch)[0]] if mapped.num_rows
    ]
    row = rows[0] if rows else None
    target = binding.target
    dispute = target.judged(row, [key]).get(key) if isinstance(target, Disputing) else None
    noted = binding.ledger.list_conflicts(*binding.place, keys=[key])
    return Case(binding=binding, key=key, row=row, dispute=dispute, noted=noted[0] if noted else None)


def judging(binding: Binding) -> Any:
    """The target, which others may edit.

    Raises:
        ConfigurationError: it is none of those.
    """
    target = binding.target
    if not isinstance(target, Judging) or (isinstance(target, Disputing) and not target.looks):
        raise ConfigurationError(
            f"{'/'.join(binding.place)}: this target is the sync's own, so there are no conflicts.",
            remedy="`sync-pipelines check` names what differs, `repair` mends it.",
        )
    return target


@dataclass(frozen=True, kw_only=True)
class _Settled:
    took: str
    still: str | None = None


@dataclass(kw_only=True)
class _Words:
    """Who decides, and what they say of it."""

    by: str = field(default_factory=getpass.getuser)
    notes: str | None = None
    method: str = ""


def resolve(
    case: Case,
    method: Strategy,
    *,
    by: str | None = None,
    notes: str | None = None,
    values: Mapping[str, Any] | None = None,
    entity_type: str = "",
    bring: Callable[[Binding, str], object] | None = None,
) -> Resolution:
    """Settle a case; see `ConflictResolver.resolve_conflict`.

    Args:
        bring: runs the sync of the record, whose source wins; in this process if left out.
    """
    if not case.in_conflict and case.noted is None:
        raise no_conflict(case.binding, case.key, [case])
    words = _Words(notes=notes, method=method.value)
    words.by = by or words.by
    side = _side(case, method, values)  # before anything is written down
    _note(case)
    settled = _take(case, side, words, values, bring or bring_here)
    return Resolution(
        entity_type=entity_type,
        entity_id=case.key,
        method=method,
        took=settled.took,
        resolved_by=words.by,
        resolution_notes=notes,
        still=settled.still,
    )


def no_conflict(binding: Binding, key: str, cases: Iterable[Case]) -> UnknownRecordError:
    """What to raise for a record that is in no conflict; where its target alone was changed, what helps then.

    Args:
        key: as it may be shown. cases: what was looked at, under each spelling of the key.
    """
    sync, table = binding.place
    why, remedy = "no such record is in conflict.", f"`sync-pipelines conflicts list {sync}/{table}` lists them."
    disputes = (case.dispute for case in cases if case.dispute is not None)
    dispute = next((item for item in disputes if not same_state(item.sides.source, item.sides.target)), None)
    if dispute is not None:
        gone = "deleted" if dispute.sides.target is None else "changed"
        why = f"the record was {gone} in the target alone, which is no conflict."
        remedy = (
            f"`sync-pipelines check {sync}/{table} --deep` notes it, for the target's version stays "
            f"({dispute.strategy.value}); then it can be resolved."
            if dispute.decision.stays
            else f"`sync-pipelines repair {sync}/{table} --key …` brings the source's version."
        )
    return UnknownRecordError(why, sync=sync, table=table, key=key, remedy=remedy)


def _side(case: Case, method: Strategy, values: Mapping[str, Any] | None) -> str:
    """`source`, `target` or `merge`."""
    if values is not None and not isinstance(values, Mapping):
        raise ConfigurationError(f"values is no map but {type(values).__name__}.", remedy="Give values by property.")
    if strange := [name for name in values or () if not isinstance(name, str)]:
        raise ConfigurationError(f"values has no property {strange[0]!r}.", remedy="Name properties by texts.")
    if values and method is not Strategy.MERGE:
        raise ConfigurationError("Values belong to a merge.", remedy="Take `merge`, or leave them out.")
    if method in (Strategy.SOURCE_WINS, Strategy.TARGET_WINS):
        return "source" if method is Strategy.SOURCE_WINS else "target"
    if method is Strategy.MANUAL_REVIEW or case.dispute is None:
        raise ConfigurationError(
            f"{case.key!r}: {method.value} decides nothing of it.", remedy="Say whose version stands: source or target."
        )
    if method is Strategy.LAST_WRITE_WINS:
        return "target" if decide(method, case.dispute.sides).outcome is Outcome.TARGET else "source"
    _require_open(case, values)
    merged = merged_values(case, values)
    assert case.row is not None
    require_fit(case.binding, case.row, case.dispute.sides, merged)
    return "merge"


def _require_open(case: Case, values: Mapping[str, Any] | None) -> None:
    """Refuse to merge what was settled: the source's row is its base since then, and a merge the target's version."""
    settled = case.noted if not case.in_conflict else None
    if values or settled is None or settled.accepted_at is None or settled.method == Strategy.MERGE.value:
        return
    raise ConfigurationError(
        f"{case.key!r}: the target's version was accepted ({settled.method}, by {settled.resolved_by}), so there is "
        "nothing left to merge.",
        remedy="Take the source's version (source), or name the properties that are to be the source's: "
        "--property NAME=source.",
    )


def merged_values(case: Case, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a merge gives, with these values in the place of its own.

    Raises:
        ConfigurationError: one side has no record, or a property clashes for which no value is given.
    """
    assert case.dispute is not None
    sides, given = case.dispute.sides, values or {}
    if sides.source is None or sides.target is None:
        raise ConfigurationError(
            f"{case.key!r}: one side has deleted it, so there is nothing to merge.",
            remedy="Say whose version stands: source or target.",
        )
    found = merge(sides.base or {}, sides.source, sides.target)
    if open_ones := [name for name in found.clashes if name.split(".")[0] not in given and name not in given]:
        raise ConfigurationError(
            f"{case.key!r}: both sides changed {', '.join(open_ones)}.",
            remedy="Say of each whose it is: --property NAME=source or NAME=target (in Python: values={NAME: …}).",
        )
    return with_leaves(found.values, given)


def _note(case: Case) -> None:
    """A conflict that no run has seen yet stands in the ledger before it is decided."""
    if case.noted is not None or case.dispute is None:
        return
    dispute = replace(case.dispute, decision=Decision(outcome=Outcome.REVIEW, conflict=True))
    prints = {} if dispute.fingerprint is None else {case.key: dispute.fingerprint}
    sync, table = case.binding.place
    case.binding.ledger.note_conflict(sync, table, {case.key: dispute.why}, prints, [dispute], run_id="by hand")


def _take(
    case: Case,
    side: str,
    words: _Words,
    values: Mapping[str, Any] | None,
    bring: Callable[[Binding, str], object],
) -> _Settled:
    binding, key = case.binding, case.key
    told = {"by": words.by, "notes": words.notes, "method": words.method}
    if side == "source":
        binding.ledger.decide_conflict(*binding.place, key, **told)
        judging(binding).give_way([key])
        bring(binding, key)
        still = binding.ledger.list_conflicts(*binding.place, keys=[key])
        return _Settled(took=side, still=still[0].reason if still else None)
    if isinstance(binding.target, Disputing) and case.row is not None:
        with _alone(binding):
            if side == "merge":
                _require_as_seen(case)
                binding.target.put_together(case.row, merged_values(case, values))
            else:
                binding.target.stand(case.row)
    binding.ledger.accept_conflict(*binding.place, key, **told)
    return _Settled(took=side)


def _require_as_seen(case: Case) -> None:
    """Refuse to merge what was changed since it was looked at: a merge writes every property, old values, too.

    Raises:
        RunError: it was.
    """
    now = look(case.binding, case.key).dispute
    assert case.dispute is not None
    before = case.dispute.sides
    if now is None or not (same_state(before.target, now.sides.target) and same_state(before.source, now.sides.source)):
        sync, table = case.binding.place
        raise RunError(
            "the record was changed on one side while the merge waited for its target; nothing was written.",
            sync=sync,
            table=table,
            key=case.key,
            remedy=f"Look at it again (`sync-pipelines conflicts diff {sync}/{table} KEY`), and decide.",
        )


@contextmanager
def _alone(binding: Binding) -> Generator[None]:
    """Hold the target's lock: every writer does."""
    from sync_pipelines.engine.held import Fenced
    from sync_pipelines.engine.locks import TargetLock

    lock = TargetLock(binding.lock_url, binding.lock_name)
    lock.acquire(min(binding.lock_timeout, _LOCK_SECONDS))
    with lock, ExitStack() as stack:
        if isinstance(target := binding.target, Fenced):
            stack.callback(target.fence, lambda: None)
            target.fence(lock.check)
        yield


def bring_here(binding: Binding, key: str) -> None:
    """A run of one record in this process.

    Raises:
        SyncError: it failed.
    """
    from sync_pipelines.engine import run as engine
    from sync_pipelines.engine.model import Scope

    request = engine.Request(
        mode="records", scope=Scope(keys=(key,)), trigger="conflict", run_id=str(uuid.uuid4()), allow_mass_delete=False
    )
    engine.write(engine.open_run(binding, request))


def chosen(case: Case, picks: Mapping[str, str]) -> dict[str, Any]:
    """The values of properties of which somebody has named the side.

    Raises:
        ConfigurationError: neither side has such a property, a side is none, or nothing can be merged here.
    """
    if case.dispute is None:
        raise ConfigurationError(
            f"{case.key!r}: of this target no values are kept, so nothing is merged.",
            remedy="Say whose version stands: source or target.",
        )
    states = {"source": case.dispute.sides.source or {}, "target": case.dispute.sides.target or {}}
    sides = {side: {**leaves(state), **state} for side, state in states.items()}
    found: dict[str, Any] = {}
    for name, side in picks.items():
        if side not in sides:
            raise ConfigurationError(f"{name}={side}: a property is taken from source or target.")
        if not any(name in state for state in sides.values()):
            there = sorted({known for state in states.values() for known in state})
            raise ConfigurationError(
                f"{case.key!r}: neither side has a property {name!r}.", remedy=f"There are: {', '.join(there)}."
            )
        found[name] = sides[side].get(name)
    return found
