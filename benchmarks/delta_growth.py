"""How time and memory of a full load, and of an incremental run, grow with the rows; with a picture."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from benchmarks.children import Took, ours
from benchmarks.delta_load import load
from benchmarks.lake import change, fill
from benchmarks.picture import Panel, drawn
from benchmarks.results import Result, figure, ratio
from benchmarks.stage import Stage

NAME = "delta-growth"
SIZES = (10_000, 100_000, 1_000_000, 3_000_000)
QUICK = (1_000, 5_000, 20_000, 60_000)
_CHANGED = 100


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a table of so many rows took: loaded, run again in full with nothing changed, and 110 rows changed."""

    rows: int
    first: Took
    again: Took
    few: Took


def run(stage: Stage, *, quick: bool, sizes: tuple[int, ...] | None = None) -> Result:
    """The source grows from size to size; each is loaded into a Delta table of its own.

    Args:
        sizes: other numbers of rows, the smallest first.
    """
    sizes = sizes or (QUICK if quick else SIZES)
    found: list[Size] = []
    held = 0
    for rows in sizes:
        fill(stage, rows - held, first=held)
        found.append(_measured(stage, rows))
        held = rows + _CHANGED // 10
    least, most = found[0], found[-1]
    per_row = [size.first.seconds / size.rows for size in found]
    return Result(
        name=NAME,
        compares=f"full loads of {', '.join(f'{size.rows:,}' for size in found)} rows of 1 KB into Delta tables, the "
        f"same again with nothing changed, and {_CHANGED + _CHANGED // 10} rows incrementally; a process each",
        figures=(
            ratio(f"peak with {most.rows:,} / with {found[-2].rows:,} rows", most.first.peak / found[-2].first.peak),
            ratio(f"seconds a row with {most.rows:,} / with {found[-2].rows:,} rows", per_row[-1] / per_row[-2]),
            *(figure(f"{size.rows:,} rows: full load", size.first.seconds, "s") for size in found),
            *(figure(f"{size.rows:,} rows: full load, peak", size.first.peak, "MB") for size in found),
            *(figure(f"{size.rows:,} rows: unchanged full run", size.again.seconds, "s") for size in found),
            *(figure(f"{size.rows:,} rows: unchanged full run, peak", size.again.peak, "MB") for size in found),
            *(figure(f"{size.rows:,} rows: incremental run", size.few.seconds, "s") for size in found),
            *(figure(f"{size.rows:,} rows: incremental run, peak", size.few.peak, "MB") for size in found),
            figure("what the imports hold", least.first.baseline, "MB"),
        ),
        notes=("Seconds are the engine's run without imports, memory is the whole process's.",),
        pictures={NAME: picture(found)},
    )


def _measured(stage: Stage, rows: int) -> Size:
    name = f"grown_{rows}"
    first, again = load(stage, name), ours("load", name=name)
    change(stage, changed=_CHANGED, among=2 * _CHANGED, new=_CHANGED // 10, first=rows)
    few = ours("load", name=name, mode="incremental")
    if (first.told["upserted"], again.told["unchanged"], few.told["upserted"]) != (rows, rows, _CHANGED * 11 // 10):
        raise AssertionError(f"{rows} rows were to be loaded once: {first.told}, {again.told}, {few.told}")
    stage.say(f"{NAME}: {rows:,} rows: {first.seconds:.1f} s, peak {first.peak:.0f} MB")
    return Size(rows=rows, first=first, again=again, few=few)


def picture(found: list[Size]) -> str:
    """Time and memory over rows, as SVG; both axes of time are logarithmic, so that a straight line is growth in
    proportion."""
    assert all(a.rows < b.rows for a, b in pairwise(found))
    lines = {"full load": "first", "unchanged full run": "again", "incremental run": "few"}
    rows = [size.rows for size in found]
    time = {text: [getattr(size, name).seconds for size in found] for text, name in lines.items()}
    memory = {text: [getattr(size, name).peak for size in found] for text, name in lines.items()}
    return drawn(
        "rows",
        rows,
        [
            Panel(title="seconds", lines=time, logarithmic=True),
            Panel(title="peak memory of the process, MB", lines=memory),
        ],
    )
