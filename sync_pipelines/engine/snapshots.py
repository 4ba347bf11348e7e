"""PostgreSQL's snapshots: which transactions a reader has seen."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TEXT = re.compile(r"^(\d+):(\d+):((?:\d+(?:,\d+)*)?)$")


@dataclass(frozen=True)
class Snapshot:
    """A `pg_snapshot`: all below `xmin` is seen, nothing from `xmax` on, nor what was `running` between."""

    xmin: int
    xmax: int
    running: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if not 0 < self.xmin <= self.xmax:
            raise ValueError(f"{self} is no snapshot: xmin must be positive and not above xmax.")

    def sees(self, tx: int) -> bool:
        """Whether the effects of a committed transaction are in the snapshot, as pg_visible_in_snapshot."""
        return tx < self.xmin or (tx < self.xmax and tx not in self.running)

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, sorted(self.running)))}"

    def on_standby(self) -> Snapshot:
        """What may be relied on where the server is a standby.

        There pg_current_snapshot() leaves out the running transactions: everything from xmin on counts as
        not seen and is read again.
        """
        return Snapshot(self.xmin, self.xmin)


def parse_snapshot(text: str) -> Snapshot:
    """Read PostgreSQL's text form, `xmin:xmax:running,…`.

    Raises:
        ValueError: for any other text.
    """
    match = _TEXT.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no snapshot.")
    running = frozenset(int(part) for part in match[3].split(",") if part)
    return Snapshot(int(match[1]), int(match[2]), running)
