"""What a deletion is measured by: what the target held before anything that comes with the deletion was written.

A run writes first and deletes then. One that the guard stops, or that dies before the guard was asked, has written its
upserts, and with those the share of the same deletion would be smaller at the next attempt. So a run that may delete
many leaves the number in the ledger before it writes. It holds until the guard has let a deletion pass, or a watermark
was confirmed; what other runs wrote, confirmed or not, are records of the target like all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync_pipelines.engine.model import Watermark

if TYPE_CHECKING:
    from sync_pipelines.engine.binding import Binding

_WHAT = "Written by syncs: records in the target before a run that may delete many, by its watermark."


def held_before(binding: Binding, count: int, since: Watermark | None) -> int:
    """Records that a deletion is measured by.

    Args:
        count: records in the target now; since: the watermark that stands.
    """
    stored = binding.ledger.setting(_key(binding)) or ""
    mark, _, noted = stored.partition(" ")
    return min(count, int(noted)) if mark == _mark(since) and noted.isdigit() else count


def note(binding: Binding, held: int, since: Watermark | None) -> None:
    """Remember what the target held, for as long as this watermark stands."""
    binding.ledger.set_setting(_key(binding), f"{_mark(since)} {held}", description=_WHAT)


def forget(binding: Binding) -> None:
    """The guard has let the deletion pass: the next one is another."""
    binding.ledger.set_setting(_key(binding), None)


def _key(binding: Binding) -> str:
    return f"{'.'.join(binding.place)}.held_before"


def _mark(since: Watermark | None) -> str:
    return since.taken_at.isoformat() if since else "none"
