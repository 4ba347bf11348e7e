"""Proofs of a PostgreSQL table against its Delta table: seconds and memory of each kind."""

from __future__ import annotations

from benchmarks.children import Took, ours
from benchmarks.delta_load import load
from benchmarks.lake import fill
from benchmarks.results import Figure, Result, figure, ratio
from benchmarks.stage import Stage

NAME = "delta-proof"
MOST_MB = 400.0
KINDS = ("count", "quick", "deep")
_NAME = "proven"


def run(stage: Stage, *, quick: bool, rows: int | None = None) -> Result:
    """Equal sides, the usual case, each proof a process of its own.

    Args:
        rows: another number of rows.
    """
    rows = rows or (50_000 if quick else 1_000_000)
    stage.say(f"{NAME}: {rows:,} rows …")
    fill(stage, rows)
    loaded = load(stage, _NAME)
    took = {kind: _proven(stage, kind, rows) for kind in KINDS}
    return Result(
        name=NAME,
        compares=f"proofs of {rows:,} equal rows of 1 KB, each in a process of its own; all rows of both sides are "
        "listed by the quick one, and read back and compared value by value by the deep one",
        figures=(
            *(figure for kind in KINDS for figure in _figures(kind, took[kind])),
            ratio("the quick proof / the first full sync", took["quick"].seconds / loaded.seconds),
            ratio("the deep proof / the first full sync", took["deep"].seconds / loaded.seconds),
        ),
        notes=("Seconds are without imports, memory is the whole process's.",),
    )


def _proven(stage: Stage, kind: str, rows: int) -> Took:
    took = ours("prove", name=_NAME, kind=kind)
    if not took.told["equal"] or took.told["records"] != rows:
        raise AssertionError(f"both sides were to be equal: {took.told}")
    stage.say(f"{NAME} {kind}: {took.seconds:.1f} s, peak {took.peak:.0f} MB")
    return took


def _figures(kind: str, took: Took) -> tuple[Figure, Figure]:
    return (
        figure(f"the {kind} proof", took.seconds, "s"),
        figure(f"the {kind} proof: peak memory of the process", took.peak, "MB", at_most=MOST_MB),
    )
