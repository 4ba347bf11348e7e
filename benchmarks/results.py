"""What a benchmark gives back, and how it is shown and written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

Sense = Literal["at most", "at least"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A limit that a figure must keep; `unit` is that of the figure."""

    sense: Sense
    limit: float

    def met_by(self, value: float) -> bool:
        return value <= self.limit if self.sense == "at most" else value >= self.limit


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number: a ratio (unit ×), a share (unit %) or an absolute figure with its unit."""

    name: str
    value: float
    unit: str
    target: Target | None = None

    @property
    def met(self) -> bool:
        """Whether it keeps its target; a figure without one always does."""
        return self.target is None or self.target.met_by(self.value)

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        target = {"sense": self.target.sense, "limit": self.target.limit} if self.target else None
        value = float(f"{self.value:.4g}")
        return {"name": self.name, "value": value, "unit": self.unit, "target": target, "met": self.met}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one benchmark found.

    Args:
        name: the benchmark's name on the command line.
        compares: what is compared with what, in one sentence.
        figures: ratios first, then the absolute figures that they come from.
        notes: what is inside, and what is not.
        seconds: how long the benchmark took in all.
        pictures: SVG by name; written beside the file of --json.
    """

    name: str
    compares: str
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = field(default=())
    seconds: float = 0.0
    pictures: Mapping[str, str] = field(default_factory=dict)

    @property
    def missed(self) -> tuple[Figure, ...]:
        return tuple(figure for figure in self.figures if not figure.met)

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        figures = [figure.as_dict() for figure in self.figures]
        return {
            "name": self.name,
            "compares": self.compares,
            "figures": figures,
            "notes": list(self.notes),
            "seconds": round(self.seconds, 1),
        }


def ratio(name: str, value: float, *, at_most: float | None = None, at_least: float | None = None) -> Figure:
    """How many times one side is the other, with its target if it has one."""
    return Figure(name=name, value=value, unit="×", target=_target(at_most, at_least))


def figure(
    name: str, value: float, unit: str, *, at_most: float | None = None, at_least: float | None = None
) -> Figure:
    """An absolute figure, with its target if it has one."""
    return Figure(name=name, value=value, unit=unit, target=_target(at_most, at_least))


def _target(at_most: float | None, at_least: float | None) -> Target | None:
    if at_most is not None:
        return Target(sense="at most", limit=at_most)
    return None if at_least is None else Target(sense="at least", limit=at_least)


def shown(value: float) -> str:
    """A number in three or four digits, as people read it."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def show(results: Iterable[Result], machine: dict[str, Any], console: Console) -> None:
    """A table of all figures; a ratio and what it comes from stand together."""
    table = Table(title="Benchmarks", caption=", ".join(f"{name}: {text}" for name, text in machine.items()))
    for column, justify in (("benchmark", "left"), ("figure", "left"), ("value", "right"), ("target", "right")):
        table.add_column(column, justify=justify, overflow="fold")
    for result in results:
        for number, item in enumerate(result.figures):
            name = f"[bold]{result.name}[/bold]" if number == 0 else ""
            table.add_row(name, item.name, f"{shown(item.value)} {item.unit}", _verdict(item))
        table.add_section()
    console.print(table)


def _verdict(item: Figure) -> str:
    if item.target is None:
        return ""
    sign = "≤" if item.target.sense == "at most" else "≥"
    colour, word = ("green", "met") if item.met else ("bold red", "MISSED")
    return f"{sign} {shown(item.target.limit)} {item.unit} [{colour}]{word}[/{colour}]"


def write_json(path: Path, results: Sequence[Result], machine: dict[str, Any]) -> None:
    """All figures with the machine's notes, in one file; pictures beside it, as `<file>-<picture>.svg`."""
    content = {"machine": machine, "results": [result.as_dict() for result in results]}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for result in results:
        for name, picture in result.pictures.items():
            path.with_name(f"{path.stem}-{name}.svg").write_text(picture, encoding="utf-8")
