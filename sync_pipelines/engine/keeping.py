"""What a run leaves in its target as it is, on purpose, and what was decided of conflicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sync_pipelines.engine.compare import Comparison
from sync_pipelines.engine.conflicts import KEPT
from sync_pipelines.engine.deciding import Dispute, judged_by
from sync_pipelines.engine.model import BatchResult, Target
from sync_pipelines.engine.scoped import Scoped


@dataclass(kw_only=True)
class Keeping(Scoped):
    """A run that knows what it has left.

    Args:
        kept: records that stay in the target as they are, on purpose, with why.
    """

    kept: dict[str, str] = field(default_factory=dict)

    def note_judged(
        self, result: BatchResult, prints: Mapping[str, str], *, versions: Mapping[str, int] | None = None
    ) -> None:
        """Write down what a target has left as it is, and what was decided of conflicts; before `settle`.

        Args:
            prints: fingerprints of the source's rows. versions: of the events that brought them, by key.
        """
        for key in result.keys or ():
            if key not in result.kept:
                self.kept.pop(key, None)  # a consumer meets a record again and again
        self.keep(result.kept, prints, [self._versioned(item, versions or {}) for item in result.disputes])

    def _versioned(self, item: Dispute, versions: Mapping[str, int]) -> Dispute:
        """A record that has no versions of its own has those of its events."""
        if item.key not in versions or item.sides.source_version is not None:
            return item
        held = self.binding.ledger.versions(*self.place, item.key)[1]
        return replace(item, sides=replace(item.sides, source_version=versions[item.key], target_version=held))

    def keep(self, kept: Mapping[str, str], prints: Mapping[str, str], disputes: Sequence[Dispute] = ()) -> None:
        """Remember and write down what stays as it is in the target although the source says otherwise.

        Args:
            prints: fingerprints of the source's rows; none where it lacks them.
            disputes: what is known of them, and the conflicts that were decided otherwise.
        """
        if kept:
            self.kept.update(kept)
            self.binding.ledger.note_conflicts(self.record, kept, prints, disputes)
        if decided := [item for item in disputes if item.decision.conflict and item.key not in kept]:
            self.binding.ledger.note_decisions(self.record, decided)

    def leave_out_kept(self, target: Target, differences: Comparison, *, note: bool) -> None:
        """What the target is to keep is no difference: an edit that won, and what was made there."""
        for keys in differences.keys("missing", "stale"):
            differences.leave_out([key for key in keys if key in self.kept], label=KEPT)
        for keys in differences.keys("extra"):
            kept, disputes = judged_by(target, keys)
            differences.leave_out(kept, label=KEPT)
            if note:
                self.keep(kept, {}, [item for item in disputes if item.key in kept])
