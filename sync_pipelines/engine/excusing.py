"""What a run would leave in its target as it is, found by a proof: no difference, and on record as where a run left it.

Without that a proof would count records as excluded that no list names, until a full run comes by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from sync_pipelines.engine.compare import Comparison
from sync_pipelines.engine.conflicts import KEPT, Judging
from sync_pipelines.engine.deciding import Dispute, Disputing, judged_by
from sync_pipelines.engine.model import FINGERPRINT, KEY

if TYPE_CHECKING:
    from sync_pipelines.engine.differences import Provable

_MOST_JUDGED = 10_000
"""So many differing records are judged one by one; a table that differs in more was not synced, but not edited."""

_BY = "a proof"


def excuse(table: Provable, differences: Comparison) -> None:
    """Leave out what a run would leave in a target that others may edit; nothing where the differences are too many."""
    target = table.target
    if not isinstance(target, Judging):
        return
    if sum(differences.count(kind) for kind in ("missing", "stale", "extra")) > _MOST_JUDGED:
        return
    for keys in differences.keys("missing", "stale"):
        for batch in table.source.values(keys):
            mapped, _ = table.mapper(batch)
            kept = target.excused(mapped)
            differences.leave_out(kept, label=KEPT)
            _note(table, kept, rows=mapped)
    for keys in differences.keys("extra"):
        kept, disputes = judged_by(target, keys)
        differences.leave_out(kept, label=KEPT)
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
    prints = (
        {}
        if rows is None
        else dict(zip(rows.column(KEY).to_pylist(), rows.column(FINGERPRINT).to_pylist(), strict=True))
    )
    place = table.spec.sync, table.spec.name
    known = {
        item.key: item.source_fingerprint for item in table.ledger.list_conflicts(*place, keys=list(kept), limit=None)
    }
    new = {key: why for key, why in kept.items() if key not in known or known[key] != prints.get(key)}
    if not new:
        return
    if rows is not None and isinstance(table.target, Disputing):
        found = rows.filter(pa.array([key in new for key in rows.column(KEY).to_pylist()], pa.bool_()))
        disputes = list(table.target.judged(found, list(new)).values())
    prints = {key: prints[key] for key in new if key in prints}
    table.ledger.note_conflict(*place, new, prints, disputes, run_id=_BY)
