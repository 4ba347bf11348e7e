"""Lines over a logarithmic axis, as SVG: nothing to install."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT, _LEFT, _TOP, _FOOT, _RIGHT = 460, 300, 60, 60, 50, 20
_COLOURS = ("#4f43dd", "#d97706", "#0f766e", "#be123c")


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture of several that stand side by side.

    Args:
        title: what the upper axis measures, with its unit. lines: name → a value for each place on the lower axis.
        logarithmic: whether the upper axis is; else it begins at 0.
    """

    title: str
    lines: Mapping[str, Sequence[float]]
    logarithmic: bool = False

    @property
    def bounds(self) -> tuple[float, float]:
        """The axis's two ends: powers of ten, or 0 and a round number."""
        values = [value for line in self.lines.values() for value in line]
        if self.logarithmic:
            return 10.0 ** math.floor(math.log10(min(values))), 10.0 ** math.ceil(math.log10(max(values)))
        step = 10.0 ** math.floor(math.log10(max(values)))
        return 0.0, step * math.ceil(max(values) / step)

    def ticks(self) -> list[float]:
        """Where the axis has lines."""
        low, high = self.bounds
        if self.logarithmic:
            return [10.0**power for power in range(round(math.log10(low)), round(math.log10(high)) + 1)]
        return [low + (high - low) * part / 4 for part in range(5)]

    def share(self, value: float) -> float:
        """How far up a value stands, 0 to 1."""
        low, high = self.bounds
        if self.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return (value - low) / (high - low)


def drawn(name: str, places: Sequence[float], panels: Sequence[Panel]) -> str:
    """The panels side by side, over one lower axis.

    Args:
        name: of the lower axis. places: on it, above 0.
    """
    parts = [_panel(panel, name, places, left=number * _WIDTH) for number, panel in enumerate(panels)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH * len(panels)}" height="{_HEIGHT}" '
        f'font-family="sans-serif" font-size="11" fill="#555"><rect width="100%" height="100%" fill="#fff"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _panel(panel: Panel, name: str, places: Sequence[float], *, left: int) -> str:
    x0, x1 = left + _LEFT, left + _WIDTH - _RIGHT
    y0, y1 = _HEIGHT - _FOOT, _TOP
    low, high = math.log10(places[0]), math.log10(places[-1])
    across = [x0 + (x1 - x0) * (math.log10(place) - low) / ((high - low) or 1) for place in places]
    parts = [_text(x0, 18, panel.title, weight="bold"), _text((x0 + x1) / 2, _HEIGHT - 10, name, anchor="middle")]
    for tick in panel.ticks():
        y = y0 - (y0 - y1) * panel.share(tick)
        parts.append(f'<path d="M{x0} {y:.1f}H{x1}" stroke="#ddd"/>{_text(x0 - 6, y + 4, f"{tick:g}", anchor="end")}')
    for x, place in zip(across, places, strict=True):
        parts.append(_text(x, y0 + 16, f"{place:,.0f}", anchor="middle"))
    for number, (label, values) in enumerate(panel.lines.items()):
        points = [(x, y0 - (y0 - y1) * panel.share(value)) for x, value in zip(across, values, strict=True)]
        parts.append(_line(points, _COLOURS[number % len(_COLOURS)]))
        parts.append(_text(x0 + 120 * number, 38, label, colour=_COLOURS[number % len(_COLOURS)]))
    return "".join(parts)


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)
    return f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}'


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#555", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )
