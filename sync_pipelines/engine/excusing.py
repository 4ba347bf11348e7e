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
    """Write down those that no run has written down yet: what one knew of them is more than can be seen now."""
    place = table.spec.sync, table.spec.name
    known = {item.key for item in table.ledger.list_conflicts(*place, keys=list(kept), limit=None)} if kept else set()
    new = {key: why for key, why in kept.items() if key not in known}
    if not new:
        return
    prints: dict[str, str] = {}
    if rows is not None:
        found = rows.filter(pa.array([key in new for key in rows.column(KEY).to_pylist()], pa.bool_()))
        prints = dict(zip(found.column(KEY).to_pylist(), found.column(FINGERPRINT).to_pylist(), strict=True))
        disputes = list(table.target.judged(found, list(new)).values()) if isinstance(table.target, Disputing) else ()
    table.ledger.note_conflict(*place, new, prints, disputes, run_id=_BY)
