"""What a run would leave in its target as it is, found by a proof: no difference, and on record as where a run left it.

Without that a proof would count records as excluded that no list names, and a list would name records that are as they
should be, until a full run comes by them. Looking writes nothing (a dry run looks, too): what was seen is put on record
where a proof, or a repair, closes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from sync_pipelines.engine.batches import among, prints_of
from sync_pipelines.engine.compare import Comparison, Difference
from sync_pipelines.engine.conflicts import KEPT, Judging
from sync_pipelines.engine.deciding import Dispute, Disputing, judged_by
from sync_pipelines.engine.keys import texts
from sync_pipelines.engine.model import KEY

if TYPE_CHECKING:
    from sync_pipelines.engine.differences import Provable

_KEYS_A_LOOK = 200

_BY = "a proof"


def excuse(table: Provable, differences: Comparison) -> None:
    """Leave out what a run would leave in a target that others may edit."""
    target = table.target
    if not isinstance(target, Judging):
        return
    for keys in differences.keys("missing", "stale"):
        for batch in table.source.values(keys):
            mapped, _ = table.mapper(batch)
            _leave_out(table, differences, target.excused(mapped), prints_of(mapped))
    for keys in differences.keys("extra"):
        _leave_out(table, differences, judged_by(target, keys)[0], {})


def _leave_out(
    table: Provable, differences: Comparison, kept: Mapping[str, str], prints: Mapping[str, str | None]
) -> None:
    """Leave them out, and flag those that are not on record yet with this row of the source."""
    differences.leave_out(kept, label=KEPT)
    known = table.ledger.noted(*_place(table), texts(list(kept)))
    differences.flag(key for key in kept if key not in known or known[key] != prints.get(key))


def look_at_open(
    table: Provable, differences: Comparison, look: Callable[[Provable, Sequence[str]], Sequence[Difference]]
) -> bool:
    """Look at the records that are on record as kept and were not found to differ; whether any of them does.

    Those that differ only by values, which a quick proof does not see, become differences, to be explained. Those that
    do not are remembered as `arrived` or `gone`, with the run that has noted them.

    Args:
        look: finds the differences among these keys by their values.
    """
    if not isinstance(table.target, Judging):
        return False
    differ = False
    for page in table.ledger.open_conflicts(*_place(table), size=_KEYS_A_LOOK):
        explained = differences.labels(list(page))
        keys = [key for key in page if key not in explained]
        found = list(look(table, keys)) if keys else []
        unlike = {item.key for item in found}
        equal = [key for key in keys if key not in unlike]
        here = _held(table, equal)
        over = [Difference(key, "arrived" if key in here else "gone", page[key]) for key in equal]
        differences.note([*found, *over])
        differ = differ or bool(found)
    return differ


def _held(table: Provable, keys: Sequence[str]) -> set[str]:
    known = texts(keys)
    batches = table.source.values(known) if known else ()
    return {key for batch in batches for key in batch.column(KEY).to_pylist()}


def put_on_record(table: Provable, differences: Comparison, *, proof_id: int) -> None:
    """Write down what was found: records that are kept, and those that no longer are. Nothing where nothing is new.

    Args:
        proof_id: who has found it.
    """
    if not isinstance(table.target, Judging):
        return
    for page in differences.named(KEPT, size=_KEYS_A_LOOK):
        if keys := [item.key for item in page if item.broken]:
            _note_some(table, table.target, keys)
    for kind in ("arrived", "gone"):
        for page in differences.named(kind):
            seen = {item.key: item.reason for item in page}
            table.ledger.settle_conflicts(*_place(table), list(seen), as_=kind, seen=seen)
    _end_unprotected(table, differences, proof_id)


def _end_unprotected(table: Provable, differences: Comparison, proof_id: int) -> None:
    """End what is on record as kept and would be written over: it counts as pending, or as a difference.

    Those that differ are named, as by a deep proof: a quick one would not see them again by itself.
    """
    for page in table.ledger.open_conflicts(*_place(table), size=_KEYS_A_LOOK):
        labels = differences.labels(list(page))
        seen = {key: page[key] for key, label in labels.items() if label not in (KEPT, "arrived", "gone")}
        differ = [key for key in seen if labels[key] in ("missing", "stale", "extra")]
        named = [Difference(key, labels[key], "nothing keeps it any more") for key in differ]  # ty: ignore[invalid-argument-type]
        table.ledger.add_differences(*_place(table), named, proof_id=proof_id)
        table.ledger.settle_conflicts(*_place(table), list(seen), as_="refused", seen=seen)


def _note_some(table: Provable, target: Judging, keys: Sequence[str]) -> None:
    """They are judged once more: some time has passed, and what is noted is what holds now."""
    left = set(keys)
    for batch in table.source.values(texts(keys)):
        mapped, _ = table.mapper(batch)
        left.difference_update(batch.column(KEY).to_pylist())
        _note(table, target.excused(mapped), rows=mapped)
    kept, disputes = judged_by(target, sorted(left))
    _note(table, kept, disputes=disputes)


def _note(
    table: Provable,
    kept: Mapping[str, str],
    *,
    rows: pa.RecordBatch | None = None,
    disputes: Sequence[Dispute] = (),
) -> None:
    """Write down those that are not on record, or are there with another row of the source.

    Of the others the record is left alone: what a run knew of them is more than can be seen now.
    """
    if not kept:
        return
    prints = {} if rows is None else prints_of(rows)
    place = _place(table)
    known = table.ledger.noted(*place, texts(list(kept)))
    new = {key: why for key, why in kept.items() if key not in known or known[key] != prints.get(key)}
    if not new:
        return
    if rows is not None and isinstance(table.target, Disputing):
        disputes = list(table.target.judged(among(rows, new), list(new)).values())
    prints = {key: prints[key] for key in new if key in prints}
    table.ledger.note_conflict(*place, new, prints, disputes, run_id=_BY)


def _place(table: Provable) -> tuple[str, str]:
    return table.spec.sync, table.spec.name
