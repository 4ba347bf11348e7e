"""What a run's partitions mean (DESIGN.md §4): a pure decision from a range of time to a scope."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sync_pipelines.engine.model import Scope

Mode = Literal["incremental", "full", "rebuild", "reparse"]


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The windows that exist now: `first` is the start of the oldest, `newest` the start of the current one."""

    first: datetime
    newest: datetime


def scope_of(mode: Mode, asked: tuple[datetime, datetime], windows: Windows) -> Scope:
    """What a run over the half-open range `asked` (UTC) reads.

    The newest window alone is the incremental sync: only what is pending. Any older window, or a range,
    drains first and then re-reads the records whose change time lies in it. The first window reaches back
    without limit and holds the records without a change time; the newest one is open at its end.
    """
    start, end = asked
    if mode != "incremental":
        return whole_or_pending(mode)
    if start >= windows.newest:
        return Scope()
    first = start <= windows.first
    return Scope(
        window=(None if first else start, None if end > windows.newest else end),
        nulls=first,
        reason="window",
    )


def whole_or_pending(mode: Mode) -> Scope:
    """What a run without a window reads: in mode incremental what is pending, else everything."""
    if mode == "incremental":
        return Scope()
    return Scope(full=True, stored=mode == "reparse", reason=f"mode: {mode}")
