"""What a run reads: what is pending, everything where it has to be, and whether it builds the target anew."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sync_pipelines.engine.errors import RebuildDueError
from sync_pipelines.engine.ground import Ground, due_scope, ground_of
from sync_pipelines.engine.guarded import Guarded
from sync_pipelines.engine.listing import Listed
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.overwriting import due_whole
from sync_pipelines.engine.waiting import with_waiting


@dataclass(kw_only=True)
class Scoped(Guarded):
    """A run that decides what it reads, once it holds the target's lock.

    Args:
        cut_off: the run that has written to the target last may have ended between what it noted and what it wrote.
        _counted: what was counted before anything was written, and how often a `Listed` target had been written to.
    """

    cut_off: bool = False
    _counted: tuple[int, int | None] | None = None

    def measure(self) -> int:
        """Make the target ready and count it before anything is written; what it holds now."""
        target = self.binding.target
        self.since = self.binding.ledger.watermark(*self.place)
        target.prepare()
        self.before = target.count()
        self._counted = self.before, _writes(target)
        self.guard_marks()
        return self.before

    def count(self) -> int:
        """Records in the target now; one that is counted by listing it, and was not written to, is not listed again."""
        target = self.binding.target
        if self._counted is not None and self._counted[1] is not None and self._counted[1] == _writes(target):
            return self._counted[0]
        return target.count()

    def scope(self) -> Scope:
        """What this run reads; a target that must and may be built anew makes it a rebuild."""
        asked = self.request.scope
        if self.request.mode == "rebuild":
            self.since = self.binding.ledger.watermark(*self.place)
            return asked
        try:
            held = self.measure()
        except RebuildDueError as error:
            if asked.keys is not None:
                raise
            return self._built_anew(error.message)
        ground = self.ground
        if self.binding.outbox is not None and ground is not None:
            self.cut_off = (last := ground.bears()) is not None and not self.binding.ledger.is_completed(last)
        due = due_whole(due_scope(asked, ground, held=held), self.binding.target)
        return with_waiting(self.binding, due, self.since)

    @property
    def ground(self) -> Ground | None:
        return ground_of(self.binding, self.since)

    def _built_anew(self, reason: str) -> Scope:
        scope = Scope(full=True, reason=reason)
        self.request = replace(self.request, mode="rebuild", scope=scope)
        return scope


def _writes(target: object) -> int | None:
    return target.writes if isinstance(target, Listed) else None
