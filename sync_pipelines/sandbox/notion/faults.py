"""Faults on demand, before or after the effect of a request, for all, some, or the n-th of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import ClassVar

from sync_pipelines.sandbox.notion.refusals import MESSAGES
from sync_pipelines.sandbox.stand_ins import faults
from sync_pipelines.sandbox.stand_ins.front import WIRE

KINDS = (*map(str, MESSAGES), *WIRE)

_AFTER = ("slow", "drip", "cut")


@dataclass
class Fault(faults.Fault):
    """One fault and whom it meets; `endpoint` is such as `pages.create`, `key` the id in the path.

    Args:
        at: meets just the n-th of the requests that fit, counted from 1.
        effect: whether the request has its effect before the fault; by default that depends on the kind: of those that
            a gateway could make, none has.
        gate: opens for a request that is held.
    """

    kinds: ClassVar[tuple[str, ...]] = KINDS

    at: int | None = None
    effect: bool | None = None
    gate: threading.Event = field(default_factory=threading.Event, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.effect is None:
            self.effect = self.kind in _AFTER

    def fits(self, endpoint: str, key: str) -> bool:
        """An endpoint may be named by its first word, too: `blocks`."""
        named = self.endpoint in (None, endpoint, endpoint.split(".")[0])
        return named and self.key in (None, key)

    def due(self) -> bool:
        """Whether the request that was counted last is one that it meets."""
        return self.asked == self.at if self.at else super().due()
