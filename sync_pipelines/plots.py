"""What a table's runs did, day by day, as a picture that the Dagster UI shows: SVG in Markdown, nothing to install."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date

    from sync_pipelines.engine.ledger.history import Day

_WIDTH, _HEIGHT, _GAP, _LEFT = 600, 70, 20, 4
_DAYS = 30


def plot(days: Sequence[Day]) -> str:
    """Markdown with bars of the records that were written or deleted, and of the cost where prices are set.

    Args:
        days: the newest first. Shown are the 30 days up to the newest; those without a run are empty.
    """
    if not days:
        return ""
    last = days[0].day
    shown = [last - timedelta(days=number) for number in range(_DAYS - 1, -1, -1)]
    known = {found.day: found for found in days}
    charts = [("records written or deleted", "#4f43dd", [_records(known.get(day)) for day in shown])]
    if any(found.cost is not None for found in days):
        charts.append(("cost", "#d97706", [_cost(known.get(day)) for day in shown]))
    picture = base64.b64encode(_svg(charts, shown).encode()).decode()
    return f"![Runs by day, up to {last}](data:image/svg+xml;base64,{picture})"


def _records(day: Day | None) -> Decimal:
    counts = day.counts if day else None
    return Decimal(counts.upserted + counts.metadata_only + counts.deleted) if counts else Decimal(0)


def _cost(day: Day | None) -> Decimal:
    return (day.cost if day else None) or Decimal(0)


def _svg(charts: Sequence[tuple[str, str, Sequence[Decimal]]], days: Sequence[date]) -> str:
    height = len(charts) * (_HEIGHT + _GAP) + _GAP
    parts = [_chart(*chart, top=number * (_HEIGHT + _GAP)) for number, chart in enumerate(charts)]
    parts.append(_text(_LEFT, height - 6, str(days[0])))
    parts.append(_text(_WIDTH - _LEFT, height - 6, str(days[-1]), anchor="end"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="11" fill="#666">{"".join(parts)}</svg>'
    )


def _chart(name: str, colour: str, values: Sequence[Decimal], *, top: int) -> str:
    most = max(values)
    step = (_WIDTH - 2 * _LEFT) / len(values)
    foot = top + _GAP + _HEIGHT
    bars = "".join(
        f"M{_LEFT + number * step:.1f} {foot}v-{float(value / most) * _HEIGHT:.1f}h{step - 2:.1f}V{foot}z"
        for number, value in enumerate(values)
        if value > 0
    )
    return f'{_text(_LEFT, top + 14, f"{name}, at most {most:,f}")}<path fill="{colour}" d="{bars}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>'
