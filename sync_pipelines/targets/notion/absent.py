"""Pages of notes that the source does not have, where it does not say that it has all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sync_pipelines.engine.deciding import Decision, Dispute, Outcome, Sides
from sync_pipelines.targets.notion.target import NotionTarget


class PartialNotionTarget(NotionTarget):
    """A user's database, whose pages stay where the source does not say that their notes are deleted.

    Args:
        absent_stays: asked after the source was read: why a note that it lacks is not deleted; None where it is.
    """

    def __init__(self, *, absent_stays: Callable[[], str | None], **more: Any) -> None:
        super().__init__(**more)
        self._absent_stays = absent_stays

    def keeps(self, keys: Sequence[str]) -> Mapping[str, str]:
        why = self._absent_stays()
        return super().keeps(keys) if why is None else dict.fromkeys(keys, why)

    def disputes(self, keys: Sequence[str]) -> Sequence[Dispute]:
        why = self._absent_stays()
        return super().disputes(keys) if why is None else [self._left_alone(key, why) for key in keys]

    def _left_alone(self, key: str, why: str) -> Dispute:
        return Dispute(
            key=key,
            strategy=self.strategy,
            decision=Decision(outcome=Outcome.TARGET),
            why=why,
            sides=Sides(source=None, target=None),
        )
