"""Which deletions the guard counts where records come and go: not those of what was made meanwhile.

A busy small table may delete more in a minute than it ever holds, and lose nothing by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sync_pipelines.engine.intake import Intake
from sync_pipelines.engine.model import Target

_MOST = 100_000
"""So many records are remembered; what is made beyond them counts as what was there before."""


@dataclass(kw_only=True)
class Fleeting:
    """What was made since a drain began.

    Args:
        target: is asked whether it holds what an event says to be created.
    """

    target: Target
    _made: set[int] = field(default_factory=set)

    def before(self, intake: Intake) -> None:
        """Remember what is about to be made of these events.

        An application may tell of a creation again and again; the first version of an entity is one beyond doubt.
        """
        created = {key: group[0].first for key, group in intake.groups.items() if group and group[0].first.creates}
        doubtful = [key for key, event in created.items() if event.version > 1]
        for key in created.keys() - set(self.target.existing(doubtful) if doubtful else ()):
            if len(self._made) < _MOST:
                self._made.add(hash(key))

    def others(self, keys: Sequence[str]) -> list[str]:
        """Those of these records that were there when it began."""
        return [key for key in keys if hash(key) not in self._made]
